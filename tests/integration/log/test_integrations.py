"""Holding, pausing and resuming what the log knows by name (Contract 8.4 and 8.6)."""

from __future__ import annotations

from tests.integration.log.setup import LEASE, ZAPIER, delivered, lead
from zbl_provider.log.model import Integration


def test_a_run_makes_its_integration_known(setup):
    """Whatever has had a run is listed, and nothing keeps it back (Contract 8.4)."""
    setup.run("one")
    setup.run("two")
    assert setup.log.integrations() == [Integration("zapier")]


def test_a_hold_says_who_and_when_and_a_resume_ends_it(setup):
    """Who held an integration first stays named until it is resumed (Contract 8.4)."""
    setup.log.hold("make", "ana", setup.now)
    first = setup.now
    setup.later(hours=1)
    setup.log.hold("make", "bob", setup.now)
    held = setup.log.integration("make")
    assert (held.held, held.held_by, held.held_at) == (True, "ana", first)
    assert not held.paused
    setup.log.resume("make")
    assert setup.log.integrations() == [Integration("make")]


def test_one_task_pauses_and_the_others_find_it_paused(setup):
    """The first of several tasks that pause an integration is told so (Contract 8.6)."""
    assert setup.log.pause("make", 401, setup.now)
    paused_at = setup.now
    setup.later(minutes=1)
    assert not setup.log.pause("make", 403, setup.now)
    paused = setup.log.integration("make")
    assert (paused.paused, paused.paused_status, paused.paused_at) == (True, 401, paused_at)


def test_the_end_of_a_pause_leaves_a_hold_and_a_resume_ends_both(setup):
    """A delivery ends a pause; what a person holds a person resumes (Contract 8.4 and 8.6)."""
    setup.log.hold("make", "ana", setup.now)
    setup.log.pause("make", 410, setup.now)
    assert setup.log.back("make")
    integration = setup.log.integration("make")
    assert (integration.held, integration.paused, integration.paused_status) == (True, False, None)
    setup.log.pause("make", 410, setup.now)
    setup.log.resume("make")
    assert setup.log.integration("make") == Integration("make", resumed=True)


def test_that_it_is_back_is_news_once(setup):
    """Also after a person's resume, which says nothing of the destination (Contract 8.7)."""
    setup.log.hold("make", "ana", setup.now)
    setup.log.resume("make")
    assert not setup.log.back("make"), "of a hold alone nobody was told"
    setup.log.begin_outage("make", setup.now, "answered 503", setup.now)
    setup.log.resume("make")
    setup.log.resume("make")
    assert (setup.log.back("make"), setup.log.back("make")) == (True, False)
    assert setup.log.integration("make") == Integration("make")


def test_what_the_log_does_not_know_is_neither_held_nor_paused(setup):
    """Asking for, or resuming, an unknown name is no error (Contract 8.4)."""
    setup.log.resume("nobody")
    assert not setup.log.back("nobody")
    assert setup.log.integration("nobody") == Integration("nobody")
    assert setup.log.integrations() == []


def test_nothing_is_given_out_of_what_is_held_or_paused(setup):
    """No task can claim it, whatever it has seen before; a probe is no way past a hold (8.6)."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    for keep_back in ("hold", "pause"):
        value = "ana" if keep_back == "hold" else 401
        getattr(setup.log, keep_back)(ZAPIER, value, setup.now)
        assert setup.claim(run) == []
        probes = setup.log.claim(ZAPIER, 9, setup.now, LEASE, run=run, probe=True)
        assert len(probes) == (0 if keep_back == "hold" else 1)
        setup.log.resume(ZAPIER)


def test_a_paused_integration_gives_out_one_lead_at_a_time(setup):
    """The next waits for the first, and a minute; one that was tried before goes first (8.6)."""
    run = setup.run()
    setup.enrol(run, *(lead(name) for name in "abc"))
    setup.log.pause(ZAPIER, 401, setup.now)

    def probe():
        return setup.log.claim(ZAPIER, 9, setup.now, LEASE, run=run, probe=True)

    [first] = probe()
    assert (first.lead_id, probe()) == ("a", [])
    assert setup.settle(run, [first], delivered(), due_at=setup.now) == []
    assert probe() == []
    setup.later(minutes=1)
    [again] = probe()
    assert (again.lead_id, again.attempt) == ("a", 2)
