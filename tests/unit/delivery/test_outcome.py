import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.delivery.exchange import Answer, Failure, FailureKind
from zbl_provider.delivery.outcome import Verdict, classify


def answer(status, retry_after=None):
    return Answer(status=status, excerpt="as it came", retry_after=retry_after, seconds=0.25)


@given(st.integers(200, 299))
def test_any_2xx_is_delivered(status):
    """Any 2xx means that the lead is delivered (Contract 3)."""
    assert classify(answer(status)).verdict is Verdict.DELIVERED


@given(st.integers(500, 599))
def test_any_5xx_is_tried_again(status):
    """Any 5xx is tried again (Contract 3)."""
    assert classify(answer(status)).verdict is Verdict.RETRY


@given(st.integers(300, 499))
def test_any_3xx_or_4xx_is_an_error_at_once(status):
    """A redirect or a 4xx is an error at once, 408, 425 and 429 included (Contract 3 and 3.3)."""
    outcome = classify(answer(status))
    assert outcome.verdict is Verdict.ERROR
    assert ": " in outcome.detail, "an error says what to change"


def test_not_modified_is_no_redirect():
    """What is said of a 304 is not to enter another URL (Contract 3)."""
    assert "redirect" in classify(answer(302)).detail
    assert "redirect" not in classify(answer(304)).detail


@pytest.mark.parametrize("status", [100, 101, 199, 600, 999])
def test_a_status_outside_http_counts_as_garbled(status):
    """What is no final status of HTTP is garbled, so it is tried again (Contract 3)."""
    assert classify(answer(status)).verdict is Verdict.RETRY


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.BLOCKED])
def test_no_answer_is_tried_again(kind):
    """Whatever kept the answer away, the lead is tried again (Contract 3)."""
    outcome = classify(Failure(kind, "no answer", 10.0))
    assert (outcome.verdict, outcome.kind, outcome.status) == (Verdict.RETRY, kind.value, None)


def test_a_blocked_address_is_an_error_at_once():
    """A destination refused before sending is an error at once (Contract 3 and 7.1)."""
    outcome = classify(Failure(FailureKind.BLOCKED, "not public", 0.0))
    assert (outcome.verdict, outcome.kind) == (Verdict.ERROR, "blocked")


@given(st.sampled_from([408, 425, 429]))
def test_a_status_the_connection_names_is_tried_again(status):
    """A status in retry_statuses is tried again, and its Retry-After counts (Contract 3.3)."""
    outcome = classify(answer(status, retry_after="120"), frozenset({status}))
    assert (outcome.verdict, outcome.retry_after) == (Verdict.RETRY, "120")


@given(st.sampled_from([408, 425, 429]))
def test_naming_one_status_changes_no_other(status):
    """A status that retry_statuses does not name stays an error (Contract 3.3)."""
    others = frozenset({408, 425, 429}) - {status}
    assert classify(answer(status), others).verdict is Verdict.ERROR


def test_retry_after_of_a_503_is_left_aside():
    """A 5xx keeps exactly to the schedule, whatever its Retry-After says (Contract 3.1 and 3.3)."""
    assert classify(answer(503, retry_after="7200"), frozenset({429})).retry_after is None


def test_the_facts_of_the_answer_are_kept():
    """The outcome carries what the log records: status, duration and excerpt (Contract 6.3)."""
    outcome = classify(answer(404))
    assert (outcome.status, outcome.kind, outcome.seconds) == (404, None, 0.25)
    assert outcome.excerpt == "as it came"
    assert "as it came" not in repr(outcome)
