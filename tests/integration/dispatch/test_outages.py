"""A destination that is down costs the leads that wait nothing (Contract 8.7)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest

from tests.integration.dispatch.conftest import TaskTimeout, key, lead
from tests.support.receiver import Reply
from zbl_provider.dispatch.intake import candidate
from zbl_provider.log.model import Status

MANY = list(range(300))
IN_A_ROW = 10
AT_ONCE = 4
SCHEDULE = (60, 300, 900, 1800)


@pytest.fixture
def dark(setup):
    """Give a setup whose destination answers 503 until a test lights it."""
    setup.extra = {"max_concurrency": AT_ONCE}
    setup.answer(lambda _: Reply(503))
    return setup


def light(setup):
    setup.answer(lambda _: Reply())


def states(setup):
    """Return how many leads of all runs stand where."""
    return dict(setup.rows("SELECT status, count(*) FROM zbl_delivery GROUP BY status"))


def down(setup):
    return setup.log.integration("zapier").down


def kinds(setup):
    return [str(change.kind) for change in setup.told]


def test_ten_leads_in_a_row_open_the_breaker(dark):
    """No more first attempts are made: ten, and what was in flight when the tenth failed (8.7)."""
    report = dark.dispatch("run 1", MANY)
    tried = len(dark.sent)
    assert IN_A_ROW <= tried < IN_A_ROW + AT_ONCE
    assert states(dark) == {"retrying": tried, "pending": len(MANY) - tried}
    assert down(dark)
    assert report.due_at == dark.clock.now + timedelta(seconds=60), "as the tried leads are due"
    assert report.failure("zapier") is None
    assert report.down.waiting == len(MANY) - tried
    assert "Nothing needs to be done" in str(report.down)
    assert "503" in str(report.down)


def test_it_is_down_since_the_first_lead_of_the_row_failed(dark):
    """However long the others of the row took (8.7)."""
    dark.extra = {"max_concurrency": 1}

    def answer(_):
        dark.clock.now += timedelta(seconds=10)
        return Reply(503)

    dark.answer(answer)
    began = dark.clock.now
    dark.dispatch("run 1", MANY)
    assert dark.log.outage("zapier", dark.clock.now).since == began + timedelta(seconds=10)


def test_a_destination_that_refuses_connections_is_down(setup):
    """No answer and 5xx are alike (8.7)."""
    setup.extra = {"max_concurrency": 1}
    setup.receiver = SimpleNamespace(url="https://127.0.0.1:1")
    report = setup.dispatch("run 1", MANY)
    assert states(setup) == {"retrying": IN_A_ROW, "pending": len(MANY) - IN_A_ROW}
    assert "refused" in str(report.down)


@pytest.mark.parametrize("answers", [[503] * 9, [503, 503, 200] * 10, [503, 422] * 20, [429] * 20])
def test_less_than_that_does_not(setup, answers):
    """A few failures, a delivery or another answer between, or others open nothing (8.7)."""
    setup.extra = {"max_concurrency": 1, "retry_statuses": ["429"]}
    left = iter(answers)
    setup.answer(lambda _: Reply(next(left, 200)))
    report = setup.dispatch("run 1", MANY)
    assert not down(setup)
    assert len(setup.sent) == len(MANY)
    assert report.down is None


def test_leads_are_counted_and_not_their_attempts(dark):
    """Four leads that fail all of their five attempts are four in a row, and not twenty (8.7)."""
    report = dark.dispatch_to_the_end("run 1", MANY[:4])
    assert len(dark.sent) == 4 * 5
    assert report.counts == {Status.ERROR: 4}
    assert not down(dark)


def test_the_leads_that_were_tried_go_on_and_the_first_delivery_lets_all_go(dark):
    """Back before their fifth attempt, nothing is in error, and nobody lifts a hand (8.7)."""
    report = dark.dispatch("run 1", MANY)
    tried = len(dark.sent)
    for attempt in range(2, 5):
        dark.clock.now = report.due_at
        report = dark.dispatch("run 1", resumed=True)
        assert len(dark.sent) == tried * attempt, "the tried leads, and no other"
    light(dark)
    dark.clock.now = report.due_at
    report = dark.dispatch("run 1", resumed=True)
    assert states(dark) == {"delivered": len(MANY)}
    assert report.due_at is None
    assert not down(dark)
    assert kinds(dark) == ["down", "back"]


def test_the_task_fails_when_the_last_tried_lead_is_in_error(dark):
    """It says since when, and how many wait; in error is only what was tried (8.7)."""
    began = dark.clock.now
    report = dark.dispatch_to_the_end("run 1", MANY)
    tried = report.counts[Status.ERROR]
    assert IN_A_ROW <= tried < IN_A_ROW + AT_ONCE
    assert len(dark.sent) == 5 * tried
    assert report.counts[Status.PENDING] == len(MANY) - tried
    failure = report.failure("zapier")
    assert f"down since {began:%Y-%m-%d %H:%M} UTC" in failure
    assert f"{len(MANY) - tried} leads of this task wait" in failure
    assert "the next run" in failure


def test_the_next_run_tries_one_lead(dark):
    """It waits for that lead's attempts as for any; the others stay pending (8.7)."""
    failed = dark.dispatch_to_the_end("run 1", MANY).counts[Status.ERROR]
    before = len(dark.sent)
    report = dark.dispatch("run 2", [1000])
    assert len(dark.sent) == before + 1
    assert report.due_at == dark.clock.now + timedelta(seconds=60)
    report = dark.dispatch_to_the_end("run 2")
    assert len(set(dark.sent[before:])) == 1
    assert states(dark) == {"error": failed + 1, "pending": len(MANY) - failed}


@pytest.mark.parametrize("again", ["the next run", "a clear"])
def test_all_go_out_when_that_lead_is_delivered(dark, again):
    """The one lead is enough, in the next run and after a clear (8.7)."""
    failed = dark.dispatch_to_the_end("run 1", MANY).counts[Status.ERROR]
    light(dark)
    if again == "a clear":
        dark.dispatch("run 1", epoch=1)
        assert states(dark) == {"delivered": len(MANY)}
    else:
        dark.dispatch("run 2")
        assert states(dark) == {"delivered": len(MANY) - failed, "error": failed}
    assert kinds(dark) == ["down", "back"]


def test_a_task_that_comes_back_from_a_wait_tries_none(dark):
    """Else each of its waits would end with one more lead in error (8.7)."""
    dark.dispatch_to_the_end("run 1", MANY)
    before = len(dark.sent)
    report = dark.dispatch("run 1", resumed=True)
    assert len(dark.sent) == before
    assert report.down.next_at is None


def test_another_task_obeys(dark):
    """What the log says holds for a run that begins later: it waits for the tried leads (8.7)."""
    first = dark.dispatch("run 1", MANY)
    before = len(dark.sent)
    second = dark.dispatch("run 2", [1000, 1001])
    assert len(dark.sent) == before
    assert second.due_at == first.due_at
    light(dark)
    dark.clock.now = second.due_at
    assert dark.dispatch("run 2", resumed=True).counts == {Status.DELIVERED: len(MANY) + 2}
    assert kinds(dark) == ["down", "back"], "each is told once"


def test_two_tasks_at_once_try_few(dark, together):
    """Each finds out for itself or from the other, and one of them tells it (8.7)."""
    together(
        partial(dark.dispatch, "run 1", MANY),
        partial(dark.dispatch, "run 2", range(1000, 1300)),
    )
    assert len(dark.sent) < 2 * (IN_A_ROW + AT_ONCE)
    assert states(dark)["pending"] == 600 - len(dark.sent)
    assert kinds(dark) == ["down"]


def test_a_row_goes_on_in_the_next_task(dark):
    """Tasks with a lead each find it out together; what is tried takes its course (8.7)."""
    for n in range(20):
        dark.dispatch(f"run {n}", [n], only_own=True)
    assert len(dark.sent) == IN_A_ROW
    assert states(dark) == {"retrying": IN_A_ROW, "pending": 10}


def test_tasks_with_a_lead_each_count_together_side_by_side(dark):
    """However many run at once: ten, and what was in flight when the tenth failed (8.7)."""
    dark.answer(lambda _: Reply(503, after=0.2))
    side_by_side = 8
    with ThreadPoolExecutor(side_by_side) as tasks:
        tasks.map(lambda n: dark.dispatch(f"run {n}", [n], only_own=True), range(60))
    assert IN_A_ROW <= len(dark.sent) < IN_A_ROW + side_by_side
    assert states(dark)["pending"] == 60 - len(dark.sent)
    assert kinds(dark) == ["down"]


def test_a_delivery_ends_the_row_of_all_tasks(dark):
    """Also where the task that delivers has begun before the others failed (8.7)."""

    def answer(request):
        if request.lead_id != "1000":
            return Reply(503)
        for n in range(IN_A_ROW - 1):
            dark.dispatch(f"run {n}", [n], only_own=True)
        return Reply()

    dark.answer(answer)
    dark.dispatch("slow", [1000], only_own=True)
    dark.dispatch("run 9", [9], only_own=True)
    assert not down(dark)
    assert dark.log.integration("zapier").failures == 1


def test_a_single_lead_waits_for_the_others(dark):
    """A task that minds its own lead is deferred meanwhile, and sends it afterwards (8.7, 4.6)."""
    for n in range(IN_A_ROW):
        dark.dispatch(f"run {n}", [n], only_own=True)
    report = dark.dispatch("single", [1000], only_own=True)
    assert (report.kept_back, report.due_at) == (True, None)
    light(dark)
    dark.clock.now += timedelta(seconds=60)
    dark.dispatch("run 0", only_own=True, resumed=True)
    done = dark.dispatch("single", only_own=True, resumed=True)
    assert done.counts == {Status.DELIVERED: 1}


def test_a_task_that_has_another_lead_now_goes_on_with_the_one_that_was_tried(dark):
    """Were it to wait for others, its own tried lead would miss its attempts (8.7, 4.5, 3.1)."""
    for n in range(IN_A_ROW):
        dark.dispatch(f"run {n}", [n], only_own=True)
    report = dark.dispatch("run 0", [1000], epoch=1, only_own=True)
    assert report.counts == {Status.RETRYING: 1, Status.PENDING: 1}
    third = dark.clock.now + timedelta(seconds=SCHEDULE[1])
    while dark.clock.now < third:
        assert not report.kept_back
        dark.clock.now = report.due_at
        report = dark.dispatch("run 0", epoch=1, only_own=True, resumed=True)
    assert (dark.clock.now - third, dark.sent.count("0")) == (timedelta(0), 3)


def test_a_single_lead_is_not_started_however_late_the_others_are(dark):
    """A task that came at once, again and again, would keep a worker busy (8.7, 3.4)."""
    for n in range(IN_A_ROW):
        dark.dispatch(f"run {n}", [n], only_own=True)
    dark.clock.now += timedelta(minutes=5)  # their tasks are late
    report = dark.dispatch("single", [1000], only_own=True)
    assert (report.kept_back, report.due_at) == (True, None)


def test_people_hear_of_it_from_a_task_that_is_ended_just_then(dark, end_it):
    """What the log knows is told, whatever ends the task (8.7)."""
    begin_outage = dark.log.begin_outage

    def and_end(*args):
        is_first = begin_outage(*args)
        end_it()
        return is_first

    dark.log.begin_outage = and_end
    with pytest.raises(TaskTimeout):
        dark.dispatch("run 1", MANY)
    assert kinds(dark) == ["down"]


def test_who_does_not_wait_for_retries_leaves_them_to_the_next_run(dark):
    """Nothing is red as long as tried leads have attempts left (8.7, 4.7)."""
    report = dark.dispatch("run 1", MANY, wait_for_retries=False)
    assert (report.due_at, report.failure("zapier")) == (None, None)
    light(dark)
    dark.clock.now += timedelta(seconds=60)
    dark.dispatch("run 2", wait_for_retries=False)
    assert states(dark) == {"delivered": len(MANY)}


def test_a_single_attempt_leaves_none_to_wait_for(dark):
    """With an empty schedule the task fails at once, and the next run tries one (8.7, 3.1)."""
    report = dark.dispatch("run 1", MANY, schedule=())
    assert report.due_at is None
    assert "has been down since" in report.failure("zapier")
    before = len(dark.sent)
    dark.dispatch("run 2", schedule=())
    assert len(dark.sent) == before + 1


def test_resume_lets_all_go(dark):
    """A person who knows better ends it, as a pause or a hold (8.4, 8.7)."""
    dark.dispatch("run 1", MANY)
    dark.log.resume("zapier")
    light(dark)
    dark.dispatch("run 2")
    assert states(dark)["delivered"] == len(MANY) - tried(dark)


def tried(setup):
    return states(setup).get("retrying", 0)


@pytest.mark.parametrize("status", [503, 401])
def test_that_it_is_back_is_told_once_after_a_resume_too(dark, together, status):
    """Who heard of the trouble hears of its end: at the first delivery, from one task (8.7)."""
    dark.answer(lambda _: Reply(status))
    dark.dispatch("run 1", MANY)
    dark.log.resume("zapier")
    light(dark)
    together(partial(dark.dispatch, "run 2", [1000]), partial(dark.dispatch, "run 3", [1001]))
    dark.dispatch("run 4", [1002])
    assert kinds(dark) == ["down" if status == 503 else "paused", "back"]


def test_a_resume_that_a_running_task_sees_is_told_at_its_first_delivery(dark):
    """A task that waits for a person's resume tells, as one that begins after it (8.7)."""
    report = dark.dispatch("run 1", MANY)

    def resume_first(_):
        resumed = down(dark)
        dark.log.resume("zapier")
        return Reply(after=1.5 if resumed else 0)

    dark.answer(resume_first)
    dark.clock.now = report.due_at
    dark.dispatch("run 1", resumed=True)
    assert states(dark) == {"delivered": len(MANY)}
    assert kinds(dark) == ["down", "back"]


def test_a_resume_in_vain_is_told_as_what_it_is(dark):
    """The destination is down anew, and back once in the end (8.7)."""
    dark.dispatch("run 1", MANY)
    dark.log.resume("zapier")
    dark.dispatch("run 2")
    light(dark)
    dark.clock.now += timedelta(minutes=1)
    dark.dispatch("run 3")
    assert states(dark) == {"delivered": len(MANY)}
    assert kinds(dark) == ["down", "down", "back"]


def test_the_end_of_a_hold_alone_is_not_told(setup):
    """Nobody was told of it (8.7)."""
    setup.log.hold("zapier", "ana", setup.clock.now)
    setup.log.resume("zapier")
    setup.dispatch("run 1", [1])
    assert kinds(setup) == []


def test_it_can_be_turned_off(dark):
    """`[zbl] outage_breaker = False` tries every lead, also of one that is down already (8.7)."""
    dark.dispatch("run 1", MANY)
    before = len(dark.sent)
    dark.dispatch("run 2", outages=False)
    assert len(dark.sent) == len(MANY)
    assert before < len(MANY)
    assert not down(dark)
    light(dark)
    dark.clock.now += timedelta(minutes=1)
    dark.dispatch("run 2", outages=False, resumed=True)
    assert kinds(dark) == ["down", "back"], "also while it is off"


def go_on(setup, run, report, **options):
    """Have a run go on after its wait, as its operator does."""
    setup.clock.now = max(setup.clock.now, report.due_at)
    may_probe = bool(report.down and report.down.probe_at)
    return setup.dispatch(run, resumed=True, may_probe=may_probe, **options)


def test_runs_that_follow_each_other_at_once_try_one_lead_a_minute(dark):
    """With a single attempt each, darkness costs a lead a minute and no more (8.7)."""
    dark.dispatch("run 1", MANY, schedule=())
    before, until = len(dark.sent), dark.clock.now + timedelta(minutes=10)
    for n in range(2, 100):
        report = dark.dispatch(f"run {n}", MANY, schedule=())
        if report.due_at:
            report = go_on(dark, f"run {n}", report, schedule=())
        assert report.due_at is None
        assert "has been down since" in report.failure("zapier")
        if dark.clock.now >= until:
            break
    assert n < 15, "and few runs"
    assert len(dark.sent) == before + 11, "the first at once"
    light(dark)
    failed = len(dark.sent)
    go_on(dark, "last", dark.dispatch("last", MANY, schedule=()), schedule=())
    assert states(dark) == {"error": failed, "delivered": len(MANY) - failed}


def test_a_run_waits_for_its_turn_to_try_one(dark):
    """It says so, holds no worker meanwhile, and is no failure yet (8.7, 3.4)."""
    dark.dispatch("run 1", MANY, schedule=())
    dark.dispatch("run 2", schedule=())
    before, tried_at = len(dark.sent), dark.clock.now
    dark.clock.now += timedelta(seconds=20)
    report = dark.dispatch("run 3", [1000], schedule=())
    assert len(dark.sent) == before
    assert report.due_at == tried_at + timedelta(minutes=1)
    assert report.failure("zapier") is None
    assert f"one lead is tried at {report.due_at:%H:%M:%S} UTC" in str(report.down)
    light(dark)
    assert go_on(dark, "run 3", report, schedule=()).failure("zapier") is None
    assert "pending" not in states(dark)


def test_of_several_that_wait_for_their_turn_one_tries(dark, together):
    """The others end, and say what those say that find no lead left to wait for (8.7)."""
    dark.dispatch("run 1", MANY, schedule=())
    dark.dispatch("run 2", schedule=())
    runs = ["run 3", "run 4", "run 5"]
    waiting = [dark.dispatch(run, [1000 + n]) for n, run in enumerate(runs)]
    before = len(dark.sent)
    dark.clock.now = waiting[0].due_at
    options = {"resumed": True, "may_probe": True, "schedule": ()}
    reports = together(*(partial(dark.dispatch, run, **options) for run in runs))
    assert len(dark.sent) == before + 1
    assert not any(report.down and report.down.probe_at for report in reports)


def test_who_does_not_wait_leaves_the_turn_to_the_next_run(dark):
    """With `wait_for_retries=False` a run within that minute fails and sends nothing (8.7, 4.7)."""
    dark.dispatch("run 1", MANY, schedule=())
    dark.dispatch("run 2", schedule=())
    before = len(dark.sent)
    report = dark.dispatch("run 3", [1000], schedule=(), wait_for_retries=False)
    assert (len(dark.sent), report.due_at) == (before, None)
    assert "the next run" in report.failure("zapier")


def test_a_clear_does_not_wait_for_its_turn(dark):
    """Who clears a task may have mended the destination (8.7, 3.5)."""
    dark.dispatch("run 1", MANY, schedule=())
    dark.dispatch("run 2", schedule=())
    light(dark)
    dark.dispatch("run 1", epoch=1, schedule=())
    assert states(dark) == {"delivered": len(MANY)}


def test_people_see_since_when_how_many_and_what_next(dark):
    """Page and command line ask the log for it (8.7)."""
    began = dark.clock.now
    dark.dispatch("run 1", MANY)
    outage = dark.log.outage("zapier", dark.clock.now)
    assert outage.since == began
    assert outage.waiting == states(dark)["pending"]
    assert outage.next_at == began + timedelta(seconds=60)
    assert "503" in outage.reason
    light(dark)
    dark.clock.now = outage.next_at
    dark.dispatch("run 1", resumed=True)
    assert dark.log.outage("zapier", dark.clock.now) is None


def test_a_dead_worker_leaves_no_lead_behind(dark):
    """A lead that was in flight and not settled is a first attempt again: it waits (8.7, 6.2)."""
    report = dark.dispatch("run 1", MANY)
    run = dark.log.begin(key("dead"), "zapier", 0, dark.clock.now)
    dark.clock.now = report.due_at
    claimed = dark.log.claim("zapier", 5, dark.clock.now, timedelta(seconds=60), run=run)
    assert {lead.attempt for lead in claimed} == {2}
    light(dark)
    dark.clock.now += timedelta(minutes=2)
    dark.dispatch("run 1", resumed=True)
    assert states(dark) == {"delivered": len(MANY)}


def test_a_task_whose_worker_died_at_its_first_attempts_comes_to_an_end(dark):
    """Those leads wait like all others; else it would look for them again for ever (8.7, 6.2)."""
    run = dark.log.begin(key("run 1"), "zapier", 0, dark.clock.now)
    judged = [candidate(lead(n), dark.dispatcher().destination) for n in range(5)]
    dark.log.enrol(run, "zapier", judged, dark.clock.now, lease=timedelta(seconds=60))
    dark.log.begin_outage("zapier", dark.clock.now, "answered 503", dark.clock.now)
    report = dark.dispatch_to_the_end("run 1", range(5))
    assert dark.sent == []
    assert "5 leads of this task wait" in report.failure("zapier")
    assert dark.log.outage("zapier", dark.clock.now).waiting == 5
    light(dark)
    assert dark.dispatch("run 2").counts == {Status.DELIVERED: 5}
