"""What comes back on a connection, byte by byte; no socket is opened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.delivery.exchange import EXCERPT_BYTES
from zbl_provider.delivery.reply import MAX_BYTES, NotHttpError, Reply

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

ANSWERS = {
    b"with a length": OK + b"Content-Length: 2\r\n\r\nok",
    b"in chunks": OK + CHUNKED + b"\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"length and chunks": OK + b"Content-Length: 9\r\n" + CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n",
    b"after others": b"HTTP/1.1 100 Continue\r\n\r\n"
     b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n" + OK + b"content-length:2\r\n\r\nok",
    b"lines without CR": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
}  # fmt: skip


def fed(*pieces):
    reply = Reply()
    for piece in pieces:
        reply.feed(piece)
    return reply


def seen(reply):
    return (reply.status, reply.body, reply.whole, reply.done, reply.reusable)


@pytest.mark.parametrize("data", ANSWERS.values(), ids=lambda data: str(len(data)))
def test_an_answer_is_the_same_however_it_arrives(data):
    """TCP cuts where it likes (Contract 3)."""
    expected = (200, b"ok", True, True, True)
    assert seen(fed(data)) == expected
    assert seen(fed(*(data[at : at + 1] for at in range(len(data))))) == expected
    assert fed(data).field(b"retry-after") is None, "that of an earlier answer does not count"


@pytest.mark.parametrize(
    ("data", "reusable"),
    [(b"Content-Length: 0\r\n\r\n", True),
     (b"Content-Length: 0\r\nConnection: close\r\n\r\n", False),
     (b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", False),
     (b"Content-Length: 2\r\n\r\nokgarbage", False)],
)  # fmt: skip
def test_a_connection_is_used_again_only_when_nothing_is_left_on_it(data, reusable):
    """The next lead never gets the answer of the one before (Contract 3)."""
    reply = fed(OK + data)
    assert (reply.status, reply.done, reply.reusable) == (200, True, reusable)


def test_an_answer_of_http_1_0_ends_with_its_connection():
    """Without a length the body goes on until the peer closes (RFC 9112, section 6.3)."""
    reply = fed(b"HTTP/1.0 200 OK\r\n\r\n", b"until the ", b"end")
    assert not reply.done
    reply.end(in_order=True)
    assert seen(reply) == (200, b"until the end", True, True, False)


@pytest.mark.parametrize("head", [b"Content-Length: 9\r\n\r\n", CHUNKED + b"\r\n9\r\n"])
def test_a_body_that_breaks_off_is_not_whole(head):
    """What was announced and did not come is missing (Contract 2.4)."""
    reply = fed(OK + head + b"half")
    reply.end(in_order=True)
    assert seen(reply) == (200, b"half", False, True, False)


@pytest.mark.parametrize("length", [EXCERPT_BYTES, EXCERPT_BYTES + 1, 10 * EXCERPT_BYTES])
def test_of_a_body_4_kib_are_read(length):
    """At most 4 KiB of the body are read for the log (Contract 2.4)."""
    reply = fed(OK + b"Content-Length: %d\r\n\r\n" % length, b"a" * length)
    whole = length == EXCERPT_BYTES
    assert seen(reply) == (200, b"a" * EXCERPT_BYTES, whole, True, whole)


@pytest.mark.parametrize(
    ("start", "more"),
    [(OK, b"a: b\r\n"), (OK + b"X-Long: ", b"a"), (b"HTTP/1.1 200 ", b"a"),
     (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
)  # fmt: skip
def test_headers_without_end_are_no_answer(start, more):
    """What comes before the headers' end is bounded, whatever it is (Contract 7.3)."""
    pieces = MAX_BYTES // len(more)
    reply = fed(start, more * (pieces - len(start)))
    assert not reply.status
    with pytest.raises(NotHttpError):
        reply.feed(more * len(start + more))


@pytest.mark.parametrize("more", [b"0" * 1000, b"1;" + b"x" * 1000, b"0\r\n" + b"a: b\r\n" * 200])
def test_chunks_that_bring_nothing_come_to_an_end(more):
    """An answer that stands is not read on for ever, though its body stays short (7.3)."""
    reply = fed(OK + CHUNKED + b"\r\n1\r\no\r\n", more)
    while not reply.done:
        reply.feed(more[-600:])
    assert seen(reply) == (200, b"o", False, True, False)


@given(st.lists(st.sampled_from([*ANSWERS.values(), OK, b"\r\n", b"\0", CHUNKED, b"Content-"])
                | st.binary(max_size=40), max_size=6))  # fmt: skip
def test_any_bytes_are_an_answer_or_none(pieces):
    """A status stands once it is there; nothing but NotHttpError is raised (Contract 7.3)."""
    reply, status = Reply(), 0
    for piece in pieces:
        try:
            reply.feed(piece)
        except NotHttpError:
            assert not status
            return
        assert status in (0, reply.status)
        status = reply.status
        if reply.done:
            break
    assert status in {0, 101} or 200 <= status <= 999
    assert len(reply.body) <= EXCERPT_BYTES
