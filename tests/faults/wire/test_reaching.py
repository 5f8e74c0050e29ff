"""The way to a server: addresses, certificates, proxies, and this machine's own limits."""

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.support.peers import (
    LOOPBACK,
    Authority,
    Receiver,
    answer,
    closed_port,
    proxy,
    raw,
    raw_then_close,
    response,
)
from zbl_provider.delivery.exchange import FailureKind, Request
from zbl_provider.delivery.http import tls
from zbl_provider.delivery.outcome import Verdict, classify
from zbl_provider.exceptions import ConfigurationError


def resolves_to(*addresses):
    async def resolve(host, port):
        return list(addresses)

    return resolve


@contextmanager
def bad_address(address, port, *, silent):
    """Accept connections at an address, and close them at once or stay silent."""
    over = threading.Event()

    def accept():
        held = []
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                break
            if silent:
                held.append(connection)
            else:
                connection.close()

    with socket.create_server((address, port)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield
        over.set()
        listener.shutdown(socket.SHUT_RDWR)


# Several addresses


@pytest.mark.parametrize("silent", [False, True], ids=["closes", "silent"])
async def test_an_address_that_accepts_hides_no_healthy_neighbour(receive, transport, silent):
    """The connection itself is the trial: the next address gets the lead in time (Contract 3)."""
    receiver = receive(answer())
    url = receiver.url(host="hooks.test")
    with bad_address("127.0.0.2", receiver.port, silent=silent):
        resolver = resolves_to("127.0.0.2", LOOPBACK)
        async with transport(url, resolver=resolver, deadline=3) as opened:
            sends = (opened.send(Request(f"msg_{n}", b"{}")) for n in range(20))
            results = await asyncio.gather(*sends)
    assert [getattr(result, "status", result) for result in results] == [200] * 20
    assert len(receiver.requests) == 20


async def test_five_dead_addresses_cost_no_lead_its_attempt(receive, transport):
    """Addresses are tried side by side, and the one that answered is tried first then (3)."""
    receiver = receive(answer())
    with ExitStack() as dead:
        for last in range(2, 7):  # a full queue swallows who knocks: nothing ever answers
            listener = dead.enter_context(
                socket.create_server((f"127.0.0.{last}", receiver.port), backlog=0)
            )
            for _ in range(2):
                knocking = dead.enter_context(socket.socket())
                knocking.setblocking(False)
                knocking.connect_ex(listener.getsockname())
        resolver = resolves_to(*(f"127.0.0.{last}" for last in range(2, 7)), LOOPBACK)
        url = receiver.url(host="hooks.test")
        async with transport(url, resolver=resolver, deadline=4) as opened:
            sends = (opened.send(Request(f"msg_{n}", b"{}")) for n in range(20))
            results = await asyncio.gather(*sends)
            again = await opened.send(Request("msg_again", b"{}"))
    assert [getattr(result, "status", result) for result in results] == [200] * 20
    assert again.seconds < 0.5


async def test_no_connection_is_opened_to_try_an_address(receive, send):
    """A receiver sees connections that carry requests, and no others (Contract 3)."""
    receiver = receive(answer())
    result = await send(
        receiver.url(host="hooks.test"), resolver=resolves_to(LOOPBACK, "127.0.0.2")
    )
    assert (result.status, receiver.connections, len(receiver.requests)) == (200, 1, 1)


@pytest.mark.parametrize("at_once", [1, 5])
async def test_a_failed_attempt_costs_one_connection(receive, transport, at_once):
    """What has been told that nothing can be opened waits for no further connection (3)."""
    receiver = receive(answer(), certificate=Authority().issue())
    async with transport(receiver.url()) as opened:
        sends = (opened.send(Request(f"msg_{n}", b"{}")) for n in range(at_once))
        assert {result.kind for result in await asyncio.gather(*sends)} == {FailureKind.TLS}
        await asyncio.sleep(0.1)
    assert receiver.connections == at_once


# Certificates


def asks_for_a_certificate(receive):
    """Return a receiver that asks when it has seen the path, and what it is shown."""
    shown = []

    def ask(peer, _):
        peer.connection.verify_client_post_handshake()
        peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")  # writing makes TLS ask
        peer.connection.settimeout(0.5)
        with suppress(TimeoutError):
            peer.connection.recv(1)
        shown.append(peer.connection.getpeercert())
        peer.send(response())

    receiver = receive(ask)
    receiver._context.minimum_version = ssl.TLSVersion.TLSv1_3
    receiver._context.post_handshake_auth = True
    return receiver, shown


async def test_a_client_certificate_is_shown_after_the_handshake(
    authority, receive, send, tmp_path
):
    """A server may ask for it when it has seen the path, as Apache and IIS do (1.1 and 2.5)."""
    clients = Authority()
    pem = tmp_path / "client.pem"
    clients.issue("sender.test").private_key_and_cert_chain_pem.write_to_path(pem)
    receiver, shown = asks_for_a_certificate(receive)
    clients.trust(receiver._context)
    assert (await send(receiver.url(), cert=str(pem))).status == 200
    assert [bool(certificate) for certificate in shown] == [True]


async def test_a_server_that_asks_for_a_certificate_in_vain_may_go_on(receive, send):
    """Where a certificate is optional, a sender without one is served (2.5, as requests is)."""
    receiver, shown = asks_for_a_certificate(receive)
    Authority().trust(receiver._context)
    receiver._context.verify_mode = ssl.CERT_OPTIONAL
    assert (await send(receiver.url())).status == 200
    assert shown == [None]


def test_a_server_may_ask_for_a_certificate_by_a_second_handshake(tmp_path):
    """As TLS 1.2 has it, whether there is one to show or not (Contract 2.5)."""
    pem = tmp_path / "client.pem"
    Authority().issue("sender.test").private_key_and_cert_chain_pem.write_to_path(pem)
    for cert in (None, str(pem)):
        context = tls.tls_context(verify=True, cert=cert)
        assert not context.options & ssl.OP_NO_RENEGOTIATION
        assert context.post_handshake_auth


def test_a_mapped_address_has_the_certificate_of_its_ipv4_address():
    """`[::ffff:192.0.2.1]` is reached at 192.0.2.1, and so is its certificate's (2.5)."""
    names = {"::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "a.test": "a.test"}
    assert {name: tls.server_name(name) for name in names} == names


async def test_a_mapped_address_is_reached(receive, send):
    """An IPv4 address in IPv6's clothes matches its certificate (Contract 2.5)."""
    assert (await send(receive(answer()).url(host="[::ffff:127.0.0.1]"))).status == 200


@pytest.mark.parametrize("key", ["verify", "cert"])
@pytest.mark.parametrize("endless", ["file", "device"])
def test_a_certificate_file_of_any_size_costs_bounded_memory(transport, tmp_path, key, endless):
    """What is too large for certificates is refused before it is read (Contract 2.5)."""
    name = tmp_path / "huge.pem"
    with name.open("wb") as file:
        file.truncate(600 * 2**20)  # sparse
    with pytest.raises(ConfigurationError) as caught:
        transport("https://127.0.0.1/", **{key: str(name) if endless == "file" else "/dev/zero"})
    assert caught.value.field == key


# Proxies


@pytest.mark.parametrize(
    "problem", [socket.gaierror(socket.EAI_AGAIN, "later"), socket.gaierror(socket.EAI_FAIL, "x")]
)
async def test_behind_a_proxy_a_look_up_that_fails_opens_nothing(receive, send, problem):
    """Only a name that surely does not exist here is left to the proxy (Contract 7.1)."""

    async def resolve(host, port):
        raise problem

    with proxy(seen := []) as forward:
        url = f"http://127.0.0.1:{forward.port}"
        result = await send("https://hooks.test/", proxy=url, resolver=resolve)
        assert (result.kind, forward.connections, seen) == (FailureKind.DNS, 0, [])


async def test_behind_a_proxy_a_look_up_that_hangs_opens_nothing(receive, send):
    """A silent name server costs the attempt, and never opens the guard (Contract 7.1)."""

    async def resolve(host, port):
        await asyncio.sleep(60)

    with proxy(seen := []) as forward:
        url = f"http://127.0.0.1:{forward.port}"
        result = await send("https://hooks.test/", proxy=url, resolver=resolve, deadline=2.5)
        assert (result.kind, forward.connections, seen) == (FailureKind.TIMEOUT, 0, [])


async def test_a_proxy_that_wants_a_login_is_named(receive, send):
    """407 is the proxy's: the words say whose login is missing (Contract 3)."""
    forward = receive(answer(407), authority=None)
    result = await send("https://8.8.8.8/", proxy=f"http://127.0.0.1:{forward.port}")
    assert "check the login in the proxy's URL" in result.detail


# Words of their own


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (response(302, headers=[("Location", "https://script.googleusercontent.com/macros/x?y")]),
         "the Google Apps Script has run"),
        (response(400, b"No required SSL certificate was sent"), "name it in cert"),
        (response(400, b"<center>The SSL certificate error</center>"), "check cert"),
    ],
)  # fmt: skip
async def test_known_answers_have_words_of_their_own(receive, send, data, words):
    """What a server's answer is known to mean is said, and its outcome stays (Contract 3)."""
    outcome = classify(await send(receive(raw(data)).url()))
    assert outcome.verdict is Verdict.ERROR
    assert words in outcome.detail
    assert "macros" not in outcome.detail


async def test_a_server_that_speaks_http_2_alone_is_recognised(authority, receive, send):
    """By its first frame, or by its refusal of HTTP/1.1 in the handshake (Contract 3)."""
    settings = b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)
    result = await send(receive(raw_then_close(settings)).url())
    assert (result.kind, "only HTTP/2" in result.detail) == (FailureKind.PROTOCOL, True)


# This machine's own limits


SEND_MANY = """
import asyncio, json, resource, sys
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.exchange import Request
from zbl_provider.delivery.transport import Transport

async def main(url, authority, loop_limit):
    resource.setrlimit(resource.RLIMIT_NOFILE, (loop_limit, loop_limit))
    destination = Destination.parse(
        integration="t", host=url, extra={"verify": authority, "max_concurrency": 100}
    )
    numbers = iter(range(150))
    results = []
    async with Transport(destination, Guard.parse("127.0.0.0/8")) as transport:
        async def sender():
            for number in numbers:
                result = await transport.send(Request(f"msg_{number}", b"{}"))
                results.append(getattr(result, "status", None) or str(result))
        await asyncio.gather(*(sender() for _ in range(100)))
    print(json.dumps(results))

if len(sys.argv) > 4:
    import uvloop
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
else:
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.mark.parametrize("loop", [[], ["uvloop"]], ids=["asyncio", "uvloop"])
def test_too_few_file_descriptors_cost_no_lead_an_attempt(authority, ca_file, loop):
    """With `ulimit -n 64` and a hundred at once all leads arrive, each once (Contract 2.6)."""
    with Receiver(answer(), authority) as receiver:
        run = subprocess.run(
            [sys.executable, "-c", SEND_MANY, receiver.url(), ca_file, "64", *loop],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert set(json.loads(run.stdout)) == {200}
    assert len(receiver.requests) == 150
    assert "ulimit -n" in run.stderr
    assert "max_concurrency is 100" in run.stderr


def test_without_any_file_descriptor_nothing_is_sent_and_the_limit_is_named(authority, ca_file):
    """It is no attempt: the kind of failure says so, and what to raise (Contract 2.6)."""
    limit = "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))"
    script = SEND_MANY.replace("range(150)", "range(2)").replace(
        "        async def sender", f"        {limit}\n        async def sender"
    )
    with Receiver(answer(), authority) as receiver:
        run = subprocess.run(
            [sys.executable, "-c", script, receiver.url(), ca_file, "64"],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    assert all("SHORTAGE" in result and "ulimit -n" in result for result in results)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "settings", ["verify=True, cert=None", "verify=ca, cert=None", "verify=True, cert=pem"]
)
def test_without_any_file_descriptor_no_certificate_file_is_blamed(ca_file, tmp_path, settings):
    """A good file that cannot be opened now is this machine's matter, which may pass (2.6)."""
    pem = tmp_path / "client.pem"
    Authority().issue("sender.test").private_key_and_cert_chain_pem.write_to_path(pem)
    script = f"""
import resource
from zbl_provider.delivery.http.limits import ShortageError
from zbl_provider.delivery.http.tls import tls_context
ca, pem = {ca_file!r}, {str(pem)!r}
tls_context({settings})
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    tls_context({settings})
except ShortageError as problem:
    print(problem.airflow_may_retry, problem)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("True this process may not open more files")


WITHOUT_PORTS = """
import asyncio, ctypes, fcntl, os, pathlib, socket, struct, sys
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.exchange import Request
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.transport import Transport

NEW_USER, NEW_NETWORK, SET_FLAGS, UP = 0x10000000, 0x40000000, 0x8914, 0x41
user = os.getuid()
if ctypes.CDLL(None).unshare(NEW_USER | NEW_NETWORK):
    sys.exit("not permitted")
pathlib.Path("/proc/self/uid_map").write_text(f"0 {user} 1")
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP))
pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40001")

async def main():
    listener = socket.create_server(("127.0.0.1", 39000))
    held = [socket.create_connection(listener.getsockname()) for _ in range(2)]
    async def resolve(host, port):
        return sys.argv[1:]
    destination = Destination.parse(integration="t", host="https://hooks.test:39000/")
    guard = Guard.parse("127.0.0.0/8, 2001:db8::/32")
    async with Transport(destination, guard, resolver=resolve) as transport:
        print(await transport.send(Request("msg_1", b"{}")))

asyncio.run(main())
"""


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["2001:db8::1", "127.0.0.1"]])
def test_too_few_ports_are_no_attempt(addresses):
    """Nor where the destination has IPv6 addresses, and this machine has no IPv6 (2.6)."""
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_PORTS, *addresses],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if "not permitted" in run.stderr or "PermissionError" in run.stderr:
        pytest.skip("this machine gives a test no network of its own")
    assert run.returncode == 0, run.stderr
    assert "SHORTAGE" in run.stdout
    assert "ip_local_port_range" in run.stdout


async def test_a_refused_connection_is_no_shortage(send):
    """What a destination does is its own doing (Contract 2.6 and 3)."""
    with closed_port() as port:
        assert (await send(f"https://127.0.0.1:{port}/")).kind is FailureKind.REFUSED
