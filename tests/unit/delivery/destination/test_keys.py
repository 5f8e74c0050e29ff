"""Extra: one JSON object, with every key known (Contract 1.2)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.destination.keys import KEYS
from zbl_provider.exceptions import ConfigurationError, HeaderError

URL = "https://hooks.test/catch/s3cretpath/"


def parse(extra):
    return Destination.parse(integration="zapier", host=URL, extra=extra)


def refusal(extra, kind=ConfigurationError):
    with pytest.raises(kind) as caught:
        parse(extra)
    message = str(caught.value) + repr(caught.value.__cause__)
    assert "s3cret" not in message
    return message


@pytest.mark.parametrize(
    "text",
    ["{", "s3cret", '{"active": false', "{'active': False}", '["s3cret"]', "[1]", '"s3cret"', "5",
     "null", "true", '{"active": false} s3cret', "active=false", "\ufeff{}", "[" * 100_000,
     '{"max_rate": NaN}', '{"max_rate": -Infinity}', '{"max_rate": 1' + "0" * 5000 + "}",
     json.dumps(json.dumps({"active": False})), json.dumps([["active", False]])],
)  # fmt: skip
def test_what_is_no_json_object_is_refused_unseen(text):
    """Broken JSON, or another kind of it, never reads as an empty Extra (Contract 1.2, 1.5)."""
    assert refusal(text).startswith("Extra: ")


def test_json_inside_of_a_text_has_a_remedy_of_its_own():
    """Extra that was encoded twice says so (Contract 1.2)."""
    assert "outer quotes" in refusal(json.dumps(json.dumps({"active": False})))


@pytest.mark.parametrize("value", [5, True, [1], {1: 2}.keys()])
def test_an_extra_of_another_type_is_refused(value):
    """Whatever a secrets backend gives for Extra is text, or refused (Contract 1.2)."""
    assert refusal(value).startswith("Extra: ")


@pytest.mark.parametrize("text", [None, "", "  ", "{}", " {} ", {}])
def test_nothing_is_an_empty_extra(text):
    """Only what is empty reads as empty (Contract 1.2)."""
    assert parse(text) == Destination.parse(integration="zapier", host=URL)


@pytest.mark.parametrize(
    "text",
    ['{"active": false, "active": true}', '{"secret_headers": {"X": "s3cret", "X": "s3cret2"}}',
     '{"_note": {"a": 1, "a": 2}}', '{"secret_headers": "{\\"X\\": \\"a\\", \\"X\\": \\"b\\"}"}'],
)  # fmt: skip
def test_a_key_that_is_there_twice_is_refused(text):
    """Of two values for one key none is dropped (Contract 1.2)."""
    assert "twice" in refusal(text)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [("filed_filters", "Did you mean field_filters?"), ("minScore", "Did you mean min_score?"),
     ("secret-headers", "Did you mean secret_headers?"), ("list", "Did you mean lists?"),
     ("Active ", "Did you mean active?"), ("retry_status", "Did you mean retry_statuses?"),
     ("extra__zbl_webhook__max_rate", "Did you mean max_rate?"),
     ("X-Api-Key", "Move it to secret_headers"), ("Authorization", "Move it to secret_headers"),
     ("token", "%3F"), ("_", "%3F"), ("__extra__", "query of a connection URI")],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_a_remedy(key, remedy):
    """A slip, a header or the URL's query is never dropped in silence (Contract 1.2)."""
    message = refusal({key: "s3cret"})
    assert key in message
    assert remedy in message


@pytest.mark.parametrize("key", ["s3cret", "k3y" * 40, "tok/en", "a=s3cret", "Bearer s3cret"])
@pytest.mark.parametrize("value", ["", [], {}, 0])
def test_an_unknown_key_that_may_be_a_secret_is_not_shown(key, value):
    """A query without a value becomes a key: it is refused and not shown (1.2 and 1.5)."""
    assert key not in refusal({key: value})


@pytest.mark.parametrize("extra", [{"gone": None}, {"_note": "of sales"}, {"_note": [1]}])
def test_what_holds_nothing_and_notes_are_left_alone(extra):
    """A field that a form no longer has, and a note, change nothing (1.2)."""
    assert parse(extra) == parse({})


def test_headers_outside_secret_headers_are_refused():
    """`headers` is refused: Airflow would show what is under it, and it would not be sent (1.5)."""
    assert "secret_headers" in refusal({"headers": {"X-Key": "s3cret"}}, HeaderError)


@pytest.mark.parametrize(
    ("extra", "named"),
    [({"timeout": 30}, "timeout"), ({"allow_redirects": True}, "allow_redirects"),
     ({"max_redirects": 3}, "max_redirects"), ({"stream": "true"}, "stream")],
)  # fmt: skip
def test_what_http_hook_would_do_otherwise_is_remarked_upon(extra, named):
    """An option of HTTP connections that has no meaning here is told of, not dropped (1.1, 1.2)."""
    (remark,) = parse(extra).remarks
    assert remark.startswith(named)


def test_a_filter_that_looks_for_nothing_is_remarked_upon():
    """Its writer is told in the task's log, and by the test lead (1.2, 5.3)."""
    (remark,) = parse({"field_filters": ["city is empty", "list.title equals s3cret"]}).remarks
    assert remark.startswith("field_filters looks for list.title")
    assert "s3cret" not in remark


def test_what_http_hook_would_do_the_same_is_no_matter():
    """Options of HTTP connections that ask for what is done anyway are taken (Contract 1.1)."""
    extra = {"allow_redirects": False, "stream": False, "check_response": True, "srv_lookup": False}
    assert parse(extra).remarks == ()


@pytest.mark.parametrize(
    "extra", [{"check_response": False}, {"srv_lookup": True}, {"allow_redirects": "perhaps"}]
)
def test_what_would_make_leads_fare_otherwise_is_refused(extra):
    """Options under which leads would go elsewhere, or count otherwise, are refused (1.2)."""
    assert refusal(extra).startswith(next(iter(extra)))


@pytest.mark.parametrize(
    "extra",
    [{"proxy": "***"}, {"proxies": {"https": "***"}}, {"lists": ["***"]}, {"cert": ["a", "***"]},
     {"active": "***"}, {"verify": " *** "}],
)  # fmt: skip
def test_a_mask_is_refused_wherever_it_stands(extra):
    """What Airflow has hidden and somebody has copied is not read as absent (1.2 and 1.5)."""
    assert "Enter it again" in refusal(extra)


@pytest.mark.parametrize(
    "extra",
    [{"verify": True, "verify_ssl": False}, {"proxy": "http://a:1", "proxies": {"https": "b:1"}},
     {"proxies": {"http": "http://a:1"}}, {"proxies": {"https://other.test": "http://a:1"}},
     {"proxies": {"https": "http://a:1", "no_proxy": "hooks.test"}}, {"cert": ["/a.pem", ""]}],
)  # fmt: skip
def test_of_two_settings_none_is_dropped(extra):
    """What would be filled and not used is refused, naming the key (Contract 1.2)."""
    assert refusal(extra).split(":")[0] in extra


values = st.sampled_from(
    [
        ("secret_headers", {"X-Key": "v"}), ("secret_headers", {"Cookie": "ü"}), ("active", False),
        ("min_score", 70), ("lists", ["Google Ads", "7"]), ("lists", 7), ("lists", "EU, hot"),
        ("field_filters", ["city equals New York"]), ("retry_statuses", [429, "408"]),
        ("signing_secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), ("max_concurrency", 4),
        ("max_rate", 2.5), ("keep_alive", False), ("verify", False), ("verify", "/ca.pem"),
        ("cert", ["/a.pem", "/b.pem"]), ("proxies", {"https": "http://proxy.test:3128"}),
        ("trust_env", True),
    ]
)  # fmt: skip


@given(st.lists(values, max_size=6).map(dict))
def test_a_value_means_the_same_as_text(extra):
    """What a connection URI carries as text means what it means as JSON (Contract 1.2)."""
    texts = {key: v if isinstance(v, str) else json.dumps(v) for key, v in extra.items()}
    assert parse(texts) == parse(extra) == parse(json.dumps(extra))


@pytest.mark.parametrize("text", ['["a"', "['a', 'b']", '{"X": "s3cret"', "{'X': 's3cret'}"])
@pytest.mark.parametrize("key", sorted(KEYS - {"verify_ssl"}))
def test_a_text_that_is_almost_json_is_refused(key, text):
    """A list or object with a slip in it is not taken for a text (Contract 1.2)."""
    assert refusal({key: text}).startswith(key)


@pytest.mark.parametrize("text", ["[EU] leads", "(hot)", "a [b]"])
def test_a_list_may_have_brackets_in_its_name(text):
    """A name that only begins like JSON is a name (Contract 5.2)."""
    assert parse({"lists": text}).filters.lists == (text,)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_the_text_null_is_no_null(key):
    """A template that had no value does not turn a setting off (Contract 1.2)."""
    assert "Leave the key out" in refusal({key: "null"})
