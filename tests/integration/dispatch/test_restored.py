"""A delivery log that is put back from a backup (docs/operations.md)."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from zbl_provider.log.model import Status
from zbl_provider.log.store import DeliveryLog


@pytest.fixture
def log_url(tmp_path):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with closing(DeliveryLog(url)) as log:
        log.upgrade()
    return url


@pytest.fixture
def back_up(tmp_path):
    """Back the log up, as it is in use."""

    def back_up():
        with closing(sqlite3.connect(tmp_path / "log.db")) as database:
            database.execute("VACUUM INTO ?", (str(tmp_path / "backup.db"),))

    return back_up


@pytest.fixture
def restore(setup, tmp_path):
    """Put the backup in the log's place, while nothing has it open."""

    def restore():
        setup.log.close()
        for journal in ("log.db-wal", "log.db-shm"):
            (tmp_path / journal).unlink(missing_ok=True)
        shutil.copy(tmp_path / "backup.db", tmp_path / "log.db")
        setup.log = DeliveryLog(setup.log_url)

    yield restore
    setup.log.close()


def test_what_was_delivered_since_the_backup_goes_out_again_under_its_webhook_id(
    setup, back_up, restore
):
    """A receiver that remembers its ids notices nothing of it (Contract 2.3, 4.4)."""
    setup.dispatch("run 1", [1])
    back_up()
    setup.dispatch("run 2", [1, 2])
    restore()
    assert setup.dispatch("run 3", [1, 2]).counts == {Status.DELIVERED: 1}
    assert setup.sent == ["1", "2", "2"]
    first, again = (request.headers["webhook-id"] for request in setup.receiver.received[1:])
    assert again == first


def test_what_was_due_at_the_backup_is_sent_without_being_found_again(setup, back_up, restore):
    """It is in the log, whatever the query gives by now (Contract 4.6, 6.2)."""
    setup.log.hold("zapier", by="a person", now=setup.clock.now)
    setup.dispatch("run 1", [1])
    back_up()
    restore()
    setup.log.resume("zapier")
    setup.dispatch("run 2", [])
    assert setup.sent == ["1"]
