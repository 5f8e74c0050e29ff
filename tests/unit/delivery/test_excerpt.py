import html
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.excerpt import Excerpts

PLAIN = Excerpts(Destination.parse(integration="test", host="https://hooks.test/"))


def of(secret, url="https://hooks.test/"):
    extra = {"secret_headers": {"X-Key": secret}}
    return Excerpts(Destination.parse(integration="test", host=url, extra=extra))


bodies = st.binary(max_size=6000) | st.builds(
    lambda piece, times: piece * times, st.binary(min_size=1, max_size=4), st.integers(1, 6000)
)


@given(bodies, st.booleans())
@example(b"\xff" * 4096, True)
def test_whatever_comes_becomes_a_little_printable_text(body, whole):
    """An excerpt is at most 4 KiB of printable text, line breaks and tabs apart (2.4 and 7.3)."""
    text = PLAIN.text(body, whole=whole)
    assert len(text.encode()) <= 4096
    assert all(character.isprintable() or character in "\n\t" for character in text)


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=200))
def test_ordinary_text_stays_as_it_is(text):
    """What can be read is kept as it came (Contract 7.3)."""
    assert PLAIN.text(text.encode(), whole=True) == text


@given(
    st.text([chr(code) for code in range(0x21, 0x7F)], min_size=4, max_size=40),
    st.text("az ", max_size=50),
    st.booleans(),
)
def test_a_header_value_never_comes_back(secret, around, as_json):
    """A header value that the receiver repeats is masked, as it stands and as JSON (1.5)."""
    echoed = json.dumps({"k": secret}) if as_json else secret
    text = of(secret).text(f"{around}{echoed}{around}".encode(), whole=True)
    assert "***" in text
    assert secret not in text.replace("***", "")


def _json_with(characters, digits):
    """Give a JSON encoder that writes these characters as their numbers."""
    pattern = re.compile(f"[{re.escape(characters)}]")
    return lambda text: pattern.sub(
        lambda found: rf"\u{ord(found[0]):{digits}}", json.dumps(text)[1:-1]
    )


def _numbered(text):
    """Write HTML as Go's templates do."""
    return re.sub(r"[&<>\"'+]", lambda found: f"&#{ord(found[0])};", text)


def _in_small_letters(text):
    return re.sub("%..", lambda found: found[0].lower(), quote(text, safe=""))


SPELLINGS = [
    json.dumps,
    lambda text: json.dumps(text)[1:-1].replace("/", r"\/"),
    _json_with("&<>", "04x"),  # Go, Rails
    _json_with("&<>+'`", "04X"),  # .NET
    _json_with("&<>='", "04x"),  # Gson
    html.escape,
    _numbered,
    quote,
    lambda text: quote(text, safe=""),
    _in_small_letters,
]


@given(
    st.text(
        [chr(code) for code in range(0x21, 0x7F) if code != ord("\\")], min_size=12, max_size=40
    ),
    st.lists(st.sampled_from(SPELLINGS), max_size=3),
)
@example("Bearer a+b&c=d/e", [SPELLINGS[2], json.dumps])
def test_a_header_value_never_comes_back_in_anybodys_spelling(secret, spellings):
    """Receivers write JSON, HTML and URLs in their own ways, one within another (1.5)."""
    echoed = secret
    for spell in spellings:
        echoed = spell(echoed)
    text = of(secret).text(f"az {echoed} az".encode(), whole=True)
    quotes = r'[\\"&%#;quotmpx0-9A-Fa-f]*'
    assert re.fullmatch(rf"az {quotes}\*\*\*{quotes} az", text)


@given(st.sampled_from(SPELLINGS), st.integers(0, 200))
def test_a_cut_secret_does_not_show_its_beginning_in_anybodys_spelling(spell, length):
    """A body may break off within an escape of a secret that it repeats (Contract 1.5)."""
    secret = "s3cr+t&v=l\"e'<0123>/456789"
    cut = f"az {spell(secret)}"[:length]
    assert "s3cr" not in of(secret).text(cut.encode(), whole=False)


def test_escapes_within_escapes_without_end_are_not_followed():
    """A hostile answer is read as deep as anybody writes (Contract 7.3)."""
    body = b"%" + b"25" * 2000
    assert of("s3cret-value").text(body, whole=True) == body.decode()


@given(st.integers(4000, 4100))
def test_a_secret_at_the_end_of_the_excerpt_does_not_show_its_beginning(length):
    """Where the excerpt's end cuts a secret in two, its first half goes as well (1.5)."""
    text = of("s3cret-value-0123456789").text(
        b"a" * length + b"s3cret-value-0123456789", whole=True
    )
    assert "s3cr" not in text


@given(st.integers(4, 22), st.text("az ", max_size=50))
def test_a_secret_at_which_the_body_breaks_off_does_not_show_its_beginning(length, before):
    """A peer that breaks off within a secret it repeats shows no half of it either (1.5)."""
    secret = "s3cret-value-0123456789"
    cut = (before + secret[:length]).encode()
    assert "s3cr" not in of(secret).text(cut, whole=False)
    assert of(secret).text(cut, whole=True) == cut.decode()


def test_a_secret_cut_within_a_character_does_not_show_its_beginning():
    """Where the end falls into a character of the secret, its first half goes as well (1.5)."""
    secret = "s3cret-\xe9-value"
    body = b"a" * (4096 - len("s3cret-") - 1) + secret.encode()
    assert body[:4096].endswith(b"s3cret-\xc3")
    assert "s3cr" not in of(secret).text(body, whole=True)


def test_the_urls_path_and_query_never_come_back():
    """A catch-hook URL is a secret, in each spelling a receiver may repeat it (1.5)."""
    excerpts = of("x-api-value", "https://hooks.test/catch/s3cret-1/?key=s3cret&b=2")
    echoed = ["https://hooks.test/catch/s3cret-1/?key=s3cret&b=2", "/catch/s3cret-1/",
              r"\/catch\/s3cret-1\/?key=s3cret&b=2", "key=s3cret&amp;b=2",
              "https%3A%2F%2Fhooks.test%2Fcatch%2Fs3cret-1%2F%3Fkey%3Ds3cret%26b%3D2"]  # fmt: skip
    for text in echoed:
        assert "s3cret" not in excerpts.text(f"No hook at {text} here".encode(), whole=True)


HOOK = (
    "https://hooks.test/webhook/1f2e3d4c-aaaa-bbbb/AbCdEfGhIjKlMnOpQr"
    "?token=open-sesame&test=true&code=Ab1/cd+EfGhIj=="
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        # n8n's answer to a path that it does not know
        ('The requested webhook "POST 1f2e3d4c-aaaa-bbbb/AbCdEfGhIjKlMnOpQr" is not registered.',
         'The requested webhook "POST ***" is not registered.'),
        ("no scenario AbCdEfGhIjKlMnOpQr", "no scenario ***"),
        ("no account 1f2e3d4c-aaaa-bbbb", "no account ***"),
        ('{"args": {"token": "open-sesame", "test": "true"}}',
         '{"args": {"token": "***", "test": "true"}}'),
        ('{"code": "Ab1/cd+EfGhIj=="}', '{"code": "***"}'),
        ('{"code": "Ab1/cd EfGhIj=="}', '{"code": "***"}'),  # as a form's values are read
        ("the webhook was not found", "the webhook was not found"),
        ("acme may not log in with hunter2:hunter2", "acme may not log in with ***"),
        ("acme:hunter2:hunter2", "***"),
        ("no such session: 0123abcd", "no such session: ***"),
        ("expected a signature by whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
         "expected a signature by ***"),
        ("key MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "key ***"),
    ],
)  # fmt: skip
def test_a_part_of_a_secret_never_comes_back(said, shown):
    """A receiver may take apart what it is sent, and repeat a piece of it (Contract 1.5)."""
    destination = Destination.parse(
        integration="test", host=HOOK, login="acme", password="hunter2:hunter2",
        extra={"secret_headers": {"Cookie": "lang=pt; session=0123abcd"},
               "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    )  # fmt: skip
    assert Excerpts(destination).text(said.encode(), whole=True) == shown


@pytest.mark.parametrize("given", ["Basic not base64", "Basic /w==", "Basic", "basic OnNlY3JldA=="])
def test_credentials_that_were_written_by_hand_are_masked_as_far_as_they_are_any(given):
    """An Authorization header may hold what nobody can decode (Contract 1.4 and 1.5)."""
    extra = {"secret_headers": {"Authorization": given}}
    destination = Destination.parse(integration="test", host="https://hooks.test/", extra=extra)
    text = Excerpts(destination).text(b"the password is secret", whole=True)
    assert ("***" in text) is given.startswith("basic")


def test_short_values_leave_answers_readable():
    """A header value such as "1" is no secret; masking it would blot out everything (1.5)."""
    assert of("1").text(b'{"status": 1}', whole=True) == '{"status": 1}'
