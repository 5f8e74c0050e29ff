"""The forwarder itself: what is shown through it can't be better than it is."""

import socket
import struct
import time
from contextlib import contextmanager

import pytest

from tests.servers.forwarder import LOOPBACK, running_forwarder

ROUND_TRIP = 0.1
ONE_WAY = ROUND_TRIP / 2
EARLY, LATE = 0.002, 0.04  # what a busy machine may add


@contextmanager
def both_ends(round_trip=ROUND_TRIP):
    """Give the two ends of a connection through a forwarder, past what connecting costs."""
    with (
        socket.create_server((LOOPBACK, 0)) as listener,
        running_forwarder(listener.getsockname()[1], round_trip) as forwarder,
        socket.create_connection((LOOPBACK, forwarder.port)) as client,
        listener.accept()[0] as server,
    ):
        client.settimeout(5)
        server.settimeout(5)
        client.sendall(b"!")
        assert server.recv(1) == b"!"
        yield client, server


def reset(end):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


def read_all(end):
    """Read until the other end closes."""
    return b"".join(iter(lambda: end.recv(65536), b""))


def assert_one_way(started):
    assert ONE_WAY - EARLY <= time.monotonic() - started <= ONE_WAY + LATE


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["from client", "from server"])
def test_data_and_a_half_close_take_half_a_round_trip(order):
    """A half close comes after the data, half a round trip late; the other half stays open."""
    with both_ends() as ends:
        sender, receiver = (ends[place] for place in order)
        started = time.monotonic()
        sender.sendall(b"some")
        assert receiver.recv(16) == b"some"
        assert_one_way(started)
        started = time.monotonic()
        sender.sendall(b"more")
        sender.shutdown(socket.SHUT_WR)
        assert read_all(receiver) == b"more"
        assert_one_way(started)
        receiver.sendall(b"answer")
        receiver.close()
        assert read_all(sender) == b"answer"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["from client", "from server"])
def test_a_reset_comes_after_the_data_before_it(order):
    """A reset is a reset at the other end, half a round trip late, behind the data."""
    with both_ends() as ends:
        sender, receiver = (ends[place] for place in order)
        sender.sendall(b"last words")
        time.sleep(0.01)
        started = time.monotonic()
        reset(sender)
        assert receiver.recv(16) == b"last words"
        with pytest.raises(ConnectionResetError):
            receiver.recv(16)
        assert_one_way(started)


def test_what_meets_a_closed_end_comes_back_as_a_reset():
    """A server that has closed resets what still comes: the sender sees its close, then that."""
    with both_ends() as (client, server):
        server.close()
        client.sendall(b"crosses the close")
        started = time.monotonic()
        assert client.recv(16) == b""
        assert_one_way(started)
        time.sleep(ROUND_TRIP)
        with pytest.raises(OSError):  # noqa: PT011  a broken pipe or a reset, as the kernel likes
            client.sendall(b"too late")
        assert time.monotonic() - started < 2 * ROUND_TRIP + LATE


def test_connecting_takes_a_round_trip():
    """The first bytes of a connection arrive a round trip and a half after connecting."""
    with (
        socket.create_server((LOOPBACK, 0)) as listener,
        running_forwarder(listener.getsockname()[1], ROUND_TRIP) as forwarder,
    ):
        started = time.monotonic()
        with socket.create_connection((LOOPBACK, forwarder.port)) as client:
            client.sendall(b"hello")
            with listener.accept()[0] as server:
                assert server.recv(16) == b"hello"
        assert 3 * ONE_WAY - EARLY <= time.monotonic() - started <= 3 * ONE_WAY + LATE
    assert forwarder.connections == 1


def test_a_large_body_arrives_whole():
    """More than the line holds at once comes out as it went in."""
    body = bytes(range(256)) * 2**17  # 32 MiB
    with both_ends(0.002) as (client, server):
        client.settimeout(None)
        import threading

        sending = threading.Thread(target=lambda: (client.sendall(body), client.close()))
        sending.start()
        assert read_all(server) == body
        sending.join()


def test_a_server_that_is_not_there_resets():
    """A refused connection reaches the sender as a reset."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
    with (
        running_forwarder(port, 0) as forwarder,
        socket.create_connection((LOOPBACK, forwarder.port)) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(1)
