"""What rests in the delivery log after leads have been sent, refused and echoed (1.5, 6.4)."""

import json

import pytest
from cryptography.fernet import Fernet

from tests.integration.dispatch.conftest import Setup, lead
from tests.support.receiver import Reply
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog

MARK, SECRET = "mqz7", "mkx9"  # in every value of the leads, and in every secret
SIGNING_SECRET = "whsec_" + "bWt4OW1reDlta3g5bWt4OW1reDlta3g5"
SEALED = {("zbl_delivery", "payload"), ("zbl_attempt", "excerpt")}


def everything(setup):
    """Return all that rests in the log: table, column and value as text."""
    return [
        (table, column.name, str(bytes(value) if isinstance(value, memoryview) else value))
        for table, known in tables.metadata.tables.items()
        for column in known.columns
        for (value,) in setup.rows(f'SELECT "{column.name}" FROM {table}')
    ]


def dispatch(setup):
    """Send leads full of marks to a receiver that tells everything back."""
    setup.extra = {
        "secret_headers": {"X-Key": f"{SECRET}-header"},
        "signing_secret": SIGNING_SECRET,
        "min_score": 50,
    }

    def echo(request):
        status = {"1": 200, "2": 503}.get(request.lead_id, 400)
        told = {"headers": dict(request.headers), "body": request.body.decode()}
        return Reply(status, json.dumps(told).encode())

    setup.answer(echo)
    data = {name: f"{MARK} {name}" for name in ("name", "phone", "company", "city")}
    data |= {"email": f"{MARK}@example.com", "list_id": MARK, "list_name": MARK, "score": 80}
    leads = [lead(lead_id, **data) for lead_id in (1, 2, 3)]
    leads += [lead(4, **data | {"email": MARK}), lead(5, **data | {"score": 3})]
    leads += [lead(6, **data | {"status": MARK * 9})]
    setup.dispatch("run 1", leads)


@pytest.mark.parametrize("key", [Fernet(Fernet.generate_key()), None])
def test_nothing_readable_rests_but_ids(setup, key):
    """With a key no column shows data; without, payloads and answers alone do (6.4)."""
    log = DeliveryLog(setup.log_url, cipher=key)
    dispatch(Setup(log, setup.log_url, setup.receiver, setup.authority) if key else setup)
    log.close()
    assert len(setup.sent) == 3
    rests = everything(setup)
    assert {(table, column) for table, column, value in rests if MARK in value} == (
        set() if key else SEALED
    )
    assert {value for _, column, value in rests if column == "lead_id"} == set("123456")


def test_no_secret_rests_even_where_a_receiver_tells_it_back(setup):
    """Header values, secrets and the URL's path are in no column, encrypted or not (1.5)."""
    dispatch(setup)
    rests = everything(setup)
    assert any(MARK in value for *_, value in rests), "the search finds what is there"
    for secret in (SECRET, SIGNING_SECRET.removeprefix("whsec_"), "/hook"):
        assert [place for *place, value in rests if secret in value] == []
