"""Rows and leads that cannot be read are candidates, too (Contract 4.2 and 5.5)."""

import math

import pytest

from zbl_provider.delivery.destination import Destination
from zbl_provider.dispatch import intake
from zbl_provider.exceptions import ConfigurationError
from zbl_provider.leads.lead import Lead
from zbl_provider.log.model import Status

DESTINATION = Destination.parse(integration="zapier", host="https://hooks.example/")


def _read(*values, columns=("id", "email", "score"), field_map=None):
    return list(intake.read(((columns, row) for row in values), field_map))


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def test_an_unreadable_row_stops_no_other():
    """A row that cannot be read comes out with its id and the rule, between the others (4.2)."""
    first, bad, last = _read((1, "a@b", 1), (2, "a@b", math.nan), (3, "a@b", 3))
    assert (first.id, last.id) == ("1", "3")
    assert isinstance(bad, intake.Unreadable)
    assert bad.id == "2"
    assert bad.problem.path == "lead.score"


def test_a_query_without_an_id_is_refused():
    """Without a column for the id no row can be a lead, and the message says so (4.2)."""
    with pytest.raises(ConfigurationError, match="no column id"):
        _read(("a@b", 1), columns=("email", "score"))


def test_a_field_map_may_name_the_id():
    """A column that `field_map` makes the id is one (4.2)."""
    (lead,) = _read((7, "a@b"), columns=("number", "email"), field_map={"number": "id"})
    assert lead.id == "7"


@pytest.mark.parametrize(
    "bad", ["a\0b", "\ud800", {"email": "marker@example.com"}, "marker" * 60, True, None, ""]
)
def test_an_unusable_id_makes_the_lead_invalid_and_shows_nothing(bad):
    """Half a character, an object or no id at all is invalid, under a made-up id (5.5)."""
    lead = intake.read_one({"id": bad, "email": "marker@example.com"})
    judged = intake.candidate(lead, DESTINATION)
    assert judged.status is Status.INVALID
    assert judged.lead_id.startswith("row-")
    assert judged.body is None
    assert "marker" not in f"{judged.lead_id} {judged.reason}"


def test_a_row_without_an_id_is_named_by_its_position():
    """Which row of the query it is, is told; a row with an id is named by that (4.9)."""
    rows = ((1, "a@b"), (None, "a@b"), (3, object()), (" ", "a@b"))
    leads = _read(*rows, columns=("id", "email"))
    judged = [intake.candidate(lead, DESTINATION) for lead in leads]
    assert [candidate.status for candidate in judged] == [Status.PENDING, *[Status.INVALID] * 3]
    assert judged[1].reason == "lead.id must be there and not be empty (row 2 of the query)"
    assert "row" not in judged[2].reason
    assert judged[3].reason.endswith("(row 4 of the query)")


class _Unwritable:
    def __repr__(self):
        raise ValueError("marker")


@pytest.mark.parametrize("bad", [10**5000, _Unwritable(), [_Unwritable()]], ids=type)
def test_a_value_that_python_does_not_write_out_stops_no_lead(bad):
    """Thousands of digits, or a type of its author's own: that lead alone is invalid (4.9)."""
    lead = intake.read_one({"id": 42, "note": bad, "score": math.inf})
    assert intake.candidate(lead, DESTINATION).status is Status.INVALID
    (row,) = _read((42, "a@b", bad))
    assert (row.id, intake.candidate(row, DESTINATION).status) == ("42", Status.INVALID)
    other = intake.read_one({"id": 42, "note": bad, "score": math.nan})
    assert other.fingerprint != lead.fingerprint


def test_an_unreadable_lead_keeps_its_id():
    """The id says which lead is invalid, as text whatever its type (2.2 and 5.5)."""
    assert intake.read_one({"id": 42, "score": math.inf}).id == "42"


@pytest.mark.parametrize(
    "value", [memoryview(b"a"), object(), b"a"], ids=["memoryview", "object", "bytes"]
)
def test_the_same_unreadable_row_is_known_again(value):
    """What a driver makes anew at each read does not make the row a changed one (5.5)."""
    other = value
    if not isinstance(value, bytes):
        other = type(value)(b"a") if isinstance(value, memoryview) else type(value)()
    first, again = (
        _read((1, read, math.nan), columns=("id", "blob", "score"))[0] for read in (value, other)
    )
    assert first.fingerprint == again.fingerprint


def test_a_row_with_a_set_is_known_again():
    """MySQL's SET comes as a set, which each process writes in an order of its own (5.5)."""
    columns = ("id", "tags", "score")
    rows = [
        (None, [{"k": set(tags)}, set(tags)], math.nan)
        for tags in ([0, 8], [8, 0], [0, 8, 16])  # of which the first two are alike
    ]
    assert repr(rows[0]) != repr(rows[1])
    first, again, other = _read(*rows, columns=columns)
    assert (first.id, first.fingerprint) == (again.id, again.fingerprint)
    assert other.fingerprint != first.fingerprint


def test_an_unreadable_row_that_changed_is_seen_to_have_changed():
    """It is looked at again when the row has changed (5.5)."""
    first, again = (_read((1, email, math.nan))[0] for email in ("a@b", "c@d"))
    assert first.fingerprint != again.fingerprint


def test_a_value_nested_without_end_makes_one_lead_invalid():
    """However deep a value is nested, it is the lead that is invalid, not the task (4.2, 5.5)."""
    bad, good = _read((1, _nested(5000)), (2, []), columns=("id", "tags"))
    assert intake.candidate(bad, DESTINATION).status is Status.INVALID
    assert isinstance(good, Lead)
    lead = intake.read_one({"id": 1, "tags": _nested(5000)})
    assert intake.candidate(lead, DESTINATION).reason
    lead = intake.read_one({"id": _nested(5000)})
    assert intake.candidate(lead, DESTINATION).lead_id.startswith("row-")


def test_filters_come_before_the_schema():
    """A lead that no one wants is filtered, not invalid: it fails no task (5.4)."""
    lead = intake.read_one({"id": 1, "status": "new", "email": "no-address"})
    judged = intake.candidate(lead, DESTINATION)
    assert (judged.status, judged.reason) == (Status.FILTERED, "status is 'new'")


def test_text_that_is_no_unicode_makes_the_lead_invalid():
    """Half a surrogate pair cannot be sent, and that is said without it (5.5)."""
    judged = intake.candidate(intake.read_one({"id": 1, "name": "a\ud800"}), DESTINATION)
    assert judged.status is Status.INVALID
    assert judged.body is None
    assert "Unicode" in judged.reason


def test_a_body_over_one_mebibyte_is_invalid():
    """A body over 1 MiB is invalid (5.5)."""
    lead = intake.read_one({"id": 1, "notes": "x" * 1_048_576})
    judged = intake.candidate(lead, DESTINATION)
    assert (judged.status, judged.body) == (Status.INVALID, None)
    assert "1048576" in judged.reason


CUSTOM = Destination.parse(
    integration="zapier",
    host="https://hooks.example/",
    extra={"min_score": 50, "body": {"mail": "{{ lead.email }}", "n": "{{ 100 / lead.score }}"}},
)


def _custom(**fields):
    return intake.candidate(intake.read_one({"id": 1, "email": "a@b", **fields}), CUSTOM)


def test_a_body_of_its_own_is_what_is_sent():
    """The candidate has the destination's own body, under the same id (2.3 and 2.7)."""
    judged = _custom(score=50)
    assert judged.body == b'{"mail":"a@b","n":2.0}'
    standard = intake.candidate(intake.read_one({"id": 1, "email": "a@b"}), DESTINATION)
    assert judged.webhook_id == standard.webhook_id


def test_a_lead_without_a_body_is_invalid_and_shows_nothing():
    """A lead that the body cannot be rendered for is invalid, by its place alone (2.7)."""
    destination = Destination.parse(
        integration="zapier",
        host="https://hooks.example/",
        extra={"body": ["{{ lead.phone + 1 }}"]},
    )
    judged = intake.candidate(intake.read_one({"id": 1, "phone": "marker"}), destination)
    assert (judged.status, judged.body) == (Status.INVALID, None)
    assert judged.reason.startswith("body[0] ")
    assert "marker" not in judged.reason


def test_filters_and_schema_judge_the_lead_and_not_its_body():
    """A body of its own opens no way past filters and schema (2.7, 5.1 and 5.5)."""
    assert _custom(score=49).status is Status.FILTERED
    assert _custom(score=101).status is Status.INVALID
    assert _custom(score=101).reason.startswith("lead.score")


def test_a_lead_has_changed_if_what_is_sent_has():
    """What the body does not hold makes no lead a changed one; what it holds does (5.4)."""
    assert _custom(score=50).fingerprint == _custom(score=50, phone="1").fingerprint
    assert _custom(score=50).fingerprint != _custom(score=60).fingerprint


def test_a_body_over_the_limit_is_invalid():
    """The limit of 1 MiB is that of the body which is sent (2.7 and 5.5)."""
    extra = {"body": ["{{ lead.custom_fields.x }}", "{{ lead.custom_fields.y | default(0) }}"]}
    destination = Destination.parse(integration="z", host="https://hooks.example/", extra=extra)
    for size, status in ((900_000, Status.PENDING), (1_048_577, Status.INVALID)):
        lead = intake.read_one({"id": 1, "x": "x" * size})
        assert intake.candidate(lead, destination).status is status
    # What is too large in the standard payload may be small enough in a body that leaves it out.
    small = intake.read_one({"id": 1, "x": "x", "z": "x" * 1_048_577})
    assert intake.candidate(small, destination).status is Status.PENDING
