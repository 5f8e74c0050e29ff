"""An email's hash is the same however people write it, and tells nobody without the key (8.8)."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.leads.lead import read_lead
from zbl_provider.leads.payload import document, encode
from zbl_provider.log.storage.email_hash import EmailHasher

NEW, OLD = b"new", b"old"
BLANKS = st.text(" \t\r\n", max_size=3)


class Given:
    """A log's database that knows its salt alone."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def execute(self, _: object) -> Given:
        return self

    def scalar_one(self) -> bytes:
        return self._salt


def hasher(*secrets: bytes, salt: bytes = b"a" * 32) -> EmailHasher:
    made = EmailHasher(secrets)
    made.prepare(Given(salt))
    return made


@given(st.emails(), BLANKS, BLANKS)
def test_case_and_blanks_make_no_other_person(email, before, after):
    """The same address in another case, or with blanks around it, has the same hash (8.8)."""
    keyed = hasher(NEW)
    for other in (email.upper(), email.lower(), email.swapcase(), before + email + after):
        assert keyed.hash(other) == keyed.hash(email)
        assert keyed.hash(email) in keyed.hashes(other)


@given(st.text(), st.text())
def test_any_text_has_a_hash_and_other_texts_have_others(text, other):
    """No text makes it fail, and no two are one but by case, blanks and how accents are written."""
    keyed = hasher(NEW)
    assert (keyed.hash(text) is None) == (not text.strip())
    assert text.strip() != other.strip() or keyed.hash(text) == keyed.hash(other)
    if text.isascii() and other.isascii() and text.strip().lower() != other.strip().lower():
        assert keyed.hashes(text) != keyed.hashes(other) or not (text.strip() or other.strip())


def test_accents_are_one_however_they_are_written():
    """A letter with its accent, and a letter before an accent, are the same to people (8.8)."""
    assert hasher(NEW).hash("Jos\u00e9@x.com") == hasher(NEW).hash("JOSE\u0301@x.com")
    assert hasher(NEW).hash("half\ud800@x.com") is not None


@pytest.mark.parametrize(
    ("letters", "ascii_"),
    [
        ("ana@m\u00fcller.de", "Ana@XN--mller-kva.de"),
        ("jos\u00e9@\u4f8b.jp", "JOS\u00c9@xn--fsq.jp"),
    ],
)
def test_a_domain_in_letters_is_the_one_in_ascii(letters, ascii_):
    """Whichever way a lead has it, it is found by the other (8.8)."""
    keyed = hasher(NEW)
    assert keyed.hash(letters) in keyed.hashes(ascii_)
    assert keyed.hash(ascii_) in keyed.hashes(letters)


@pytest.mark.parametrize(
    "domain", ["xn--.de", "xn--\u00fc.de", "\u00fc" * 300, "\u00fc..de", "@xn--a@"]
)
def test_a_domain_that_is_none_has_a_hash_all_the_same(domain):
    """What cannot be written the other way is looked for as it is (8.8)."""
    keyed = hasher(NEW)
    assert keyed.hash(f"ana@{domain}") in keyed.hashes(f"ana@{domain}")


def test_a_plus_and_what_follows_is_another_address():
    """Some providers take them for one, others do not: nobody finds a stranger (8.8)."""
    keyed = hasher(NEW)
    assert keyed.hash("ana+news@x.com") not in keyed.hashes("ana@x.com")


def test_whoever_has_another_key_or_another_log_has_other_hashes():
    """A hash is tried by nobody without the key, and says nothing about another log (8.8)."""
    logs = [hasher(NEW), hasher(OLD), hasher(), hasher(NEW, salt=b"b" * 32), hasher(salt=b"b" * 32)]
    assert len({log.hash("ana@x.com") for log in logs}) == len(logs)
    assert all(-(2**63) <= log.hash("ana@x.com") < 2**63 for log in logs)


def test_what_old_keys_and_no_key_have_hashed_is_looked_for_too():
    """While a key is rotated a person is found beside both; what is written has the first (8.8)."""
    both = hasher(NEW, OLD)
    assert both.hash("ana@x.com") == hasher(NEW).hash("ana@x.com")
    assert set(both.hashes("ana@x.com")) == {
        log.hash("ana@x.com") for log in (hasher(NEW), hasher(OLD), hasher())
    }


def test_a_log_whose_keys_are_not_known_has_no_hashes():
    """Beside encrypted payloads no hash rests that whoever reads the log could try (6.4, 8.8)."""
    blind = EmailHasher(None)
    blind.prepare(Given(b"a" * 32))
    assert (blind.hash("ana@x.com"), blind.hashes("ana@x.com")) == (None, ())


LEAD = read_lead({"id": "1", "email": "Ana@X.com", "status": "qualified", "other": "bob@x.com"})


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (encode(document(LEAD)), True),
        (orjson.dumps({"contact": [{"mail": "ana@x.com", "from": "bob@x.com"}]}), True),
        (orjson.dumps(["mailto:ana@x.com"]), False),
        (orjson.dumps(7), False),
        (b"", False),
    ],
)
def test_a_new_hash_is_made_where_the_body_has_the_email(body, kept):
    """The old hash tells which text it is, whatever shape the body has (2.7, 8.8)."""
    both = hasher(NEW, OLD)
    expected = hasher(NEW).hash("ana@x.com") if kept else None
    assert both.renewed(hasher(OLD).hash("ana@x.com"), body) == expected
    assert both.renewed(hasher().hash("ana@x.com"), body) == expected, "and from before any key"


def test_a_lead_of_an_earlier_version_gets_its_hash_from_the_payload():
    """A standard payload says where the email is; a body of another shape does not (8.8)."""
    keyed = hasher(NEW)
    assert keyed.renewed(None, encode(document(LEAD))) == keyed.hash("ana@x.com")
    for other in ({"lead": {"email": "ana@x.com"}}, {"event": "lead.qualified", "lead": None}, []):
        assert keyed.renewed(None, orjson.dumps(other)) is None
    nobody = LEAD._replace(email=None)
    assert keyed.renewed(None, encode(document(nobody))) is None


def test_a_text_that_is_no_email_is_not_looked_for():
    """Longer than an email may be, it would be put in order for minutes (5.5, 8.8)."""
    keyed = hasher()
    longest = "ã" * 310 + "@x.com"
    assert keyed.hash(longest) in keyed.hashes(f" {longest}\n")
    heap = "a" + "\u0315" * 100_000 + "\u0300" * 100_000
    assert keyed.hashes(f"{heap}@x.com") == ()
    body = orjson.dumps({"note": heap, "mail": longest})
    assert keyed.renewed(keyed.hash(longest), body) == keyed.hash(longest)
