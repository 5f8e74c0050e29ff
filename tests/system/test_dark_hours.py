"""
Twenty thousand leads and a destination that is dark at first, with two tasks on one log (8.7).

However it is dark: nobody listens, each connection is reset, or none is answered.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from urllib.parse import urlsplit

import pytest

from tests.support.rest import wait_for
from tests.system.case import Scenario, always, lead, select

pytestmark = pytest.mark.soak

LEADS = 20_000
IN_A_ROW, AT_ONCE, TASKS = 10, 4, ("send", "send_too")
ROWS = [lead(f"dark-{n:05}") for n in range(LEADS)]
RESET = struct.pack("ii", 1, 0)  # closes without the goodbye of TCP


class Gate:
    """
    Stands before a receiver, and lets nothing through until it is opened.

    :param kind: how it is closed: `refusing`, `resetting` or `silent`
    """

    def __init__(self, kind):
        self._kind = kind
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # refuses until somebody listens
        self.port = self._socket.getsockname()[1]
        self.tried = 0
        self._open = threading.Event()
        self._target = 0

    def start(self):
        """Be there, in a thread of its own."""
        threading.Thread(target=self._serve, daemon=True).start()

    def open(self, target):
        """Let all through to the port of the receiver."""
        self._target = target
        self._open.set()

    def _serve(self):
        if self._kind == "refusing":
            self._open.wait()
        asyncio.run(self._listen())

    async def _listen(self):
        async with await asyncio.start_server(self._admit, sock=self._socket) as server:
            await server.serve_forever()

    async def _admit(self, reader, writer):
        if not self._open.is_set():
            self.tried += 1
            if self._kind == "resetting":
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, RESET
                )
            else:
                await asyncio.sleep(30)
            writer.transport.abort()
            return
        ours, theirs = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(_pipe(reader, theirs), _pipe(ours, writer))


async def _pipe(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


GATES = {kind: Gate(kind) for kind in ("refusing", "resetting", "silent")}


def is_down(case):
    """Tell whether the log says so; the first task makes its tables."""
    log = case.stage.databases["pg_log"]
    [made] = select(log, "SELECT to_regclass('zbl_integration') AS name")
    query = "SELECT 1 FROM zbl_integration WHERE integration = :name AND down_at IS NOT NULL"
    return made["name"] and select(log, query, name=case.name)


def light(case):
    """Bring it back once it counts as down."""
    gate = GATES[case.name.removeprefix("dark_")]
    gate.start()
    wait_for("an outage", lambda: is_down(case), seconds=300)
    gate.open(urlsplit(case.stage.receiver.url).port)


def scenario(kind):
    return Scenario(
        name=f"dark_{kind}",
        rows=ROWS,
        answer=always(200),
        connection={"host": f"https://localhost:{GATES[kind].port}/hooks/catch/dark_{kind}"},
        extra={"max_concurrency": AT_ONCE},
        during=light,
    )


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.scenario(scenario(kind))) for kind in GATES],
)
def test_everything_arrives_when_it_is_back_and_nobody_lifts_a_hand(case, kind):
    """Few requests meanwhile, nothing in error, each lead once (8.7)."""
    assert case.end(seconds=1200) == "success"
    rows = case.log_rows("pg_log")
    assert Counter(row["status"] for row in rows.values()) == {"delivered": LEADS}
    tried = [row for row in rows.values() if row["attempts"] > 1]
    assert IN_A_ROW <= len(tried) <= IN_A_ROW + 2 * len(TASKS) * AT_ONCE
    assert case.arrivals() == [row["id"] for row in ROWS], "each once"
    assert not is_down(case)
    if kind != "refusing":
        assert 0 < GATES[kind].tried <= 2 * (IN_A_ROW + 2 * len(TASKS) * AT_ONCE)
