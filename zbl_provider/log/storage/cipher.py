"""How personal data rests in the log: encrypted where a key is set (Contract 6.4)."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PLAIN = b"\x00"
_FERNET = b"\x01"  # by itself, as it was before there were envelopes
_ENVELOPE = b"\x02"
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


class Seal:
    """
    Turns bytes into what rests in the log, and back.

    What is written says itself whether it was encrypted: a log begun without a key stays readable
    once there is one, and ciphertext is never taken for a payload when the key is gone.

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

    def close(self, data: bytes) -> bytes:
        """Return the bytes to store."""
        if self._cipher is None:
            return _PLAIN + data
        own = self._own = self._own or _DataKey.generate(self._cipher)
        nonce = os.urandom(_NONCE_BYTES)
        return own.wrapped + nonce + own.aead.encrypt(nonce, data, None)

    def open(self, stored: bytes) -> bytes:
        """Return the bytes that were stored, or raise UnreadableError."""
        kind, rest = stored[:1], stored[1:]
        if kind == _PLAIN:
            return rest
        if kind not in (_FERNET, _ENVELOPE) or self._cipher is None:
            raise UnreadableError("it is encrypted, and no Fernet key is set: set the one it had")
        try:
            if kind == _FERNET:
                return self._cipher.decrypt(rest)
            wrapped, nonce, ciphertext = _parts(rest)
            return self._unwrapped(wrapped).decrypt(nonce, ciphertext, None)
        except (InvalidToken, InvalidTag, ValueError):
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
        return cls(AESGCM(key), _ENVELOPE + len(wrapped).to_bytes(_LENGTH_BYTES, "big") + wrapped)


def _parts(rest: bytes) -> tuple[bytes, bytes, bytes]:
    nonce = _LENGTH_BYTES + int.from_bytes(rest[:_LENGTH_BYTES], "big")
    data = nonce + _NONCE_BYTES
    return rest[_LENGTH_BYTES:nonce], rest[nonce:data], rest[data:]
