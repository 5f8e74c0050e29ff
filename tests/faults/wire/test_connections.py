import asyncio
import os
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from tests.support.peers import (
    Authority,
    answer,
    closed_port,
    in_turn,
    mute_port,
    plain_port,
    proxy,
    raw_then_close,
    raw_then_reset,
    response,
)
from zbl_provider.delivery.exchange import FailureKind, Request
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.outcome import Verdict, classify
from zbl_provider.exceptions import ConfigurationError

NAME = "hooks.test"
NO_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def names(receiver, path="/hook"):
    return receiver.url(path, host=NAME)


class Resolver:
    """Answers look-ups from a list; the last one stays."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        resolved = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(resolved, Exception):
            raise resolved
        return resolved


# No answer: each kind is tried again.


async def test_a_refused_connection_is_tried_again(send):
    """Nobody listens: `refused`, to be tried again (Contract 3)."""
    with closed_port() as port:
        result = await send(f"https://127.0.0.1:{port}/hook")
    assert (result.kind, classify(result).verdict) == (FailureKind.REFUSED, Verdict.RETRY)


@pytest.mark.parametrize("end", [raw_then_reset, raw_then_close])
@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\n"])
async def test_a_connection_that_breaks_before_the_headers_end_is_tried_again(
    receive, send, end, start
):
    """A reset or an end before the headers are whole: `reset`, to be tried again (Contract 3)."""
    receiver = receive(end(start))
    result = await send(receiver.url())
    assert (result.kind, classify(result).verdict) == (FailureKind.RESET, Verdict.RETRY)
    assert len(receiver.requests) == 1, "one attempt sends once"


async def test_a_name_that_does_not_exist_is_tried_again(send):
    """A name under .invalid never resolves: `dns`, to be tried again (Contract 3)."""
    result = await send("https://hooks.invalid/hook")
    assert (result.kind, classify(result).verdict) == (FailureKind.DNS, Verdict.RETRY)


@pytest.mark.parametrize("resolved", [[], socket.gaierror(socket.EAI_AGAIN, "try again")])
async def test_a_name_without_an_address_is_tried_again(send, resolved):
    """A name server that has no address, or no answer: `dns` (Contract 3)."""
    result = await send("https://hooks.test/hook", resolver=Resolver(resolved))
    assert result.kind is FailureKind.DNS


async def test_a_slow_look_up_ends_at_the_deadline(send):
    """The look-up counts towards the ten seconds (Contract 2.4)."""

    async def slow(host, port):
        await asyncio.sleep(60)

    result = await send("https://hooks.test/hook", resolver=slow, deadline=0.3)
    assert (result.kind, result.seconds < 0.8) == (FailureKind.TIMEOUT, True)


async def test_look_up_and_request_share_one_deadline(receive, send):
    """What the look-up took, the request has no more (Contract 2.4)."""

    async def slow(host, port):
        await asyncio.sleep(0.5)
        return ["127.0.0.1"]

    with mute_port() as port:
        result = await send(f"https://hooks.test:{port}/", resolver=slow, deadline=0.8)
    assert result.kind is FailureKind.TIMEOUT
    assert 0.7 <= result.seconds < 1.1


async def test_a_peer_that_never_speaks_tls_is_a_timeout(send):
    """TCP connects, TLS never begins: the deadline ends it (Contract 2.4)."""
    with mute_port() as port:
        result = await send(f"https://127.0.0.1:{port}/", deadline=0.3)
    assert result.kind is FailureKind.TIMEOUT


# TLS (Contract 2.5)


@pytest.mark.parametrize("data", [response(200), b"SSH-2.0-OpenSSH_9.7\r\n", b"\x00" * 64])
async def test_a_port_without_tls_gets_nothing(send, data):
    """A server that does not speak TLS never gets to see the lead (Contract 1.3 and 2.5)."""
    with plain_port(data) as port:
        result = await send(f"https://127.0.0.1:{port}/hook")
    assert result.kind is FailureKind.TLS


async def test_a_port_without_tls_is_named(send):
    """The words say what to check (Contract 3)."""
    with plain_port(response(400)) as port:
        assert (await send(f"https://127.0.0.1:{port}/hook")).detail.endswith("check the port")


@pytest.mark.parametrize(
    ("alert", "words"),
    [(40, "it has no TLS version or cipher in common"), (70, "let it accept TLS 1.2 or 1.3"),
     (80, "no certificate for a host name"), (112, "no certificate for this host name")],
)  # fmt: skip
async def test_a_refused_handshake_is_explained(send, alert, words):
    """What a TLS alert means is said in words that can be acted on (Contract 3)."""
    with plain_port(b"\x15\x03\x03\x00\x02\x02" + bytes([alert])) as port:
        result = await send(f"https://127.0.0.1:{port}/hook")
    assert result.kind is FailureKind.TLS
    assert words in result.detail


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", [False, True])
async def test_a_refused_client_certificate_is_named(receive, send, tmp_path, version, shown):
    """What a server thinks of the client's certificate is not said of its own (2.5 and 3)."""
    pem = tmp_path / "client.pem"
    Authority().issue("sender.test").private_key_and_cert_chain_pem.write_to_path(pem)
    receiver = receive(answer(), clients=Authority())
    receiver._context.minimum_version = receiver._context.maximum_version = version
    result = await send(receiver.url(), cert=str(pem) if shown else None)
    assert result.kind is FailureKind.TLS
    if shown:
        assert "does not accept the client certificate" in result.detail
    elif version is ssl.TLSVersion.TLSv1_3:  # before, the server says no more than "failure"
        assert "name it in cert" in result.detail


@pytest.mark.parametrize("fault", ["expired", "wrong host", "unknown CA"])
async def test_a_certificate_that_does_not_hold_is_tried_again(authority, receive, send, fault):
    """An expired, foreign or untrusted certificate: `tls`, and the lead is not shown (2.5)."""
    certificate = {
        "expired": lambda: authority.issue(expired=True),
        "wrong host": lambda: authority.issue("elsewhere.test"),
        "unknown CA": lambda: Authority().issue(),
    }[fault]()
    receiver = receive(answer(), certificate=certificate)
    result = await send(receiver.url())
    assert (result.kind, classify(result).verdict) == (FailureKind.TLS, Verdict.RETRY)
    assert receiver.requests == []
    assert result.detail.startswith("no trusted TLS connection: ")
    assert result.detail.endswith("in the connection's Extra") is (fault == "unknown CA")
    assert "/hook" not in result.detail


async def test_without_verify_the_systems_cas_count(receive, send):
    """By default a private CA is not trusted (Contract 2.5)."""
    assert (await send(receive(answer()).url(), verify=True)).kind is FailureKind.TLS


async def test_the_connection_may_turn_verification_off(receive, send):
    """`verify: false` is the connection's own choice (Contract 1.1 and 2.5)."""
    assert (await send(receive(answer()).url(), verify=False)).status == 200


async def test_a_private_ca_may_be_one_of_a_bundle(authority, receive, send, tmp_path):
    """`verify` may name a bundle; every certificate in it counts (Contract 2.5)."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"# ours\n" + Authority().pem + b"\n" + authority.pem)
    assert (await send(receive(answer()).url(), verify=str(bundle))).status == 200


async def test_a_private_ca_may_be_in_a_directory(authority, receive, send, tmp_path):
    """`verify` may name a directory of certificates, as with requests (Contract 1.1)."""
    (tmp_path / "a.pem").write_bytes(Authority().pem)
    (tmp_path / "b.pem").write_bytes(authority.pem)
    (tmp_path / "notes.txt").write_text("no certificate here")
    assert (await send(receive(answer()).url(), verify=str(tmp_path))).status == 200


@pytest.mark.parametrize("in_a_directory", [False, True])
@pytest.mark.parametrize("named", ["issuer", "server"])
async def test_what_verify_names_is_trusted_whoever_signed_it(
    authority, receive, send, tmp_path, named, in_a_directory
):
    """A CA below another one, or a server's own certificate, is enough, as for curl (2.5)."""
    issuer = authority.below()
    certificate = issuer.issue()
    pem = issuer.pem if named == "issuer" else certificate.cert_chain_pems[0].bytes()
    (tmp_path / "trusted.pem").write_bytes(pem)
    verify = str(tmp_path if in_a_directory else tmp_path / "trusted.pem")
    receiver = receive(answer(), certificate=certificate)
    assert (await send(receiver.url(), verify=verify)).status == 200
    other = receive(answer(), certificate=authority.below().issue())
    assert (await send(other.url(), verify=verify)).kind is FailureKind.TLS


@pytest.mark.parametrize("key", ["verify", "cert"])
@pytest.mark.parametrize("content", [None, b"", b"no PEM", NO_CERTIFICATE])
async def test_a_certificate_file_that_cannot_be_used_is_refused(transport, tmp_path, key, content):
    """A CA or client certificate that is none is a configuration error (Contract 2.5)."""
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        transport("https://127.0.0.1/", **{key: str(file)})
    assert caught.value.field == key


@pytest.mark.parametrize("key", ["verify", "cert"])
@pytest.mark.parametrize("path", ["ca\0.pem", "\ud800.pem"])
async def test_a_path_that_no_file_can_have_is_refused(transport, key, path):
    """It is a configuration error, too, and nothing that Airflow tries again (1.2, 3.2)."""
    with pytest.raises(ConfigurationError) as caught:
        transport("https://127.0.0.1/", **{key: path})
    assert caught.value.field == key


async def test_the_environments_ca_bundles_are_ignored(receive, send, ca_file, monkeypatch):
    """REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE neither open nor close anything (Contract 2.5)."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, ca_file)
    assert (await send(receive(answer()).url(), verify=True)).kind is FailureKind.TLS
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, os.devnull)
    assert (await send(receive(answer()).url())).status == 200


@pytest.mark.parametrize("files", [1, 2])
async def test_a_client_certificate_is_shown(receive, send, tmp_path, files):
    """`cert` is what the client shows, from one file or two (Contract 1.1 and 2.5)."""
    clients = Authority()
    receiver = receive(answer(), clients=clients)
    leaf = clients.issue("sender.test")
    both, key, chain = tmp_path / "both.pem", tmp_path / "key.pem", tmp_path / "chain.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(both)
    leaf.private_key_pem.write_to_path(key)
    leaf.cert_chain_pems[0].write_to_path(chain)
    cert = str(both) if files == 1 else [str(chain), str(key)]
    assert (await send(receiver.url(), cert=cert)).status == 200
    assert (await send(receiver.url())).kind in (FailureKind.TLS, FailureKind.RESET)
    assert len(receiver.requests) == 1


# The network guard (Contract 7.1)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0x7f.1", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost",
     "10.0.0.1", "169.254.169.254", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"],
)  # fmt: skip
async def test_what_is_not_public_is_blocked(receive, send, host):
    """A private address is an error at once, in every spelling, and nothing connects (7.1)."""
    receiver = receive(answer())
    result = await send(f"https://{host}:{receiver.port}/hook", guard=Guard())
    outcome = classify(result)
    assert (outcome.kind, outcome.verdict) == ("blocked", Verdict.ERROR)
    assert "[zbl] allowed_networks" in outcome.detail
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "resolved", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"]]
)
async def test_a_name_with_any_private_address_is_blocked(receive, send, resolved):
    """One private address among a name's addresses is enough (Contract 7.1)."""
    receiver = receive(answer())
    result = await send(names(receiver), guard=Guard(), resolver=Resolver(resolved))
    assert (result.kind, receiver.connections) == (FailureKind.BLOCKED, 0)


async def test_a_name_that_changes_after_the_look_up_gains_nothing(receive, send):
    """The address that was judged is the one that is connected to (Contract 7.1)."""
    receiver = receive(answer())
    # Nothing answers at a documentation address; the system would resolve localhost to 127.0.0.1.
    resolver = Resolver(["192.0.2.1"], ["127.0.0.1"])
    guard = Guard.parse("192.0.2.0/24")
    url = f"https://localhost:{receiver.port}/hook"
    first, second = await send(url, times=2, guard=guard, resolver=resolver, deadline=0.5)
    assert first.kind in (FailureKind.TIMEOUT, FailureKind.UNREACHABLE, FailureKind.REFUSED)
    assert second.kind is FailureKind.BLOCKED
    assert receiver.connections == 0


async def test_the_pinned_address_is_used_and_the_name_verified(receive, send, at_loopback):
    """The certificate must be the name's, the connection goes to its address (2.5 and 7.1)."""
    receiver = receive(answer())
    assert (await send(names(receiver), resolver=at_loopback)).status == 200
    assert receiver.requests[0].headers["host"] == f"{NAME}:{receiver.port}".encode()
    result = await send(receiver.url(host="other.test"), resolver=at_loopback)
    assert result.kind is FailureKind.TLS


async def test_one_look_up_serves_many_requests(receive, transport):
    """Requests at once and one after another share the look-up and the connections (7.1)."""
    receiver = receive(answer())
    resolver = Resolver(["127.0.0.1"])
    async with transport(names(receiver), resolver=resolver) as opened:
        for _ in range(3):
            sends = (opened.send(Request("msg_1", b"{}")) for _ in range(8))
            assert {result.status for result in await asyncio.gather(*sends)} == {200}
    assert resolver.asked == [(NAME, receiver.port)]
    assert len(receiver.requests) == 24
    assert receiver.connections < 24, "the first burst may open some too many, no later one"


async def test_of_several_addresses_one_that_answers_is_used(receive, send):
    """A name whose first address is down is reached at its second (Contract 3)."""
    receiver = receive(answer())  # on 127.0.0.1 alone: 127.0.0.2 refuses
    resolver = Resolver(["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    assert (await send(names(receiver), resolver=resolver)).status == 200


async def test_several_addresses_that_are_all_down_are_one_failure(send):
    """When no address answers, the attempt fails as with one (Contract 3)."""
    with closed_port() as port:
        url = f"https://hooks.test:{port}/"
        result = await send(url, resolver=Resolver(["127.0.0.2", "127.0.0.3"]))
    assert result.kind is FailureKind.REFUSED


async def test_after_a_failure_the_name_is_looked_up_again(receive, send):
    """A receiver that has moved is found by the next attempt (Contract 7.1)."""
    receiver = receive(answer())
    resolver = Resolver(["127.0.0.2"], ["127.0.0.1"])
    first, second, third = await send(names(receiver), times=3, resolver=resolver)
    assert first.kind is FailureKind.REFUSED
    assert (second.status, third.status) == (200, 200)
    assert len(resolver.asked) == 2


async def test_an_address_that_goes_down_is_left_for_another(receive, transport):
    """When the address in use fails, the same attempt tries the name's others (2.6 and 3)."""
    remaining = receive(answer(200, b"remaining"))
    failing = receive(answer(200, b"failing"), address="127.0.0.2", port=remaining.port)
    resolver = Resolver(["127.0.0.2", "127.0.0.1"])
    async with transport(names(remaining), resolver=resolver) as opened:
        assert (await opened.send(Request("msg_1", b"{}"))).excerpt == "failing"
        failing.__exit__()
        assert (await opened.send(Request("msg_1", b"{}"))).excerpt == "remaining"


async def test_a_second_look_up_keeps_the_connection(receive, transport, monkeypatch):
    """Looking the name up again drops no connection while its address stays (Contract 7.1)."""
    monkeypatch.setattr("zbl_provider.delivery.http.addresses._LOOK_UP_SECONDS", 0.0)
    receiver = receive(answer())
    resolver = Resolver(["127.0.0.1"], ["127.0.0.3", "127.0.0.1"])
    async with transport(names(receiver), resolver=resolver) as opened:
        for _ in range(3):
            assert (await opened.send(Request("msg_1", b"{}"))).status == 200
    assert (len(resolver.asked), receiver.connections) == (3, 1)


# Proxies (Contract 2.5)


async def test_the_environments_proxies_are_ignored(receive, send, monkeypatch):
    """HTTPS_PROXY and its kin change nothing unless the connection says so (Contract 2.5)."""
    receiver = receive(answer())
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with proxy(seen := []) as forward:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{forward.port}")
        assert (await send(receiver.url())).status == 200
    assert seen == []


async def test_the_connection_may_ask_for_the_environments_proxy(receive, send, monkeypatch):
    """`trust_env: true` is how a connection says so; NO_PROXY counts then, too (2.5)."""
    receiver = receive(answer())
    with proxy(seen := []) as forward:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{forward.port}")
        monkeypatch.setenv("NO_PROXY", "other.test")
        assert (await send(receiver.url(), trust_env=True)).status == 200
        assert seen == [f"127.0.0.1:{receiver.port}"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert (await send(receiver.url(), trust_env=True)).status == 200
        assert len(seen) == 1


@pytest.mark.parametrize("spelling", ["127.0.0.1", "localhost"])
async def test_the_connections_proxy_is_used(receive, send, spelling):
    """A proxy named by the connection tunnels TLS, which is verified end to end (2.5)."""
    receiver = receive(answer())
    with proxy(seen := []) as forward:
        url = f"http://user:pass@{spelling}:{forward.port}"
        result = await send(
            names(receiver), proxies={"https": url}, resolver=Resolver(["127.0.0.1"]), times=2
        )
        auth = forward.requests[0].headers["proxy-authorization"]
    assert [answer.status for answer in result] == [200, 200]
    assert seen == [f"{NAME}:{receiver.port}"], "one tunnel serves both"
    assert auth == b"Basic dXNlcjpwYXNz"
    assert "proxy-authorization" not in receiver.requests[0].headers


async def test_a_proxy_is_guarded_like_a_destination(receive, send):
    """A connection cannot reach a private address by calling it a proxy (Contract 7.1)."""
    receiver = receive(answer())
    with proxy(seen := []) as forward:
        url = f"http://127.0.0.1:{forward.port}"
        result = await send(names(receiver), proxy=url, guard=Guard())
        assert (result.kind, forward.connections) == (FailureKind.BLOCKED, 0)
        assert result.detail.endswith("allowed_networks (it is the proxy's)")
    assert seen == []


@pytest.mark.parametrize("host", ["\u24dbocalhost", "LOCALHOST", "localhost."])
async def test_a_proxys_name_is_pinned_in_whatever_spelling(send, host):
    """The proxy is connected to at the address that was judged, and nowhere else (7.1)."""
    elsewhere = Resolver(["192.0.2.1"])  # where nobody answers; the system knows localhost
    with proxy(seen := []) as forward:
        url = f"http://{host}:{forward.port}"
        guard = Guard.parse("192.0.2.0/24")
        await send("https://8.8.8.8/", proxy=url, guard=guard, resolver=elsewhere, deadline=0.5)
        assert (seen, forward.connections) == ([], 0)
    assert elsewhere.asked[0][0] == "localhost"


async def test_behind_a_proxy_private_destinations_stay_blocked(receive, send):
    """A proxy that is allowed opens nothing but itself (Contract 7.1)."""
    receiver = receive(answer())
    with proxy(seen := []) as forward:
        url = f"http://127.0.0.1:{forward.port}"
        for host, resolver in (("10.0.0.1", None), (NAME, Resolver(["10.0.0.1"]))):
            result = await send(receiver.url(host=host), proxy=url, resolver=resolver)
            assert result.kind is FailureKind.BLOCKED
            assert "proxy" not in result.detail
    assert seen == []


async def test_a_name_that_only_the_proxy_knows_is_reached(receive, send):
    """Where names are the proxy's business, a failed look-up here means nothing (2.5)."""
    receiver = receive(answer())
    unknown = Resolver(socket.gaierror(socket.EAI_NONAME, "unknown"))
    with proxy(seen := []) as forward:
        url = f"http://127.0.0.1:{forward.port}"
        assert (await send(names(receiver), proxy=url, resolver=unknown)).status == 200
    assert len(seen) == 1


async def test_a_proxy_that_is_down_is_tried_again(send):
    """A proxy that cannot be reached is a failure like any other (Contract 3)."""
    with closed_port() as port:
        result = await send("https://8.8.8.8/", proxy=f"http://127.0.0.1:{port}")
    assert (result.kind, classify(result).verdict) == (FailureKind.REFUSED, Verdict.RETRY)
    assert result.detail == "the connection was refused: it is the proxy's, check its URL"


async def test_a_failed_look_up_says_whose_name_it_was(send):
    """The name of a proxy is in another place than the destination's URL (Contract 2.5, 6.3)."""
    unknown = Resolver(["8.8.8.8"], socket.gaierror(socket.EAI_NONAME, "unknown"))
    result = await send(f"https://{NAME}/", proxy="http://proxy.test:3128", resolver=unknown)
    assert (result.kind, classify(result).verdict) == (FailureKind.DNS, Verdict.RETRY)
    assert result.detail == "the host name does not resolve: it is the proxy's, check its URL"
    silent = Resolver(socket.gaierror(socket.EAI_AGAIN, "no answer"))
    result = await send(f"https://{NAME}/", proxy="http://127.0.0.1:3128", resolver=silent)
    assert (result.kind, "proxy" in result.detail) == (FailureKind.DNS, False)


async def test_a_proxy_that_refuses_to_tunnel_is_tried_again(receive, send):
    """A proxy's own answer is not the destination's: it neither delivers nor ends a lead (3)."""
    forward = receive(in_turn(answer(200), answer(407), answer(503)), authority=None)
    forward_url = f"http://127.0.0.1:{forward.port}"
    for _ in range(3):
        result = await send("https://8.8.8.8/", proxy=forward_url, deadline=1)
        assert classify(result).verdict is Verdict.RETRY
        assert classify(result).status is None


# Nothing secret in a failure (Contract 1.5)


async def test_a_failure_tells_no_secret(receive, send):
    """A failure's words hold no path, no query and no header value (Contract 1.5)."""
    secrets = {"X-Key": "s3cret-header"}
    with closed_port() as port, mute_port() as mute:
        results = [
            await send(f"https://127.0.0.1:{port}/s3cret?s3cret", secret_headers=secrets),
            await send(f"https://127.0.0.1:{mute}/s3cret", secret_headers=secrets, deadline=0.2),
            await send("https://hooks.invalid/s3cret", secret_headers=secrets),
            await send(receive(raw_then_reset()).url("/s3cret"), secret_headers=secrets),
            await send(receive(answer()).url("/s3cret"), secret_headers=secrets, verify=True),
            await send("https://10.0.0.1/s3cret", secret_headers=secrets),
        ]
    for result in results:
        assert result.detail
        assert "s3cret" not in repr(result) + str(result)


async def test_closing_ends_a_look_up_that_hangs(transport):
    """Leaving the transport leaves nothing running behind (Contract 2.4)."""

    async def hang(host, port):
        await asyncio.sleep(60)

    async with transport("https://hooks.test/", resolver=hang, deadline=0.1) as opened:
        assert (await opened.send(Request("msg_1", b"{}"))).kind is FailureKind.TIMEOUT
        looking_up = opened._pool._addresses._task
    await asyncio.sleep(0)
    assert looking_up.done()


def test_a_look_up_that_hangs_holds_nobody_up(transport, monkeypatch):
    """An attempt, and the event loop with it, ends while the system still looks up (2.4)."""
    end, ended = threading.Event(), threading.Event()

    def hang(*_, **__):
        end.wait(60)
        ended.set()
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    async def send():
        async with transport("https://hooks.test/", deadline=0.2) as opened:
            return await opened.send(Request("msg_1", b"{}"))

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert asyncio.run(send()).kind is FailureKind.TIMEOUT
    assert not ended.is_set()
    end.set()
    assert ended.wait(60), "an answer that comes when the loop is gone harms nobody"


SEND_AND_EXIT = """
import asyncio, sys
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.exchange import Request
from zbl_provider.delivery.transport import Transport

async def main():
    destination = Destination.parse(integration="test", host=sys.argv[1])
    async with Transport(destination, Guard.parse("127.0.0.0/8")) as transport:
        for _ in range(3):
            print((await transport.send(Request("msg_1", b"{}"))).kind)

asyncio.run(main())
"""


def test_a_script_may_end_right_after_a_failure():
    """A process that exits just after a failed attempt exits in good order (Contract 3)."""
    with closed_port() as port:
        command = [sys.executable, "-c", SEND_AND_EXIT, f"https://127.0.0.1:{port}/"]
        runs = [
            subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(6)
        ]
    assert [(run.returncode, run.stderr) for run in runs] == [(0, "")] * 6
    assert {run.stdout for run in runs} == {"refused\n" * 3}
