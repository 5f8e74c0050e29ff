"""The wait for the next attempt (Contract 3.4)."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.module_loading import import_string

from zbl_provider.triggers.due import DueTrigger


async def fire(trigger):
    return [event.payload async for event in trigger.run()]


def test_a_wait_writes_no_line_a_second(caplog):
    """It ends at its moment, and leaves the task's log to what is worth reading (3.4)."""
    moment = datetime.now(UTC) + timedelta(seconds=1.5)
    with caplog.at_level(logging.DEBUG):
        assert asyncio.run(fire(DueTrigger(moment))) == [moment]
    assert datetime.now(UTC) >= moment
    assert [record for record in caplog.records if "sleeping" in record.message] == []


def test_a_wait_is_restored_from_what_airflow_keeps():
    """A triggerer makes it anew from its path and its moment (3.4)."""
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    path, arguments = DueTrigger(moment).serialize()
    assert path == "zbl_provider.triggers.due.DueTrigger"
    assert arguments == {"moment": moment}
    assert import_string(path)(**arguments).moment == moment
    assert issubclass(DueTrigger, DateTimeTrigger)
