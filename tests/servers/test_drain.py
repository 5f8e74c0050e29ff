"""The same through a whole dispatch: a delivery log, a drain, and what it wrote down."""

from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import create_engine, func, select

from tests.servers import software
from tests.servers.forwarder import running_forwarder
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
from zbl_provider.leads.lead import read_lead
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog

LEADS = 300
SERVERS = {
    "uWSGI, `--https`": software.uwsgi,
    "Python, 204 with a body": partial(software.python, options=("--status", "204")),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_dispatch_writes_down_one_attempt_a_lead(server, site, tmp_path):
    """What the log says is what the server got: each lead once, at its first attempt (2.6, 6.3)."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with (
        SERVERS[server](site) as running,
        running_forwarder(running.port, 0.04) as forwarder,
        closing(DeliveryLog(url)) as log,
    ):
        log.upgrade()
        dispatcher = Dispatcher(
            log=log,
            destination=Destination.parse(
                integration="crm",
                host=f"https://localhost:{forwarder.port}/hook",
                extra={"verify": str(site.authority)},
            ),
            guard=Guard.parse("127.0.0.0/8, ::1/128"),
            policy=Policy(schedule=Schedule.DEFAULT),
        )
        leads = (read_lead({"id": lead_id, "email": "a@example.com"}) for lead_id in range(LEADS))
        report = dispatcher.dispatch(RunKey("dag", "task", "run"), 0, leads)
    assert report.counts == {Status.DELIVERED: LEADS}
    assert attempts(url) == {1: LEADS}
    arrivals = site.arrivals()
    assert (len(arrivals), arrivals.total()) == (LEADS, LEADS)


def attempts(url):
    """Count all attempts in a log, by number."""
    attempt = tables.attempt.c.number
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(select(attempt, func.count()).group_by(attempt)).all()
    engine.dispose()
    return dict(map(tuple, rows))
