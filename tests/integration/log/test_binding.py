"""What rests is bound to its row: moved elsewhere it cannot be read (Contract 7.6)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import update

from tests.integration.log.setup import Setup, delivered, failed, lead
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog

KEY = Fernet(Fernet.generate_key())


@pytest.fixture
def setup(log, log_url):
    """Give a log with a key, in which two leads were answered and two wait."""
    keyed = DeliveryLog(log_url, cipher=KEY)
    setup = Setup(keyed)
    run = setup.run()
    setup.enrol(run, lead("a"), lead("b"))
    claimed = setup.claim(run)
    echo = replace(delivered(), excerpt="echo")
    setup.settle(run, claimed[:1], echo)
    setup.settle(run, claimed[1:], replace(failed(), excerpt="no"), setup.now)
    setup.settle(run, setup.claim(run), echo)
    setup.enrol(run, lead("c"), lead("d"))
    yield setup
    keyed.close()


def stored(setup):
    """Return every ciphertext of the log with the table, column and row where it rests."""
    return [
        (table, column, row.id, getattr(row, column))
        for table, column in ((tables.delivery, "payload"), (tables.attempt, "excerpt"))
        for row in setup.rows(table)
        if getattr(row, column)
    ]


def put(setup, table, column, id_, data):
    """Write bytes into the log as somebody may who has its database, and no key."""
    with setup.log._engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == id_).values({column: data}))


def shown(setup):
    """Return all excerpts that the page shows."""
    return [
        attempt.excerpt
        for row in setup.rows()
        for attempt in setup.log.reader.delivery(row.id).attempts
    ]


def test_no_ciphertext_is_shown_in_another_place(setup):
    """Any ciphertext, moved to the answer of any other attempt, is not shown (Contract 7.6)."""
    everything = stored(setup)
    before = shown(setup)
    assert before == ["echo", "no", "echo"]
    for table, column, id_, data in everything:
        if table is tables.delivery:
            continue
        for origin, _, origin_number, moved in everything:
            if (origin, origin_number) == (table, id_):
                continue
            put(setup, table, column, id_, moved)
            assert shown(setup).count(None) == 1
            put(setup, table, column, id_, data)
    assert shown(setup) == before


def test_no_ciphertext_is_sent_from_another_row(setup):
    """A payload or an answer in another lead's row is not sent to that lead's destination (7.6)."""
    everything = stored(setup)
    waiting = {row.id for row in setup.rows() if row.status == "pending"}
    payloads = {id_: data for table, _, id_, data in everything if table is tables.delivery}
    assert len(waiting) == 2
    for origin, _, origin_number, moved in everything:
        for id_ in sorted(waiting - ({origin_number} if origin is tables.delivery else set())):
            own = payloads[id_]
            put(setup, tables.delivery, "payload", id_, moved)
            claimed = setup.claim(setup.run())
            assert {lead.delivery_id for lead in claimed} == waiting - {id_}
            setup.log.release(claimed, setup.now)
            put(setup, tables.delivery, "payload", id_, own)
            setup.log.resend([id_], setup.now)


def test_a_rotation_does_not_bind_to_the_wrong_row(setup):
    """What was moved before a rotation is as unreadable after it (Contract 7.6)."""
    first, second = (row for row in setup.rows() if row.status == "pending")
    put(setup, tables.delivery, "payload", first.id, second.payload)
    assert setup.log.rotate().unreadable == 1
    assert [lead.delivery_id for lead in setup.claim(setup.run())] == [second.id]
