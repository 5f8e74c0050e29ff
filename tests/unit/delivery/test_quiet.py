"""A look at a socket before it is used again (Contract 2.6)."""

import contextlib
import fcntl
import os
import socket

import pytest

from zbl_provider.delivery.http.quiet import Quiet


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        with ours, theirs:
            yield ours, theirs


def test_it_is_quiet_until_something_comes(pair):
    """Time and again, and whatever is sent."""
    ours, theirs = pair
    quiet = Quiet(ours.fileno())
    assert quiet
    ours.sendall(b"a request")
    assert quiet
    theirs.sendall(b"x")
    assert not quiet
    assert not quiet
    ours.recv(1)
    assert quiet


def test_an_end_is_no_quiet(pair):
    """A server that has closed takes no further request."""
    ours, theirs = pair
    quiet = Quiet(ours.fileno())
    theirs.close()
    ours.settimeout(5)
    assert ours.recv(1) == b""
    assert not quiet


def test_an_error_is_no_quiet(pair):
    """Nor does one that has reset the connection."""
    ours, theirs = pair
    quiet = Quiet(ours.fileno())
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    assert not quiet


def test_a_number_beyond_a_selects_1024(pair):
    """Any file is looked at, also in a process that has many open."""
    ours, theirs = pair

    try:
        descriptor = fcntl.fcntl(ours, fcntl.F_DUPFD, 1030)
    except OSError:
        pytest.skip("this process may not open that many files")
    try:
        quiet = Quiet(descriptor)
        assert quiet
        theirs.sendall(b"x")
        assert not quiet
    finally:
        os.close(descriptor)


def test_all_is_sent_when_the_other_machine_has_it(pair):
    """Whether its program has read it, or not."""
    ours, _ = pair
    quiet = Quiet(ours.fileno())
    assert quiet.all_sent()
    ours.sendall(b"a request")
    assert quiet.all_sent()
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while ours.send(bytes(65536)):
            pass  # until no more can be taken
    assert not quiet.all_sent()
