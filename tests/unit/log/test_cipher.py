"""How personal data rests."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.log.storage.cipher import (
    Seal,
    UnreadableError,
    excerpt_place,
    payload_place,
)

OLD, NEW = (Fernet(Fernet.generate_key()) for _ in range(2))
HERE = payload_place("msg_a")

IDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
NUMBERS = st.integers(0, 3)
PLACES = st.builds(payload_place, IDS) | st.builds(excerpt_place, IDS, NUMBERS, NUMBERS)


def unbound(fernet, data):
    """Return an envelope as it was before there was anything to bind it to."""
    key, nonce = AESGCM.generate_key(256), b"n" * 12
    wrapped = fernet.encrypt(key)
    ciphertext = AESGCM(key).encrypt(nonce, data, None)
    return b"\x02" + len(wrapped).to_bytes(2, "big") + wrapped + nonce + ciphertext


@pytest.mark.parametrize("cipher", [None, OLD])
@pytest.mark.parametrize("data", [b"", b"{}", b"\x00\x01\xff"])
def test_what_was_sealed_opens(cipher, data):
    """The bytes that rest are the bytes that are sent (Contract 2.3)."""
    seal = Seal(cipher)
    assert seal.open(seal.close(data, HERE), HERE) == data


def test_nothing_readable_rests():
    """With a key set, personal data rests as ciphertext (Contract 6.4)."""
    assert b"john@company.com" not in Seal(OLD).close(b"john@company.com", HERE)


def test_a_rotated_key_still_opens_what_the_old_one_closed():
    """Keys are rotated as Airflow's are: the new one first, the old one kept (Contract 6.4)."""
    stored = Seal(OLD).close(b"{}", HERE)
    assert Seal(MultiFernet([NEW, OLD])).open(stored, HERE) == b"{}"


def test_what_was_stored_without_a_key_is_refused_once_there_is_one():
    """Anybody who can write to the log could put a plain payload there (Contract 7.6)."""
    with pytest.raises(UnreadableError, match="airflow zbl log rotate-keys"):
        Seal(NEW).open(Seal(None).close(b"{}", HERE), HERE)


@pytest.mark.parametrize(
    "stored",
    [
        Seal(None).close(b"{}", HERE),
        b"\x01" + OLD.encrypt(b"{}"),
        unbound(OLD, b"{}"),
        Seal(OLD).close(b"{}", HERE),
    ],
)
def test_a_rotation_reads_every_kind(stored):
    """What any version has written can be read after a rotation (Contract 6.4)."""
    seal = Seal(MultiFernet([NEW, OLD]))
    renewed = seal.close(seal.recover(stored, HERE), HERE)
    assert Seal(NEW).open(renewed, HERE) == b"{}"
    with pytest.raises(UnreadableError):
        Seal(NEW).open(renewed, payload_place("msg_b"))


@pytest.mark.parametrize("cipher", [None, NEW])
def test_ciphertext_is_never_taken_for_a_payload(cipher):
    """A lead whose key is gone is unreadable; its ciphertext is not sent."""
    with pytest.raises(UnreadableError, match="Fernet key"):
        Seal(cipher).open(Seal(OLD).close(b"{}", HERE), HERE)


def test_bytes_of_another_origin_are_unreadable():
    """What this log did not write is not sent."""
    with pytest.raises(UnreadableError):
        Seal(None).open(b"", HERE)


@pytest.mark.parametrize("stored", [b"\x02", b"\x02\x00", b"\x02\xff\xff", b"\x02\x00\x04abcd"])
def test_an_envelope_that_was_cut_is_unreadable(stored):
    """What this log did not write whole is not sent."""
    with pytest.raises(UnreadableError):
        Seal(OLD).open(stored, HERE)


def test_what_was_changed_is_unreadable():
    """A payload that somebody has tampered with is not sent (Contract 6.4)."""
    stored = Seal(OLD).close(b'{"lead":{}}', HERE)
    for place in range(1, len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 1
        with pytest.raises(UnreadableError):
            Seal(OLD).open(bytes(changed), HERE)


@pytest.mark.parametrize("stored", [b"\x01" + OLD.encrypt(b"{}"), unbound(OLD, b"{}")])
def test_what_earlier_versions_sealed_still_opens(stored):
    """A log that is older than the binding to rows stays readable (Contract 6.2)."""
    assert Seal(OLD).open(stored, HERE) == b"{}"


@given(PLACES, PLACES)
def test_what_was_moved_cannot_be_read(written, moved):
    """A ciphertext opens in its own table, column and row alone (Contract 7.6)."""
    stored = Seal(OLD).close(b"{}", written)
    if moved == written:
        assert Seal(OLD).open(stored, moved) == b"{}"
        return
    for read in (Seal(OLD).open, Seal(OLD).recover):
        with pytest.raises(UnreadableError, match="another row"):
            read(stored, moved)


@pytest.mark.parametrize("kind", [b"\x00", b"\x01", b"\x02", b"\x04", b"\xff"])
def test_no_other_kind_opens_what_is_bound(kind):
    """Who calls a ciphertext an older kind does not get rid of its binding (Contract 7.6)."""
    with pytest.raises(UnreadableError):
        Seal(OLD).open(kind + Seal(OLD).close(b"{}", HERE)[1:], HERE)


def test_a_data_key_is_not_taken_for_a_payload():
    """Written alone into a row, the key beside a payload is neither shown nor sent (7.6, 1.5)."""
    for _ in range(50):
        sealed = Seal(OLD).close(b"{}", HERE)
        length = int.from_bytes(sealed[1:3], "big")
        wrapped = sealed[3 : 3 + length]
        assert len(OLD.decrypt(wrapped)) == 32
        for stored in (wrapped, b"\0" + wrapped, wrapped + b"\0\xff", sealed[1:]):
            with pytest.raises(UnreadableError, match="changed"):
                Seal(OLD).open(b"\x01" + stored, HERE)
    assert Seal(OLD).open(b"\x01" + OLD.encrypt("José".encode()), HERE) == "José".encode()


def test_no_two_ciphertexts_are_alike():
    """Whoever reads the log cannot tell that two leads have the same data (Contract 6.4)."""
    seal = Seal(OLD)
    alone = {seal.close(b"{}", HERE)[-30:] for _ in range(100)}
    close = seal.closer(100)
    together = {close(b"{}", HERE)[-30:] for _ in range(100)}
    assert len(alone | together) == 200


def test_nobody_seals_more_than_was_announced():
    """No randomness is used twice, but for an error (Contract 6.4)."""
    close = Seal(OLD).closer(1)
    close(b"{}", HERE)
    with pytest.raises(StopIteration):
        close(b"{}", HERE)
