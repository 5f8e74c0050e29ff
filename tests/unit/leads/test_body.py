"""A body of the destination's own shape (Contract 2.7)."""

import json
import re
import time
from copy import deepcopy
from datetime import UTC, datetime

import pytest
from hypothesis import example as given_example
from hypothesis import given
from hypothesis import strategies as st

from tests.support.commands import ROOT
from zbl_provider.exceptions import ConfigurationError, InvalidLead
from zbl_provider.leads import expressions, payload
from zbl_provider.leads.body import Body
from zbl_provider.leads.fields import SHAPE

NOW = datetime(2026, 2, 23, 14, 30, tzinfo=UTC)
MARKER = "s3cret"
LONG = "x" * 100_000


def value(text, document):
    """Render one text."""
    return Body({"a": text}).render(document)["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ lead.email }}", "john@company.com"),
        ("{{ lead.score }}", 85),
        ("{{ lead.score / 100 }}", 0.85),
        ("{{ lead.verifications.ip_vpn }}", False),
        ("{{ lead.custom_fields }}", {"job_title": "Sales Director", "city": "New York"}),
        ("{{ [lead.email, list.id] }}", ["john@company.com", "list-uuid"]),
        ("{{ none }}", None),
        ("{{ lead.score }}.", "85."),
        ("{{ lead.score }}\n", "85\n"),
        ("{{ lead.name }} ({{ lead.verifications.ip_vpn }})", "John Smith (false)"),
        ("{{ lead['custom_fields']['job_title'] | upper }}", "SALES DIRECTOR"),
        ("{{ lead.name.split(' ')[0] }}", "John"),
        ("{{ lead.name[:4] }}", "John"),
        ("{{ lead.name[-5:][::-1] }}", "htimS"),
        ("{{ lead.name.split(' ')[1:] | join('-') }}", "Smith"),
        ("{{ lead.phone | replace('+', '') }}", "5511999999999"),
        ("{{ 'hot' if lead.score >= 80 else 'cold' }}", "hot"),
        ("{{ lead.custom_fields.age | default(0) }}", 0),
        ("{{ lead.custom_fields | tojson }}", '{"job_title":"Sales Director","city":"New York"}'),
        ("{{ (lead.score * 1.0) | round(1) }}", 85.0),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{# nothing #}", ""),
        ("no expression }} here", "no expression }} here"),
    ],
)
def test_an_expression_alone_keeps_its_type(example, text, expected):
    """One expression is its value; among other text it is joined as text (2.7)."""
    rendered = value(text, example)
    assert rendered == expected
    assert type(rendered) is type(expected)


@pytest.mark.parametrize(
    "text",
    ["{{ lead.phone }}", "{{ lead.phone | upper }}", "{{ lead.phone.strip() }}",
     "{{ lead.phone[:3] }}", "{{ lead.phone[1::2][0] }}", "{{ (lead.phone | upper)[-2:] }}",
     "{{ list.name }}",
     "{{ lead.phone.split(' ')[0] }}", "{{ lead.phone | replace('+', '') | trim }}"],
)  # fmt: skip
def test_what_is_unknown_stays_null(example, text):
    """Null goes through filters and methods, and is nothing within a text (2.2 and 2.7)."""
    example["lead"]["phone"] = example["list"] = None
    assert value(text, example) is None
    assert value(f"[{text}]", example) == "[]"
    assert value(text.replace(" }}", " | default('none') }}"), example) == "none"


def test_what_is_not_an_expression_is_as_it_was(example):
    """A document without expressions is itself, to the byte, whatever JSON it holds (2.7)."""
    document = {"b": [1, 1.0, True, None, {"é": "ü\r\n"}], "a": {}, "": "100 %"}
    assert payload.encode(Body(document).render(example)) == payload.encode(document)


def test_the_names_of_a_lead_are_those_of_the_payload(example):
    """Each field of the payload, and no other, may be named (2.2 and 2.7)."""
    for path in _paths(example):
        Body([f"{{{{ {path} }}}}"]).render(example)
    assert SHAPE["lead"].keys() == example["lead"].keys()
    assert SHAPE["lead"]["verifications"].keys() == example["lead"]["verifications"].keys()
    assert SHAPE["list"].keys() == example["list"].keys()


def _paths(example):
    for root in ("lead", "list"):
        for name, content in example[root].items():
            yield f"{root}.{name}"
            if isinstance(content, dict):
                yield from (f"{root}.{name}.{inner}" for inner in content)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"a": "{{ lead.email "}, "body.a"),
        ({"a": {"b": [0, "{{ }}"]}}, "body.a.b[1]"),
        ({"a": "{{ 1 + }}"}, "body.a"),
        ({"a": "{% for x in lead %}{% endfor %}"}, "body.a"),
        ({"a": "{% set x = 1 %}"}, "body.a"),
        ({"a": "{% include 's3cret' %}"}, "body.a"),
        ({"a": "{{ lead.emial }}"}, "body.a"),
        ({"a": "{{ lead['emial'] | default('') }}"}, "body.a"),
        ({"a": "{{ lead.verifications.nope }}"}, "body.a"),
        ({"a": "{{ list.size }}"}, "body.a"),
        ({"a": "{{ var.value.s3cret }}"}, "body.a"),
        ({"a": "{{ lead.__class__ }}"}, "body.a"),
        ({"a": "{{ lead.name | attr('x') }}"}, "body.a"),
        ({"a": "{{ lead.name | nope }}"}, "body.a"),
        ({"a": "{{ lead.name | _slice(1) }}"}, "body.a"),
        ({"a": "{{ lead.name is nope }}"}, "body.a"),
        ({"a": "{{ lead.name ~ 's3cret' }}"}, "body.a"),
        ({"a": "{{ range(9) }}"}, "body.a"),
        ({"a": "{{ lead.name.format(1) }}"}, "body.a"),
        ({"a": "{{ 9 ** 9 ** 9 }}"}, "body.a"),
        ({"a": "{{ '%9999999d' | format(1) }}"}, "body.a"),
        ({"a": "{{ " + "9" * 5000 + " }}"}, "body.a"),
        ({"a": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}"}, "body.a"),
        ({"a": "{{ " + "-" * 20000 + "1 }}"}, "body.a"),
        ({"a": "{{ " + "[" * 150 + "]" * 150 + " }}"}, "body.a"),
        ({"{{ lead.name }}": 1}, "body"),
        ({"s3cret name!": "{{"}, "body[…]"),
        ({"a": float("inf")}, "body.a"),
        ({"a": float("nan")}, "body.a"),
        ({"a": 2**64}, "body"),
        ({"a": "\ud800"}, "body"),
        ({"a": "x" * 65_536}, "body"),
        ("s3cret", "body"),
        (5, "body"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_its_place(document, place):
    """A body that cannot work is refused by its place, before any lead, and not shown (2.7)."""
    with pytest.raises(ConfigurationError) as refused:
        Body(document)
    assert refused.value.field == place
    assert refused.value.remedy
    assert MARKER not in str(refused.value)


def test_a_body_is_not_nested_without_end():
    """A document that is nested deeper than any API asks for is refused by its place (2.7)."""
    document = "x"
    for _ in range(5000):
        document = [document]
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        Body(document)


@pytest.mark.parametrize(
    "text",
    [
        "{{ lead.custom_fields.nope }}",
        "{{ lead.custom_fields.city.nope }}",
        "{{ 'x' if lead.score < 80 }}",
        "{{ lead.score / 0 }}",
        "{{ lead.score + lead.name }}",
        "{{ lead.name * 1000000000 }}",
        "{{ 'a' * 10000000000 }}",
        "{{ [1] * 10000000000 }}",
        "{{ lead.name % 5 }}",
        "{{ lead.name.split }}",
        "{{ {1: 2} }}",
        "{{ 1e999 }}",
        "{{ 1e308 * 10 }}",
        "{{ 18446744073709551616 }}",
        "{{ '\\ud800' }}",
        "{{ {'\\ud800': 1} }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ lead.custom_fields.items }}",
        "{{ lead.name | round(1) }}",
        "{{ 1.5 | round(1000000000) }}",
        "{{ 5 | round(-1000000000) }}",
        "{{ lead.score | length }}",
        "{{ lead.score[:1] }}",
        "{{ lead.name[::0] }}",
        "{{ lead.name['a':] }}",
        "{{ lead.custom_fields[:1] }}",
        "{{ lead.city" + "|replace('', 'aaaaaaaaaaaaaaaaaaaa')" * 12 + " }}",
        "{{ 'a'" + "|replace('a', 'aaaaaaaaaaaaaaaaaaaa')" * 12 + " }}",
        "{{ '<'" + "|urlencode" * 100 + "|length * lead.custom_fields.nope }}",
        "{{ '\"'" + "|tojson" * 64 + " }}",
        "{{ " + " + ".join(["lead.custom_fields.long"] * 30) + " }}",
        "{{ lead.custom_fields.long }}" * 30,
    ],
)
def test_a_lead_that_cannot_be_rendered_is_invalid_by_its_place(example, text):
    """What has no value, no JSON or no bounds makes that lead invalid, at once, unshown (2.7)."""
    example["lead"]["custom_fields"]["long"] = LONG
    text = text.replace("lead.city", "lead.custom_fields.city")
    body = Body({"note": {"text": text}})
    began = time.thread_time()
    with pytest.raises(InvalidLead) as problem:
        body.render(example)
    assert time.thread_time() - began < 2
    assert problem.value.path in {"body.note.text", "body"}
    assert "John" not in str(problem.value)
    assert "New York" not in str(problem.value)
    assert problem.value.__context__ is None, "which could quote the lead"


def test_one_text_named_a_thousand_times_is_bounded(example):
    """What a lead's texts make together is bounded while it is made (2.7 and 7.3)."""
    example["lead"]["custom_fields"]["long"] = LONG
    body = Body([["{{ lead.custom_fields.long }}"] * 100] * 10)
    with pytest.raises(InvalidLead, match="1 MiB"):
        body.render(example)


def test_a_lead_is_never_changed(example):
    """Rendering leaves the lead as it was, and keeps no part of it (2.7)."""
    before = deepcopy(example)
    rendered = Body({"all": "{{ lead }}", "custom": "{{ lead.custom_fields }}"}).render(example)
    rendered["all"]["custom_fields"]["city"] = rendered["custom"]["city"] = "other"
    assert example == before


def test_the_documented_body_is_what_its_text_says(example):
    """The example of docs/payload.md renders, and its lists are the code's (2.7)."""
    text = (ROOT / "docs" / "payload.md").read_text().partition("## A body of")[2]
    block = re.search(r"```json\n(.*?)```", text, re.DOTALL)[1]
    assert Body(json.loads(block)).render(example) == {
        "email": "john@company.com",
        "firstname": "John",
        "hot": True,
        "city": "New York",
        "note": "John Smith of Google Ads Campaign",
    }
    filters, methods = re.findall(
        r"^\| (?:filters|methods of texts) \| `(.*)` \|$", text, re.MULTILINE
    )
    assert set(filters.split()) == expressions._FILTERS
    assert set(methods.split()) == expressions.METHODS


def test_equal_bodies_are_those_that_write_the_same():
    """Two destinations differ if their bodies would (1.2)."""
    assert Body({"a": 1}) == Body({"a": 1})
    assert hash(Body({"a": 1})) == hash(Body({"a": 1}))
    assert Body({"a": 1}) != Body({"a": True})
    assert Body({"a": 1}) != Body({"a": 1.0})


def test_the_test_lead_has_whatever_custom_field_is_named():
    """The Test button can show a body although its lead has two custom fields alone (1.6)."""
    sample = payload.sample("test-1", NOW)
    assert value("{{ lead.custom_fields.utm_source }}", sample) == "Test utm_source"
    assert json.loads(payload.encode(sample))["lead"]["custom_fields"].keys() == {
        "job_title",
        "city",
    }


texts = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
words = st.sampled_from(
    ["lead", "list", ".", "name", "email", "score", "custom_fields", "verifications", "city", "|",
     "upper", "lower", "default", "replace", "join", "round", "length", "tojson", "int", "first",
     "(", ")", "[", "]", "{", "}", "'a'", '"{{"', "0", "1", "-1", "10000000000", "1e308", ",", ":",
     "+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "not", "and", "or", "if", "else",
     "is", "defined", "none", "true", "{{", "}}", "{%", "%}", "{#", "#}", "for", "x", "\\ud800",
     "__class__", "range", "format", "split", ".split(' ')", "\n"]
)  # fmt: skip
programs = st.lists(words, max_size=12).map(" ".join)


@given(st.lists(programs | st.just("lead.score"), min_size=1, max_size=3), programs)
@given_example(["lead.custom_fields | tojson | tojson"], "{{")
def test_whatever_is_written_is_refused_or_invalid_or_json(parts, outside):
    """Whatever stands in a body, it is refused, or the lead is invalid, or JSON is sent (2.7)."""
    document = payload.sample("test-1", NOW)
    text = outside.join(f"{{{{ {part} }}}}" for part in parts)
    try:
        rendered = Body([text, outside]).render(document)
    except (ConfigurationError, InvalidLead):
        return
    again = json.loads(payload.encode(rendered))
    assert isinstance(again, list)
    assert len(again) == 2


@given(json_values)
def test_any_value_of_a_lead_comes_through_as_it_is(content):
    """An expression alone gives the lead's own value, whatever JSON it is (2.2 and 2.7)."""
    document = payload.sample("test-1", NOW)
    document["lead"]["custom_fields"]["x"] = content
    rendered = value("{{ lead.custom_fields.x }}", document)
    assert payload.encode(rendered) == payload.encode(content)
    joined = value("<{{ lead.custom_fields.x }}>", document)
    expected = content if isinstance(content, str) else payload.encode(content).decode()
    assert joined == ("<>" if content is None else f"<{expected}>")


@given(st.dictionaries(texts, json_values, max_size=4))
def test_text_without_marks_is_sent_as_it_is(document):
    """Whatever JSON stands in a body without an expression is sent to the byte (2.7)."""
    sample = payload.sample("test-1", NOW)
    if "{{" in json.dumps(document) or "{%" in json.dumps(document) or "{#" in json.dumps(document):
        return
    assert payload.encode(Body(document).render(sample)) == payload.encode(document)
