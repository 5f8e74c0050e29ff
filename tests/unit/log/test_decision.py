"""The decision table of enrolling a lead that the log already knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.log.model import OPEN, Candidate, Status, with_position
from zbl_provider.log.outbox.decision import Change, Decision, Known, Rule

SKIP = Decision(skipped=True)
LEAVE = Decision()
JOIN = Decision(join=True)


def known(status, *, attempts=0, own=False, reason=None, fingerprint="f1", has_payload=True):
    return Known(
        id=1,
        status=status,
        reason=reason,
        fingerprint=fingerprint,
        attempts=attempts,
        resend=0,
        own=own,
        has_payload=has_payload,
    )


def candidate(status=Status.PENDING, *, reason=None, fingerprint="f1"):
    body = b"{}" if status is Status.PENDING else None
    return Candidate("msg_1", "1", status, reason, body, fingerprint)


CHANGED = candidate(fingerprint="f2")
FILTERED = candidate(Status.FILTERED, reason="score is under min_score 70")
INVALID = candidate(Status.INVALID, reason="r1")


@pytest.mark.parametrize(
    ("before", "candidate", "rule", "decision"),
    [
        # delivered: Contract 4.4
        (known(Status.DELIVERED), CHANGED, Rule(), SKIP),
        (known(Status.DELIVERED, own=True), CHANGED, Rule(), LEAVE),
        (known(Status.DELIVERED), FILTERED, Rule(resend_delivered=True), SKIP),
        (
            known(Status.DELIVERED),
            candidate(),
            Rule(resend_delivered=True),
            Decision(Change.RESEND, join=True),
        ),
        (known(Status.DELIVERED, own=True), CHANGED, Rule(resend_delivered=True), LEAVE),
        (known(Status.DELIVERED), CHANGED, Rule(refresh_delivered=True), SKIP),
        (
            known(Status.DELIVERED, own=True),
            CHANGED,
            Rule(refresh_delivered=True),
            Decision(Change.REFRESH),
        ),
        (known(Status.DELIVERED, own=True), candidate(), Rule(refresh_delivered=True), LEAVE),
        (
            known(Status.DELIVERED, own=True, has_payload=False),
            candidate(),
            Rule(refresh_delivered=True),
            Decision(Change.REFRESH),
        ),
        # error: waits for a clear, with the payload it should have by then
        (known(Status.ERROR, attempts=5), candidate(), Rule(), SKIP),
        (known(Status.ERROR, attempts=5), CHANGED, Rule(), Decision(Change.REFRESH, skipped=True)),
        (known(Status.ERROR, attempts=5, own=True), CHANGED, Rule(), Decision(Change.REFRESH)),
        (known(Status.ERROR, attempts=5), FILTERED, Rule(), SKIP),
        (
            known(Status.ERROR, attempts=5),
            candidate(),
            Rule(resend_errors=True),
            Decision(Change.RESEND, join=True),
        ),
        (known(Status.ERROR, attempts=5), FILTERED, Rule(resend_errors=True), SKIP),
        (known(Status.ERROR, attempts=5, own=True), candidate(), Rule(resend_errors=True), LEAVE),
        (known(Status.DELIVERED), CHANGED, Rule(resend_errors=True), SKIP),
        # kept back: Contract 5.4, 5.5
        (known(Status.FILTERED), candidate(), Rule(), Decision(Change.OPEN, join=True)),
        (known(Status.INVALID, own=True), candidate(), Rule(), Decision(Change.OPEN)),
        (known(Status.FILTERED, reason=FILTERED.reason), FILTERED, Rule(), LEAVE),
        (
            known(Status.FILTERED, reason=FILTERED.reason, fingerprint="f0"),
            FILTERED,
            Rule(),
            Decision(Change.KEEP_BACK, join=True),
        ),
        (
            known(Status.FILTERED, reason="another"),
            FILTERED,
            Rule(),
            Decision(Change.KEEP_BACK, join=True),
        ),
        (
            known(Status.INVALID, reason=FILTERED.reason),
            FILTERED,
            Rule(),
            Decision(Change.KEEP_BACK, join=True),
        ),
        # asked for by itself, it is the task's, whoever found it first: Contract 4.7
        (
            known(Status.FILTERED, reason=FILTERED.reason),
            FILTERED,
            Rule(resend_errors=True),
            JOIN,
        ),
        (known(Status.INVALID, reason="r1"), INVALID, Rule(resend_errors=True), JOIN),
        (known(Status.INVALID, reason="r1", own=True), INVALID, Rule(resend_errors=True), LEAVE),
        (known(Status.INVALID, reason="r1"), INVALID, Rule(), LEAVE),
        # a row without an id has moved on in its query, and is the row that it was: Contract 4.7
        (
            known(Status.INVALID, reason=with_position("r1", 7)),
            candidate(Status.INVALID, reason=with_position("r1", 12)),
            Rule(),
            LEAVE,
        ),
        (
            known(Status.INVALID, reason=with_position("r1", 7)),
            candidate(Status.INVALID, reason=with_position("r2", 7)),
            Rule(),
            Decision(Change.KEEP_BACK, join=True),
        ),
        (known(Status.ERROR, attempts=5), INVALID, Rule(resend_errors=True), JOIN),
        (known(Status.ERROR, attempts=5), INVALID, Rule(), SKIP),
        # pending, untried: the present row counts
        (known(Status.PENDING), candidate(), Rule(), JOIN),
        (known(Status.PENDING, own=True), candidate(), Rule(), LEAVE),
        (known(Status.PENDING), CHANGED, Rule(), Decision(Change.REFRESH, join=True)),
        (known(Status.PENDING, own=True), FILTERED, Rule(), Decision(Change.KEEP_BACK)),
        # tried, or being tried: it goes out as it is
        (known(Status.PENDING, attempts=1), CHANGED, Rule(), JOIN),
        (known(Status.RETRYING, attempts=1), CHANGED, Rule(), JOIN),
        (known(Status.RETRYING, attempts=1, own=True), FILTERED, Rule(), LEAVE),
        (known(Status.SENDING), FILTERED, Rule(), JOIN),
        (known(Status.SENDING, own=True), CHANGED, Rule(), LEAVE),
    ],
)
def test_the_decision_table(before, candidate, rule, decision):
    """A lead found again is skipped, joined, refreshed or sent as its status says (4.4, 5.4)."""
    assert rule.decide(before, candidate) == decision


statuses = st.sampled_from(Status)
rules = st.builds(
    Rule,
    resend_delivered=st.booleans(),
    resend_errors=st.booleans(),
    refresh_delivered=st.booleans(),
)
before = st.builds(
    Known,
    id=st.just(1),
    status=statuses,
    reason=st.sampled_from([None, "r1", "r2"]),
    fingerprint=st.sampled_from(["f1", "f2"]),
    attempts=st.integers(0, 5),
    resend=st.integers(0, 2),
    own=st.booleans(),
    has_payload=st.booleans(),
)
candidates = st.builds(
    candidate,
    st.sampled_from([Status.PENDING, Status.FILTERED, Status.INVALID]),
    reason=st.sampled_from([None, "r1", "r2"]),
    fingerprint=st.sampled_from(["f1", "f2"]),
)


@given(before, candidates, rules)
def test_a_lead_is_never_pulled_from_under_its_attempts(before, candidate, rule):
    """What was tried, or is being tried, keeps its payload and status whatever is found."""
    if before.status in OPEN and (before.status is not Status.PENDING or before.attempts):
        assert rule.decide(before, candidate).change is Change.NOTHING


@given(before, candidates, rules)
def test_a_run_joins_only_what_is_not_its_own(before, candidate, rule):
    """Joining twice would count a lead twice."""
    decision = rule.decide(before, candidate)
    assert not (decision.join and before.own)
    assert not (decision.join and decision.skipped)


@given(before, candidates, rules)
def test_every_unsettled_lead_has_somebody_waiting(before, candidate, rule):
    """A run that finds a lead unsettled waits for its outcome (Contract 4.6)."""
    if before.status in OPEN:
        assert before.own or rule.decide(before, candidate).join


@given(before, candidates, rules)
def test_a_retry_of_a_run_sends_nothing_again(before, candidate, rule):
    """What is settled under this very run stays so without a clear (Contract 3.2, 4.5)."""
    if before.own and before.status in {Status.DELIVERED, Status.ERROR}:
        assert rule.decide(before, candidate).change in {Change.NOTHING, Change.REFRESH}


@given(before, candidates)
def test_a_delivered_lead_is_not_sent_again_unasked(before, candidate):
    """Without if_delivered="send" nothing makes a delivered lead due again (Contract 4.4)."""
    if before.status is Status.DELIVERED:
        rule = Rule(resend_errors=True, refresh_delivered=True)
        assert rule.decide(before, candidate).change in {Change.NOTHING, Change.REFRESH}
