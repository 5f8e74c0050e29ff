"""How personal data rests."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet, MultiFernet

from zbl_provider.log.storage.cipher import Seal, UnreadableError

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


@pytest.mark.parametrize("stored", [b"\x02", b"\x02\x00", b"\x02\xff\xff", b"\x02\x00\x04abcd"])
def test_an_envelope_that_was_cut_is_unreadable(stored):
    """What this log did not write whole is not sent."""
    with pytest.raises(UnreadableError):
        Seal(OLD).open(stored)


def test_what_was_changed_is_unreadable():
    """A payload that somebody has tampered with is not sent (Contract 6.4)."""
    stored = Seal(OLD).close(b'{"lead":{}}')
    for place in range(1, len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 1
        with pytest.raises(UnreadableError):
            Seal(OLD).open(bytes(changed))


def test_what_a_fernet_sealed_by_itself_still_opens():
    """A log that is older than the envelopes stays readable (Contract 6.2)."""
    assert Seal(OLD).open(b"\x01" + OLD.encrypt(b"{}")) == b"{}"


def test_no_two_ciphertexts_are_alike():
    """Whoever reads the log cannot tell that two leads have the same data (Contract 6.4)."""
    seal = Seal(OLD)
    assert len({seal.close(b"{}")[-30:] for _ in range(100)}) == 100
