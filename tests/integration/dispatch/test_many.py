"""Many leads, and many who send them."""

import json
import re
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import trustme

from tests.integration.dispatch.conftest import LOOPBACK, Clock, key, lead
from tests.support.databases import empty_database
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
from zbl_provider.dispatch.intake import find, read
from zbl_provider.log.model import Status
from zbl_provider.log.store import DeliveryLog

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COUNT = 20_000


@pytest.fixture
def counter(tmp_path):
    """Give a receiver's URL, its CA, and a function that ends it and gives its counts."""
    authority = trustme.CA()
    certificate = tmp_path / "cert.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    process = subprocess.Popen(
        [sys.executable, HERE / "counter.py", certificate],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    port = process.stdout.readline().strip()

    def counts() -> dict[str, int]:
        output, _ = process.communicate("")
        return json.loads(output)

    yield f"https://localhost:{port}/", str(tmp_path / "ca.pem"), counts
    process.kill()
    process.wait()


def test_four_processes_drain_one_log_and_send_each_lead_once(postgres, counter):
    """Tasks on any number of machines share a PostgreSQL log: none twice, none left (4.6)."""
    url, authority, counts = counter
    with empty_database(postgres) as log_url:
        log = DeliveryLog(log_url)
        log.upgrade()
        held = Destination.parse(integration="zapier", host=url, extra={"active": False})
        policy = Policy(schedule=Schedule.DEFAULT)
        leads = (lead(lead_id) for lead_id in range(COUNT))
        Dispatcher(log=log, destination=held, guard=LOOPBACK, policy=policy).dispatch(
            key("found"), 0, leads
        )
        workers = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.integration.dispatch.drainer",
                    log_url,
                    url,
                    authority,
                    f"worker {n}",
                ],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(4)
        ]
        sent = [int(worker.communicate()[0]) for worker in workers]
        assert log.counts(log.begin(key("found"), "zapier", 0, Clock()())) == {
            Status.DELIVERED: COUNT
        }
        log.close()
    received = counts()
    assert len(received) == COUNT
    assert set(received.values()) == {1}
    assert sum(sent) == COUNT
    assert all(sent), "every process had its share"


class Row(list):
    """A row whose life can be watched; a WeakSet keeps its members by identity."""

    __hash__ = object.__hash__


@pytest.mark.parametrize(("reading", "held"), [(read, 2), (find, 1001)])
def test_the_rows_of_a_source_are_never_held_all_at_once(setup, reading, held):
    """Rows live for a batch at most, and leads wait for the log a batch or two (4.2)."""
    alive, most, ahead = weakref.WeakSet(), 0, 0

    def source():
        nonlocal most, ahead
        for n in range(12_000):
            row = Row([n, f"{n}@example.com"])
            alive.add(row)
            most = max(most, len(alive))
            if n % 100 == 0:
                [(enrolled,)] = setup.rows("SELECT count(*) FROM zbl_delivery")
                ahead = max(ahead, n - enrolled)
            yield ["id", "email"], row

    report = setup.dispatcher().dispatch(key("run 1"), 0, reading(source(), None))
    assert report.counts == {Status.DELIVERED: 12_000}
    assert most <= held
    assert ahead <= 3 * 1000, "one batch is read, one is written, and one waits"


def test_a_task_that_runs_long_says_what_is_left(setup, caplog, monkeypatch):
    """Every few seconds its log tells what was sent, and how many leads are still to go."""
    caplog.set_level("INFO", logger="zbl_provider.dispatch.progress")
    monkeypatch.setattr("zbl_provider.dispatch.drain.PROGRESS_SECONDS", 0.0)
    setup.dispatch("run 1", list(range(600)))
    left = [int(match[1]) for match in re.finditer(r"; (\d+) left\.", caplog.text)]
    assert left[0] > 0
    # Two write outcomes side by side: who is done last counts none, and may be heard before the
    # other.
    assert min(left) == 0
