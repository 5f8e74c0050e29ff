"""A delivery log on each kind of database, and what the tests say about leads."""

from __future__ import annotations

import pytest

from tests.integration.log.setup import Setup
from tests.support.databases import empty_url, log_url, postgres
from zbl_provider.log.store import DeliveryLog

__all__ = ["empty_url", "log", "log_url", "postgres", "setup"]


@pytest.fixture
def log(log_url):
    log = DeliveryLog(log_url)
    yield log
    log.close()


@pytest.fixture
def setup(log):
    return Setup(log)
