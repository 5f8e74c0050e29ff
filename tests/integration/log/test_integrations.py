"""Holding, pausing and resuming what the log knows by name (Contract 8.4 and 8.6)."""

from __future__ import annotations

from tests.integration.log.bench import LEASE, ZAPIER, delivered, lead
from zbl_provider.log.model import Integration


def test_a_run_makes_its_integration_known(bench):
    """Whatever has had a run is listed, and nothing keeps it back (Contract 8.4)."""
    bench.run("one")
    bench.run("two")
    assert bench.log.integrations() == [Integration("zapier")]


def test_a_hold_says_who_and_when_and_a_resume_ends_it(bench):
    """Who held an integration first stays named until it is resumed (Contract 8.4)."""
    bench.log.hold("make", "ana", bench.now)
    first = bench.now
    bench.later(hours=1)
    bench.log.hold("make", "bob", bench.now)
    held = bench.log.integration("make")
    assert (held.held, held.held_by, held.held_at) == (True, "ana", first)
    assert not held.paused
    bench.log.resume("make")
    assert bench.log.integrations() == [Integration("make")]


def test_one_task_pauses_and_the_others_find_it_paused(bench):
    """The first of several tasks that pause an integration is told so (Contract 8.6)."""
    assert bench.log.pause("make", 401, bench.now)
    paused_at = bench.now
    bench.later(minutes=1)
    assert not bench.log.pause("make", 403, bench.now)
    paused = bench.log.integration("make")
    assert (paused.paused, paused.paused_status, paused.paused_at) == (True, 401, paused_at)


def test_the_end_of_a_pause_leaves_a_hold_and_a_resume_ends_both(bench):
    """A delivery ends a pause; what a person holds a person resumes (Contract 8.4 and 8.6)."""
    bench.log.hold("make", "ana", bench.now)
    bench.log.pause("make", 410, bench.now)
    bench.log.unpause("make")
    found = bench.log.integration("make")
    assert (found.held, found.paused, found.paused_status) == (True, False, None)
    bench.log.pause("make", 410, bench.now)
    bench.log.resume("make")
    assert bench.log.integration("make") == Integration("make")


def test_what_the_log_does_not_know_is_neither_held_nor_paused(bench):
    """Asking for, resuming or unpausing an unknown name is no error (Contract 8.4)."""
    bench.log.resume("nobody")
    bench.log.unpause("nobody")
    assert bench.log.integration("nobody") == Integration("nobody")
    assert bench.log.integrations() == []


def test_nothing_is_given_out_of_what_is_held_or_paused(bench):
    """No task can claim it, whatever it has seen before; a probe is no way past a hold (8.6)."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    for keep_back in ("hold", "pause"):
        value = "ana" if keep_back == "hold" else 401
        getattr(bench.log, keep_back)(ZAPIER, value, bench.now)
        assert bench.claim(run) == []
        probes = bench.log.claim(ZAPIER, 9, bench.now, LEASE, run=run, probe=True)
        assert len(probes) == (0 if keep_back == "hold" else 1)
        bench.log.resume(ZAPIER)


def test_a_paused_integration_gives_out_one_lead_at_a_time(bench):
    """The next probe waits until the first is settled; one that was tried before goes first."""
    run = bench.run()
    bench.enrol(run, *(lead(name) for name in "abc"))
    bench.log.pause(ZAPIER, 401, bench.now)

    def probe():
        return bench.log.claim(ZAPIER, 9, bench.now, LEASE, run=run, probe=True)

    [first] = probe()
    assert (first.lead_id, probe()) == ("a", [])
    assert bench.settle(run, [first], delivered(), due_at=bench.now) == []
    [again] = probe()
    assert (again.lead_id, again.attempt) == ("a", 2)
