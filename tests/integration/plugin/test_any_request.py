"""Whatever is asked, the page answers: no request makes it fail."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

TEXTS = (
    st.text(max_size=20)
    | st.sampled_from(
        ["\0", "crm", "lead-00001", "a\0b", "\ud800", "é", "..", "%00", "x" * 1001, "", " "]
    )
).map(lambda text: text.encode("utf-8", "replace").decode())
NUMBERS = st.integers() | st.sampled_from(
    [-(2**63) - 1, -(2**63), -(2**31) - 1, -1, 0, 1, 200, 2**31, 2**63 - 1, 2**63, 10**400]
)
INSTANTS = st.sampled_from(
    [
        "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "9999-12-31T23:59:59Z",
        "1969-01-01T00:00:00Z",
        "2026-03-14T15:09:26Z",
        "2026-03-13T15:09:26+05:30",
        "2026-03-14",
        "1e300",
        "-1e18",
        "NaN",
        "inf",
    ]
) | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
NAMES = (
    "status",
    "integration",
    "dag_id",
    "task_id",
    "run_id",
    "map_index",
    "since",
    "until",
    "lead_id",
    "email_hash",
    "limit",
    "before",
    "buckets",
    "other",
)
PARAMETERS = st.dictionaries(
    st.sampled_from(NAMES),
    # Twice the same name is what a person, or a proxy, may send.
    st.lists(TEXTS, max_size=2)
    | TEXTS
    | NUMBERS.map(str)
    | INSTANTS
    | st.sampled_from(["error", "delivered"]),
    max_size=4,
)
# A path with a line break is no path of this page, and neither is what a client makes of dots:
# Airflow answers it.
SEGMENTS = TEXTS.filter(lambda text: "\n" not in text and text not in {".", ".."}).map(
    lambda text: quote(text, safe="")
)
READ = (
    st.sampled_from(
        [
            "deliveries",
            "deliveries.csv",
            "funnel",
            "activity",
            "resendable",
            "waiting",
            "integrations",
            "nil",
        ]
    )
    | (NUMBERS.map(str) | SEGMENTS).map("deliveries/{}".format)
).map("/zbl/api/{}".format) | (
    SEGMENTS.map("/zbl/static/{}".format) | st.sampled_from(["/zbl/", "/zbl/leads"])
)
INTEGRATIONS = SEGMENTS.map("integrations/{}/".format)
CHANGED = (
    st.sampled_from(["resend", "send-now", "forget", "email-hash"])
    | st.tuples(INTEGRATIONS, st.sampled_from(["hold", "resume", "test"])).map("".join)
    | (NUMBERS.map(str) | SEGMENTS).map("deliveries/{}/payload".format)
)
TASK = st.fixed_dictionaries(
    {"dag_id": TEXTS, "task_id": TEXTS, "run_id": TEXTS}, optional={"map_index": NUMBERS}
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS.filter(lambda n: abs(n) < 10**300) | st.floats() | TEXTS,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(TEXTS, parts, max_size=3),
    max_leaves=5,
)
BODIES = (
    st.one_of(
        st.builds(lambda ids: {"ids": ids}, st.lists(NUMBERS | st.floats(), max_size=3)),
        st.builds(lambda filters: {"filter": filters}, PARAMETERS),
        st.builds(lambda after: {"filter": {}, "after": after}, NUMBERS | st.floats()),
        st.builds(lambda runs: {"runs": runs}, st.lists(TASK, max_size=2)),
        st.builds(lambda email: {"email": email}, TEXTS),
        JSON,
    ).map(json.dumps)
    | st.sampled_from(['{"ids": [NaN]}', '{"filter": {"lead_id": "\\ud800"}}', "[" * 5000, "{", ""])
).map(str.encode)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "origin": st.sampled_from(["null", "http://[", "http://", "http://elsewhere.example"]),
        "sec-fetch-site": st.sampled_from(["same-origin", "cross-site", "none", ""]),
        "content-type": st.sampled_from(["application/json", "text/plain", "", ";", "a/b;c=ü"]),
        "accept": st.sampled_from(["text/html", "*/*", ""]),
        "cookie": st.sampled_from(["_token=x", "_token=a.b.c", "_token=", "=;", "_token=é"]),
        "authorization": st.sampled_from(["Bearer x", "Bearer a.b.c", "Basic !", "Bearer"]),
    },
)

any_request = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check(answer) -> None:
    assert answer.status_code < 500, answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@any_request
@given(path=READ, parameters=PARAMETERS, headers=HEADERS)
@example("/zbl/api/deliveries", {"before": str(-(2**70))}, {})
@example("/zbl/api/deliveries", {"since": "0001-01-01T00:00:00+14:00"}, {})
@example("/zbl/api/activity", {"until": "9999-12-31T23:59:59-12:00"}, {})
@example("/zbl/api/funnel", {"dag_id": "a\0b"}, {})
@example("/zbl/static/a%00b", {}, {})
def test_no_question_makes_the_page_fail(site, path, parameters, headers):
    """Each is answered or refused, never 5xx, and with the headers of every answer (7.3)."""
    query = f"?{urlencode(parameters, doseq=True)}" if parameters else ""
    headers = {name: value.encode() for name, value in headers.items()}
    ask = site.as_("ada").get
    check(ask(f"{path}{query}", headers=headers, follow_redirects=False))


@any_request
@given(path=CHANGED, body=BODIES, headers=HEADERS)
@example("integrations/a%00b/hold", b"{}", {})
@example("resend", b'{"ids": [NaN]}', {})
@example("resend", b"{}", {"origin": "http://["})
def test_no_change_makes_the_page_fail(site, path, body, headers):
    """Each is done or refused, never 5xx, and with the headers of every answer (7.3)."""
    headers = {"content-type": "application/json"} | headers
    headers = {name: value.encode() for name, value in headers.items()}
    check(site.as_("ada").post(f"/zbl/api/{path}", content=body, headers=headers))


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/zbl/", "/zbl/api/deliveries", "/zbl/api/resend", "/zbl/no"])
def test_no_other_method_makes_the_page_fail(site, method, path):
    """What is not offered is refused, with the headers of every answer (Contract 7.3)."""
    check(site.as_("ada").request(method, path))


def test_an_error_of_our_own_has_the_headers_too(site, monkeypatch):
    """Even an answer that nobody meant is text and nothing more (Contract 7.3)."""

    def fail(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(type(site.log.reader), "funnel", fail)
    answer = site.as_("ada").get("/zbl/api/funnel")
    assert answer.status_code == 500
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "ZeroDivisionError" not in answer.text
