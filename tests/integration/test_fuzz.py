"""Rows of any kind go through intake, enrolment and claim: each gets a verdict, none gets stuck."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zbl_provider.delivery.destination import Destination
from zbl_provider.dispatch.intake import candidate, read, read_one
from zbl_provider.exceptions import ConfigurationError
from zbl_provider.leads.payload import MAX_BODY_BYTES
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.store import DeliveryLog

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARK = "mqz7x"
MEGABYTE = "\N{LATIN SMALL LETTER E WITH ACUTE}" * (MAX_BODY_BYTES // 2)
ANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

CONTRACT_COLUMNS = (
    *("id", "email", "name", "first_name", "last_name", "phone", "company", "score", "status"),
    *("custom_fields", "verifications", "created_at", "qualified_at", "list_id", "list_name"),
    *("email_valid", "cnpj_status", "ip_risk_score"),
)

odd_text = st.text(st.characters(exclude_categories=()), max_size=30)  # half surrogate pairs too
texts = st.one_of(
    odd_text, st.sampled_from(["", " ", "\0", "\ud800", "NaN", "qualified", MEGABYTE])
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(2**63) - 1, 2**64]),
    st.floats(),
    st.decimals(),
    st.binary(max_size=20),
    st.binary(max_size=20).map(bytearray),
    st.binary(max_size=20).map(memoryview),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.complex_numbers(),
    st.builds(object),
    st.just(ValueError),
    texts,
)


class Deep(dict):
    """Nested so deeply that writers of JSON, and of examples, give up."""

    def __init__(self, levels):
        value: object = "x"
        for _ in range(levels):
            value = {"a": [value]}
        super().__init__(a=value)

    def _repr_pretty_(self, printer, _cycle):
        printer.text("Deep(…)")


values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(odd_text, st.integers()), inner, max_size=4),
        st.dictionaries(odd_text, inner, max_size=3).map(
            lambda value: json.dumps(value, default=str)
        ),
    ),
    max_leaves=8,
) | st.sampled_from([Deep(300), Deep(5000), "[" * 5000, '{"a": ' * 3000])
columns = st.lists(
    st.one_of(st.sampled_from(CONTRACT_COLUMNS), odd_text),
    max_size=8,
    unique_by=str.lower,
).map(lambda names: ["id", *(name for name in names if name.lower() != "id")])
tables = columns.flatmap(
    lambda names: st.tuples(
        st.just(names),
        st.lists(st.tuples(*(values for _ in names)), min_size=1, max_size=6),
    )
)
fields = st.one_of(
    st.sampled_from(
        ["email", "custom_fields.x", "verifications.ip_vpn", "list_id", "custom_fields"]
    ),
    odd_text,
)
field_maps = st.dictionaries(
    st.one_of(st.sampled_from(CONTRACT_COLUMNS), odd_text), fields, max_size=3
)
lines = st.one_of(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["city", "score", "verifications.ip_vpn", "custom_fields.x", "list.name"]),
        st.sampled_from(["equals", "not equals", "contains", "is empty", "is not empty", "like"]),
        odd_text,
    ),
    odd_text,
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "min_score": st.one_of(st.none(), st.integers(-5, 105), st.floats(), odd_text),
        "lists": st.one_of(st.none(), odd_text, st.lists(odd_text, max_size=3)),
        "field_filters": st.one_of(st.none(), lines, st.lists(lines, max_size=3)),
    },
)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    log = DeliveryLog(f"sqlite:///{tmp_path_factory.mktemp('fuzz') / 'log.db'}")
    log.upgrade()
    yield log
    log.close()


class Runs:
    """Numbers the runs, so that no example finds another's leads."""

    count = 0


def destination(extra):
    """Return an integration of its own for each example."""
    Runs.count += 1
    name = f"integration {Runs.count}"
    return Destination.parse(integration=name, host="https://example.com/hook", extra=extra)


def go_through(log, rows, target):
    """Enrol what was found and claim it; return the verdicts and what was claimed."""
    candidates = [candidate(lead, target) for lead in rows]
    run = log.begin(RunKey("dag", "task", target.integration), target.integration, 0, NOW)
    enrolment = log.enrol(run, target.integration, candidates, NOW)
    assert enrolment.new + enrolment.repeated == len(candidates)
    claimed = log.claim(target.integration, len(candidates), NOW, timedelta(minutes=1), run=run)
    return run, candidates, claimed


def check(log, rows, target):
    """See that each has a verdict, that what is to be sent can be, and that nothing is left."""
    run, candidates, claimed = go_through(log, rows, target)
    first = {judged.webhook_id: judged for judged in reversed(candidates)}
    for judged in first.values():
        assert judged.status in {Status.PENDING, Status.FILTERED, Status.INVALID}
        assert (judged.reason is None) == (judged.status is Status.PENDING)
        assert (judged.body is not None) == (judged.status is Status.PENDING)
    to_send = {
        judged.webhook_id: judged.body for judged in first.values() if judged.body is not None
    }
    assert {lead.webhook_id: lead.body for lead in claimed} == to_send
    for body in to_send.values():
        assert len(body) <= MAX_BODY_BYTES
        assert set(json.loads(body)) == {"event", "lead", "list"}
    assert sum(log.counts(run).values()) == len(first)


@ANY
@given(tables, field_maps, filters)
def test_any_row_gets_a_verdict(log, table, field_map, extra):
    """Types, sizes, nesting, encodings, names, maps, filters: typed, and never stuck (5.5, 6.2)."""
    names, rows = table
    try:
        target = destination(extra)
        leads = list(read(((names, row) for row in rows), field_map))
    except ConfigurationError:
        return  # a setting that cannot be: refused before anything is sent
    check(log, leads, target)


@ANY
@given(st.dictionaries(st.one_of(st.sampled_from([*CONTRACT_COLUMNS, "list"]), odd_text), values))
def test_any_single_lead_gets_a_verdict(log, given_lead):
    """Whatever `lead` holds, it is sent or says why not (Contract 4.1, 5.5)."""
    check(log, [read_one(given_lead)], destination({}))


secrets = st.one_of(
    st.just(MARK),
    odd_text.map(lambda text: f"{text}{MARK}"),
    st.just(MARK * 1000),
    st.just({MARK: MARK}),
    st.just([MARK, math.nan]),
    st.just(json.dumps({"a": MARK})),
    st.just(MARK.encode() + b"\xff"),
)


@ANY
@given(
    st.dictionaries(st.sampled_from(CONTRACT_COLUMNS[1:]), secrets, min_size=1, max_size=6),
    st.sampled_from([None, "city equals New York", f"name equals {MARK}", "score is empty"]),
)
def test_a_verdict_shows_no_value(log, row, line):
    """The reason names path and rule, never what was found there (Contract 5.5, 4.3)."""
    row = {"id": "1", **row}
    target = destination({"field_filters": [line] if line else None, "min_score": 50})
    leads = [*read([(list(row), list(row.values()))], None), read_one(row)]
    run, candidates, _ = go_through(log, leads, target)
    reasons = [judged.reason or "" for judged in candidates]
    reasons += [failed.reason or "" for failed in log.first_failed(run)]
    filtered_by = {line} if line and MARK in line else set()
    for reason in reasons:
        assert MARK not in reason.replace(f"{filtered_by and line}", ""), reason


@pytest.mark.parametrize("size", [MAX_BODY_BYTES, MAX_BODY_BYTES + 1])
def test_a_body_over_a_mebibyte_is_invalid(log, size):
    """One byte too many is invalid, and not sent; a body that fits is sent (Contract 5.5)."""
    target = destination({})
    bare = len(candidate(read_one({"id": "1", "note": ""}), target).body)
    lead = read_one({"id": "1", "note": "x" * (size - bare)})
    _, [verdict], claimed = go_through(log, [lead], target)
    if size > MAX_BODY_BYTES:
        assert (verdict.status, claimed) == (Status.INVALID, [])
    else:
        assert [len(lead.body) for lead in claimed] == [MAX_BODY_BYTES]


def test_the_same_row_gets_the_same_verdict(log):
    """What cannot be read is told from what has changed, each time (Contract 5.5)."""
    odd = {"id": 1, "x": object(), "d": Decimal("NaN"), "u": UUID(int=1), "t": date(2026, 1, 1)}
    verdicts = {candidate(read_one(odd), destination({})).fingerprint for _ in range(3)}
    assert len(verdicts) == 1
