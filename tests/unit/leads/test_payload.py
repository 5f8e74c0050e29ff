"""Leads become bytes and ids."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.exceptions import InvalidLead
from zbl_provider.leads.lead import read_lead, read_row
from zbl_provider.leads.payload import document, encode, fingerprint, sample, webhook_id
from zbl_provider.leads.schema import violation

EXAMPLE = (Path(__file__).parent / "lead.qualified.example.json").read_text(encoding="utf-8")
NOW = datetime(2026, 2, 23, 14, 30, 2, tzinfo=UTC)


def test_a_row_becomes_the_example(row):
    """A row with the example's values is sent as the example, its keys in the same order (2.1)."""
    body = encode(document(read_row(row)))
    assert body == json.dumps(json.loads(EXAMPLE), separators=(",", ":")).encode()


def test_a_dict_becomes_the_example():
    """The example's own lead and list, as a dict, are sent as the example (4.1)."""
    example = json.loads(EXAMPLE)
    lead = read_lead({**example["lead"], "list": example["list"]})
    assert encode(document(lead)).decode() == json.dumps(example, separators=(",", ":"))


def test_every_key_is_always_there():
    """A lead of which nothing is known but its id has every key of the example (2.2)."""
    example = json.loads(EXAMPLE)
    payload = document(read_row({"id": 1}))
    assert list(payload) == list(example)
    assert list(payload["lead"]) == list(example["lead"])
    assert list(payload["lead"]["verifications"]) == list(example["lead"]["verifications"])
    assert payload["lead"]["custom_fields"] == {}
    assert payload["list"] is None


def test_half_a_list():
    """A list of which only the name is known keeps its id as null (2.2)."""
    assert document(read_row({"id": 1, "list_name": "Ads"}))["list"] == {"id": None, "name": "Ads"}


def test_the_body_is_utf8():
    """The body is UTF-8 and not escaped ASCII (2.1)."""
    assert "São João 😀".encode() in encode(document(read_row({"id": 1, "name": "São João 😀"})))


@pytest.mark.parametrize("depth", [300, 900])
def test_what_cannot_be_written_out(depth):
    """Values nested too deeply to be written make the lead invalid, whoever notices first (5.5)."""
    deep: object = 1
    for _ in range(depth):
        deep = [deep]
    with pytest.raises(InvalidLead):
        encode(document(read_row({"id": 1, "x": deep})))


def test_half_a_surrogate():
    """Text that is not Unicode makes the lead invalid, without quoting it (5.5)."""
    with pytest.raises(InvalidLead) as error:
        encode(document(read_row({"id": 1, "x": "m4rk3r\ud800"})))
    assert "m4rk3r" not in f"{error.value!r}"
    assert error.value.__context__ is None


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**64 - 1)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3)
            ),
            max_leaves=10,
        ),
        max_size=4,
    )
)
def test_custom_fields_survive(custom_fields):
    """Custom fields keep their JSON types on the way to the receiver (2.2)."""
    lead = read_row({"id": 1, "custom_fields": custom_fields})
    sent = json.loads(encode(document(lead)))["lead"]["custom_fields"]
    assert json.dumps(sent) == json.dumps(custom_fields)


@pytest.mark.parametrize(
    ("integration", "lead_id", "expected"),
    [
        ("zbl_webhook_default", "lead-uuid", "msg_b649409fa28b18e151daba556f28016baa17be66"),
        ("crm", "é", "msg_386ebb8ea6fba08b8276090884173bb767b4f3da"),
    ],
)
def test_webhook_id_is_for_ever(integration, lead_id, expected):
    """A lead's webhook-id is this one for ever: a change would send every lead again (2.3)."""
    assert webhook_id(integration, lead_id) == expected


@given(
    st.lists(
        st.tuples(st.text("a1:", max_size=4), st.text("a1:", max_size=4)), min_size=2, unique=True
    )
)
def test_webhook_ids_differ(pairs):
    """No two pairs of integration and lead share a webhook-id, however they are cut (2.3)."""
    ids = {webhook_id(*pair) for pair in pairs}
    assert len(ids) == len(pairs)
    assert all(re.fullmatch(r"msg_[0-9a-f]{40}", id_) for id_ in ids)


def test_fingerprint():
    """A payload's fingerprint is short, stable, and another when the payload changes (5.5)."""
    assert fingerprint(b"{}") == "2afb9b83f9314e5d029766197f539792"
    assert fingerprint(b"{ }") != fingerprint(b"{}")


def test_the_sample(example):
    """The sample lead is valid, has the example's full shape, and an id of test- (1.6)."""
    payload = sample("test-42", NOW.astimezone(timezone(timedelta(hours=5))))
    assert violation(payload) is None
    assert payload["lead"]["id"] == "test-42"
    assert payload["lead"]["qualified_at"] == "2026-02-23T14:30:02Z"
    assert payload["lead"] == {**example["lead"], "id": "test-42"}
    assert list(payload["lead"]) == list(example["lead"])
    assert set(payload["list"]) == set(example["list"])


def test_the_sample_is_recognisable():
    """The sample's id begins with test- whatever id it is given (1.6)."""
    assert sample("42", NOW)["lead"]["id"] == "test-42"


def test_no_null_stands_in_for_nan():
    """NaN is refused before it could be sent as null (2.2)."""
    with pytest.raises(InvalidLead):
        encode(document(read_row({"id": 1, "x": math.nan})))


@pytest.mark.parametrize("depth", [252, 300])
def test_what_is_nested_too_deeply_is_named(depth):
    """The message names the field and how deep it may go, not what it holds (5.5)."""
    deep = []
    for _ in range(depth - 1):
        deep = [deep]
    rule = r"lead\.custom_fields\.tags must not nest its values over 254 deep"
    with pytest.raises(InvalidLead, match=rule):
        encode(document(read_row({"id": 1, "city": "Lyon", "tags": deep})))
