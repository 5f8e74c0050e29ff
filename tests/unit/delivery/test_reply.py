"""What comes back on a connection, byte by byte; no socket is opened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.delivery.http.reply import EXCERPT_BYTES, MAX_BYTES, NotHttpError, Reply

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

ANSWERS = {
    b"with a length": OK + b"Content-Length: 2\r\n\r\nok",
    b"in chunks": OK + CHUNKED + b"\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"length and chunks": OK + b"Content-Length: 9\r\n" + CHUNKED + b"\r\n2\r\nok\r\n0\r\n\r\n",
    b"after others": b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n" + OK + b"content-length:2\r\n\r\nok",
    b"lines without CR": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"padded sizes of chunks": OK + CHUNKED + b"\r\n2   \r\nok\r\n0  \r\n\r\n",
}


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


def test_chunks_in_an_answer_of_http_1_0_end_its_connection():
    """They are read, and nothing else on that connection is (RFC 9112, section 6.1; 2.6)."""
    head = b" 200 OK\r\nConnection: keep-alive\r\n" + CHUNKED
    for version, reusable in ((b"HTTP/1.0", False), (b"HTTP/1.1", True)):
        reply = fed(version + head + b"\r\n2\r\nok\r\n0\r\n\r\n")
        assert seen(reply) == (200, b"ok", True, True, reusable)


@pytest.mark.parametrize("head", [b"Content-Length: 9\r\n\r\n", CHUNKED + b"\r\n9\r\n"])
def test_a_body_that_breaks_off_is_not_whole(head):
    """What was announced and did not come is missing (Contract 2.4)."""
    reply = fed(OK + head + b"half")
    reply.end(in_order=True)
    assert seen(reply) == (200, b"half", False, True, False)


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("length", [0, EXCERPT_BYTES, EXCERPT_BYTES + 1, 64 * 1024])
def test_of_a_body_whose_end_is_near_4_kib_are_kept(length, framing):
    """At most 4 KiB of the body are kept, the rest is read for the connection's sake (2.4)."""
    body = b"a" * length
    if framing == "length":
        data = OK + b"Content-Length: %d\r\n\r\n" % length + body
    else:
        data = OK + CHUNKED + b"\r\n" + (b"%x\r\n%b\r\n" % (length, body) if length else b"")
        data += b"0\r\n\r\n"
    reply = fed(data[:100], data[100:-1], data[-1:])
    whole = length <= EXCERPT_BYTES
    assert seen(reply) == (200, b"a" * min(length, EXCERPT_BYTES), whole, True, True)


@pytest.mark.parametrize(
    "head", [b"Content-Length: 65537\r\n\r\n", CHUNKED + b"\r\n20000\r\n", b"\r\n"]
)
def test_of_a_body_whose_end_is_far_no_more_is_read(head):
    """A body that has more than 64 KiB, or none that is known, ends its connection (2.4, 7.3)."""
    reply = fed(OK + head)
    assert not reply.done
    while not reply.done:
        reply.feed(b"a" * 4097)
    assert seen(reply) == (200, b"a" * EXCERPT_BYTES, False, True, False)


SLOPPY = {
    "Content-Length twice": b"Content-Length: 2\r\nContent-Length: 2\r\n",
    "two different Content-Lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n",
    "a list of lengths": b"Content-Length: 2, 2\r\n",
    "a signed length": b"Content-Length: +2\r\n",
    "a negative length": b"Content-Length: -1\r\n",
    "a length that is no number": b"Content-Length: two\r\n",
    "a length over 64 bits": b"Content-Length: 18446744073709551618\r\n",
    "an empty length": b"Content-Length:\r\n",
    "an empty coding": b"Transfer-Encoding:\r\n",
    "an unknown coding": b"Transfer-Encoding: snail\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "a blank before the colon": b"X-Blank : 1\r\n",
    "a folded header": b"X-Folded: 1\r\n  2\r\n",
    "a folded header first": b" folded\r\nX: 1\r\n",
    "an empty name": b": nameless\r\n",
    "NUL": b"X-Nul: \0\r\n",
    "ESC and DEL": b"X-Esc: \x1b[31m\x7f\r\n",
    "UTF-8 in a value": "X-Utf: é\r\n".encode(),
    "UTF-8 in a name": "X-é: 1\r\n".encode(),
    "a bare CR": b"X-Cr: a\rb\r\n",
    "CR CR LF": b"X-Cr: a\r\r\n",
    "a PHP warning": b"<br />\n<b>Warning</b>:  Undefined variable in hook.php\r\nX: 1\r\n",
    "a line without a colon": b"nothing here\r\n",
    "a blank line of blanks": b"X: 1\r\n \r\n",
}


@pytest.mark.parametrize("headers", SLOPPY.values(), ids=SLOPPY)
@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_status_counts_however_sloppy_the_headers_are(headers, status):
    """The status line has the last word, and the connection is closed (Contract 2.8)."""
    data = b"HTTP/1.1 %d Whatever\r\n%bRetry-After: 7\r\n\r\nok" % (status, headers)
    for reply in (fed(data), *(fed(data[:at], data[at:]) for at in range(1, len(data) - 2))):
        if not reply.done:  # headers that llhttp takes, though no length is among them
            reply.end(in_order=True)
        assert (reply.status, reply.done, reply.reusable) == (status, True, False)
        assert reply.field(b"retry-after") == "7"
    byte_by_byte = Reply()
    for at in range(len(data) - 2):
        byte_by_byte.feed(data[at : at + 1])
    assert byte_by_byte.status == status


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1  200 OK\r\nX: 1\r\n\r\n", b"HTTP/1.1\t200 OK\r\nX: 1\r\n\r\n",
     b"HTTP/1.1 200\r\r\nX: 1\r\r\n\r\r\n", b"\r\n\r\nHTTP/1.1 200 OK\r\n: 1\r\n\r\n",
     b"HTTP/1.1 200 \x1b\xff\r\n\r\n", b"HTTP/1.7 200 OK\r\n\r\n",
     b"HTTP/1.1 100 Go on\r\n: 1\r\n\r\nHTTP/1.1 200 OK\r\n: 1\r\n\r\n",
     b"HTTP/1.1 103 Hints\r\nLink: \0\r\n\r\nHTTP/1.1 200 OK\r\nX: 1\r\n\r\n"],
)  # fmt: skip
def test_a_status_line_may_be_sloppy_too(head):
    """Blanks, CRs and a reason's bytes take nothing from the status (Contract 2.8)."""
    reply = fed(head)
    reply.end(in_order=True)
    assert reply.status == 200


@pytest.mark.parametrize("protocol", [b"RTSP/1.0", b"ICE/1.0", b"\r\nRTSP/1.0"])
def test_a_status_of_another_protocol_is_no_answer(protocol):
    """Llhttp reads the status lines of RTSP and ICE, which are no HTTP (Contract 2.8 and 3)."""
    with pytest.raises(NotHttpError):
        fed(protocol + b" 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize("coding", [b"identity", b"Identity", b"gzip"])
@pytest.mark.parametrize(("length", "body"), [(2, b"ok"), (0, b""), (5000, b"a" * EXCERPT_BYTES)])
def test_a_length_beside_a_coding_without_chunks_ends_the_answer(coding, length, body):
    """Nobody waits for the connection's end, but it is not used again (Contract 2.4 and 2.8)."""
    headers = b"Transfer-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding, length)
    sent = OK + headers + (b"ok" if length == 2 else b"a" * length)
    for reply in (fed(sent), fed(*(sent[at : at + 1] for at in range(len(sent))))):
        assert seen(reply) == (200, body, length <= EXCERPT_BYTES, True, False)


@pytest.mark.parametrize("status", [104, 199])
def test_the_body_of_an_interim_answer_is_not_the_answers(status):
    """What an answer that only informs brings is no part of the final one (Contract 2.4)."""
    reply = fed(
        b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % status, OK, b"Content-Length: 2\r\n\r\nok"
    )
    assert seen(reply) == (200, b"ok", True, True, True)


def test_a_thousand_sloppy_interim_answers_are_read_one_by_one():
    """They cost no stack, and the answer behind them counts (Contract 2.8 and 7.3)."""
    reply = fed(b"HTTP/1.1 100 Go on\r\n: 1\r\n\r\n" * 3000 + OK + b"X: 1\r\n: \r\n\r\n")
    assert reply.status == 200


def test_line_ends_without_end_are_read_once():
    """CRs by the hundred thousand, in pieces, hold nobody up; what follows counts (2.8, 7.3)."""
    reply = fed(OK + b"X: \0\r\nY: ", *[b"\r" * 1024] * 200)
    assert not reply.done
    for piece in (b"\n\r", b"\r", b"\r\n"):
        reply.feed(piece)
    assert (reply.status, reply.done) == (200, True)


@pytest.mark.parametrize(
    ("head", "status"),
    [(OK + b"Content-Length: 0\r\n", 200), (OK + b"Content-Length: 0", 200),
     (b"HTTP/1.1 404 No\r\nDate: today\r\nX: 1\r", 404), (b"HTTP/1.1 200 OK\rX: 1\r\r", 200),
     (OK, 0), (OK + b"X-", 0), (b"HTTP/1.1 20", 0), (b"", 0),
     (b"HTTP/1.1 100 Go on\r\nX: 1\r\n", 0)],
)  # fmt: skip
def test_a_close_may_end_the_headers(head, status):
    """A head that lacks its last line end alone counts; one that broke off does not (2.8)."""
    reply = fed(*([head] if head else []))
    reply.end(in_order=True)
    assert (reply.status, reply.reusable) == (status, False)
    broken = fed(*([head] if head else []))
    broken.end(in_order=False)
    assert broken.status == 0


@pytest.mark.parametrize(
    ("data", "reusable"),
    [(b"204 No\r\n\r\n", True), (b"204 No\r\nContent-Length: 0\r\n\r\n", True),
     (b"204 No\r\nContent-Length: 2\r\n\r\n", False),
     (b"204 No\r\nTransfer-Encoding: chunked\r\n\r\n", False),
     (b"304 Same\r\nContent-Length: 9\r\n\r\n", False)],
)  # fmt: skip
def test_after_an_answer_without_body_that_announces_one_the_connection_is_closed(data, reusable):
    """What a server may still send of it must not meet the next lead (Contract 2.6)."""
    assert fed(b"HTTP/1.1 " + data).reusable is reusable


@pytest.mark.parametrize(
    ("said", "seconds"),
    [(b"timeout=5", 5), (b"timeout=5, max=100", 5), (b"max=3, Timeout = 2", 2),
     (b'timeout="7"', 7), (b"max=100", None), (b"timeout=", None)],
)  # fmt: skip
def test_how_long_a_server_keeps_the_connection_is_read(said, seconds):
    """`Keep-Alive: timeout=` is heeded (Contract 2.6)."""
    reply = fed(OK + b"Content-Length: 0\r\nKeep-Alive: " + said + b"\r\n\r\n")
    assert reply.keep_alive_seconds == seconds


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
