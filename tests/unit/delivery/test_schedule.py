from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.delivery.outcome import Outcome, Verdict
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.exceptions import ConfigurationError, ScheduleError

NOON = datetime(2026, 2, 23, 12, 0, tzinfo=UTC)
waits_lists = st.lists(st.floats(0, 86_400), min_size=1, max_size=20)


def outcome(verdict=Verdict.RETRY, retry_after=None):
    return Outcome(verdict, 429, None, "", retry_after, 0.1, "")


def wait(schedule, attempt, retry_after=None):
    moment = schedule.next_attempt(attempt, outcome(retry_after=retry_after), NOON)
    return None if moment is None else (moment - NOON).total_seconds()


def test_the_default_is_five_attempts_in_51_minutes():
    """Attempts start at once, then 1, 5, 15 and 30 minutes after the last failed (Contract 3.1)."""
    clock, starts, attempt = NOON, [NOON], 1
    while (clock := Schedule.DEFAULT.next_attempt(attempt, outcome(), clock)) is not None:
        starts.append(clock)
        attempt += 1
    minutes = [(start - NOON).total_seconds() / 60 for start in starts]
    assert minutes == [0, 1, 6, 21, 51]
    assert Schedule.DEFAULT.attempts == 5


@given(st.sampled_from([Verdict.DELIVERED, Verdict.ERROR]), st.integers(1, 5))
def test_only_what_is_to_be_retried_has_a_next_attempt(verdict, attempt):
    """A delivered lead, or one in error for good, is not tried again (Contract 3)."""
    assert Schedule.DEFAULT.next_attempt(attempt, outcome(verdict), NOON) is None


def test_an_empty_schedule_is_a_single_attempt():
    """`()` means one attempt (Contract 3.1)."""
    assert Schedule.parse(()).attempts == 1
    assert wait(Schedule.parse(()), 1) is None


@given(waits_lists)
def test_each_wait_follows_its_own_failure(waits):
    """The n-th wait follows the n-th failure, and after the last there is none (Contract 3.1)."""
    schedule = Schedule.parse(waits)
    seconds = [wait(schedule, attempt) for attempt in range(1, len(waits) + 2)]
    assert seconds[:-1] == pytest.approx(waits, abs=1e-6)
    assert seconds[-1] is None


def test_seconds_and_timedeltas_may_be_mixed():
    """`schedule` takes seconds or timedeltas (Contract 3.1)."""
    assert Schedule.parse([60, timedelta(minutes=5), 0.5]).waits == (60.0, 300.0, 0.5)


@given(waits_lists, st.integers(0, 10**12))
def test_retry_after_lengthens_up_to_the_longest_step(waits, asked):
    """Retry-After never shortens a wait, and never passes the longest step (Contract 3.3)."""
    seconds = wait(Schedule.parse(waits), 1, retry_after=str(asked))
    assert seconds == pytest.approx(max(waits[0], min(asked, max(waits))), abs=1e-6)


@given(waits_lists, st.text(max_size=80))
def test_a_retry_after_that_cannot_be_read_changes_nothing(waits, garbage):
    """Whatever a peer writes, the wait stays between its step and the longest (Contract 3.3)."""
    seconds = wait(Schedule.parse(waits), 1, retry_after=garbage)
    assert waits[0] - 1e-6 <= seconds <= max(waits) + 1e-6


@pytest.mark.parametrize(
    "form",
    [
        format_datetime(NOON + timedelta(minutes=10), usegmt=True),
        "Monday, 23-Feb-26 12:10:00 GMT",
        "Mon Feb 23 12:10:00 2026",
        format_datetime((NOON + timedelta(minutes=10)).astimezone(timezone(timedelta(hours=-3)))),
    ],
)
def test_retry_after_may_be_a_date(form):
    """Retry-After as a date, in each form HTTP knows, counts from now (Contract 3.3)."""
    assert wait(Schedule.DEFAULT, 1, retry_after=form) == 600


@pytest.mark.parametrize("form", ["600.0", "600, 600", "600,"])
def test_retry_after_may_be_sloppy_seconds(form):
    """Some servers write a fraction, and a proxy joins the header that is given twice (3.3)."""
    assert wait(Schedule.DEFAULT, 1, retry_after=form) == 600


@pytest.mark.parametrize(
    "garbage",
    ["-5", "soon", "1.5", "١٢٠", "1e3", "", " ", "Mon, 99 Foo 2026 12:10:00 GMT", "9" * 65,
     "900:00", "900 s", "Mon, 23 Feb 2026 12:10:00 +9999", "Fri, 01 Jan 0001 00:00:00 GMT"],
)  # fmt: skip
def test_garbage_in_retry_after_is_ignored(garbage):
    """A Retry-After that is neither seconds nor a date counts for nothing (Contract 3.3)."""
    assert wait(Schedule.DEFAULT, 1, retry_after=garbage) == 60


@pytest.mark.parametrize(
    "waits",
    [
        [-1],
        [float("nan")],
        [float("inf")],
        [True],
        ["60"],
        [None],
        [1] * 21,
        [timedelta(days=7, seconds=1)],
        [timedelta(seconds=-1)],
        "60",
        60,
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused(waits):
    """A wait that is no number, negative, endless or over seven days is refused (Contract 3.1)."""
    with pytest.raises(ScheduleError) as caught:
        Schedule.parse(waits)
    assert caught.value.field == "schedule"
    assert isinstance(caught.value, ConfigurationError)
