"""Which leads wait, decided on made-up ones."""

from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.log.model import ERASED, OPEN, Candidate, Status
from zbl_provider.log.outbox.decision import Change, Known, Rule
from zbl_provider.watch.backlog import Missing, missing

PRINTS = st.sampled_from(["a", "b", ERASED])
REASONS = st.sampled_from([None, "score is under min_score 70", "list is not one of lists"])
KNOWN = st.builds(
    Known,
    id=st.just(1),
    status=st.sampled_from(Status),
    reason=REASONS,
    fingerprint=PRINTS,
    attempts=st.integers(0, 5),
    resend=st.integers(0, 1),
    own=st.just(False),
    has_payload=st.booleans(),
)
CANDIDATES = st.builds(
    Candidate,
    webhook_id=st.just("msg_1"),
    lead_id=st.just("1"),
    status=st.sampled_from([Status.PENDING, Status.FILTERED, Status.INVALID]),
    reason=REASONS,
    body=st.just(b"{}"),
    fingerprint=st.sampled_from(["a", "b"]),
)


@given(known=KNOWN, candidate=CANDIDATES)
def test_a_lead_waits_when_a_run_would_take_it_on(known, candidate):
    """What enrolment would join, and not only to record that it is kept back (8.1, 4.4, 4.5)."""
    decision = Rule().decide(known, candidate)
    recorded = decision.change is Change.KEEP_BACK and candidate.status is Status.FILTERED
    assert (missing(known, candidate) is not None) == (decision.join and not recorded)


@given(known=KNOWN, candidate=CANDIDATES)
def test_what_is_in_the_log_to_be_sent_needs_no_uptake(known, candidate):
    """So a watcher starts no run for a lead that another run minds (Contract 8.2)."""
    assert (missing(known, candidate) is Missing.ENROLMENT) <= (known.status not in OPEN)


@given(candidate=CANDIDATES)
def test_an_unknown_lead_waits_unless_it_is_filtered(candidate):
    """An invalid one, too: its task has to fail, so that somebody sees it (Contract 5.4, 5.5)."""
    assert missing(None, candidate) == (
        None if candidate.status is Status.FILTERED else Missing.ENROLMENT
    )


@given(known=KNOWN, candidate=CANDIDATES)
def test_what_was_delivered_erased_or_in_error_waits_no_more(known, candidate):
    """A clear or Resend sends it again, not a sensor (Contract 4.4, 4.5)."""
    if known.status in {Status.DELIVERED, Status.ERROR} or known.fingerprint == ERASED:
        assert missing(known, candidate) is None
