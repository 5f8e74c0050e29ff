"""How triggers ask: in threads, together, and again after a failure."""

import asyncio
import threading
import time

import pytest

from zbl_provider.dispatch.troubles import Troubles
from zbl_provider.exceptions import LeadsDatabaseError
from zbl_provider.log.storage import retry
from zbl_provider.triggers import polling
from zbl_provider.triggers.polling import Poll, in_thread, until


class Question:
    """Counts how often it is asked, and for what; each answer is one more than the last."""

    def __init__(self, problem=None):
        self.problem = problem
        self.asked = []
        self.threads = set()

    def __call__(self, wanted):
        self.asked.append(set(wanted))
        self.threads.add(threading.current_thread())
        time.sleep(0.02)
        if self.problem:
            raise self.problem
        return len(self.asked)


async def test_many_that_wait_on_the_same_ask_once():
    """However many triggers there are, it is one query an interval (Contract 8.1)."""
    question = Question()
    polls = {Poll.shared("key", question, 0.05) for _ in range(100)}
    [poll] = polls
    waits = [until(poll, lambda answer: answer >= 3, {str(n % 4)}) for n in range(100)]
    assert all(await asyncio.gather(*waits))
    assert question.asked == [{"0", "1", "2", "3"}] * 3


async def test_other_questions_are_other_polls():
    """What is asked of whom, and how often, tells them apart; nothing is kept when all are gone."""
    first = Poll.shared("a", Question(), 1)
    assert Poll.shared("a", Question(), 1) is first
    assert Poll.shared("b", Question(), 1) is not first
    assert Poll.shared("a", Question(), 2) is not first
    question = Question()
    del first
    assert await Poll.shared("a", question, 1).next() == 1
    assert question.asked


async def test_the_loop_goes_on_while_a_database_thinks():
    """Asking happens in threads of their own, which nothing waits for (Contract 8.1)."""
    release = threading.Event()
    before = threading.enumerate()  # another test's thread may be ending
    asking = asyncio.create_task(in_thread(release.wait))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asking.done()
    [thread] = set(threading.enumerate()) - set(before)
    assert thread.name == "zbl-poll"
    assert thread.daemon
    release.set()
    assert await asking


async def test_who_is_cancelled_takes_nothing_from_the_others():
    """A cleared task's trigger ends; its siblings get the answer that was on its way."""
    question = Question()
    poll = Poll.shared("key", question, 0.01)
    gone, stays = (asyncio.create_task(until(poll, bool, {name})) for name in "ab")
    await asyncio.sleep(0.01)
    gone.cancel()
    assert await stays
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert question.asked == [{"a", "b"}]


async def test_a_question_without_an_answer_is_given_up_after_a_while(monkeypatch):
    """Then the task looks itself, and fails with the reason (Contract 8.1 and 3.2)."""
    monkeypatch.setattr(retry, "TASK_RETRY", retry.timedelta(seconds=1))
    monkeypatch.setattr(polling, "_SOON_SECONDS", 0.01)
    question = Question(OSError("away"))
    poll = Poll.shared("key", question, 60)
    assert await until(poll, bool) is False
    assert len(question.asked) > 2, "and not only after the whole interval"
    question.problem = None
    assert await until(poll, bool) is True


def test_trouble_is_told_once_and_shows_no_data():
    """A watcher says what it is when it begins, changes and ends; looks get rarer (8.2, 4.3)."""
    troubles = Troubles(2)
    away, other = LeadsDatabaseError("crm", "gone"), ValueError("ana@example.com is no number")
    assert "crm" in troubles.news(away, "")
    assert troubles.news(away, "") is None
    assert [troubles.pause, troubles.news(away, ""), troubles.pause] == [8, None, 15]
    told = troubles.news(other, "SELECT 1")
    assert told.startswith("ValueError")
    assert "ana" not in told
    assert troubles.over()
    assert troubles.pause == 2
    assert not troubles.over()
    assert troubles.news(away, "")
