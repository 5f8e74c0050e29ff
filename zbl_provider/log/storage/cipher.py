"""
How personal data rests in the log: encrypted where a key is set, and bound to its row (6.4, 7.6).

Whoever can write to the log's database, and has no key, could otherwise copy one lead's payload
into another lead's row, and read it on the page or have it sent to that row's destination.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = b"\x00"
_FERNET = b"\x01"  # by itself, as it was before there were envelopes
_ENVELOPE = b"\x02"  # not bound to its row, as it was before Contract 7.6
_BOUND = b"\x03"
_TOKEN = re.compile(rb"[A-Za-z0-9_-]+={0,2}")
_LENGTH_BYTES = 2
_NONCE_BYTES = 12
_KEY_BITS = 256
_KEYS_KEPT = 256


class Cipher(Protocol):
    """What a Fernet, a MultiFernet and Airflow's own key offer."""

    def encrypt(self, msg: bytes, /) -> bytes:
        """Return the ciphertext of the given bytes."""

    def decrypt(self, token: bytes, /) -> bytes:
        """Return the bytes of the given ciphertext, or raise cryptography's InvalidToken."""


class UnreadableError(Exception):
    """Bytes that no key at hand can read; its text says what to do."""


def payload_place(webhook_id: str) -> bytes:
    """Return the place of a lead's payload, which is what it is bound to (Contract 7.6)."""
    return b"\0".join((b"zbl_delivery.payload", webhook_id.encode()))


def excerpt_place(webhook_id: str, resend: int, number: int) -> bytes:
    """Return the place of what was answered to one attempt."""
    return b"\0".join((b"zbl_attempt.excerpt", webhook_id.encode(), b"%d" % resend, b"%d" % number))


class Seal:
    """
    Turns bytes into what rests in the log, and back.

    What is written says itself how it was encrypted. It is bound to its place, a table, a column
    and a row: moved elsewhere it cannot be read. Where a key is set, bytes that were stored without
    one are refused, since anybody can write those; ``recover`` alone takes them.

    A Fernet takes eight times as long as AES-GCM for a payload. So each process encrypts with a
    data key of its own, and Airflow's key encrypts that one, which rests beside the data. Nonces
    are random: no process seals the 2**32 payloads after which two might be alike (NIST SP
    800-38D).

    :param cipher: encrypts what is written from now on; None writes it as it is
    """

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher
        self._own: _DataKey | None = None
        self._unwrapped = lru_cache(_KEYS_KEPT)(self._unwrap)

    @property
    def encrypts(self) -> bool:
        """Whether there is a key to encrypt with."""
        return self._cipher is not None

    def close(self, data: bytes, place: bytes) -> bytes:
        """
        Return the bytes to store.

        :param data: what is to be stored
        :param place: where; ``payload_place`` and ``excerpt_place`` name it
        """
        return self.closer(1)(data, place)

    def closer(self, count: int) -> Callable[[bytes, bytes], bytes]:
        """
        Return what does the same as ``close`` for many, and asks for randomness once.

        :param count: how often it may be called
        """
        if self._cipher is None:
            return lambda data, _: _PLAIN + data
        key, wrapped = self._own = self._own or _DataKey.generate(self._cipher)
        # Asked for one by one, each would let go of Python's lock, and wait for the senders to have
        # it back. And none is kept for later: after a fork two processes would have the same.
        drawn = os.urandom(count * _NONCE_BYTES)
        nonces = iter([drawn[n : n + _NONCE_BYTES] for n in range(0, len(drawn), _NONCE_BYTES)])

        def close(data: bytes, place: bytes) -> bytes:
            nonce = next(nonces)
            return wrapped + nonce + key.encrypt(nonce, data, place)

        return close

    def open(self, stored: bytes, place: bytes) -> bytes:
        """
        Return the bytes that were stored.

        :param stored: what rests
        :param place: where it rests
        :raises UnreadableError: no key at hand reads it, it was stored without one although there
            is one now, or it was written for another place
        """
        if stored[:1] == _PLAIN and self._cipher is not None:
            raise UnreadableError(
                "it was stored without a Fernet key, and one is set now: run"
                " `airflow zbl log rotate-keys`"
            )
        return self.recover(stored, place)

    def recover(self, stored: bytes, place: bytes) -> bytes:
        """
        Return stored bytes, also those without a key, to be closed anew (Contract 6.4).

        :raises UnreadableError: as ``open``, but for what was stored without a key
        """
        kind, rest = stored[:1], stored[1:]
        if kind == _PLAIN:
            return rest
        if kind not in (_FERNET, _ENVELOPE, _BOUND) or self._cipher is None:
            raise UnreadableError("it is encrypted, and no Fernet key is set: set the one it had")
        try:
            if kind == _FERNET:
                return _text_of(self._cipher, rest)
            nonce = _LENGTH_BYTES + int.from_bytes(rest[:_LENGTH_BYTES], "big")
            data = nonce + _NONCE_BYTES
            key = self._unwrapped(rest[_LENGTH_BYTES:nonce])
            bound = place if kind == _BOUND else None
            return key.decrypt(rest[nonce:data], rest[data:], bound)
        except InvalidTag:
            # Its data key could be read, so Airflow's key is the right one.
            raise UnreadableError(
                "it was changed, or written for another row: only a backup has what was here"
            ) from None
        except (InvalidToken, ValueError):
            raise UnreadableError(
                "it was encrypted with another Fernet key: add that one to the keys"
            ) from None

    def _unwrap(self, wrapped: bytes) -> AESGCM:
        if self._cipher is None:
            raise InvalidToken
        return AESGCM(self._cipher.decrypt(wrapped))


class _DataKey(NamedTuple):
    """A key of one process, and how what it encrypts begins: with the key, encrypted itself."""

    aead: AESGCM
    wrapped: bytes

    @classmethod
    def generate(cls, cipher: Cipher) -> Self:
        key = AESGCM.generate_key(_KEY_BITS)
        wrapped = cipher.encrypt(key)
        return cls(AESGCM(key), _BOUND + len(wrapped).to_bytes(_LENGTH_BYTES, "big") + wrapped)


def _text_of(cipher: Cipher, token: bytes) -> bytes:
    """
    Return what a token by itself holds: a payload or an answer, and so a text.

    The data keys beside other ciphertexts are tokens of the same key: written here, by somebody who
    has the log's database and no key, one would be shown, or sent to that row's destination.
    """
    # A Fernet passes over what is no base64, so the whole of an envelope may be one to it.
    if not _TOKEN.fullmatch(token):
        raise InvalidTag
    data = cipher.decrypt(token)
    try:
        data.decode()
    except UnicodeDecodeError:
        raise InvalidTag from None
    return data
