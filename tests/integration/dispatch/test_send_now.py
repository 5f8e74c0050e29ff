"""What a person sends now goes out before what was due earlier (Contract 3.5)."""

import threading

import pytest

from tests.integration.dispatch.conftest import MINUTE
from tests.support.receiver import Reply
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import Status

BACKLOG = range(200)
WAITS, LATER = 500, 150


@pytest.fixture
def busy(setup):
    """Give a log where one lead waits for its second attempt, and many for their first."""
    setup.answer(lambda _: Reply(503))
    setup.dispatch("run 1", [WAITS])
    setup.answer(lambda _: Reply())
    setup.log.hold("zapier", "ana", setup.clock())
    setup.dispatch("run 2", BACKLOG)
    setup.log.resume("zapier")
    setup.clock.now += MINUTE / 2
    return setup


def number(setup, lead_id):
    [(number,)] = setup.rows(f"SELECT id FROM zbl_delivery WHERE lead_id = '{lead_id}'")
    return number


@pytest.mark.parametrize("lead_id", [WAITS, LATER])
def test_it_overtakes_a_backlog(busy, lead_id):
    """One that waits for its retry, and one in the midst of a hundred that are due (3.5)."""
    busy.log.send_now([number(busy, lead_id)], busy.clock())
    before = len(busy.sent)
    busy.extra = {"max_concurrency": 1}
    busy.dispatch("run 3")
    assert f"{lead_id}" in busy.sent[before:][:2], "of the first claim"
    assert sorted(set(busy.sent[before:])) == sorted(map(str, {*BACKLOG, lead_id}))
    assert len(busy.sent[before:]) == len({*BACKLOG, lead_id}), "each once"


def test_it_is_sent_in_the_midst_of_a_task(busy):
    """A task that is at it takes it along with its next claim, and sends it once (3.5, 4.6)."""
    busy.extra = {"max_concurrency": 2}
    chosen, asked = number(busy, WAITS), []
    before = len(busy.sent)

    lock = threading.Lock()

    def answer(_):
        with lock:
            if len(busy.sent) >= before + 10 and not asked:
                asked.append(busy.log.send_now([chosen], busy.clock()))
        return Reply(after=0.02)

    busy.answer(answer)
    busy.dispatch("run 3")
    sent = busy.sent[before:]
    assert sent.count(f"{WAITS}") == 1
    assert sent.index(f"{WAITS}") < len(BACKLOG) / 2
    assert len(sent) == len(BACKLOG) + 1


def test_more_than_a_step_takes_go_out_in_their_turn(busy):
    """Who sends everything now overtakes nobody, and costs a bounded step (3.5)."""
    after = 0
    while after is not None:
        after = busy.log.send_now(
            Query(status=Status.RETRYING), busy.clock(), limit=1, after=after
        ).after
    busy.extra = {"max_concurrency": 1}
    busy.dispatch("run 3")
    assert busy.sent[1:].index(f"{WAITS}") > len(BACKLOG) / 4
