"""The integration's dispatch filters."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.exceptions import FilterError
from zbl_provider.leads.filters import FieldFilter, Filters, Operator
from zbl_provider.leads.lead import read_row
from zbl_provider.leads.payload import document
from zbl_provider.leads.values import PaddedText

MARKER = "s3cr3t-m4rk3r"


def _document(**columns):
    return document(read_row({"id": "1", **columns}))


def _holds(line, **columns):
    return FieldFilter.parse(line).holds(_document(**columns))


@pytest.mark.parametrize("nothing", [None, "", " ", "\n", [], [""], (), ["  "]])
def test_nothing_given(nothing):
    """What a form saves for an untouched field is no filter (1.2)."""
    assert Filters.parse(lists=nothing, field_filters=nothing) == Filters()
    assert Filters().reason(_document()) is None


@pytest.mark.parametrize("off", [None, "", " ", [], 0, 0.0, "0"])
def test_min_score_off(off):
    """A min_score of 0, or none, is off: a lead without a score passes (5.2)."""
    filters = Filters.parse(min_score=off)
    assert filters.min_score is None
    assert filters.reason(_document()) is None


@pytest.mark.parametrize("score", [70, "70", " 70 ", 70.0])
def test_min_score(score):
    """A score at min_score passes; one under it, and none at all, do not (5.2)."""
    filters = Filters.parse(min_score=score)
    assert filters.min_score == 70
    assert filters.reason(_document(score=70)) is None
    assert filters.reason(_document(score=100.0)) is None
    assert filters.reason(_document(score=69.9)) == "score is under min_score 70"
    assert filters.reason(_document()) == "score is unknown, and min_score is 70"
    assert filters.reason(_document(score=True)) == "score is unknown, and min_score is 70"


@pytest.mark.parametrize(
    "wrong", [-1, 101, 70.5, True, False, "high", "70.5", "1e1", "\u0667", [70], {}, float("nan")]
)
def test_a_wrong_min_score(wrong):
    """A min_score that is no integer from 0 to 100 is refused by name (1.2)."""
    with pytest.raises(FilterError) as error:
        Filters.parse(min_score=wrong)
    assert error.value.field == "min_score"


@pytest.mark.parametrize(
    "lists", [["Ads", " 7 "], "Ads\n7\n", "\nAds\r\n7", ["Ads", 7], ["Ads\n7"], ("Ads", "7")]
)
def test_lists(lists):
    """A lead passes whose list's id or name is one of lists (5.2)."""
    filters = Filters.parse(lists=lists)
    assert filters.lists == ("Ads", "7")
    assert filters.reason(_document(list_id=7)) is None
    assert filters.reason(_document(list_id=8, list_name="Ads")) is None
    assert filters.reason(_document(list_id=8, list_name="ads")) == "list is not one of lists"
    assert filters.reason(_document()) == "list is not one of lists"


@pytest.mark.parametrize("field", ["lists", "field_filters"])
@pytest.mark.parametrize("wrong", [{"a": 1}, 5, [None], [["a"]], [True], b"x"])
def test_a_wrong_list(field, wrong):
    """Filters that are no list of text are refused by name (5.3)."""
    with pytest.raises(FilterError) as error:
        Filters.parse(**{field: wrong})
    assert error.value.field == field


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("city equals New York", FieldFilter("city", Operator.EQUALS, "New York")),
        ("city  NOT  Equals  x ", FieldFilter("city", Operator.NOT_EQUALS, "x")),
        ('city equals " New York "', FieldFilter("city", Operator.EQUALS, " New York ")),
        ("city equals 'a \"b\"'", FieldFilter("city", Operator.EQUALS, 'a "b"')),
        ('city equals ""', FieldFilter("city", Operator.EQUALS, "")),
        ("city equals \u2018New York\u2019", FieldFilter("city", Operator.EQUALS, "New York")),
        ("city equals \u2018t Hooft", FieldFilter("city", Operator.EQUALS, "\u2018t Hooft")),
        ("name contains O'Brien", FieldFilter("name", Operator.CONTAINS, "O'Brien")),
        ("phone is not empty", FieldFilter("phone", Operator.IS_NOT_EMPTY)),
        ("phone is empty", FieldFilter("phone", Operator.IS_EMPTY)),
        ("note equals is empty", FieldFilter("note", Operator.EQUALS, "is empty")),
        ("note equals not equals x", FieldFilter("note", Operator.EQUALS, "not equals x")),
        ('"job title" contains sales', FieldFilter("job title", Operator.CONTAINS, "sales")),
        ("'job title' is empty", FieldFilter("job title", Operator.IS_EMPTY)),
        ("equals equals equals", FieldFilter("equals", Operator.EQUALS, "equals")),
    ],
)
def test_a_filter_is_read(line, expected):
    """Each of the five operators is read, in any case, its value quoted or not (5.3)."""
    assert FieldFilter.parse(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "city",
        "city equals",
        "city is New York",
        "city = New York",
        "city is equals New York",
        "city starts with N",
        "city not contains N",
        "equals New York",
        "city is empty now",
        "job title is empty",
        'city equals "New York',
        'city equals "New" York',
        '"" equals x',
        "cityequals x",
        "\x00city equals x",
        "ci\ud83dty equals x",
        "city equals \x7f",
    ],
)
def test_a_malformed_filter(line):
    """An unknown operator or malformed filter is refused, naming its line (5.3)."""
    with pytest.raises(FilterError) as error:
        Filters.parse(field_filters=["phone is not empty", "", line])
    assert error.value.field == "field_filters"
    assert error.value.problem == "line 3 is not a valid filter"
    assert line not in error.value.remedy


@pytest.mark.parametrize(
    ("line", "columns", "holds"),
    [
        ("city equals New York", {"city": "New York"}, True),
        ("city equals New York", {"city": "new york"}, False),
        ("city equals New York", {"city": None}, False),
        ("city equals New York", {}, False),
        ("n equals 85", {"n": 85}, True),
        ("n equals 85.0", {"n": 85}, True),
        ("n equals 0.1", {"n": 0.1}, True),
        ("n equals 1e2", {"n": 100.0}, True),
        ("n equals 85", {"n": "85"}, True),
        ("n equals 85.0", {"n": "85"}, False),
        ("n equals 9007199254740993", {"n": 2**53}, False),
        ("n equals high", {"n": 85}, False),
        ("n equals nan", {"n": 85.5}, False),
        ("n equals 1_0", {"n": 10}, False),
        ("n equals 1", {"n": True}, True),
        ("n equals 0", {"n": True}, False),
        ("n equals 0", {"n": False}, True),
        ("n not equals 1", {"n": True}, False),
        ("n equals 2", {"n": True}, False),
        ("n equals yes", {"n": True}, False),
        ("n equals true", {"n": True}, True),
        ("n equals True", {"n": True}, True),
        ("n not equals FALSE", {"n": False}, False),
        ("n equals true", {"n": False}, False),
        ("n equals false", {"n": False}, True),
        ("n equals true", {"n": "true"}, True),
        ('n equals ""', {"n": ""}, True),
        ("n equals “New York”", {"n": "New York"}, True),
        ('n equals ""', {"n": None}, False),
        ("n equals a", {"n": ["a"]}, False),
        ("city not equals x", {"city": "y"}, True),
        ("city not equals x", {"city": "x"}, False),
        ("city not equals x", {}, True),
        ("n not equals 85", {"n": 85}, False),
        ("city contains YORK", {"city": "New York"}, True),
        ("city contains straße", {"city": "HAUPTSTRASSE"}, True),
        ("city contains x", {"city": "New York"}, False),
        ("city contains x", {}, False),
        ('city contains ""', {}, False),
        ("n contains 5", {"n": 85}, True),
        ("n contains TRUE", {"n": True}, True),
        ("tags contains VIP", {"tags": ["vip", 1]}, True),
        ("tags contains 1", {"tags": ["vip", 1]}, True),
        ("tags contains vi", {"tags": ["vip"]}, False),
        ("tags contains a", {"tags": {"a": "a"}}, False),
    ],
)
def test_a_value_is_compared(line, columns, holds):
    """Equals is exact, numbers and booleans as such; contains ignores case (5.3)."""
    assert _holds(line, **columns) is holds


@pytest.mark.parametrize(
    ("columns", "empty"),
    [
        ({}, True),
        ({"x": None}, True),
        ({"x": ""}, True),
        ({"x": " "}, True),
        ({"x": []}, True),
        ({"x": {}}, True),
        ({"x": 0}, False),
        ({"x": False}, False),
        ({"x": "a"}, False),
        ({"x": [None]}, False),
    ],
)
def test_emptiness(columns, empty):
    """A missing field is empty, and 0 and false are not (5.3)."""
    assert _holds("x is empty", **columns) is empty
    assert _holds("x is not empty", **columns) is not empty


@pytest.mark.parametrize(
    "line",
    [
        "email equals a@b",
        "lead.email equals a@b",
        "verifications.cnpj_status equals Active",
        "lead.verifications.cnpj_status equals Active",
        "cnpj_status equals Active",
        "email_valid equals true",
        "ip_risk_score equals 5",
        "city equals Lyon",
        "custom_fields.city equals Lyon",
        "lead.custom_fields.city equals Lyon",
        "address.zip equals 69001",
        "address.zip.more is empty",
        "a.b equals dotted",
        '"job title" equals Boss',
        '"custom_fields.job title" equals Boss',
        "list_id equals 7",
        "list.id equals 7",
        "list.name equals Ads",
        "list_name equals Ads",
        "list is not empty",
        "nowhere.at.all is empty",
        "score is empty",
    ],
)
def test_a_field_is_found(line):
    """A field is a lead field, a custom field, or a dotted path (5.3)."""
    columns = {
        "email": "a@b",
        "cnpj_status": "Active",
        "email_valid": 1,
        "ip_risk_score": 5,
        "city": "Lyon",
        "address": {"zip": 69001},
        "a.b": "dotted",
        "job title": "Boss",
        "list_id": 7,
        "list_name": "Ads",
    }
    assert _holds(line, **columns)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("new", "status is 'new'"),
        ("in review", "status is 'in review'"),
        ("Qualified", "status is 'Qualified'"),
        ("john@company.com", "status is not qualified"),
        ("x" * 33, "status is not qualified"),
        (None, "status is not qualified"),
        (5, "status is not qualified"),
    ],
)
def test_only_qualified_leads_go(status, reason):
    """Only leads whose status is qualified are sent, whatever the filters say (5.4)."""
    assert Filters().reason(_document(status=status)) == reason
    assert Filters.parse(min_score=50).reason(_document(status=status)) == reason


def test_all_filters_must_hold():
    """All filters must hold, and the first that does not is the reason (5.1, 5.4)."""
    filters = Filters.parse(
        min_score=70, lists=["Ads"], field_filters="\ncity equals Lyon\nphone is not empty"
    )
    good = {"score": 70, "list_name": "Ads", "city": "Lyon", "phone": "1"}
    assert filters.reason(_document(**good)) is None
    assert filters.reason(_document(**good | {"score": 1})) == "score is under min_score 70"
    assert filters.reason(_document(**good | {"list_name": None})) == "list is not one of lists"
    assert filters.reason(_document(**good | {"city": "x"})) == (
        "field filter 1 does not hold: city equals"
    )
    assert filters.reason(_document(**good | {"phone": None})) == (
        "field filter 2 does not hold: phone is not empty"
    )


_VALUE = st.sampled_from([MARKER, f"{MARKER}@x.com", [MARKER], {"a": MARKER}, None, 5, True])
_LINES = st.sampled_from(
    [
        f"city {operator}"
        for operator in (
            "is empty",
            "is not empty",
            f"not equals {MARKER}",
            "equals x",
            f"contains x{MARKER}",
        )
    ]
)


@given(
    st.dictionaries(st.sampled_from(["email", "city", "score", "status", "list_name"]), _VALUE),
    st.lists(_LINES),
)
def test_a_reason_never_carries_a_value(columns, lines):
    """A reason names the rule and the field, never a value, not even by denial (5.4, 1.5)."""
    filters = Filters.parse(min_score=50, lists=["x"], field_filters=lines)
    for judge in (filters, Filters.parse(field_filters=lines)):
        assert MARKER not in str(judge.reason(_document(**columns)))


@pytest.mark.parametrize(
    ("field", "is_none"),
    [
        ("lead.emial", True),
        ("LEAD.city", True),
        ("list.title", True),
        ("verifications.mx_valid", True),
        ("lead.verifications.mx_valid", True),
        ("lead.email", False),
        ("List.Name", False),
        ("verifications.CNPJ_status", False),
        ("lead.custom_fields.city.zip", False),
        ("custom_fields.emial", False),
        ("list_name", False),
        ("city", False),
        ("address.zip", False),
        ("list", False),
    ],
)
def test_a_filter_for_what_no_lead_has_is_remarked(field, is_none):
    """It may keep every lead back, or none, so its writer is told (1.2, 5.3)."""
    remarks = list(Filters.parse(field_filters=[f"{field} is not empty"]).remarks())
    assert [remark.partition(",")[0] for remark in remarks] == (
        [f"field_filters looks for {field}"] if is_none else []
    )


@given(st.text())
def test_any_line_is_a_filter_or_refused(line):
    """Whatever is written as a filter is read or refused with FilterError (5.3)."""
    try:
        filters = Filters.parse(field_filters=line)
    except FilterError:
        return
    filters.reason(_document(city="Lyon"))


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).filter(
        lambda text: '"' not in text
    )
)
def test_equals_and_not_equals_are_opposites(value):
    """For any value, quoted or not, equals and not equals are opposites (5.3)."""
    assert _holds(f'city equals "{value}"', city=value)
    assert not _holds(f'city not equals "{value}"', city=value)
    assert not _holds(f'city equals "{value}"', city=value + "x")


@pytest.mark.parametrize(
    ("line", "columns", "holds"),
    [
        ("job_title contains director", {"JOB_TITLE": "Sales Director"}, True),
        ("CITY equals Lyon", {"city": "Lyon"}, True),
        ("address.ZIP equals 1", {"ADDRESS": {"zip": 1}}, True),
        ("LIST_NAME equals Ads", {"list_name": "Ads"}, True),
        ("City equals a", {"city": "b", "City": "a"}, True),
        ("vip equals true", {"vip": 1}, True),
        ("vip equals true", {"vip": 0}, False),
        ("vip equals FALSE", {"vip": 0}, True),
        ("vip not equals true", {"vip": 1}, False),
        ("vip equals true", {"vip": 2}, False),
        ("code equals ab", {"code": "ab   "}, True),
        ("list.name equals Ads", {"list_name": "Ads   "}, True),
    ],
)
def test_databases_write_names_and_booleans_in_their_own_way(line, columns, holds):
    """A field's name ignores case, true and false hold for 1 and 0, padding is no text (5.3)."""
    assert _holds(line, **columns) is holds


@pytest.mark.parametrize(("written", "kept"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_compared_as_people_read_them(written, kept):
    """A letter with its accent is one character in some systems, and two in others (5.2, 5.3)."""
    text, value = normalize(written, "São Paulo"), normalize(kept, "São Paulo")
    assert _holds(f"city equals {text}", city=value)
    assert not _holds(f"city not equals {text}", city=value)
    assert _holds(f"city contains {text.upper()}", city=f"in {value}!")
    assert _holds(f"places contains {text}", places=[value])
    field = normalize(written, "município")
    assert _holds(f"{field} equals x", **{normalize(kept, "MUNICÍPIO"): "x"})
    assert Filters.parse(lists=[text]).reason(_document(list_name=value)) is None


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\u2060", "\xa0"])
def test_what_cannot_be_seen_keeps_no_lead_back(mark):
    """A filter is pasted, and what comes along is no part of it; quoted it is (5.2 and 5.3)."""
    for line in (f"{mark}city equals Lyon{mark}", f"city{mark} equals {mark}Lyon"):
        assert _holds(line, city="Lyon")
    assert _holds(f'city equals "{mark}Lyon"', city=f"{mark}Lyon")
    filters = Filters.parse(lists=[f"{mark}Ads{mark}"])
    assert filters == Filters.parse(lists="Ads")
    assert filters.reason(_document(list_name=f"{mark}Ads")) is None


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("qualified\r", r"status is 'qualified\r'"),
        ("\ufeffqualified", r"status is '\ufeffqualified'"),
        ("New", "status is 'New'"),
        ("qualified" + "\n" * 50, "status is not qualified"),
        ("ana@x.com", "status is not qualified"),
        ("\n", "status is not qualified"),
    ],
)
def test_what_stands_unseen_beside_a_status_is_told(status, reason):
    """Else the reason would say that what looks qualified is not (5.4)."""
    assert Filters().reason(_document(status=status)) == reason


def test_accents_without_end_hold_nobody_up():
    """A letter with a hundred thousand accents is no word, and is compared as it is (5.3)."""
    heap = "a" + "\u0315" * 100_000 + "\u0300" * 100_000
    text = f"Sa\u0303o {heap} Joa\u0303o"
    assert _holds("note contains são", note=text)
    assert _holds("note contains joão", note=text)
    assert _holds("note is not empty", **{heap: 1, "note": 2})
    assert _holds("NOTE not equals são", **{heap: 1, "note": text})


def test_padding_keeps_no_lead_back():
    """A status or a list's name or id of a CHAR column is its word, and passes (5.2 and 5.4)."""
    padded = _document(status="qualified   ", list_name="Ads      ", list_id=PaddedText("a1  "))
    assert Filters.parse(lists=["Ads"]).reason(padded) is None
    assert Filters.parse(lists=["a1"]).reason(padded) is None
    assert Filters.parse(lists=["a"]).reason(padded) == "list is not one of lists"


@pytest.mark.parametrize(
    ("filters", "columns", "place"),
    [
        ({"min_score": 50}, {"score": "85%"}, "lead.score"),
        ({"min_score": 50}, {"score": True}, "lead.score"),
        ({"min_score": 50}, {"score": None}, None),
        ({"min_score": 50}, {"score": 49}, None),
        ({"lists": ["Ads"]}, {"list_name": {"a": 1}}, "list.name"),
        ({"lists": ["Ads"]}, {}, None),
        ({"field_filters": "tags equals a"}, {"tags": ["a"]}, "field_filters.tags"),
        ({"field_filters": "tags contains a"}, {"tags": {"a": 1}}, "field_filters.tags"),
        ({"field_filters": "tags not equals a"}, {"tags": ["b"]}, "field_filters.tags"),
        ({"field_filters": "tags not equals a"}, {"tags": {"a": 1}}, "field_filters.tags"),
        ({"field_filters": "a.b equals c"}, {"a": {"b": [1]}}, "field_filters.a.b"),
        ({"field_filters": "tags contains a"}, {"tags": ["b"]}, None),
        ({"field_filters": "tags equals a"}, {"tags": "b"}, None),
        ({"min_score": 50}, {"score": "85%", "status": "new"}, None),
    ],
)
def test_what_a_filter_cannot_judge_is_no_verdict(filters, columns, place):
    """A value that a filter cannot judge makes the lead invalid, not filtered (5.4)."""
    filters, lead = Filters.parse(**filters), _document(**columns)
    assert filters.reason(lead)
    unjudged = filters.unjudged(lead)
    assert (unjudged and unjudged.args[0]) == place
