"""Rows and dicts become leads."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping
from datetime import datetime, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.exceptions import ConfigurationError, InvalidLead
from zbl_provider.leads.columns import VERIFICATIONS, FieldMap
from zbl_provider.leads.lead import Lead, RowReader, read_lead, read_row

MARKER = "s3cr3t-m4rk3r"


def test_columns_map_by_name(row):
    """Columns named as the contract's fields map by name, and others are custom fields (4.2)."""
    lead = read_row(row)
    assert lead.id == "lead-uuid"
    assert lead.email == "john@company.com"
    assert lead.score == 85
    assert lead.status == "qualified"
    assert lead.custom_fields == {"job_title": "Sales Director", "city": "New York"}
    assert lead.verifications["cnpj_status"] == "Active"
    assert lead.list_id == "list-uuid"
    assert lead.created_at == "2026-02-23T14:30:00Z"


def test_upper_case_columns(row):
    """Upper-case columns map to the same fields, and custom fields keep their spelling (4.2)."""
    lead = read_row({name.upper(): value for name, value in row.items()})
    expected = read_row(row)
    assert lead.custom_fields == {"JOB_TITLE": "Sales Director", "CITY": "New York"}
    assert lead.verifications == expected.verifications
    assert (lead.id, lead.email, lead.list_name) == (
        expected.id,
        expected.email,
        expected.list_name,
    )


def test_what_is_unknown_is_none():
    """A row that has an id alone is a lead of which everything else is unknown (2.2)."""
    assert read_row({"id": 7}) == Lead(
        id="7", status="qualified", custom_fields={}, verifications=dict.fromkeys(VERIFICATIONS)
    )


def test_a_row_of_nulls(row):
    """NULL in every column but the id is unknown, and custom fields keep their keys (2.2)."""
    lead = read_row({**dict.fromkeys(row), "id": 7})
    assert lead == Lead(
        id="7",
        custom_fields={"job_title": None, "city": None},
        verifications=dict.fromkeys(VERIFICATIONS),
    )


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({"id": 1}, "qualified"),
        ({"id": 1, "status": None}, None),
        ({"id": 1, "STATUS": ""}, None),
        ({"id": 1, "status": "new"}, "new"),
    ],
)
def test_status(row, status):
    """A missing status column means that the query has chosen; a NULL in it does not (4.2)."""
    assert read_row(row).status == status


@pytest.mark.parametrize("row", [{}, {"email": "a@b"}, {"id": None}, {"id": ""}, {"id": "  "}])
def test_a_lead_without_an_id(row):
    """A missing, NULL or blank id makes the lead invalid (5.5)."""
    with pytest.raises(InvalidLead) as error:
        read_row(row)
    assert error.value.args == ("lead.id", "must be there and not be empty")


@pytest.mark.parametrize(
    ("row", "name", "custom_fields"),
    [
        ({"first_name": "John", "last_name": "Smith"}, "John Smith", {}),
        ({"LAST_NAME": " Smith", "FIRST_NAME": "John "}, "John Smith", {}),
        ({"first_name": "John", "last_name": None}, "John", {}),
        ({"last_name": "Smith"}, "Smith", {}),
        ({"first_name": None, "last_name": " "}, None, {}),
        (
            {"first_name": "John", "name": "J. Smith", "last_name": "Smith"},
            "J. Smith",
            {"first_name": "John", "last_name": "Smith"},
        ),
        (
            {"first_name": "John", "last_name": "Smith", "name": None},
            "John Smith",
            {"first_name": "John", "last_name": "Smith"},
        ),
    ],
)
def test_first_and_last_name(row, name, custom_fields):
    """First and last name make up a missing name, and are not lost where there is one (4.2)."""
    lead = read_row({"id": 1, **row})
    assert lead.name == name
    assert lead.custom_fields == custom_fields


def test_json_columns_are_merged_in():
    """JSON columns are merged, and a column of its own that is not NULL wins (4.2)."""
    lead = read_row(
        {
            "id": 1,
            "city": None,
            "plan": "gold",
            "custom_fields": '{"city": "Lyon", "plan": "free", "tags": ["a"]}',
            "verifications": {"email_valid": 1, "ip_vpn": "false", "ip_proxy": True, "other": 3},
            "ip_proxy": 0,
            "email_valid": None,
        }
    )
    assert lead.custom_fields == {"city": "Lyon", "plan": "gold", "tags": ["a"], "other": 3}
    assert lead.verifications == {
        **dict.fromkeys(VERIFICATIONS),
        "email_valid": True,
        "ip_vpn": False,
        "ip_proxy": False,
    }


def test_the_source_is_left_alone():
    """Reading a row changes neither the row nor the objects in it (4.2)."""
    source = {"id": 1, "city": "Lyon", "custom_fields": {"a": 1}, "verifications": {"other": 1}}
    before = json.dumps(source)
    read_row(source)
    read_lead(source)
    assert json.dumps(source) == before


def test_field_map_renames():
    """field_map renames columns to fields, verifications and custom fields, in any case (4.2)."""
    field_map = {
        "lead_no": "id",
        "mail": "email",
        "checked": "verifications.email_valid",
        "proxied": "ip_proxy",
        "town": "custom_fields.city",
        "campaign": "list.name",
        "email": "custom_fields.other.email",
        "extra": "custom_fields",
        "given": "first_name",
    }
    row = {
        "LEAD_NO": 1,
        "mail": "a@b",
        "checked": 1,
        "proxied": 0,
        "town": "Lyon",
        "campaign": "Ads",
        "email": "c@d",
        "extra": {"x": 1},
        "given": "John",
    }
    lead = read_row(row, field_map)
    assert (lead.id, lead.email, lead.name, lead.list_name) == ("1", "a@b", "John", "Ads")
    assert lead.verifications["email_valid"] is True
    assert lead.verifications["ip_proxy"] is False
    assert lead.custom_fields == {"x": 1, "city": "Lyon", "other.email": "c@d"}


@pytest.mark.parametrize(
    ("field_map", "problem"),
    [
        ({"mail": "emial"}, "'emial' is not a field"),
        ({"mail": "verifications.nope"}, "'verifications.nope' is not a field"),
        ({"mail": "custom_fields."}, "'custom_fields.' is not a field"),
        ({"mail": None}, "is not a field"),
        ({"mail": ["email"]}, "is not a field"),
        ({"mail": "email", "MAIL2": "email"}, "both fill email"),
        ({"mail": "list_id", "mail2": "list.id"}, "both fill list_id"),
        ({"gone": "email"}, "no column 'gone'"),
        ({"gone": "email", "mail": "phone"}, "no column 'gone'"),
        ({"mail": "id"}, "'id' and 'mail' both fill id"),
        ({3: "email"}, "a column's name is not text"),
        ("mail", "not a mapping"),
    ],
)
def test_a_field_map_that_cannot_work(field_map, problem):
    """A field_map with an unknown field or two columns for one names field_map (4.2)."""
    with pytest.raises(ConfigurationError) as error:
        RowReader(["id", "mail", "mail2"], field_map)
    assert error.value.field == "field_map"
    assert problem in str(error.value)


@pytest.mark.parametrize("columns", [["id", "ID"], ["id", "x", "x"], ["id", 3]])
def test_columns_that_cannot_be_told_apart(columns):
    """Two columns for one field are refused, since either might be the wrong one (4.2)."""
    with pytest.raises(ConfigurationError, match="field_map"):
        RowReader(columns)


def test_read_row_refuses_a_bad_field_map():
    """read_row refuses a bad field_map as the reader does, whatever is in it (4.2)."""
    with pytest.raises(ConfigurationError, match="field_map"):
        read_row({"id": 1}, {"id": ["email"]})


def test_field_map_is_checked_without_rows():
    """A field_map can be checked before any query runs (4.2)."""
    assert FieldMap.parse(None).targets == {}
    with pytest.raises(ConfigurationError, match="field_map"):
        FieldMap.parse({"a": "nope"})


def test_a_reader_wants_every_value():
    """A row with more or fewer values than columns is a programming error (4.2)."""
    with pytest.raises(ValueError, match="1 values for 2 columns"):
        RowReader(["id", "email"])([1])


@pytest.mark.parametrize(
    ("values", "lead_id"),
    [((42, "never"), "42"), ((None, "never"), None), (("a\x00", None), None)],
)
def test_the_id_of_an_invalid_row(values, lead_id):
    """The id of a row that cannot be read is found, so that the log can name the lead (4.7)."""
    assert RowReader(["id", "created_at"]).lead_id(values) == lead_id


def test_no_id_without_its_column():
    """Without an id column no row has an id (4.7)."""
    assert RowReader(["email"]).lead_id(["a@b"]) is None


def test_deep_values():
    """Values nested beyond reason make the lead invalid and crash nothing (5.5)."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidLead, match="must not nest"):
        read_row({"id": 1, "x": deep})


class _Zone(tzinfo):
    """A zone that cannot be worked out for any time."""

    def utcoffset(self, _moment):
        raise LookupError(MARKER)


class _Lazy(Mapping):
    """An object of a driver that reads its members only when it is asked."""

    def __getitem__(self, key):
        raise BufferError(MARKER)

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("x", _Lazy()),
        ("created_at", datetime(2026, 2, 23, tzinfo=_Zone())),
        ("custom_fields", _Lazy()),
    ],
)
def test_whatever_a_drivers_types_do_the_row_is_invalid(column, value):
    """A value that cannot be read ends its own row, and is not shown (4.9 and 5.5)."""
    with pytest.raises(InvalidLead, match="must have values that can be read") as error:
        read_row({"id": 1, column: value})
    assert error.value.__context__ is None
    assert RowReader(["id", "x"]).lead_id([datetime(2026, 2, 23, tzinfo=_Zone()), 1]) is None


def test_read_lead_takes_the_payloads_words(example):
    """A dict of the payload's lead fields plus list is the same lead as its row (4.1)."""
    lead = read_lead({**example["lead"], "list": example["list"]})
    assert lead.custom_fields == example["lead"]["custom_fields"]
    assert lead.verifications == example["lead"]["verifications"]
    assert (lead.list_id, lead.list_name) == ("list-uuid", "Google Ads Campaign")


@pytest.mark.parametrize(
    ("lead_list", "expected"),
    [
        (None, (None, None)),
        ({}, (None, None)),
        ({"id": 7}, ("7", None)),
        ({"name": "Ads"}, (None, "Ads")),
    ],
)
def test_a_list_may_be_unknown(lead_list, expected):
    """The list, its id and its name may each be unknown (2.2)."""
    lead = read_lead({"id": 1, "list": lead_list})
    assert (lead.list_id, lead.list_name) == expected


@pytest.mark.parametrize(
    ("lead", "path"),
    [
        ({"id": 1, "list": "Ads"}, "list"),
        ({"id": 1, "list": {"id": 1, "colour": 2}}, "list"),
        ({"id": 1, "list": {"id": 1}, "list_id": 2}, "list"),
        ("lead", "lead"),
        (None, "lead"),
        ({}, "lead.id"),
        ({"id": 1, "": "x"}, "lead"),
        ({"id": 1, " ": "x"}, "lead"),
        ({"id": 1, 5: "x"}, "lead"),
        ({"id": 1, "name": "a", "NAME": "b"}, "lead"),
        ({"id": 1, "list": {"id": True}}, "list.id"),
    ],
)
def test_a_malformed_lead(lead, path):
    """A dict that is not of the payload's shape is invalid, naming the place (4.1, 5.5)."""
    with pytest.raises(InvalidLead) as error:
        read_lead(lead)
    assert error.value.path == path


def test_unknown_keys_are_custom_fields():
    """Unknown keys of a lead become custom fields, as a row's columns do (4.1)."""
    assert read_lead({"id": 1, "city": "Lyon", "custom_fields": {"a": 1}}).custom_fields == {
        "a": 1,
        "city": "Lyon",
    }


def test_a_lead_keeps_to_itself(row):
    """A lead's repr shows its id and nothing personal, and it can be pickled (1.5)."""
    lead = read_row(row)
    assert repr(lead) == "Lead(id='lead-uuid')"
    assert pickle.loads(pickle.dumps(lead)) == lead


_BAD = st.sampled_from(
    [
        {"city": {MARKER: math.nan}},
        [MARKER, math.inf],
        MARKER,
        {1: MARKER},
        (MARKER, object()),
        f'{{"city": [{{"{MARKER}": NaN}}]}}',
        f"[{MARKER}",
        f"{MARKER}\x00",
        MARKER * 100,
    ]
)
_COLUMNS = ["id", "email", "score", "created_at", "qualified_at", "list_id", "custom_fields"]


@given(
    st.fixed_dictionaries(
        {"id": _BAD | st.just(1)},
        optional=dict.fromkeys([*_COLUMNS[1:], "verifications", "ip_vpn", "city", "list"], _BAD),
    )
)
def test_an_error_never_carries_a_value(lead):
    """InvalidLead, and what hangs on it, name the place and the rule, never the value (5.5)."""
    for read in (read_row, read_lead):
        error = _error_of(read, lead)
        text = f"{error} {error!r} {error and error.args}"
        assert MARKER not in text
        assert error is None or (error.__context__ is None and error.__cause__ is None)


def _error_of(read, lead):
    try:
        read(lead)
    except InvalidLead as error:
        return error
    return None


def test_verifications_in_capitals_are_verifications():
    """A database that writes names in capitals does so within JSON, too (4.2)."""
    lead = read_row(
        {"ID": 1, "VERIFICATIONS": '{"EMAIL_VALID": "sim", "IP_RISK_SCORE": 5, "SEAL": 1}'}
    )
    assert lead.verifications["email_valid"] is True
    assert lead.verifications["ip_risk_score"] == 5
    assert lead.custom_fields == {"SEAL": 1}


def test_each_name_of_a_field_map_is_used():
    """Names that differ by case are two columns, or one of them is refused (4.2)."""
    field_map = {"Town": "phone", "TOWN": "company"}
    lead = read_row({"id": 1, "TOWN": "b", "Town": "a"}, field_map)
    assert (lead.phone, lead.company) == ("a", "b")
    with pytest.raises(ConfigurationError, match="there is no column 'TOWN'"):
        read_row({"id": 1, "Town": "a"}, field_map)
    assert read_row({"id": 1, "TOWN": "a"}, {"town": "phone"}).phone == "a"


def test_what_an_import_leaves_around_a_name_is_no_part_of_it():
    """A byte order mark or blanks around a column's name hide no field of the contract (4.2)."""
    row = {"\ufeffid": 1, " email": "a@b", "Name ": "Ana", " City ": "Lyon", "o\u0301": "x"}
    lead = read_row(row, {"ó": "company", "city": "custom_fields.city"})
    assert (lead.id, lead.email, lead.name, lead.company) == ("1", "a@b", "Ana", "x")
    assert lead.custom_fields == {"city": "Lyon"}
    assert read_row({"id": 1, " Note ": "x"}).custom_fields == {" Note ": "x"}
    with pytest.raises(ConfigurationError, match="' email' both fill email"):
        read_row({"id": 1, "email": "a@b", " email": "c@d"})
