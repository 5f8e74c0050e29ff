"""The packaged schema and its verdict, with jsonschema-rs and without."""

from __future__ import annotations

import copy
import json
import socket
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from zbl_provider.exceptions import InvalidLead
from zbl_provider.leads import schema
from zbl_provider.leads.lead import read_row
from zbl_provider.leads.payload import MAX_BODY_BYTES, document, sample
from zbl_provider.leads.schema import check_size, schema_text, violation

MARKER = "s3cr3t-m4rk3r"
NOW = datetime(2026, 2, 23, 14, 30, tzinfo=UTC)
SCHEMA = json.loads(schema_text())
REFERENCE = Draft202012Validator(SCHEMA)

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_MAYBE_TEXT = st.none() | _TEXT.filter(bool)
_MAYBE_TRUE = st.none() | st.booleans()
_TIME = st.none() | st.datetimes().map(lambda time: time.isoformat(timespec="seconds") + "Z")
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
)
_ID = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=255)
_VALID = st.fixed_dictionaries(
    {
        "event": st.just("lead.qualified"),
        "lead": st.fixed_dictionaries(
            {
                "id": _ID,
                "email": st.none() | _TEXT.map("a@b{}".format),
                "name": _MAYBE_TEXT,
                "phone": _MAYBE_TEXT,
                "company": _MAYBE_TEXT,
                "score": st.none() | st.integers(0, 100) | st.floats(0, 100),
                "status": st.just("qualified"),
                "custom_fields": st.dictionaries(_TEXT.filter(bool), _JSON, max_size=4),
                "verifications": st.fixed_dictionaries(
                    {
                        "email_valid": _MAYBE_TRUE,
                        "phone_valid": _MAYBE_TRUE,
                        "cnpj_valid": _MAYBE_TRUE,
                        "cnpj_status": _MAYBE_TEXT,
                        "ip_risk_score": st.none() | st.integers(),
                        "ip_proxy": _MAYBE_TRUE,
                        "ip_vpn": _MAYBE_TRUE,
                    }
                ),
                "created_at": _TIME,
                "qualified_at": _TIME,
            }
        ),
        "list": st.none() | st.fixed_dictionaries({"id": _MAYBE_TEXT, "name": _MAYBE_TEXT}),
    }
)
# What each place is most likely to get wrong, beside any other JSON.
_WRONG = _JSON | st.sampled_from(
    [
        "",
        " ",
        "@",
        "a@",
        "a@\n",
        "x" * 256,
        "x" * 1001,
        "\x00",
        "\u2028",
        "2026-02-23T14:30:00Z\n",
        "2026-02-23T14:30:00+00:00",
        "2026-02-23 14:30:00Z",
        "2026-13-23T14:30:00Z",
        "٢٠٢٦-02-23T14:30:00Z",
        "Qualified",
        "qualified\n",
        -1,
        101,
        100.0000001,
        1e308,
        10**30,
        True,
        0,
        1.0,
    ]
)


@st.composite
def _mutated(draw):
    payload = copy.deepcopy(draw(_VALID))
    places = [
        payload,
        payload["lead"],
        payload["lead"]["verifications"],
        payload["lead"]["custom_fields"],
    ]
    place = draw(st.sampled_from(places + ([payload["list"]] if payload["list"] else [])))
    action = draw(st.sampled_from(["set", "drop", "add"]))
    if action == "add" or not place:
        place[draw(_TEXT)] = draw(_WRONG)
    elif action == "set":
        place[draw(st.sampled_from(sorted(place)))] = draw(_WRONG)
    else:
        del place[draw(st.sampled_from(sorted(place)))]
    return payload


def test_the_schema_is_a_schema():
    """The packaged schema is itself valid draft 2020-12, and refers to nothing outside (5.5)."""
    Draft202012Validator.check_schema(SCHEMA)
    assert "$ref" not in schema_text()


def test_the_example_is_valid(example):
    """The contract's example is valid (5.5)."""
    assert violation(example) is None


@given(_VALID)
def test_valid_documents(payload):
    """The fast validator and the reference one both accept every valid document (5.5)."""
    REFERENCE.validate(payload)
    assert violation(payload) is None


@given(_mutated())
def test_the_verdict_is_the_references(payload):
    """A document is valid where the reference validator finds it so (5.5)."""
    assert (violation(payload) is None) == REFERENCE.is_valid(payload)


@pytest.fixture(scope="module")
def without_the_accelerator():
    """Give `violation` as it is where jsonschema-rs is not installed."""

    def judge(payload):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "_quick_gate", lambda: lambda _found: False)
            return violation(payload)

    return judge


_ANY = _VALID | _mutated()
_LARGE = st.sampled_from([2**63, -(2**63), 2**64 - 1, 10**30, 1e308])


@given(_ANY, st.none() | _LARGE)
def test_one_verdict_with_and_without_the_accelerator(without_the_accelerator, payload, large):
    """Path, rule and verdict are the same where jsonschema-rs is not installed (5.5)."""
    if large is not None and isinstance(payload.get("lead"), dict):
        payload["lead"]["custom_fields"] = {"large": large}
    quick, slow = violation(payload), without_the_accelerator(payload)
    assert (quick and quick.args) == (slow and slow.args)


def test_jsonschema_judges_where_the_accelerator_is_absent(monkeypatch, example):
    """Without jsonschema-rs the reference judges, and explains (5.5)."""
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    schema._quick_gate.cache_clear()
    try:
        assert violation(example) is None
        example["lead"]["score"] = 101
        assert violation(example).args == ("lead.score", "must be at most 100")
    finally:
        schema._quick_gate.cache_clear()


@given(_mutated())
def test_the_path_is_where_the_reference_finds_a_fault(payload):
    """The path of a violation is one at which the reference validator finds a fault (5.5)."""
    error = violation(payload)
    if error is not None:
        paths = {
            ".".join(map(str, fault.absolute_path)) or "body"
            for fault in REFERENCE.iter_errors(payload)
        }
        assert error.path in paths


@pytest.mark.parametrize(
    ("change", "path", "rule"),
    [
        ({"score": "high"}, "lead.score", "must be a number or null"),
        ({"score": 101}, "lead.score", "must be at most 100"),
        ({"score": -1}, "lead.score", "must be at least 0"),
        ({"status": "new"}, "lead.status", "must be qualified"),
        ({"email": "nobody"}, "lead.email", "must have an @ between two parts"),
        ({"email": "a@" + "b" * 320}, "lead.email", "must be at most 320 characters long"),
        ({"id": ""}, "lead.id", "must be at least 1 characters long"),
        ({"id": "a\n"}, "lead.id", "must not contain control characters"),
        ({"custom_fields": []}, "lead.custom_fields", "must be an object"),
        ({"custom_fields": {"": 1}}, "lead.custom_fields", "must have names that are not empty"),
        ({"created_at": "now"}, "lead.created_at", "must be a time like 2026-02-23T14:30:00Z"),
        ({MARKER: 1}, "lead", "must have no keys but those of the contract"),
    ],
)
def test_a_violation_names_path_and_rule(example, change, path, rule):
    """An invalid document is refused with the path and the rule in plain words (5.5)."""
    example["lead"].update(change)
    error = violation(example)
    assert error is not None
    assert error.args == (path, rule)


def test_a_missing_key(example):
    """A document without one of the contract's keys is invalid (2.2, 5.5)."""
    del example["lead"]["phone"]
    error = violation(example)
    assert error is not None
    assert error.args == ("lead", "must have every key of the contract")


def test_a_nested_violation(example):
    """The path leads into nested objects (5.5)."""
    example["lead"]["verifications"]["ip_vpn"] = 2
    example["list"]["id"] = "x"
    error = violation(example)
    assert error is not None
    assert str(error) == "lead.verifications.ip_vpn must be true or false or null"


def _places(payload):
    lead = payload["lead"]
    return [
        *[(lead, key) for key in lead],
        *[(lead["verifications"], key) for key in lead["verifications"]],
        (payload, "event"),
        (payload, "list"),
        (payload, MARKER),
        (lead, MARKER),
        (lead["verifications"], MARKER),
    ]


@given(
    st.integers(0, 22),
    st.sampled_from([MARKER, MARKER * 200, [MARKER], {MARKER: MARKER}, {"": MARKER}]),
)
def test_a_violation_never_carries_a_value(index, wrong):
    """A violation shows neither the value nor a key that was not expected (5.5)."""
    payload = sample("test-1", NOW)
    place, key = _places(payload)[index]
    place[key] = wrong
    error = violation(payload)
    assert MARKER not in f"{error} {error!r}"
    assert error is None or error.__context__ is None


@pytest.mark.parametrize("email", [object(), "a@\ud800", 2**5000])
def test_what_is_no_json(example, email):
    """A document that is not JSON is invalid and no crash (5.5)."""
    example["lead"]["email"] = email
    error = violation(example)
    assert isinstance(error, InvalidLead)
    assert error.__context__ is None


def test_validation_needs_no_network(monkeypatch, example):
    """Validation opens no socket, so that a firewall never holds back a lead (5.5)."""
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert violation(example) is None


def test_what_reading_lets_through():
    """What reading leaves to the schema is refused by it: a boolean that is none (5.5)."""
    error = violation(document(read_row({"id": 1, "email_valid": "perhaps"})))
    assert str(error) == "lead.verifications.email_valid must be true or false or null"


def test_the_largest_body():
    """A body of 1 MiB is valid, and one byte more is not (5.5)."""
    assert check_size(b"x" * MAX_BODY_BYTES) is None
    error = check_size(b"x" * (MAX_BODY_BYTES + 1))
    assert error is not None
    assert error.args == ("body", "must be at most 1048576 bytes long")
