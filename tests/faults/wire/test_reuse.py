"""Connections are kept and used again, and that never shows in a lead's outcome (Contract 2.6)."""

import asyncio
import gc
import http.server
import socket
import ssl
import threading
import time
import weakref
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.peers import answer, in_turn, raw, raw_then_close, raw_then_reset, response
from zbl_provider.delivery.exchange import Answer, FailureKind, Request
from zbl_provider.delivery.http import pool
from zbl_provider.delivery.http.connection import Connection
from zbl_provider.delivery.http.connector import Connector
from zbl_provider.delivery.http.tls import tls_context

OK = b"HTTP/1.1 200 OK\r\n"


def own_answer(peer, request):
    """Tell each lead its own id: whoever gets another's has been lied to."""
    peer.send(response(500, request.headers["webhook-id"]))


def in_one_segment(*records):
    """Send each piece as a TLS record of its own, all of them in one TCP segment."""

    def behave(peer, _):
        peer.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for record in records:
            peer.send(record)
        peer.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    return behave


def a_moment_apart(seconds, *records):
    """Send each piece, and let some time pass between them."""

    def behave(peer, _):
        for record in records:
            peer.send(record)
            peer.wait(seconds)

    return behave


@pytest.fixture
def send_each(transport):
    """Send one lead after another over one transport, each under an id of its own."""

    async def send(url, count, *, pause=0.0, **extra):
        results = []
        async with transport(url, **extra) as opened:
            for n in range(count):
                results.append(await opened.send(Request(f"msg_{n}", b"{}")))
                await asyncio.sleep(pause)
        return results

    return send


def ids(receiver):
    return [request.headers["webhook-id"].decode() for request in receiver.requests]


STRAY = {
    "a second answer in one segment": in_one_segment(response(), response(200, b"stray")),
    "a second answer at once": a_moment_apart(0, response(), response(200, b"stray")),
    "a second answer after 2 ms": a_moment_apart(0.002, response(), response(200, b"stray")),
    "a second answer after 20 ms": a_moment_apart(0.02, response(), response(200, b"stray")),
    "left-over bytes": raw(OK + b"Content-Length: 2\r\n\r\nok and more"),
    "left-over bytes after 5 ms": a_moment_apart(
        0.005, OK + b"Content-Length: 2\r\n\r\nok", b" and more"
    ),
    "a 204 with a length": raw(b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n{}"),
    "a 204 with a length, later": a_moment_apart(
        0.01, b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", b"{}"
    ),
    "a 204 with chunks": a_moment_apart(
        0.01, b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"
    ),
    "an error, and a second answer": a_moment_apart(0.01, response(500), response(200, b"stray")),
}


@pytest.mark.parametrize("behave", STRAY.values(), ids=STRAY)
async def test_what_was_not_sent_for_a_lead_is_never_its_answer(receive, send_each, behave):
    """A lead's outcome comes from the bytes that were sent for it, whatever came before (2.6)."""
    receiver = receive(in_turn(behave, own_answer))
    first, *others = await send_each(receiver.url(), 4)
    assert isinstance(first, Answer)
    assert [(result.status, result.excerpt) for result in others] == [
        (500, f"msg_{n}") for n in (1, 2, 3)
    ]
    assert ids(receiver) == ["msg_0", "msg_1", "msg_2", "msg_3"], "each arrived once"


@pytest.mark.parametrize("behave", STRAY.values(), ids=STRAY)
async def test_a_server_that_always_does_so_gets_each_lead_once(receive, send_each, behave):
    """Left-over bytes in each answer cost no lead an attempt, and send none twice (2.6)."""
    receiver = receive(behave)
    results = await send_each(receiver.url(), 20)
    assert {type(result) for result in results} == {Answer}
    assert "stray" not in {result.excerpt for result in results}
    assert len(ids(receiver)) == len(set(ids(receiver))) == 20


ENDS = {
    "closes": lambda peer: peer.close(),
    "resets": lambda peer: peer.reset(),
    "ends TLS": lambda peer: peer.connection.unwrap(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("delay", [0, 0.001, 0.03])
@pytest.mark.parametrize("pause", [0, 0.03])
async def test_a_server_that_closes_without_a_word_costs_no_attempt(
    receive, send_each, end, delay, pause
):
    """It ends each connection after its answer: all leads are delivered, each once (2.6)."""

    def behave(peer, request):
        peer.send(response(200, request.headers["webhook-id"]))
        peer.wait(delay)
        end(peer)

    receiver = receive(behave)
    results = await send_each(receiver.url(), 12, pause=pause)
    assert [result.excerpt for result in results] == [f"msg_{n}" for n in range(12)]
    assert len(ids(receiver)) == 12


@pytest.mark.parametrize("closes", [False, True])
async def test_a_server_may_answer_before_it_reads(authority, receive, send_each, closes):
    """What comes first on a new connection can be for no other lead: it counts (Contract 3)."""
    receiver = receive(answer())
    handle = receiver._handle

    def refuse(connection):
        with receiver._context.wrap_socket(connection, server_side=True) as secured:
            secured.sendall(response(503, b"busy"))
            if not closes:
                secured.recv(65536)

    receiver._handle = refuse
    results = await send_each(receiver.url(), 5)
    assert {(result.status, result.excerpt) for result in results} == {(503, "busy")}
    receiver._handle = handle


async def test_a_connection_that_rested_is_looked_at_before_it_is_used(receive, transport):
    """What came while the event loop was busy is no answer to the lead that waited (2.6)."""
    sent = threading.Event()

    def stray(peer, _):
        peer.send(response())
        peer.wait(0.02)
        peer.send(response(200, b"stray"))
        sent.set()

    receiver = receive(in_turn(stray, own_answer))
    async with transport(receiver.url()) as opened:
        await opened.send(Request("msg_0", b"{}"))
        second = asyncio.create_task(opened.send(Request("msg_1", b"{}")))
        await asyncio.sleep(0)
        ((connection, timer),) = opened._pool._resting.items()
        sent.wait(5)  # nothing else runs meanwhile
        timer.cancel()
        opened._pool._rested(connection)
        assert (await second).excerpt == "msg_1"


class Nobody:
    """Keeps no connections."""

    def opened(self, connection):
        pass

    def lost(self, connection):
        pass

    def strayed(self):
        pass


@pytest.mark.parametrize("end", [b"", b"HTTP/1.1 200 OK\r\nContent-Len"])
async def test_what_came_before_a_request_answers_no_other(receive, ca_file, end):
    """A server that speaks first has answered one lead; its connection is not kept (2.6)."""
    receiver, sent = receive(own_answer), threading.Event()

    def greet(connection):
        with receiver._context.wrap_socket(connection, server_side=True) as secured:
            secured.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" + end)
            sent.set()
            receiver._stopped.wait(10)

    receiver._handle = greet
    connector = Connector(
        "127.0.0.1", receiver.port, tls_context(ca_file, None), proxy=None, hop_port=receiver.port
    )
    connection = await connector.open(["127.0.0.1"], 5, owner=Nobody())
    await asyncio.to_thread(sent.wait, 5)
    await asyncio.sleep(0.1)
    assert (await connection.exchange(b"POST / HTTP/1.1\r\n\r\n", 5)).status == 503
    assert connection.closed


@pytest.mark.parametrize("end", [raw_then_close(b""), raw_then_reset()])
async def test_a_request_on_a_kept_connection_that_ends_goes_out_once_more(receive, send_each, end):
    """No byte of an answer came: the same attempt, on a new connection, under the same id (2.6)."""
    receiver = receive(in_turn(answer(), answer(), end, own_answer))
    *_, repeated = await send_each(receiver.url(), 3)
    assert (repeated.status, repeated.excerpt) == (500, "msg_2")
    assert ids(receiver) == ["msg_0", "msg_1", "msg_2", "msg_2"]


@pytest.mark.parametrize("end", [raw_then_close(b""), raw_then_reset()])
async def test_a_request_goes_out_once_more_at_most(receive, send_each, end):
    """A server that ends the new connection, too, has failed the attempt (Contract 2.6 and 3)."""
    receiver = receive(in_turn(answer(), answer(), end))
    *_, failed = await send_each(receiver.url(), 3)
    assert failed.kind is FailureKind.RESET
    assert ids(receiver) == ["msg_0", "msg_1", "msg_2", "msg_2"]


async def test_what_has_begun_to_answer_is_not_asked_twice(receive, send_each):
    """After the first byte of an answer the server has the request: no repeat (Contract 2.6)."""
    receiver = receive(in_turn(answer(), answer(), raw_then_close(b"HTTP/1.1 100 Go on\r\n")))
    *_, failed = await send_each(receiver.url(), 3)
    assert failed.kind is FailureKind.RESET
    assert ids(receiver) == ["msg_0", "msg_1", "msg_2"]


async def test_the_repeat_keeps_to_the_attempts_deadline(receive, send_each):
    """Both requests share the ten seconds (Contract 2.4 and 2.6)."""

    def late(peer, _):
        peer.wait(0.4)
        peer.close()

    receiver = receive(in_turn(answer(), late, lambda peer, _: peer.wait(10)))
    started = time.monotonic()
    *_, failed = await send_each(receiver.url(), 2, deadline=0.7)
    assert failed.kind is FailureKind.TIMEOUT
    assert failed.seconds < 1.2
    assert time.monotonic() - started < 3


async def test_a_server_that_ends_kept_connections_again_and_again_gets_new_ones(
    receive, transport
):
    """Three in a row are enough: no further request is sent in vain (Contract 2.6)."""
    served = set()

    def behave(peer, request):
        if peer in served:  # it takes a second request, and drops it
            peer.close()
            return
        served.add(peer)
        peer.send(response())

    receiver = receive(behave)
    async with transport(receiver.url()) as opened:
        for n in range(20):
            assert (await opened.send(Request(f"msg_{n}", b"{}"))).status == 200
    assert len(ids(receiver)) == 20 + 3
    assert receiver.requests[-1].headers["connection"] == b"close"


async def test_keep_alive_off_gives_each_request_a_connection(receive, send_each):
    """`keep_alive: false`: a connection of its own for each request, and it says so (1.2, 2.6)."""
    receiver = receive(answer())
    results = await send_each(receiver.url(), 5, keep_alive=False)
    assert [result.status for result in results] == [200] * 5
    assert receiver.connections == 5
    assert {request.headers["connection"] for request in receiver.requests} == {b"close"}


@pytest.mark.parametrize(("length", "connections"), [(5_000, 1), (60_000, 1), (70_000, 4)])
async def test_a_body_whose_end_is_near_keeps_its_connection(
    receive, send_each, length, connections
):
    """A page of some kilobytes costs no new handshake; a long one does (Contract 2.4)."""
    receiver = receive(answer(200, b"a" * length))
    results = await send_each(receiver.url(), 4)
    assert {(result.status, result.excerpt) for result in results} == {(200, "a" * 4096)}
    assert receiver.connections == connections


async def test_keep_alive_timeouts_are_heeded(receive, send_each):
    """Before a server closes as it has announced, the connection is left (Contract 2.6)."""
    receiver = receive(answer(200, headers=[("Keep-Alive", "timeout=1")]))
    await send_each(receiver.url(), 3, pause=0.6)
    assert receiver.connections == 3
    receiver = receive(answer(200, headers=[("Keep-Alive", "timeout=5")]))
    await send_each(receiver.url(), 3, pause=0.6)
    assert receiver.connections == 1


async def test_idle_connections_are_closed_by_a_timer(receive, transport, monkeypatch):
    """Nobody needs to send for a connection to be let go (Contract 2.6)."""
    monkeypatch.setattr(pool, "_IDLE_SECONDS", 0.2)
    ended = threading.Event()

    def behave(peer, _):
        peer.send(response())
        if not peer.connection.recv(1):
            ended.set()

    receiver = receive(behave)
    async with transport(receiver.url()) as opened:
        await opened.send(Request("msg_1", b"{}"))
        started = time.monotonic()
        assert await asyncio.to_thread(ended.wait, 5)
        assert time.monotonic() - started < 3


@contextmanager
def one_at_a_time(authority, *, reads=True):
    """Run Python's own server, which serves one connection until its client closes it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])) if reads else b"{}"
            arrived.append(self.headers["webhook-id"])
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    arrived = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue().configure_cert(context)
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.request_queue_size = 64
    server.socket.listen(64)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    yield f"https://127.0.0.1:{server.server_port}/", arrived
    server.shutdown()
    server.server_close()


async def test_a_server_with_one_thread_gets_all(authority, transport):
    """Sixteen at once to a server that serves one connection at a time: none fails (2.6)."""
    with one_at_a_time(authority) as (url, arrived):
        async with transport(url) as opened:
            for burst in range(2):
                sends = (opened.send(Request(f"{burst}-{n}", b"{}")) for n in range(16))
                results = await asyncio.gather(*sends)
                assert [getattr(result, "status", result) for result in results] == [200] * 16
        assert len(arrived) == len(set(arrived)) == 32


@pytest.mark.parametrize(
    "body", [b"{}", b'{"lead": {"id": "a b c"}}', b'{"a":"' + b"b" * 70_000 + b'"}']
)
async def test_a_server_that_reads_no_body_gets_each_lead_once(authority, transport, body):
    """What it takes for a request is half of one: its 400 is no answer to that lead (2.6)."""
    with one_at_a_time(authority, reads=False) as (url, arrived):
        async with transport(url) as opened:
            results = [await opened.send(Request(f"msg_{n}", body)) for n in range(8)]
        assert [getattr(result, "status", result) for result in results] == [200] * 8
        assert arrived == [f"msg_{n}" for n in range(8)]


GARBLED = {
    "no final status": b"HTTP/1.1 000 No\r\nContent-Length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "garbage behind a 100": b"HTTP/1.1 100 Go on\r\n\r\nand no answer\r\n",
    "garbage behind a sloppy 103": b"HTTP/1.1 103 Hints\r\n: x\r\n\r\nand no answer\r\n",
    "a 100 with a body": b"HTTP/1.1 100 Go on\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("answered", GARBLED.values(), ids=GARBLED)
async def test_a_garbled_answer_is_an_answer(receive, send_each, answered):
    """The server has the request: it is not sent once more within the attempt (2.6 and 3)."""
    receiver = receive(in_turn(answer(), answer(), raw(answered), own_answer))
    *_, garbled, after = await send_each(receiver.url(), 4)
    assert garbled.kind is FailureKind.PROTOCOL
    assert (after.status, after.excerpt) == (500, "msg_3")
    assert ids(receiver) == ["msg_0", "msg_1", "msg_2", "msg_3"]


async def test_a_408_that_closes_a_kept_connection_is_no_answer(receive, send_each):
    """A server may say so of an idle connection while the next request is on its way (2.6)."""
    idle = raw_then_close(response(408, b"", [("Connection", "close")]))
    receiver = receive(in_turn(answer(), answer(), idle, own_answer))
    *_, repeated = await send_each(receiver.url(), 3)
    assert (repeated.status, repeated.excerpt) == (500, "msg_2")


def closing(status):
    return raw_then_close(response(status, b"no", [("Connection", "close")]))


@pytest.mark.parametrize(
    ("before", "status"),
    [([200], 400), ([200], 501), ([200, 200], 408), ([200, 200, 401], 400)],
)  # fmt: skip
async def test_a_refusal_that_closes_is_asked_twice_at_most(receive, send_each, before, status):
    """A 400 on a new connection is the server's word for that lead (Contract 2.6 and 3)."""
    receiver = receive(in_turn(*map(answer, before), closing(status)))
    *_, refused, again = await send_each(receiver.url(), len(before) + 2)
    assert (refused.status, again.status) == (status, status)
    last = len(before)
    assert ids(receiver)[last:] == [f"msg_{last}", f"msg_{last}", f"msg_{last + 1}"]


@pytest.mark.parametrize("status", [400, 501])
async def test_a_refusal_by_a_server_that_reads_bodies_is_its_word(receive, send_each, status):
    """Where one request was found behind another, the next 400 is no half of one (2.6 and 3)."""
    receiver = receive(in_turn(answer(), answer(), closing(status), own_answer))
    *_, refused, after = await send_each(receiver.url(), 4)
    assert (refused.status, after.excerpt) == (status, "msg_3")
    assert ids(receiver) == ["msg_0", "msg_1", "msg_2", "msg_3"]


async def test_two_senders_share_a_server_with_one_thread(authority, transport):
    """A connection that is idle in one task lets another task in, in time (Contract 2.6)."""
    with one_at_a_time(authority) as (url, _):
        async with transport(url) as idle, transport(url) as other:
            assert (await idle.send(Request("msg_1", b"{}"))).status == 200
            assert (await other.send(Request("msg_2", b"{}"))).status == 200


# Whatever a server does between two leads


piece = st.sampled_from(
    [response(200, b"stray"), response(404), b"left over", b"\r\n", OK, b"0\r\n\r\n", b"\0\xff"]
)
moves = st.lists(
    st.tuples(st.sampled_from(["record", "same record", "close", "reset", "wait"]), piece),
    max_size=5,
)
heads = st.sampled_from(
    [response(), response(204), response(500, b"no"), OK + b"Content-Length: 1\r\n\r\nok",
     b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"
     b"2\r\nok\r\n0\r\n\r\n", OK + b"Keep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n"]
)  # fmt: skip


def play(head, script):
    """Answer with the head, and then do what the script says."""

    def behave(peer, _):
        data = head
        for move, more in script:
            if move == "same record":
                data += more
                continue
            peer.send(data)
            data = b""
            if move == "record":
                data = more
            elif move == "close":
                peer.close()
                return
            elif move == "reset":
                peer.reset()
                return
            else:
                peer.wait(0.01)
        if data:
            peer.send(data)

    return behave


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(head=heads, script=moves, pause=st.sampled_from([0, 0.005]))
async def test_nothing_between_two_leads_reaches_the_second(
    receive, send_each, head, script, pause
):
    """Records, closes and stray bytes in any order: the second lead gets its own answer (2.6)."""
    receiver = receive(in_turn(play(head, script), own_answer))
    first, second, third = await send_each(receiver.url(), 3, pause=pause)
    receiver.__exit__()
    assert isinstance(first, Answer)
    assert (second.excerpt, third.excerpt) == ("msg_1", "msg_2")
    assert ids(receiver)[0] == "msg_0"


async def test_a_closed_connection_holds_no_memory(receive, transport, monkeypatch):
    """A server may close each; with its buffers one has fifty kilobytes (Contract 2.6)."""
    made = weakref.WeakSet()

    class Watched(Connection):
        __slots__ = ("__weakref__",)

        def __init__(self, *facts):
            super().__init__(*facts)
            made.add(self)

    monkeypatch.setattr("zbl_provider.delivery.http.connector.Connection", Watched)
    receiver = receive(raw_then_close(OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n"))
    opened = []
    async with transport(receiver.url()) as sender:
        gc.collect()
        gc.disable()
        try:
            for n in range(10):
                await sender.send(Request(f"msg_{n}", b"{}"))
                opened.append(len(made))
            async with asyncio.timeout(5):
                while made:  # noqa: ASYNC110  nothing tells
                    await asyncio.sleep(0.01)
        finally:
            gc.enable()
    assert max(opened) > 0
