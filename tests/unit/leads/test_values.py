"""The JSON form of each Python value."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Network
from types import MappingProxyType
from unicodedata import normalize
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.exceptions import InvalidLead
from zbl_provider.leads.values import (
    PaddedText,
    Undecodable,
    as_boolean,
    as_email,
    as_identifier,
    as_json,
    as_number,
    as_object,
    as_text,
    as_time,
    as_word,
    field_path,
)

BRASILIA = timezone(timedelta(hours=-3))


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    HIGH = 3


class Stage(StrEnum):
    WON = "won"


class OldStage(str, Enum):  # noqa: UP042  the older spelling, whose str() is the member's name
    WON = "won"


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, None),
        (True, True),
        ("", ""),
        (7, 7),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (2**64, "18446744073709551616"),
        (1.5, 1.5),
        (Decimal(85), 85),
        (Decimal("12.50"), 12.5),
        (Decimal("5E+2"), 500),
        (Decimal("0.1000000000000000055"), "0.1000000000000000055"),
        (Decimal(12345678901234567890123), "12345678901234567890123"),
        (Decimal("1E+1000000"), "1E+1000000"),
        (datetime.fromisoformat("2026-02-23T14:30:00.999999"), "2026-02-23T14:30:00Z"),
        (datetime(2026, 2, 23, 11, 30, tzinfo=BRASILIA), "2026-02-23T14:30:00Z"),
        (date(2026, 2, 23), "2026-02-23"),
        (time(14, 30), "14:30:00"),
        (timedelta(minutes=1), 60),
        (timedelta(milliseconds=1500), 1.5),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (IPv4Address("10.0.0.1"), "10.0.0.1"),
        (IPv4Interface("10.0.0.1/8"), "10.0.0.1/8"),
        (IPv6Network("fc00::/7"), "fc00::/7"),
        (b"\x00\xff", "AP8="),
        (bytearray(b"\x00\xff"), "AP8="),
        (memoryview(b"\x00\xff"), "AP8="),
        (Colour.RED, 1),
        (Level.HIGH, 3),
        (Stage.WON, "won"),
        (OldStage.WON, "won"),
        ([1, Decimal("2.5"), None], [1, 2.5, None]),
        ((1, "a"), [1, "a"]),
        (set("hgfedcba"), list("abcdefgh")),
        (frozenset({2}), [2]),
        ({"a": {"b": [UUID(int=1)]}}, {"a": {"b": ["00000000-0000-0000-0000-000000000001"]}}),
        (MappingProxyType({"a": 2**70}), {"a": str(2**70)}),
        ({1: "a", 2.5: "b"}, {"1": "a", "2.5": "b"}),
        (
            {date(2026, 2, 23): {UUID(int=1): 1}},
            {"2026-02-23": {"00000000-0000-0000-0000-000000000001": 1}},
        ),
        ({False: 1}, {"false": 1}),
        (memoryview(b"abcd")[::2], "YWM="),
    ],
)
def test_every_documented_type_has_its_form(value, form):
    """A column's value takes the JSON form that the module's table says (2.2)."""
    written = as_json(value, "lead.custom_fields.x")
    assert written == form
    assert type(written) is type(form)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (math.nan, "must be a finite number"),
        (math.inf, "must be a finite number"),
        (Decimal("NaN"), "must be a finite number"),
        (Decimal("sNaN"), "must be a finite number"),
        (Decimal("-Infinity"), "must be a finite number"),
        ({"a": [1, math.nan]}, "must be a finite number"),
        ({None: "a"}, "must have names that are text"),
        ({(1, 2): "a"}, "must have names that are text"),
        ({1: "a", "1": "b"}, "must have each name once; as text, two of them are the same"),
        (object(), "must have a JSON form; the type object has none"),
        pytest.param(1 << 100_000, "must be a number of at most 1024 bits", id="long"),
    ],
)
def test_a_value_without_a_form_is_refused(value, rule):
    """NaN, infinity and unknown types make a lead invalid, naming the rule (2.2, 5.5)."""
    with pytest.raises(InvalidLead) as error:
        as_json(value, "lead.custom_fields")
    assert error.value.path.startswith("lead.custom_fields")
    assert error.value.rule == rule


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_never_rounded(value):
    """A Decimal's form is the very same number, as a number or as text (2.2)."""
    form = as_json(value, "x")
    assert Decimal(repr(form) if isinstance(form, float) else form) == value


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_stays_as_it_is(value):
    """What is JSON already keeps its types and its order (2.2)."""
    form = as_json(value, "x")
    assert form == value
    assert json.dumps(form) == json.dumps(value)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (" John ", " John "),
        ("", None),
        (" \t", None),
        (None, None),
        (5511999999999, "5511999999999"),
        (5511999999999.0, "5511999999999"),
        (Decimal(5511999999999), "5511999999999"),
        (True, True),
        (["a"], ["a"]),
    ],
)
def test_text_fields(value, form):
    """A text field takes a number's digits for text, and blank for unknown (2.2)."""
    assert as_text(value, "lead.phone") == form


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("a-1", "a-1"),
        (" a", " a"),
        (42, "42"),
        (42.0, "42"),
        (Decimal("42.00"), "42"),
        (Decimal(1234567890123456800), "1234567890123456800"),
        (Decimal("1E+20"), "1" + "0" * 20),
        (Decimal("1.234567E+30"), "1234567" + "0" * 24),
        (Decimal(12345678901234567890123456789012345678), "1234567890" * 3 + "12345678"),
        (2**70, str(2**70)),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"a-1", "a-1"),
        ("é".encode(), "é"),
        (PaddedText("a1  "), "a1  "),
        ("é" * 255, "é" * 255),
        (date(2026, 2, 23), "2026-02-23"),
        (datetime(2026, 2, 23, 11, 30, tzinfo=BRASILIA), "2026-02-23T14:30:00Z"),
        (datetime(2026, 2, 23, 11, 30, 0, 50, tzinfo=BRASILIA), "2026-02-23T14:30:00.000050Z"),
        (None, None),
        ("  ", None),
    ],
)
def test_ids_are_text(value, form):
    """An id is text whatever the column's type, and the same from every numeric one (2.2)."""
    assert as_identifier(value, "lead.id") == form


@pytest.mark.parametrize(
    "value", [True, [], {}, "a" * 256, "a\x00", "a\n", "a\x7f", "a\ud800", math.nan]
)
def test_unusable_ids(value):
    """An id that could not be written down or shown makes its lead invalid (5.5)."""
    with pytest.raises(InvalidLead, match=r"^lead\.id must "):
        as_identifier(value, "lead.id")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (85, 85),
        (85.0, 85),
        (85.5, 85.5),
        (Decimal("85.0"), 85),
        (Decimal("85.123456789012345678"), 85.12345678901235),
        (" 85 ", 85),
        ("85.5", 85.5),
        ("1e2", 100),
        ("", None),
        (None, None),
        ("high", "high"),
        ("nan", "nan"),
        ("1_0", "1_0"),
        ("\u0668\u0665", "\u0668\u0665"),
        (True, True),
    ],
)
def test_number_fields(value, form):
    """A number field takes numeric text, and leaves what is no number to the schema (4.1)."""
    written = as_number(value, "lead.score")
    assert written == form
    assert type(written) is type(form)


@pytest.mark.parametrize("value", [math.nan, math.inf, Decimal("NaN"), Decimal("sNaN"), "1e999"])
def test_no_number(value):
    """NaN and infinity are invalid in a number field, in every spelling (2.2)."""
    with pytest.raises(InvalidLead, match="must be a finite number"):
        as_number(value, "lead.score")


@pytest.mark.parametrize(
    "yes",
    [
        True,
        1,
        1.0,
        Decimal(1),
        "1",
        "true",
        " True ",
        "yes",
        "ON",
        "sí",
        b"\x01",
        b"t",
        memoryview(b"\x01"),
    ],
)
@pytest.mark.parametrize(
    "no",
    [
        False,
        0,
        0.0,
        Decimal(0),
        "0",
        "false",
        "FALSE",
        "No",
        "off",
        "Falso",
        b"\x00",
        b"no",
        bytearray(b"\x00"),
    ],
)
def test_boolean_fields(yes, no):
    """0 and 1 become false and true, for databases without booleans (4.2)."""
    assert as_boolean(yes, "x") is True
    assert as_boolean(no, "x") is False


@pytest.mark.parametrize(
    ("value", "form"), [(None, None), ("", None), (2, 2), ("perhaps", "perhaps"), ([], [])]
)
def test_what_is_no_boolean(value, form):
    """Blank is unknown, and what is no boolean is left for the schema to refuse (5.5)."""
    assert as_boolean(value, "x") == form


@pytest.mark.parametrize(
    "value",
    [
        datetime.fromisoformat("2026-02-23T14:30:00"),
        datetime.fromisoformat("2026-02-23T14:30:00.999999"),
        datetime(2026, 2, 23, 14, 30, tzinfo=UTC),
        datetime(2026, 2, 23, 11, 30, tzinfo=BRASILIA),
        "2026-02-23T14:30:00Z",
        "2026-02-23t14:30:00z",
        "2026-02-23 14:30:00",
        "2026-02-23 14:30",
        " 2026-02-23 14:30:00.123456 ",
        "2026-02-23 14:30:00.1234567 +00:00",
        "2026-02-23 14:30:00 UTC",
        "2026-02-23 14:30:00 GMT",
        "2026-02-23 14:30:00.5 +0000 UTC",
        "2026-02-23 11:30:00.123 -03:00",
        "2026-02-23T14:30:00,5Z",
        "20260223T143000Z",
        "20260223T113000.250-0300",
        b"2026-02-23 14:30:00",
        "2026-02-23 11:30:00-03",
        "2026-02-23T11:30:00-0300",
        "2026-02-23 20:00:00+05:30",
    ],
)
def test_times(value):
    """A time is RFC 3339 UTC with whole seconds and Z, UTC where it names no zone (2.2, 4.2)."""
    assert as_time(value, "lead.created_at") == "2026-02-23T14:30:00Z"


@pytest.mark.parametrize("value", [date(2026, 2, 23), "2026-02-23"])
def test_a_date_is_its_midnight(value):
    """A date in a time column is its midnight in UTC (4.2)."""
    assert as_time(value, "lead.created_at") == "2026-02-23T00:00:00Z"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_no_time(value):
    """NULL and blank are an unknown time (2.2)."""
    assert as_time(value, "lead.created_at") is None


@pytest.mark.parametrize(
    "value",
    [
        1771857000,
        "1771857000",
        "20260223",
        "23/02/2026 14:30",
        "2026-02-30",
        "2026-02-23x14:30",
        "2026-02-23T14:30:00 America/Sao_Paulo",
        "yesterday",
        datetime.min.replace(tzinfo=timezone(timedelta(hours=3))),
        ["2026-02-23"],
        True,
    ],
)
def test_unreadable_times(value):
    """A time that cannot be read makes the lead invalid and is never guessed (4.2, 5.5)."""
    with pytest.raises(InvalidLead, match=r"^lead\.created_at must be a time"):
        as_time(value, "lead.created_at")


@given(st.datetimes(), st.timezones())
def test_every_datetime_is_its_utc_second(value, zone):
    """Whatever the zone, the text names the same second in UTC (2.2)."""
    aware = value.replace(tzinfo=zone)
    try:
        expected = aware.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        return
    text = as_time(aware, "x")
    assert text is not None
    assert datetime.fromisoformat(text) == expected
    assert as_time(text, "x") == text
    assert as_time(aware.isoformat(sep=" "), "x") == text


@pytest.mark.parametrize("value", [None, "", "  ", b"", "{}", {}, "null"])
def test_an_empty_json_column(value):
    """NULL and blank in a JSON column are an empty object (4.2)."""
    assert as_object(value, "lead.custom_fields") == {}


@pytest.mark.parametrize(
    "wrap",
    [
        str,
        str.encode,
        lambda text: bytearray(text.encode()),
        lambda text: memoryview(text.encode()),
        json.loads,
    ],
)
def test_a_json_column(wrap):
    """A JSON column is read from a dict and from its text alike, long numbers too (4.2)."""
    text = '{"city": "S\\u00e3o Paulo", "n": 18446744073709551616, "f": 1.5, "deep": [{"a": null}]}'
    form = {"city": "São Paulo", "n": "18446744073709551616", "f": 1.5, "deep": [{"a": None}]}
    assert as_object(wrap(text), "lead.custom_fields") == form


@pytest.mark.parametrize(
    "value",
    [
        "[1]",
        "1",
        "{",
        b"\xff",
        "nope",
        3,
        [1],
    ],
)
def test_no_object(value):
    """A JSON column that is no object makes the lead invalid (5.5)."""
    with pytest.raises(InvalidLead) as error:
        as_object(value, "lead.custom_fields")
    assert error.value.args == ("lead.custom_fields", "must be a JSON object")


@pytest.mark.parametrize("text", ['{"city": NaN}', '{"city": -Infinity}', '{"city": 1e999}'])
def test_nan_inside_a_json_column(text):
    """NaN and infinity are invalid inside a JSON column too, and the field is named (2.2)."""
    with pytest.raises(InvalidLead) as error:
        as_object(text, "lead.custom_fields")
    assert error.value.path == "lead.custom_fields.city"


@pytest.mark.parametrize(
    "name", ["john@company.com", "+5511999999999", "11999999999", "", "a" * 65, "a.b"]
)
def test_a_name_that_may_be_data_is_not_shown(name):
    """A path leaves out keys that might themselves be personal data (5.5)."""
    assert field_path("lead.custom_fields", name) == "lead.custom_fields"
    assert field_path("lead.custom_fields", "job title") == "lead.custom_fields.job title"
    for written in ("situação", normalize("NFD", "situação")):
        assert field_path("lead.custom_fields", written) == "lead.custom_fields.situação"


@pytest.mark.parametrize(
    "value",
    [[], "[]", b"[]", (), "\ufeff{}", b"\xef\xbb\xbf{}", '"{}"', '"[]"'],
)
def test_an_empty_object_in_other_words(value):
    """PHP's empty map, a byte order mark, JSON encoded twice: still an empty object (4.2)."""
    assert as_object(value, "x") == {}


def test_json_that_was_encoded_twice_is_read():
    """JSON text inside JSON text is what was meant (4.2)."""
    assert as_object('"{\\"a\\": 1}"', "x") == {"a": 1}


@pytest.mark.parametrize("value", ["t", "Y", "sim", "S ", True])
def test_true_in_other_words(value):
    """A boolean verification may be t, Y or sim (4.2)."""
    assert as_boolean(value, "x") is True


@pytest.mark.parametrize("value", ["f", "N", "não", "NÃO"])
def test_false_in_other_words(value):
    """A boolean verification may be f, N or não (4.2)."""
    assert as_boolean(value, "x") is False


def test_an_email_is_trimmed():
    """Blanks around an email and a line end after it are no part of it (4.2)."""
    assert as_email(" a@b.com\r\n", "x") == "a@b.com"
    assert as_email("\n", "x") is None


def test_accents_without_end_hold_nobody_up():
    """In a name or a boolean of a lead's own they are no text that is compared (4.2, 5.5)."""
    heap = "a" + "\u0315" * 100_000 + "\u0300" * 100_000
    assert field_path("lead.custom_fields", heap) == "lead.custom_fields"
    assert as_boolean(heap, "x") == heap
    assert as_boolean(" NA\u0303O ", "x") is False


def test_long_blanks_hold_nobody_up():
    """A form lets anybody write a megabyte of them: they are looked at once (4.2)."""
    blanks = " " * 500_000
    assert as_email(f" a{blanks}b ", "x") == f"a{blanks}b"
    assert as_time(f"{blanks}2026-02-23 14:30:02 UTC\n", "x") == "2026-02-23T14:30:02Z"
    for text in (f"2026-02-23 14:30:02{blanks}x", f"2026-02-23{blanks}UTC"):
        with pytest.raises(InvalidLead):
            as_time(text, "x")


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u202a", "\u2069", "\xad", "\xa0", "\x00"])
def test_what_is_unseen_around_an_email_is_taken_away(mark):
    """Marks of order, direction and no width are no part of an email (4.2)."""
    assert as_email(f"{mark} {mark}a@b.com{mark}\r\n{mark}", "x") == "a@b.com"
    assert as_email(f"a{mark}b@c.com", "x") == f"a{mark}b@c.com"
    assert as_email(mark, "x") is None


@pytest.mark.parametrize("value", ["qualified  ", b"qualified ", "qualified"])
def test_a_word_is_compared_without_its_padding(value):
    """Not every driver tells that a column is a CHAR (4.2 and 5.4)."""
    assert as_word(value, "lead.status") == "qualified"
    assert as_word("  ", "lead.status") is None


@pytest.mark.parametrize("read", [as_text, as_identifier, as_email])
def test_bytes_in_a_text_field_are_utf8(read):
    """Text that comes as bytes is UTF-8; else the lead is invalid, with a hint (4.9)."""
    assert read(bytearray("São".encode()), "x") == "São"
    with pytest.raises(InvalidLead, match="x must be text in UTF-8: look at the encoding"):
        read(b"S\xe3o", "x")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime.max, "9999-12-31T23:59:59Z"),  # noqa: DTZ901  as drivers give them
        ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59Z"),
        (datetime.min, "0001-01-01T00:00:00Z"),  # noqa: DTZ901  as drivers give them
    ],
)
def test_the_ends_of_time_are_times(value, text):
    """Many a system writes "for ever" so; what means infinity is for the driver to tell (4.9)."""
    assert as_time(value, "lead.created_at") == text


@pytest.mark.parametrize(("value", "rule"), [
    ('{"a": ' + "[" * 100_000, "must not nest its values so deeply"),
    ('{"a": ' + "9" * 5000 + "}", "must not hold numbers of thousands of digits"),
])  # fmt: skip
def test_json_that_cannot_be_read_is_told_from_what_is_none(value, rule):
    """The message names what is wrong with it (5.5)."""
    with pytest.raises(InvalidLead) as error:
        as_object(value, "lead.custom_fields")
    assert error.value.args == ("lead.custom_fields", rule)


@pytest.mark.parametrize(
    ("value", "form"),
    [("na\u0303o", False), ("V", True), ("verdadero", True), ("1.0", True), ("0.0", False)],
)
def test_booleans_as_exports_write_them(value, form):
    """An accent that is apart, V and F, and numbers with a point are booleans (4.2)."""
    assert as_boolean(value, "x") is form


@pytest.mark.parametrize(
    ("value", "form"), [(".5", 0.5), ("-.5", -0.5), (".", "."), ("+.e1", "+.e1")]
)
def test_a_number_may_begin_with_its_point(value, form):
    """Oracle writes 0.5 so (4.1)."""
    assert as_number(value, "lead.score") == form


def test_an_undecodable_value_names_its_column_and_not_itself():
    """What a driver could not read makes its lead invalid, and tells a changed row (4.9)."""
    value = Undecodable("timestamptz", b"s3cr3t")
    for read in (as_json, as_text, as_time, as_number, as_boolean, as_identifier, as_object):
        with pytest.raises(InvalidLead, match="x must") as error:
            read(value, "x")
        assert "s3cr3t" not in str(error.value)
    assert repr(value) == repr(Undecodable("timestamptz", b"s3cr3t"))
    assert repr(value) != repr(Undecodable("timestamptz", b"other"))
    assert "s3cr3t" not in repr(value)
