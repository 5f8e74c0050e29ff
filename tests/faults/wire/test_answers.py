import contextlib
import gzip
import json
import socket
import threading
import time

import pytest

from tests.support.peers import (
    answer,
    delayed,
    drip,
    echo,
    endless_body,
    endless_headers,
    gzip_bomb,
    in_turn,
    raw,
    raw_then_close,
    raw_then_reset,
    raw_then_silence,
    response,
)
from zbl_provider import __version__
from zbl_provider.delivery.exchange import Answer, Failure, FailureKind, Request
from zbl_provider.delivery.outcome import Verdict, classify


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_delivered(receive, send, status):
    """A 2xx over real TLS is a delivered lead (Contract 3)."""
    result = await send(receive(answer(status)).url())
    assert (result.status, classify(result).verdict) == (status, Verdict.DELIVERED)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(receive, send, status):
    """A redirect is an error, and the server it points to is never asked (Contract 2.5 and 3)."""
    elsewhere = receive(answer(200))
    first = receive(answer(status, headers=[("Location", elsewhere.url())]))
    result = await send(first.url())
    assert (result.status, classify(result).verdict) == (status, Verdict.ERROR)
    assert (len(first.requests), elsewhere.connections) == (1, 0)


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429])
async def test_a_4xx_is_an_error(receive, send, status):
    """A 4xx, 429 included, is an error at once, with the answer's excerpt (Contract 3)."""
    result = await send(receive(answer(status, b"no such hook")).url())
    outcome = classify(result)
    assert (outcome.status, outcome.verdict) == (status, Verdict.ERROR)
    assert outcome.excerpt == "no such hook"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_5xx_is_tried_again(receive, send, status):
    """A 5xx is tried again (Contract 3)."""
    result = await send(receive(answer(status)).url())
    assert (result.status, classify(result).verdict) == (status, Verdict.RETRY)


async def test_retry_after_comes_along(receive, send):
    """The answer carries Retry-After as it came; one in strange bytes counts as absent (3.3)."""
    assert (
        await send(receive(answer(429, headers=[("Retry-After", "30")])).url())
    ).retry_after == ("30")
    strange = receive(answer(429, headers=[("Retry-After", "\xe9")]))
    assert (await send(strange.url())).retry_after is None


async def test_the_request_is_the_contracts(receive, send):
    """One POST of the exact bytes, with the contract's headers and no others' (2.1 and 2.3)."""
    receiver = receive(answer())
    body = '{"lead":{"name":"João"}}'.encode()
    await send(receiver.url("/hook?k=v"), body=body, clock=lambda: 1614265330.9,
               signing_secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
               secret_headers={"X-Api-Key": "s3cret"})  # fmt: skip
    (request,) = receiver.requests
    signature = request.headers.pop("webhook-signature")
    assert (request.method, request.target, request.body) == ("POST", "/hook?k=v", body)
    assert signature.startswith(b"v1,")
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}".encode(),
        "accept": b"*/*",
        "content-type": b"application/json",
        "content-length": str(len(body)).encode(),
        "user-agent": f"zbl_provider/{__version__}".encode(),
        "webhook-id": b"msg_1",
        "webhook-timestamp": b"1614265330",
        "idempotency-key": b"msg_1",
        "x-api-key": b"s3cret",
    }


async def test_a_user_agent_of_the_connections_own_replaces_ours(receive, send):
    """User-Agent is not among the headers the sender owns (Contract 1.4)."""
    receiver = receive(answer())
    await send(receiver.url(), secret_headers={"user-agent": "Acme"})
    assert receiver.requests[0].headers["user-agent"] == b"Acme"


async def test_a_request_may_have_headers_of_its_own(receive, transport):
    """The test lead carries its own header (Contract 1.6)."""
    receiver = receive(answer())
    async with transport(receiver.url()) as opened:
        await opened.send(Request("msg_1", b"{}", (("X-ZBL-Test", "true"),)))
    assert receiver.requests[0].headers["x-zbl-test"] == b"true"


async def test_headers_dripped_by_the_byte_end_at_the_deadline(receive, send):
    """A peer that drips its headers does not stretch the ten seconds (Contract 2.4)."""
    receiver = receive(drip(response(200), interval=1))
    started = time.monotonic()
    result = await send(receiver.url())
    assert result.kind is FailureKind.TIMEOUT
    assert 9.9 <= time.monotonic() - started <= 10.5
    assert 9.9 <= result.seconds <= 10.5


async def test_silence_ends_at_the_deadline(receive, send):
    """A peer that never answers is a timeout, to be tried again (Contract 2.4 and 3)."""
    result = await send(receive(raw_then_silence()).url(), deadline=0.5)
    assert (result.kind, classify(result).verdict) == (FailureKind.TIMEOUT, Verdict.RETRY)
    assert 0.4 <= result.seconds <= 1


@pytest.mark.parametrize(
    "length", ["Content-Length: 20000\r\n", "Transfer-Encoding: chunked\r\n", ""]
)
async def test_a_body_dripped_after_a_200_is_delivered(receive, send, length):
    """After the headers the outcome stands; the body is read until the deadline (Contract 2.4)."""
    head = f"HTTP/1.1 200 OK\r\n{length}\r\n".encode()
    chunk = b"4\r\nabcd\r\n" if "chunked" in length else b"abcd"
    receiver = receive(drip(b"x" * 100 if not length else b"1", 0.2, start=head + chunk))
    result = await send(receiver.url(), deadline=0.6)
    assert result.status == 200
    assert result.excerpt.startswith("abcd")
    assert result.seconds <= 1


async def test_a_body_that_never_starts_is_delivered(receive, send):
    """A 200 whose body never comes is delivered all the same (Contract 2.4)."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    result = await send(receive(raw_then_silence(head)).url(), deadline=0.5)
    assert (result.status, result.excerpt) == (200, "")


@pytest.mark.parametrize("end", [raw_then_close, raw_then_reset])
async def test_a_body_that_breaks_after_a_200_is_delivered(receive, send, end):
    """A connection that breaks within the body changes nothing (Contract 2.4)."""
    receiver = receive(end(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf"))
    result = await send(receiver.url())
    assert result.status == 200


async def test_headers_that_arrive_late_but_in_time_are_an_answer(receive, send):
    """An answer just before the deadline counts (Contract 2.4)."""
    result = await send(receive(delayed(0.5, answer(200))).url(), deadline=3)
    assert result.status == 200


async def test_an_endless_body_costs_4_kib(receive, send):
    """At most 4 KiB of a body are read for the log (Contract 2.4 and 7.3)."""
    result = await send(receive(endless_body).url())
    assert (result.status, result.excerpt) == (200, "a" * 4096)
    assert result.seconds < 5


async def test_a_gzip_bomb_is_not_unpacked(receive, send):
    """A compressed body is neither asked for nor unpacked (Contract 7.3)."""
    receiver = receive(gzip_bomb)
    result = await send(receiver.url())
    assert (result.status, result.excerpt) == (200, "(compressed)")
    assert "accept-encoding" not in receiver.requests[0].headers


async def test_endless_headers_are_cut_off(receive, send):
    """Headers without end are a protocol error, long before the deadline (Contract 7.3)."""
    result = await send(receive(endless_headers).url())
    assert (result.kind, classify(result).verdict) == (FailureKind.PROTOCOL, Verdict.RETRY)
    assert result.seconds < 5


async def test_large_headers_are_an_answer(receive, send):
    """Headers that are large, but not hostile, do not make a 200 fail (Contract 7.3)."""
    result = await send(receive(answer(200, headers=[("X-Large", "a" * 100_000)])).url())
    assert result.status == 200


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-OpenSSH_9.7\r\n", b"\x00\xff" * 500, b"HTTP/9.9 200 OK\r\n\r\n", b"200 OK\r\n\r\n",
     b"HTTP/1.1 abc OK\r\n\r\n", b"<html>hello</html>\r\n\r\n"],
)  # fmt: skip
async def test_garbage_instead_of_http_is_tried_again(receive, send, data):
    """What is not HTTP is no answer (Contract 3)."""
    result = await send(receive(raw_then_close(data)).url())
    assert (result.kind, classify(result).verdict) == (FailureKind.PROTOCOL, Verdict.RETRY)


@pytest.fixture
def answers_first(receive):
    """Answer a request of a mebibyte by its headers, and only later read the rest of it."""

    def start(answered, *, reads_after=0.4):
        receiver, finished = receive(answer()), threading.Event()
        arrived = bytearray()
        # As on a real network, little of the request fits on the way.
        receiver._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        receiver._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)

        def handle(connection):
            with receiver._context.wrap_socket(connection, server_side=True) as secured:
                while b"\r\n\r\n" not in arrived:
                    arrived.extend(secured.recv(1024))
                secured.sendall(answered)
                receiver._stopped.wait(reads_after)
                with contextlib.suppress(OSError):
                    while not arrived.endswith(b"the end") and (data := secured.recv(65536)):
                        arrived.extend(data)
                finished.set()

        receiver._handle = handle
        return receiver.url(), finished, arrived

    return start


LARGE = b"x" * 2**20 + b"the end"


@pytest.mark.parametrize("status", [200, 204])
async def test_a_lead_that_is_accepted_early_arrives_whole(answers_first, send, status):
    """A server may say 2xx before it reads: what counts as delivered is sent whole (2.4)."""
    url, finished, arrived = answers_first(response(status))
    assert (await send(url, body=LARGE)).status == status
    assert finished.wait(10)
    assert arrived.endswith(LARGE)


@pytest.mark.parametrize("status", [413, 503])
async def test_a_lead_that_is_refused_early_is_sent_no_further(answers_first, send, status):
    """A server that does not want it need not read it (RFC 9112, section 9.5; Contract 3)."""
    url, finished, arrived = answers_first(response(status))
    assert (await send(url, body=LARGE)).status == status
    assert finished.wait(10)
    assert not arrived.endswith(LARGE)


async def test_a_lead_that_is_accepted_and_never_read_is_delivered_in_time(answers_first, send):
    """The outcome stands with the headers, and the deadline with it (Contract 2.4)."""
    url, _, arrived = answers_first(response(), reads_after=60)
    result = await send(url, body=LARGE, deadline=1.5)
    assert (result.status, result.seconds < 5) == (200, True)
    assert not arrived.endswith(LARGE)


async def test_informational_answers_are_passed_over(receive, send):
    """1xx answers come before the answer, they are not it (Contract 3)."""
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert (await send(receive(raw(early + response(201))).url())).status == 201


async def test_an_excerpt_is_text(receive, send):
    """Invalid UTF-8 and control characters become visible, HTML stays text (Contract 7.3)."""
    body = b"<b>a</b>\x00\x1b[31m\r\n\xff\xfe\xe2\x80\xae end\n"
    result = await send(receive(answer(200, body)).url())
    assert result.excerpt == "<b>a</b>\ufffd\ufffd[31m\n\ufffd\ufffd\ufffd end\n"


async def test_a_receiver_that_echoes_shows_no_secret(receive, send):
    """What is secret in the request is masked in the answer (Contract 1.5)."""
    result = await send(receive(echo).url("/catch/s3cretpath/?key=s3cret/query"),
                        secret_headers={"Authorization": "Bearer s3crettoken", "X-K": 's3"cret'},
                        body=b'{"lead":1}')  # fmt: skip
    assert "s3c" not in result.excerpt
    assert "s3" not in json.loads(result.excerpt)["headers"]["x-k"]
    assert json.loads(result.excerpt)["data"] == '{"lead":1}'


async def test_a_secret_cut_in_two_by_the_excerpts_end_is_masked(receive, send):
    """The beginning of a secret at the end of 4 KiB is masked, too (Contract 1.5)."""
    body = b"a" * 4086 + b"s3cret-value-of-a-header"
    result = await send(
        receive(answer(200, body)).url(), secret_headers={"X-Key": "s3cret-value-of-a-header"}
    )
    assert "s3cret" not in result.excerpt


async def test_a_compressed_body_is_named(receive, send):
    """A receiver that compresses unasked is delivered to all the same (Contract 7.3)."""
    body = gzip.compress(b"hello")
    receiver = receive(answer(200, body, headers=[("Content-Encoding", "gzip")]))
    assert (await send(receiver.url())).excerpt == "(compressed)"


@pytest.mark.parametrize("coding", ["x-gzip", "deflate", "BR", "zstd", "utf-8, gzip"])
async def test_every_compression_is_named(receive, send, coding):
    """Whatever it was compressed with, a body is not shown as the bytes it is (Contract 7.3)."""
    receiver = receive(answer(500, b"\x1f\x8b\x08", headers=[("Content-Encoding", coding)]))
    assert (await send(receiver.url())).excerpt == "(compressed)"


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "utf-8", "none"])
async def test_a_body_that_is_not_compressed_is_shown(receive, send, coding):
    """`identity`, in any case, says that nothing was done; so does a charset there (2.4)."""
    receiver = receive(answer(200, headers=[("Content-Encoding", coding)]))
    assert (await send(receiver.url())).excerpt == "ok"


async def test_connections_are_reused(receive, send):
    """One connection carries request after request, whatever the status (Contract 2.4)."""
    receiver = receive(in_turn(answer(200), answer(404), answer(204), answer(500)))
    results = await send(receiver.url(), times=5)
    assert [result.status for result in results] == [200, 404, 204, 500, 500]
    assert (len(receiver.requests), receiver.connections) == (5, 1)


@pytest.mark.parametrize(
    "fault",
    [raw_then_reset(b"HTTP/1.1 200"), raw_then_silence(), raw_then_silence(b"HTTP/1.1 2"),
     raw_then_close(b"HTTP/1.1 abc\r\n\r\n")],
)  # fmt: skip
async def test_a_failure_does_not_harm_the_next_request(receive, send, fault):
    """After any failure the next request starts clean, and is sent once (Contract 3)."""
    receiver = receive(in_turn(answer(200), fault, answer(200, b"after")))
    before, failed, after = await send(receiver.url(), times=3, deadline=0.5)
    assert isinstance(before, Answer)
    assert isinstance(failed, Failure)
    assert after.excerpt == "after"
    assert len(receiver.requests) == 3


async def test_an_answer_that_is_not_read_whole_does_not_harm_the_next(receive, send):
    """Of a long body the rest is dropped with its connection (Contract 7.3)."""
    receiver = receive(in_turn(answer(200, b"a" * 100_000), answer(200, b"after")))
    first, second = await send(receiver.url(), times=2)
    assert (len(first.excerpt), second.excerpt) == (4096, "after")
