import base64
import json
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zbl_provider.delivery.destination.headers import parse_headers
from zbl_provider.exceptions import ConfigurationError, HeaderError

OWNED = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Content-Type",
         "webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "webhook-anything",
         "Idempotency-Key"]  # fmt: skip
names = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=30)
# Field values of RFC 9110: visible ASCII, Latin-1, blanks and tabs.
values = st.text([chr(code) for code in [9, *range(0x20, 0x7F), *range(0x80, 0x100)]], max_size=60)


def parse(headers, login=None, password=None):
    return parse_headers(headers, login, password)


def is_free(name):
    return name.lower() not in {owned.lower() for owned in OWNED} and not name.lower().startswith(
        "webhook-"
    )


def refusal(headers, **kwargs):
    with pytest.raises(HeaderError) as caught:
        parse(headers, **kwargs)
    return str(caught.value) + repr(caught.value)


@given(st.dictionaries(names.filter(is_free), values, max_size=5))
def test_any_header_legal_under_rfc_9110_is_sent(headers):
    """Every legal name and value is taken, blanks around a value apart (Contract 1.4)."""
    assume(len({name.lower() for name in headers}) == len(headers))
    assert dict(parse(headers)) == {name: value.strip(" \t") for name, value in headers.items()}


@given(names.filter(is_free), values, st.sampled_from("\r\n\0\x01\x1b\x7f\u0100\u20ac\U0001f600"))
def test_an_illegal_character_in_a_value_is_refused_by_name(name, value, character):
    """CR, LF, NUL, controls and what is not Latin-1 are refused, naming the header (1.4)."""
    secret = "s3cret" + value
    message = refusal({name: secret + character})
    assert name[:40] in message
    assert "s3cret" not in message


@given(names, st.sampled_from('\r\n\0 \t:()<>@,;\\"/[]?={}\x7fé€'), st.integers(0, 30))
def test_an_illegal_character_in_a_name_is_refused(name, character, place):
    """A name is a token of RFC 9110, and nothing else (Contract 1.4)."""
    refusal({name[:place] + character + name[place:]: "x"})


@pytest.mark.parametrize("headers", [{"": "x"}, {5: "x"}, {None: "x"}])
def test_a_name_that_is_no_text_is_refused(headers):
    """A header needs a name (Contract 1.4)."""
    refusal(headers)


def test_a_whole_header_line_pasted_as_a_name_is_not_shown():
    """What follows the name in a pasted line is a secret, so it is not repeated (1.5)."""
    message = refusal({"Authorization: Bearer tok3n": ""})
    assert "Authorization" in message
    assert "tok3n" not in message


@pytest.mark.parametrize("name", OWNED)
@pytest.mark.parametrize("spell", [str, str.upper, str.lower])
def test_the_headers_the_sender_owns_are_refused_by_name(name, spell):
    """The sender's own headers cannot be set, in any case (Contract 1.4)."""
    assert spell(name) in refusal({spell(name): "x"})


@given(names.filter(is_free))
def test_duplicates_by_case_are_refused_by_name(name):
    """Two names that differ in case alone are one header given twice (Contract 1.4)."""
    assume(name.lower() != name.upper())
    assert "twice" in refusal({name.lower(): "1", name.upper(): "2"})


def test_a_name_given_twice_in_json_text_is_refused():
    """JSON text that gives one name twice is refused as well (Contract 1.4)."""
    assert "twice" in refusal('{"X-Key": "1", "X-Key": "2"}')


def test_json_text_is_as_good_as_an_object():
    """A connection written as a URI carries its headers as JSON text (Contract 1.1)."""
    headers = {"X-Key": "a", "X-Other": "b"}
    assert parse(json.dumps(headers)) == parse(headers)


@pytest.mark.parametrize("headers", [None, {}, "", "  "])
def test_no_headers_is_no_headers(headers):
    """An untouched form field gives no header (Contract 1.2)."""
    assert parse(headers) == ()


@pytest.mark.parametrize("headers", ["X-Key: a", "[1]", "5", ["X-Key"], 5, True, '{"X-Key"'])
def test_what_is_no_object_is_refused(headers):
    """Headers that are not an object are refused (Contract 1.2)."""
    assert "secret_headers" in refusal(headers)


@pytest.mark.parametrize("value", [None, True, 1.5, ["a"], {"a": 1}, b"bytes"])
def test_a_value_that_is_no_text_is_refused_by_name(value):
    """A value must be text, or a whole number that reads as one (Contract 1.4)."""
    assert "X-Key" in refusal({"X-Key": value})
    assert parse({"X-Key": 5}) == (("X-Key", "5"),)


# Airflow's mask is refused, which is another test's matter.
_CREDENTIALS = st.text().filter(lambda text: text != "***")


@given(_CREDENTIALS.filter(lambda text: text and ":" not in text), _CREDENTIALS)
def test_login_and_password_are_basic_authorization(login, password):
    """Login and password are sent as HttpHook would send them (Contract 1.1)."""
    ((name, value),) = parse(None, login, password)
    assert name == "Authorization"
    scheme, _, encoded = value.partition(" ")
    decoded = base64.b64decode(encoded)
    expected = f"{login}:{password}"
    assert scheme == "Basic"
    assert decoded in (
        expected.encode("latin-1", "replace"),
        expected.encode("utf-8", "surrogatepass"),
    )


def test_latin_1_credentials_are_encoded_as_requests_does():
    """A login that Latin-1 can write is encoded as requests encodes it (Contract 1.1)."""
    ((_, value),) = parse(None, "josé", "señal")
    assert base64.b64decode(value.removeprefix("Basic ")) == "josé:señal".encode("latin-1")


def test_login_beside_an_authorization_header_is_refused():
    """Login and an Authorization header would be the same header twice (Contract 1.4)."""
    assert "Authorization" in refusal({"authorization": "Bearer x"}, login="u", password="p")


@pytest.mark.parametrize(
    ("login", "password", "field"),
    [(None, "s3cret", "Password"), ("", "s3cret", "Password"), ("a:s3cret", "p", "Login"),
     (5, "s3cret", "Login"), ("a", 5, "Password"), ("a", "***", "Password"), ("***", "a", "Login")],
)  # fmt: skip
def test_a_login_or_password_that_cannot_be_used_is_refused(login, password, field):
    """Neither is left unused, nor sent other than it was meant; none is shown (1.2 and 1.5)."""
    with pytest.raises(ConfigurationError) as refused:
        parse(None, login, password)
    assert refused.value.field == field
    assert "s3cret" not in str(refused.value)
