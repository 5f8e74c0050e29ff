"""How personal data rests in the log: encrypted where a key is set (Contract 6.4)."""

from __future__ import annotations

from typing import Protocol

from cryptography.fernet import InvalidToken

_PLAIN = b"\x00"
_SECRET = b"\x01"


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

    :param cipher: encrypts what is written from now on; None writes it as it is
    """

    def __init__(self, cipher: Cipher | None) -> None:
        self._cipher = cipher

    def close(self, data: bytes) -> bytes:
        """Return the bytes to store."""
        if self._cipher is None:
            return _PLAIN + data
        return _SECRET + self._cipher.encrypt(data)

    def open(self, stored: bytes) -> bytes:
        """Return the bytes that were stored, or raise UnreadableError."""
        kind, data = stored[:1], stored[1:]
        if kind == _PLAIN:
            return data
        if kind != _SECRET or self._cipher is None:
            raise UnreadableError("it is encrypted, and no Fernet key is set: set the one it had")
        try:
            return self._cipher.decrypt(data)
        except InvalidToken:
            raise UnreadableError(
                "it was encrypted with another Fernet key: add that one to the keys"
            ) from None
