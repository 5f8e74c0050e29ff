"""One server tried out: leads are sent to it over a network with a round trip, and counted."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers.catalogue import FEWER, LEADS
from tests.servers.forwarder import Forwarder, running_forwarder
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.exchange import Request
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.outcome import Outcome, Verdict, classify
from zbl_provider.delivery.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.catalogue import Case, Pace
    from tests.servers.running import Server, Site

ROUND_TRIPS = (0.0, 0.04, 0.1)
ATTEMPTS = 5
GUARD = Guard.parse("127.0.0.0/8, ::1/128")


@dataclass
class Tally:
    """
    What became of the leads of one trial.

    :param round_trip: seconds
    :param leads: how many
    :param outcomes: how often each outcome, of every attempt
    :param extra_attempts: attempts beyond the first of their lead
    :param wrong: leads whose last outcome is not the expected one
    :param missing: leads that never arrived
    :param twice: leads that arrived more than once
    :param connections: how many were made
    """

    round_trip: float
    leads: int
    outcomes: Counter[str] = field(default_factory=Counter)
    extra_attempts: int = 0
    wrong: int = 0
    missing: int = 0
    twice: int = 0
    connections: int = 0

    def figures(self) -> dict[str, int]:
        """Give what can be summed."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}

    def problems(self) -> dict[str, Any]:
        """Give what should be zero and is not, with the outcomes that tell why."""
        figures = {
            "attempts beyond one": self.extra_attempts,
            "in error": self.wrong,
            "never arrived": self.missing,
            "arrived twice": self.twice,
        }
        wrong: dict[str, Any] = {name: figure for name, figure in figures.items() if figure}
        return wrong | {"outcomes": dict(self.outcomes)} if wrong else {}


class Trial:
    """
    One case at one pace, with every round trip.

    :param case: the server
    :param pace: how leads come
    :param site: the server's folder
    """

    def __init__(self, case: Case, pace: Pace, site: Site) -> None:
        self._case = case
        self._pace = pace
        self._site = site
        lead = {"id": "1", "email": "ada@example.com", "notes": "x" * case.body}
        self._body = json.dumps({"event": "lead.qualified", "lead": lead}).encode()

    async def run(self) -> list[Tally]:
        """Send; give the tally of each round trip."""
        tallies = [Tally(round_trip, self._leads(round_trip)) for round_trip in ROUND_TRIPS]
        with self._case.server(self._site) as server, ExitStack() as stack:
            forwarders = [
                stack.enter_context(running_forwarder(server.port, tally.round_trip))
                for tally in tallies
            ]
            async with asyncio.TaskGroup() as sendings:
                for tally, forwarder in zip(tallies, forwarders, strict=True):
                    sending = sendings.create_task(self._send_all(tally, server, forwarder))
                    if self._case.alone:  # one network after the other
                        await sending
            await self._count_arrivals(tallies)
        for tally, forwarder in zip(tallies, forwarders, strict=True):
            tally.connections = forwarder.connections
        return tallies

    async def _send_all(self, tally: Tally, server: Server, forwarder: Forwarder) -> None:
        destination = self._destination(server, forwarder)
        leads, chance = iter(range(tally.leads)), random.Random(tally.round_trip)
        async with AsyncExitStack() as transports, asyncio.TaskGroup() as lanes:
            for _ in range(self._pace.transports):
                transport = await transports.enter_async_context(Transport(destination, GUARD))
                for _ in range(self._pace.lanes):
                    lanes.create_task(self._lane(transport, leads, tally, chance))

    def _leads(self, round_trip: float) -> int:
        # One after the other, these take longer than a deadline at 100 ms, which is long enough.
        return FEWER if self._case.serial and round_trip else LEADS

    def _destination(self, server: Server, forwarder: Forwarder) -> Destination:
        extra: dict[str, object] = {"verify": str(self._site.authority)}
        if not self._case.keep_alive:
            extra["keep_alive"] = False
        if self._case.client_certificate:
            extra["cert"] = str(self._site.client)
        if server.destination:
            extra["proxies"] = f"http://127.0.0.1:{forwarder.port}"
        return Destination.parse(
            integration="trial",
            host=f"https://localhost:{server.destination or forwarder.port}/hook",
            extra=extra,
        )

    async def _lane(
        self, transport: Transport, leads: Iterator[int], tally: Tally, chance: random.Random
    ) -> None:
        await asyncio.sleep(self._pace.gap(0, chance) * chance.random())
        for lead in leads:
            outcomes = await self._deliver(transport, _id(tally, lead))
            tally.outcomes.update(map(_named, outcomes))
            tally.extra_attempts += len(outcomes) - 1
            tally.wrong += _named(outcomes[-1]) != self._case.outcome
            await asyncio.sleep(self._pace.gap(tally.round_trip, chance))

    async def _deliver(self, transport: Transport, webhook_id: str) -> list[Outcome]:
        request, outcomes = Request(webhook_id, self._body), []
        for _ in range(ATTEMPTS):
            outcomes.append(classify(await transport.send(request)))
            if outcomes[-1].verdict is not Verdict.RETRY:
                break
        return outcomes

    async def _count_arrivals(self, tallies: list[Tally]) -> None:
        expected = sum(tally.leads for tally in tallies)
        for _ in range(20):  # nginx writes its log when the answer is on its way
            if len(arrivals := self._site.arrivals()) == expected:
                break
            await asyncio.sleep(0.05)
        for tally in tallies:
            ids = [_id(tally, lead) for lead in range(tally.leads)]
            tally.missing = sum(not arrivals[webhook_id] for webhook_id in ids)
            tally.twice = sum(arrivals[webhook_id] > 1 for webhook_id in ids)


def _id(tally: Tally, lead: int) -> str:
    return f"msg_{tally.round_trip * 1000:.0f}_{lead}"


def _named(outcome: Outcome) -> str:
    return f"{outcome.verdict.value} {outcome.kind or outcome.status}"
