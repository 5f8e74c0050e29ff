"""Whatever a user writes or a peer answers is taken, or refused by name."""

import traceback
from datetime import UTC, datetime, timedelta

import pytest
from httptools import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.destination.headers import parse_headers
from zbl_provider.delivery.exchange import Answer, Failure, FailureKind
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.http.request import RequestWriter
from zbl_provider.delivery.outcome import Verdict, classify
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.delivery.transport import Transport, static_headers
from zbl_provider.exceptions import BlockedAddress, ConfigurationError, HeaderError, ScheduleError

MARK = "s3cr3t"
NOON = datetime(2026, 2, 23, 12, 0, tzinfo=UTC)


def json_of(texts):
    """Give any JSON, its keys and texts from these; numbers may be what JSON only nearly allows."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )


values = json_of(st.text())
secret_texts = st.builds(lambda before, after: before + MARK + after, st.text(), st.text())
secrets = json_of(secret_texts)
names = st.text(max_size=8) | st.sampled_from(["X-Key", "Host", "webhook-id", "authorization"])
SETTINGS = ["active", "min_score", "lists", "field_filters", "retry_statuses", "max_concurrency",
            "max_rate", "keep_alive", "verify", "verify_ssl", "cert", "trust_env", "headers",
            "timeout"]  # fmt: skip
SECRET_SETTINGS = ["secret_headers", "signing_secret", "proxy", "proxies"]
near_urls = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "https:", "", "https://user:pass@"]),
    st.text(max_size=20) | st.from_regex(r"[\[\]0-9a-fA-FxX.:%]{1,30}", fullmatch=True),
    st.sampled_from(["/", "/hook/", ":443/", "?", "/#"]),
    secret_texts,
)
near_proxies = st.builds("{}{}@{}:{}".format, st.sampled_from(["http://", "", "socks5://"]),
                         secret_texts, st.text(max_size=20), st.integers())  # fmt: skip


def refusal(kind, function, *args, **kwargs):
    """Give what the function raises of this kind, or None; anything else is a mistake."""
    try:
        function(*args, **kwargs)
    except kind as error:
        return error
    return None


def shows(error):
    """Give all that anybody may ever see of an error."""
    return "".join(traceback.format_exception(error)[-1:]) + repr(error) + repr(error.__cause__)


@given(
    host=near_urls | st.just(f"https://hooks.test/{MARK}"),
    schema=st.none() | st.text(max_size=6) | st.just("https"),
    port=st.none() | st.integers(),
    login=st.none() | st.text(max_size=5),
    password=st.none() | secret_texts,
    extra=st.dictionaries(st.sampled_from(SETTINGS), values, max_size=4),
    hidden=st.dictionaries(
        st.sampled_from(SECRET_SETTINGS),
        secrets | st.dictionaries(names, secret_texts, max_size=3) | near_proxies,
        max_size=2,
    ),
)
@example(f"https://hooks.test/{MARK}", None, None, None, None, {"verify": "~no-one-x/ca.pem"}, {})
@example(f"https://hooks.test/{MARK}", None, None, None, None, {"verify": "a" * 300}, {})
@example(f"https://hooks.test/{MARK}", None, None, None, None, {"cert": "~no-one-x/me.pem"}, {})
@example(f"https://hooks.test/{MARK}", None, None, None, None, {"cert": "a" * 300}, {})
def test_any_connection_is_a_destination_or_refused_by_name(
    host, schema, port, login, password, extra, hidden
):
    """A connection works or names the field that does not, and shows no secret (1.2 to 1.5)."""

    def build():
        destination = Destination.parse(integration="i", host=host, schema=schema, port=port,
                                        login=login, password=password,
                                        extra=extra | hidden)  # fmt: skip
        assert MARK not in repr(destination) + str(destination)
        Transport(destination, Guard())

    refused = refusal(ConfigurationError, build)
    assert refused is None or (refused.field and refused.remedy and MARK not in shows(refused))


@given(st.dictionaries(names, secrets, max_size=4) | secrets)
def test_any_headers_are_taken_or_refused_by_name(headers):
    """What is taken can be sent, what is refused is named and not shown (Contract 1.4 and 1.5)."""
    taken = []
    refused = refusal(HeaderError, lambda: taken.extend(parse_headers(headers, None, None)))
    assert refused is None or (refused.field and MARK not in shows(refused))
    destination = Destination.parse(
        integration="i", host="https://hooks.test/", extra={"secret_headers": dict(taken)}
    )
    received = []
    parser = HttpRequestParser(Reader(received))
    writer = RequestWriter(destination.url, static_headers(destination))
    parser.feed_data(writer.write({"webhook-id": "msg_1"}, b"{}", keep=True))
    assert [pair for pair in received if pair[0] in dict(taken)] == taken
    assert len(received) == len({name.lower() for name, _ in received})


class Reader:
    """Reads a request as a receiver would, and minds its headers alone."""

    def __init__(self, fields):
        self._fields = fields

    def on_header(self, name, value):
        self._fields.append((name.decode("latin-1"), value.decode("latin-1")))


# Near misses of what Retry-After may be.
near_dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Monday", "", "x"]), st.integers(-1, 99),
    st.sampled_from(["Feb", "Dec", "Foo", "2"]), st.integers(-1, 99_999), st.integers(-1, 99),
    st.integers(-1, 99), st.integers(-1, 99),
    st.sampled_from(["GMT", "+9999", "-2359", "+0000", "Z", "", "-99999999999"]),
)  # fmt: skip
retry_afters = st.none() | st.text(max_size=200) | near_dates | st.integers().map(str)
answers = st.builds(Answer, status=st.integers(100, 999), excerpt=st.text(), seconds=st.floats(),
                    retry_after=retry_afters)  # fmt: skip
failures = st.builds(Failure, st.sampled_from(FailureKind), st.text(), st.floats())
schedules = st.lists(st.floats(0, 604_800), max_size=20).map(Schedule.parse)


@example(Answer(429, "", "999999999", 0.1), frozenset({429}), Schedule.DEFAULT, 1)
@given(answers | failures, st.frozensets(st.sampled_from([408, 425, 429])), schedules,
       st.integers(1, 25))  # fmt: skip
def test_any_answer_has_its_outcome_and_its_next_attempt(result, retried, schedule, attempt):
    """2xx is delivered, 3xx and 4xx are errors, all else waits its step at least (Contract 3)."""
    outcome = classify(result, retried)
    status = outcome.status or 0
    if isinstance(result, Failure):
        expected = Verdict.ERROR if result.kind is FailureKind.BLOCKED else Verdict.RETRY
    elif status // 100 == 2:
        expected = Verdict.DELIVERED
    else:
        final = status // 100 in (3, 4) and status not in retried
        expected = Verdict.ERROR if final else Verdict.RETRY
    assert outcome.verdict is expected
    due_at = schedule.next_attempt(attempt, outcome, NOON)
    if expected is not Verdict.RETRY or attempt >= schedule.attempts:
        assert due_at is None
        return
    step, longest = schedule.waits[attempt - 1], max(schedule.waits)
    waited = (due_at - NOON) / timedelta(seconds=1)
    assert step - 1e-5 <= waited <= longest + 1e-5
    if status not in retried:
        assert waited == pytest.approx(step, abs=1e-5), "only a status that is named may ask"


@given(values)
def test_any_schedule_is_one_or_refused(waits):
    """`schedule` is a list of waits, or refused by that name (Contract 3.1)."""
    refused = refusal(ScheduleError, Schedule.parse, waits)
    if refused is None:
        assert all(0 <= wait <= 604_800 for wait in Schedule.parse(waits).waits)
    else:
        assert refused.field == "schedule"


@given(st.text() | st.from_regex(r"[0-9a-fA-FxX.:/%, ]{1,50}", fullmatch=True))
def test_any_text_is_judged_or_refused(text):
    """The guard answers whatever it is asked, and refuses what it cannot read (Contract 7.1)."""
    refused = refusal(ConfigurationError, Guard.parse, text)
    assert refused is None or refused.field == "[zbl] allowed_networks"
    blocked = refusal(BlockedAddress, Guard().check, text)
    assert blocked is None or blocked.address == text
