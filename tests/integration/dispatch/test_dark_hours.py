"""Twenty thousand leads to a destination that is dark at first (Contract 8.7)."""

import socket
import time
from contextlib import closing
from functools import partial
from types import SimpleNamespace

import pytest

from tests.support import peers
from tests.support.peers import Authority, raw_then_reset
from tests.support.receiver import Reply

LEADS = 20_000
AT_ONCE = 16
FEW = 2 * (10 + AT_ONCE)  # for two tasks: ten each, and what was in flight when the tenth failed


def states(setup):
    """Return how many leads of all runs stand where."""
    return dict(setup.rows("SELECT status, count(*) FROM zbl_delivery GROUP BY status"))


def attempts(setup):
    [(count,)] = setup.rows("SELECT count(*) FROM zbl_attempt")
    return count


def in_two_tasks(setup, together, **options):
    """Dispatch with two tasks at once, each with half of the leads, and return their reports."""
    half = LEADS // 2
    return together(
        partial(setup.dispatch, "run 1", range(half), **options),
        partial(setup.dispatch, "run 2", range(half, LEADS), **options),
    )


@pytest.fixture
def refusing(setup):
    """Give a destination whose port nobody listens on, until it is lit."""
    receiver, setup.receiver = setup.receiver, SimpleNamespace(url="https://127.0.0.1:1")
    return lambda: setattr(setup, "receiver", receiver)


@pytest.fixture
def resetting(setup, tmp_path):
    """Give a destination that resets each connection once it has a request, until it is lit."""
    receiver, authority = setup.receiver, setup.authority

    def light():
        setup.receiver, setup.authority = receiver, authority

    other = Authority()
    with peers.Receiver(raw_then_reset(), other) as resetter:
        setup.receiver = SimpleNamespace(url=resetter.url(""))
        setup.authority = other.write(tmp_path / "other.pem")
        yield light


@pytest.fixture
def failing(setup):
    """Give a destination that answers 503, until it is lit."""
    setup.answer(lambda _: Reply(503))
    return lambda: setup.answer(lambda _: Reply())


@pytest.fixture
def silent(setup):
    """Give a destination that takes connections and says nothing, until it is lit."""
    receiver = setup.receiver
    with closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as listener:
        port = listener.getsockname()[1]
        setup.receiver = SimpleNamespace(url=f"https://127.0.0.1:{port}")
        yield lambda: setattr(setup, "receiver", receiver)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "darkness", ["refusing", "resetting", "silent", pytest.param("failing", marks=pytest.mark.soak)]
)
def test_nothing_is_in_error_when_it_is_back_in_time(setup, together, request, darkness):
    """Few requests meanwhile, and then everything is delivered without anyone's hand (8.7)."""
    light = request.getfixturevalue(darkness)
    began = time.monotonic()
    reports = in_two_tasks(setup, together)
    assert time.monotonic() - began < 240, "and not ten seconds for each sixteen of all leads"
    tried = attempts(setup)
    assert tried <= FEW
    assert states(setup) == {"retrying": tried, "pending": LEADS - tried}
    assert all(report.failure("zapier") is None for report in reports)
    light()
    setup.clock.now = max(report.due_at for report in reports)
    in_two_tasks(setup, together, resumed=True)
    assert states(setup) == {"delivered": LEADS}
    assert attempts(setup) == LEADS + tried, "each once, and the tried ones twice"
    assert [str(change.kind) for change in setup.told] == ["down", "back"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "darkness",
    ["refusing", *(pytest.param(name, marks=pytest.mark.soak) for name in ("resetting", "silent"))],
)
def test_in_error_is_only_what_was_tried_when_it_stays_dark(setup, together, request, darkness):
    """The rest waits; the next run tries one lead, and all go out when it is back (8.7)."""
    light = request.getfixturevalue(darkness)
    reports = in_two_tasks(setup, together)
    tried = attempts(setup)
    while due := [report.due_at for report in reports if report.due_at]:
        setup.clock.now = max(setup.clock.now, *due)
        runs = (partial(setup.dispatch, run, resumed=True) for run in ("run 1", "run 2"))
        reports = together(*runs)
    assert attempts(setup) == 5 * tried
    assert states(setup) == {"error": tried, "pending": LEADS - tried}
    assert all("has been down since" in report.failure("zapier") for report in reports)
    setup.dispatch_to_the_end("run 3")
    assert states(setup) == {"error": tried + 1, "pending": LEADS - tried - 1}
    assert attempts(setup) == 5 * (tried + 1), "one lead"
    light()
    setup.dispatch("run 4")
    assert states(setup) == {"error": tried + 1, "delivered": LEADS - tried - 1}
