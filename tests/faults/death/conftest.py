"""Real databases and receivers, and a setup whose log waits as a task's log does."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tests.faults.death.servers import Server
from tests.integration.dispatch.conftest import Setup, receiver
from tests.support.databases import log_url, postgres
from zbl_provider.log.storage.retry import TASK_RETRY
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["log_url", "postgres", "receiver"]


@pytest.fixture(scope="session")
def mortal() -> Iterator[Server]:
    """Give a PostgreSQL server of these tests' own, which they may kill."""
    with (
        TemporaryDirectory(prefix="zbl-mortal-") as folder,
        Server(Path(folder) / "data") as server,
    ):
        yield server


@pytest.fixture
def setup_on(receiver, tmp_path) -> Iterator[Callable[..., Setup]]:
    """Give a function that makes a setup whose log is at a URL."""
    logs = []

    def make(url: str, retry_for=TASK_RETRY) -> Setup:
        log = DeliveryLog(url, retry_for=retry_for)
        log.upgrade()
        logs.append(log)
        return Setup(log, url, receiver, str(receiver.write_authority(tmp_path / "ca.pem")))

    yield make
    for log in logs:
        log.close()
