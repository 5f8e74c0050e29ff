"""
A keyed hash of a lead's email, by which a person is found (Contract 8.8).

It rests beside the payload, and goes with it. Equal emails have equal hashes, so somebody who has
the keys can look an email up; somebody without them can neither read one nor try a guess. The data
keys that encrypt payloads are no use here: each process has its own, and its hashes would be found
by no other. So the keys come from Airflow's Fernet keys themselves, by HKDF, with a salt that each
log has of its own. Where no Fernet key is set the salt alone is the key: a reader of the log can
try guesses, and could read the payloads as well; somebody who sees a hash elsewhere, such as in an
address, still can not.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select

from zbl_provider.log.storage.tables import salt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

PURPOSE = "email"
"""Of the salt."""

_KEY_BYTES = 32
_HASH_BYTES = 8  # an integer to databases: its index costs each lead a third of a text's
_NO_SECRET = b""
_LONGEST_EMAIL = 320  # that a lead may have (Contract 5.5); any text may be asked about


class EmailHasher:
    """
    Hashes emails with the keys of one log; ``prepare`` it in a transaction first.

    :param secrets: Airflow's Fernet keys, the one that encrypts first; none where none is set. None
        is a log that encrypts with a key which is not known here: it has no hashes
    """

    def __init__(self, secrets: Sequence[bytes] | None) -> None:
        # Last, since leads that were enrolled before there was any key are looked for, too.
        self._secrets = None if secrets is None else (*secrets, _NO_SECRET)
        self._keys: tuple[bytes, ...] = ()

    def prepare(self, connection: Connection) -> None:
        """Read the log's salt, once in the life of a process."""
        if self._secrets and not self._keys:
            own = select(salt.c.value).where(salt.c.purpose == PURPOSE)
            value: bytes = connection.execute(own).scalar_one()
            self._keys = tuple(
                HKDF(SHA256(), _KEY_BYTES, value, b"zbl_delivery.email_hash").derive(secret)
                for secret in self._secrets
            )

    def hash(self, email: str | None) -> int | None:
        """
        Return what rests beside a lead, an integer of 64 bits; None for a lead without an email.

        :param email: in whatever case, with or without blanks around it
        """
        if not email or not self._keys or not (form := _normal(email)):
            return None
        return _keyed(form, self._keys[0])

    def hashes(self, email: str) -> tuple[int, ...]:
        """
        Return all that may rest beside a lead with this email: one for each key.

        An internationalized domain is written in letters or in ASCII (``xn--``), and which of them
        a lead has nobody knows: both are looked for.
        """
        email = email.strip()
        if len(email) > _LONGEST_EMAIL:
            return ()
        forms = dict.fromkeys(filter(None, (_normal(form) for form in (email, *_other(email)))))
        return tuple(_keyed(form, key) for form in forms for key in self._keys)

    def renewed(self, email_hash: int | None, body: bytes) -> int | None:
        """
        Return the present key's hash of a lead's email.

        Which text of a body the email is, its old hash tells, whatever shape the body has (2.7).

        :param email_hash: what rests beside the lead; None if it was enrolled before there were any
        :param body: what is sent of the lead
        :return: None if the body does not hold the email as a text of its own
        """
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        if email_hash is None:
            return self.hash(_of_payload(document))
        same = (text for text in _texts(document) if email_hash in self.hashes(text))
        return self.hash(next(same, None))


def _keyed(form: bytes, key: bytes) -> int:
    digest = blake2b(form, key=key, digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest, "big", signed=True)


def _normal(email: str) -> bytes:
    """Return an email as people mean it: they write it in any case, and with blanks around it."""
    text = email.strip()
    if text.isascii():
        return text.lower().encode()
    folded = unicodedata.normalize("NFC", text).casefold()
    return unicodedata.normalize("NFC", folded).encode("utf-8", "backslashreplace")


def _other(email: str) -> Iterator[str]:
    """Yield the email with its domain the other way: in ASCII, or in letters."""
    local, at, domain = email.strip().rpartition("@")
    with suppress(UnicodeError):
        if not domain.isascii():
            yield local + at + domain.encode("idna").decode("ascii")
        elif "xn--" in (ascii_domain := domain.lower()):
            yield local + at + ascii_domain.encode("ascii").decode("idna")


def _of_payload(document: object) -> str | None:
    """Return the email of a standard payload (Contract 2.2)."""
    if not isinstance(document, dict) or document.get("event") != "lead.qualified":
        return None
    lead = document.get("lead")
    email = lead.get("email") if isinstance(lead, dict) else None
    return email if isinstance(email, str) else None


def _texts(document: object) -> Iterator[str]:
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list):
            left += value
