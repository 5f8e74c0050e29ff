"""
A process that does nothing but send, and says what it saw and how much memory it took.

It is told line by line what to do: first the plan, in JSON, then a name for each lead, and how
often to send it at once.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path

import uvloop

from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.exchange import Request
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.outcome import classify
from zbl_provider.delivery.transport import Transport


async def main() -> None:
    plan = json.loads(sys.stdin.readline())
    destination = Destination.parse(
        integration="fault", host=plan["url"], extra={"verify": plan["authority"]}
    )
    guard, body = Guard.parse("127.0.0.0/8"), b"x" * plan["body"]
    async with Transport(destination, guard, deadline=plan["deadline"]) as warming_up:
        await warming_up.send(Request("warm-up", body))
    at_first = _memory("VmRSS")
    async with Transport(destination, guard, deadline=plan["deadline"]) as transport:
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            name, times = line.split()
            requests = (_send(transport, Request(name, body)) for _ in range(int(times)))
            sent = await asyncio.gather(*requests)
            megabytes = (_memory("VmHWM") - at_first) / 1024
            sys.stdout.write(json.dumps([sent, megabytes]) + "\n")
            sys.stdout.flush()


async def _send(transport: Transport, request: Request) -> dict[str, object]:
    started = time.monotonic()
    outcome = classify(await transport.send(request))
    return {
        "outcome": f"{outcome.verdict.value} {outcome.kind or outcome.status}",
        "excerpt": outcome.excerpt,
        "seconds": time.monotonic() - started,
    }


def _memory(name: str) -> int:
    """Give this process's memory: what it has (VmRSS), or its peak (VmHWM), in KiB."""
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match.group(1))


uvloop.run(main())
