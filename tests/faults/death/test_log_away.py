"""The delivery log's database dies, or the way to it, in the middle of a batch."""

import os
import signal
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest

from tests.faults.death.servers import Network
from tests.support.databases import empty_database
from tests.support.receiver import Reply
from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.log.model import Status

pytestmark = pytest.mark.timeout(90)

LEADS = range(600)
ALL = {Status.DELIVERED: len(LEADS)}
SOON = {"connect_timeout": "2", "tcp_user_timeout": "1000", "keepalives_idle": "1"}
SOON |= {"keepalives_interval": "1", "keepalives_count": "1"}
SOON["options"] = "-c idle_in_transaction_session_timeout=2000"


@pytest.fixture
def database(mortal):
    with empty_database(mortal.url) as url:
        yield url


@pytest.fixture
def network(database):
    with Network(database) as network:
        yield network


def at_request(nth, act):
    """Answer 200 always, and act in a thread of its own while one request is being answered."""
    numbers = iter(range(1, 1_000_000))
    lock = threading.Lock()

    def answer(_):
        with lock:
            now = next(numbers) == nth
        if now:
            threading.Thread(target=act, daemon=True).start()
        return Reply(after=0.005)

    return answer


def parameters(setup):
    """Return what a connection of the setup's log was made with."""
    with setup.log._engine.connect() as connection:
        made = connection.connection.driver_connection.info.get_parameters()
        idle = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()
    return made | {"idle": idle}


def twice(setup):
    """Return the leads that were sent more than once."""
    return {lead_id for lead_id, times in Counter(setup.sent).items() if times > 1}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_the_database_sends_nothing_twice(setup_on, mortal, database, mode, caplog):
    """Outcomes in hand are kept until the log is back: none is lost, none goes twice (6.2)."""
    setup = setup_on(database)
    setup.answer(at_request(100, lambda: mortal.restart(mode)))
    assert setup.dispatch_to_the_end("run 1", LEADS).counts == ALL
    assert twice(setup) == set()
    assert "cannot be used at the moment" in caplog.text
    assert len(setup.rows("SELECT id FROM zbl_attempt")) == len(LEADS)


def test_a_network_that_is_cut_for_a_while_sends_nothing_twice(setup_on, network, caplog):
    """Connections that break, and new ones that are refused, cost time and no lead (6.2)."""

    def cut():
        network.cut()
        time.sleep(3)
        network.mend()

    caplog.set_level("INFO", "zbl_provider.log.storage.retry")
    setup = setup_on(network.url())
    setup.answer(at_request(100, cut))
    assert setup.dispatch_to_the_end("run 1", LEADS).counts == ALL
    assert twice(setup) == set()
    assert f"PostgreSQL database {network.url().rpartition('/')[2]} at 127.0.0.1" in caplog.text
    assert "The delivery log is back" in caplog.text


def test_a_network_that_swallows_everything_holds_nobody_for_ever(setup_on, network):
    """A connection of which nothing is heard is given up, and a new one goes on (6.2)."""

    def swallow():
        network.swallow()
        time.sleep(3)
        network.mend()

    setup = setup_on(network.url(**SOON))
    # What was sent and never heard of may hold locks: the server is to let go of them as well.
    setup.answer(at_request(100, swallow))
    assert setup.dispatch_to_the_end("run 1", LEADS).counts == ALL
    assert twice(setup) == set()


def test_connections_to_the_log_give_up_unless_theirs_says_otherwise(setup_on, network):
    """Without a word of the connection's own, dead networks are noticed within a lease (6.1)."""
    default = parameters(setup_on(network.url()))
    assert int(default["connect_timeout"]) + int(default["tcp_user_timeout"]) / 1000 < 60
    idle, interval, count = (
        int(default[f"keepalives_{name}"]) for name in ("idle", "interval", "count")
    )
    assert idle + interval * count < 60
    assert default["idle"] == "15s", "a lost worker's locks are let go of within a lease, too"
    own = parameters(setup_on(network.url(**SOON)))
    assert {name: own[name] for name in SOON} == SOON
    assert own["idle"] == "2s"


def test_a_log_that_stays_away_fails_the_task_and_little_is_sent_again(setup_on, network, caplog):
    """After a bounded wait the task fails for a retry; only what was in hand goes again (3.2)."""
    setup = setup_on(network.url(), timedelta(seconds=1))
    setup.extra = {"max_concurrency": 4}
    setup.answer(at_request(100, network.cut))
    with pytest.raises(DeliveryLogUnavailable, match=r"PostgreSQL database .* 127\.0\.0\.1"):
        setup.dispatch("run 1", LEADS)
    sent = len(setup.sent)
    assert sent < len(LEADS), "nothing is sent that cannot be recorded"
    assert "free again when their leases run out" in caplog.text
    network.mend()
    setup = setup_on(network.url())
    settled = {
        lead for (lead,) in setup.rows("SELECT lead_id FROM zbl_delivery WHERE attempts > 0")
    }
    in_hand = set(setup.sent) - settled
    setup.clock.now += timedelta(minutes=2)
    assert setup.dispatch_to_the_end("run 1", LEADS).counts == ALL
    assert twice(setup) == in_hand
    assert len(setup.rows("SELECT id FROM zbl_attempt")) == len(LEADS), "no attempt was added"


def test_a_task_that_is_ended_while_its_log_is_away_ends_at_once(setup_on, network):
    """What a signal raises, such as `execution_timeout`, does not wait for the log (6.2)."""

    class TaskTimeout(BaseException):
        pass

    def raise_timeout(*_):
        raise TaskTimeout

    def away():
        network.cut()
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGUSR1)

    setup = setup_on(network.url(), timedelta(days=1))
    setup.answer(at_request(100, away))
    before = signal.signal(signal.SIGUSR1, raise_timeout)
    try:
        with pytest.raises(TaskTimeout):
            setup.dispatch("run 1", LEADS)
    finally:
        signal.signal(signal.SIGUSR1, before)
    network.mend()
    setup = setup_on(network.url())
    setup.clock.now += timedelta(minutes=2)
    assert setup.dispatch_to_the_end("run 1", LEADS).counts == ALL
