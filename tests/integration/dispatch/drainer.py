"""One worker of many: drain what is due in a log (arguments: log's URL, destination, CA, run)."""

from __future__ import annotations

import sys

from tests.integration.dispatch.conftest import LOOPBACK, key
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
from zbl_provider.log.store import DeliveryLog

log_url, url, authority, run = sys.argv[1:]
dispatcher = Dispatcher(
    log=DeliveryLog(log_url),
    destination=Destination.parse(integration="zapier", host=url, extra={"verify": authority}),
    guard=LOOPBACK,
    policy=Policy(schedule=Schedule.DEFAULT),
)
report = dispatcher.dispatch(key(run), 0)
print(sum(report.counts.values()))
