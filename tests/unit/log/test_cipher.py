"""How personal data rests."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet, MultiFernet

from zbl_provider.log.cipher import Seal, UnreadableError

OLD, NEW = (Fernet(Fernet.generate_key()) for _ in range(2))


@pytest.mark.parametrize("cipher", [None, OLD])
@pytest.mark.parametrize("data", [b"", b"{}", b"\x00\x01\xff"])
def test_what_was_sealed_opens(cipher, data):
    """The bytes that rest are the bytes that are sent (Contract 2.3)."""
    seal = Seal(cipher)
    assert seal.open(seal.close(data)) == data


def test_nothing_readable_rests():
    """With a key set, personal data rests as ciphertext (Contract 6.4)."""
    assert b"john@company.com" not in Seal(OLD).close(b"john@company.com")


def test_a_rotated_key_still_opens_what_the_old_one_closed():
    """Keys are rotated as Airflow's are: the new one first, the old one kept (Contract 6.4)."""
    stored = Seal(OLD).close(b"{}")
    assert Seal(MultiFernet([NEW, OLD])).open(stored) == b"{}"


def test_a_log_begun_without_a_key_stays_readable():
    """Setting a Fernet key later loses no lead that waits already."""
    assert Seal(NEW).open(Seal(None).close(b"{}")) == b"{}"


@pytest.mark.parametrize("cipher", [None, NEW])
def test_ciphertext_is_never_taken_for_a_payload(cipher):
    """A lead whose key is gone is unreadable; its ciphertext is not sent."""
    with pytest.raises(UnreadableError, match="Fernet key"):
        Seal(cipher).open(Seal(OLD).close(b"{}"))


def test_bytes_of_another_origin_are_unreadable():
    """What this log did not write is not sent."""
    with pytest.raises(UnreadableError):
        Seal(None).open(b"")
