"""What Airflow's own metrics are told of attempts (Contract 8.3)."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from zbl_provider.log.model import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zbl_provider.dispatch.breaker import Change
    from zbl_provider.log.model import Settlement

logger = logging.getLogger(__name__)

_SWITCHES = ("statsd_on", "statsd_datadog_enabled", "otel_on")
_TIMED = 10  # of a group of attempts: each timing is a packet, and there are thousands a second


class Metrics:
    """
    Counts attempts and what became of them, a group at a time.

    :param integration: the connection's id, which every metric is tagged with
    """

    def __init__(self, integration: str) -> None:
        self._tags = {"integration": integration}
        self._broken = False

    def __call__(self, settlements: Sequence[Settlement]) -> None:
        """
        Tell Airflow of some attempts; what goes wrong with that stops no lead.

        :param settlements: what became of them
        """
        if self._broken:
            return
        try:
            from airflow.sdk.observability.stats import Stats

            statuses = Counter(settlement.status for settlement in settlements)
            counts = {
                "zbl.attempts": len(settlements),
                "zbl.delivered": statuses[Status.DELIVERED],
                "zbl.errors": statuses[Status.ERROR],
            }
            for name, count in counts.items():
                if count:
                    Stats.incr(name, count, tags=self._tags)
            for settlement in settlements[:: len(settlements) // _TIMED + 1]:
                Stats.timing("zbl.attempt_ms", settlement.outcome.seconds * 1000, tags=self._tags)
        except Exception:
            self._broken = True
            logger.exception("Airflow takes no metrics: this task sends no more of them.")


def outage(change: Change) -> None:
    """
    Count that an integration is down, paused or back; where Airflow sends no metrics, do nothing.

    :param change: what has changed
    """
    try:
        from airflow.sdk.observability.stats import Stats

        Stats.incr(f"zbl.outage.{change.kind}", tags={"integration": change.integration})
    except Exception:
        logger.exception("Airflow takes no metrics: the change to %s is not counted.", change.kind)


def metrics(integration: str) -> Metrics | None:
    """
    Return what is to be told of each group of attempts, or None where Airflow sends no metrics.

    :param integration: the connection's id
    """
    from airflow.sdk.configuration import conf

    on = any(conf.getboolean("metrics", switch, fallback=False) for switch in _SWITCHES)
    return Metrics(integration) if on else None
