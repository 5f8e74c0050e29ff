"""What Airflow's own metrics are told, as a StatsD server receives it (Contract 8.3)."""

import logging
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

from tests.support.receiver import Reply
from tests.support.statsd import Statsd
from zbl_provider.delivery.outcome import Outcome, Verdict
from zbl_provider.hooks.metrics import Metrics, metrics
from zbl_provider.log.model import Claimed, Settlement
from zbl_provider.operators.dispatch import DispatchLeadsOperator


@pytest.fixture
def statsd(monkeypatch):
    """Give a StatsD server that Airflow's metrics go to, as they do in a task."""
    with Statsd() as server:
        for name, value in server.options.items():
            monkeypatch.setenv(name, value)
        _initialize()
        yield server
    monkeypatch.undo()
    _initialize()


def _initialize(factory=None):
    if hasattr(stats, "initialize"):
        stats.initialize(factory=factory or get_stats_factory(), export_legacy_names=True)
    else:  # Airflow 3.2
        stats.Stats.initialize(factory=factory or get_stats_factory(stats.Stats))


def _dispatch(**options):
    task_instance = SimpleNamespace(
        dag_id="dag", task_id="send", run_id="run", map_index=-1, max_tries=0, id="1", try_number=1
    )
    options = {"sql": "SELECT * FROM leads", "leads_conn_id": "zbl_leads"} | options
    DispatchLeadsOperator(task_id="send", **options).execute({"ti": task_instance})


def _counted(packets):
    """Add up counters by name and tags."""
    counts = Counter()
    for packet in packets:
        name, _, value = packet.removeprefix("airflow.").partition(":")
        if value.endswith("|c"):
            counts[name] += int(value.removesuffix("|c"))
    return counts


ANSWERS = {"1": 200, "2": 200, "3": 404, "4": 503}


def test_attempts_are_counted_by_what_became_of_them(statsd, leads, receiver):
    """An error is a lead in error: not an attempt that is followed by another (Contract 8.3)."""
    leads(*({"id": id_, "status": "qualified"} for id_ in ANSWERS))
    receiver.answer = lambda request: Reply(ANSWERS[request.lead_id])
    with pytest.raises(TaskDeferred):
        _dispatch()
    sent = statsd.all_metrics("zbl.")
    tags = "integration=zbl_webhook_default"
    assert _counted(sent) == {
        f"zbl.attempts,{tags}": 4,
        f"zbl.delivered,{tags}": 2,
        f"zbl.errors,{tags}": 1,
    }
    timings = [packet for packet in sent if packet.endswith("|ms")]
    assert len(timings) == 4
    assert all(packet.startswith(f"airflow.zbl.attempt_ms,{tags}:") for packet in timings)
    assert all(
        0 < float(packet.rpartition(":")[2].removesuffix("|ms")) < 10_000 for packet in timings
    )


def test_the_last_failed_attempt_makes_an_error(statsd, leads, receiver):
    """Who runs out of attempts has one lead in error, too (Contract 3.2, 8.3)."""
    leads({"id": 1, "status": "qualified"})
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(AirflowFailException):
        _dispatch(schedule=())
    assert _counted(statsd.all_metrics("zbl.errors")).total() == 1


def test_without_tags_the_names_are_bare(statsd, leads, receiver, monkeypatch):
    """A StatsD that knows no tags gets the sums of all integrations (Contract 8.3)."""
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "False")
    _initialize()
    leads({"id": 1, "status": "qualified"})
    _dispatch()
    assert statsd.all_metrics("zbl.attempts") == ["airflow.zbl.attempts:1|c"]


def test_where_metrics_are_off_nothing_is_counted(leads, receiver):
    """Nobody is told of attempts, so that nothing is paid for it (Contract 8.3)."""
    assert metrics("zapier") is None


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _settlement(verdict=Verdict.DELIVERED):
    outcome = Outcome(
        verdict=verdict, status=200, kind=None, detail="", retry_after=None, seconds=0.1, excerpt=""
    )
    claimed = Claimed(1, "msg_1", "lead", b"{}", 1, NOON, "token")
    return Settlement(claimed, outcome, started_at=NOON, due_at=None)


def test_of_many_attempts_some_are_timed_and_all_counted(statsd):
    """A group of any size is a few packets (Contract 8.3)."""
    metrics("zapier")([_settlement() for _ in range(500)])
    metrics("zapier")([])
    sent = statsd.all_metrics("zbl.")
    assert _counted(sent)["zbl.attempts,integration=zapier"] == 500
    assert 5 <= sum(packet.endswith("|ms") for packet in sent) <= 10


def test_metrics_that_cannot_be_sent_stop_no_lead(monkeypatch, caplog):
    """A client that raises is said once, and left alone from then on (Contract 6.2, 8.3)."""

    class Broken:
        def incr(self, *_, **__):
            raise OSError("no such host")

    _initialize(Broken)
    counting = Metrics("zapier")
    caplog.set_level(logging.ERROR)
    for _ in range(3):
        counting([_settlement()])
    _initialize()
    assert caplog.text.count("Airflow takes no metrics") == 1
