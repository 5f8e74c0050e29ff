"""Which errors end a task for good, and which ones Airflow's own retries have (Contract 3.2)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from zbl_provider.exceptions import ZblError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def failing_for_good() -> Iterator[None]:
    """
    Raise an error past Airflow's retries, unless it is one that they can help with.

    :raises AirflowFailException: for what only a person can change, with the error's own text
    :raises ZblError: as it is, for what may pass by itself
    """
    from airflow.sdk.exceptions import AirflowFailException

    try:
        yield
    except ZblError as problem:
        if problem.airflow_may_retry:
            raise
        raise AirflowFailException(str(problem)) from None
