"""What rests is encrypted anew, so that an old key can go (Contract 6.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.fernet import Fernet, MultiFernet

from tests.integration.log.setup import Setup, delivered, lead
from zbl_provider.log.model import Rotated
from zbl_provider.log.storage import tables
from zbl_provider.log.storage.cipher import Seal, UnreadableError, excerpt_place, payload_place
from zbl_provider.log.store import DeliveryLog

OLD, NEW, FOREIGN = (Fernet(Fernet.generate_key()) for _ in range(3))


@pytest.fixture
def with_keys(log, log_url):
    """Open the test's log once more, with keys."""
    opened = []

    def open_log(*keys):
        cipher = MultiFernet(keys) if keys else None
        opened.append(DeliveryLog(log_url, cipher=cipher))
        return Setup(opened[-1])

    yield open_log
    for setup in opened:
        setup.close()


def readable(setup, key):
    """Count what rests and what of it the one key can read."""
    leads = {row.id: row for row in setup.rows()}
    rests = [(row.payload, payload_place(row.webhook_id)) for row in leads.values()]
    rests += [
        (row.excerpt, excerpt_place(leads[row.delivery_id].webhook_id, row.resend, row.number))
        for row in setup.rows(tables.attempt)
    ]
    rests = [(stored, place) for stored, place in rests if stored is not None]
    read = 0
    for stored, place in rests:
        try:
            read += bool(Seal(key).open(stored, place))
        except UnreadableError:
            continue
    return len(rests), read


def test_new_rows_are_written_with_the_first_key(with_keys):
    """With the keys "new,old" the old one is for reading alone (Contract 6.4)."""
    before = with_keys(OLD)
    before.enrol(before.run(), lead("a"))
    rotated = with_keys(NEW, OLD)
    rotated.enrol(rotated.run(), lead("b"))
    assert Seal(NEW).open(rotated.row("b").payload, payload_place("msg_b")) == b"b f1"
    assert {lead.body for lead in rotated.claim(rotated.run())} == {b"a f1", b"b f1"}


@pytest.mark.parametrize("before", [(OLD,), ()])
def test_a_rotation_leaves_nothing_that_needs_the_old_key(with_keys, before):
    """Payloads and answers, and what rested readable, are the new key's afterwards (6.4)."""
    setup = with_keys(*before)
    run = setup.run()
    for n in range(5):
        setup.enrol(run, lead(f"{n}"))
    setup.settle(run, setup.claim(run, limit=2), replace(delivered(), excerpt="echo"))
    rotated = with_keys(NEW, *before)
    steps = [rotated.log.rotate(2)]
    while steps[-1].after is not None:
        steps.append(rotated.log.rotate(2, after=steps[-1].after))
    assert [step.renewed for step in steps] == [4, 2, 1]
    assert readable(rotated, NEW) == (7, 7)
    alone = with_keys(NEW)
    assert len(alone.claim(run)) == 3
    assert alone.log.rotate() == Rotated(renewed=7, unreadable=0, after=None), "may be done again"


def test_what_no_key_can_read_is_counted_and_left(with_keys):
    """A row of a foreign key stops no rotation, and is as it was when its key is back (6.4)."""
    foreign = with_keys(FOREIGN)
    foreign.enrol(foreign.run(), lead("a"))
    before = foreign.row("a")
    setup = with_keys(NEW, OLD)
    setup.enrol(setup.run(), lead("b"))
    assert setup.log.rotate() == Rotated(renewed=1, unreadable=1, after=None)
    assert setup.row("a") == before


def test_an_empty_log_is_rotated(with_keys):
    """A rotation before the first lead has nothing to do (Contract 6.4)."""
    assert with_keys(NEW).log.rotate() == Rotated(renewed=0, unreadable=0, after=None)


def test_a_lead_that_waited_without_a_key_is_sent_after_a_rotation(with_keys):
    """Once a key is set, what was stored without one is an error that names the command (7.6)."""
    plain = with_keys()
    run = plain.run()
    plain.enrol(run, lead("a"), lead("b"))
    keyed = with_keys(NEW)
    assert keyed.claim(run, limit=1) == []
    assert "airflow zbl log rotate-keys" in keyed.row("a").reason
    assert keyed.row("a").status == "error"
    keyed.log.rotate()
    assert [lead.body for lead in keyed.claim(run)] == [b"b f1"]
    keyed.log.resend([keyed.row("a").id], keyed.now)
    assert [lead.body for lead in keyed.claim(run)] == [b"a f1"]
