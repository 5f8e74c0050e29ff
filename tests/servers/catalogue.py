"""The servers and settings, and the paces at which leads come to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from tests.servers import software

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from random import Random

    from tests.servers.running import Server, Site

LEADS = 300
FEWER = 120
SLOW_SECONDS = 7
"""How long a slow trial takes, about."""


@dataclass(frozen=True)
class Pace:
    """
    How leads come.

    :param transports: how many tasks send at once
    :param lanes: how many leads each has in flight
    :param pause: the seconds for which a connection is idle; around the server's own limit, so
        that requests and closes cross on the way
    """

    name: str
    transports: int
    lanes: int
    pause: float = 0

    def __str__(self) -> str:
        return self.name

    def gap(self, round_trip: float, chance: Random) -> float:
        """Draw the seconds between a lane's answer and its next lead."""
        if not self.pause:
            return 0
        # A close that crosses a request was sent up to a round trip before that could be known.
        return chance.uniform(self.pause - round_trip - 0.05, self.pause + 0.05)


FAST = Pace("fast", transports=1, lanes=16)


SLOW = Pace("slow", transports=20, lanes=1, pause=0.2)


def slow(pause: float) -> Pace:
    """Pause for as long as the server keeps a connection, in so many tasks that it ends soon."""
    return Pace("slow", transports=math.ceil(LEADS * pause / SLOW_SECONDS), lanes=1, pause=pause)


@dataclass(frozen=True)
class Case:
    """
    A server with its settings.

    :param name: as the table of docs/faults.md has it
    :param server: starts it
    :param paces: how leads come
    :param outcome: of each lead
    :param body: bytes of each lead, about
    :param serial: it makes connections one after the other
    :param alone: and serves one until it is closed
    :param client_certificate: the sender has one
    :param keep_alive: the connection's own setting
    """

    name: str
    server: Callable[[Site], AbstractContextManager[Server]]
    paces: tuple[Pace, ...] = (FAST,)
    outcome: str = "delivered 200"
    body: int = 600
    serial: bool = False
    alone: bool = False
    client_certificate: bool = False
    keep_alive: bool = True

    def __str__(self) -> str:
        return self.name


_CERTIFICATE = "<Location /hook>\nSSLVerifyClient require\n</Location>"
_OPTIONAL = "<Location /hook>\nSSLVerifyClient optional\n</Location>"
_THREADS = ("--worker-class", "gthread", "--workers", "2", "--threads", "32", "--keep-alive", "1")

CASES = [
    Case(
        "nginx, `keepalive_timeout 1s`",
        partial(software.nginx, settings=("keepalive_timeout 1s;",)),
        (FAST, slow(1)),
    ),
    Case(
        "nginx before an application, `keepalive_requests 3`",
        partial(software.nginx_before_application, settings=("keepalive_requests 3;",)),
    ),
    Case(
        "nginx, `nginx -s reload` four times a second",
        partial(software.nginx_reloading, settings=("keepalive_timeout 60s;",), every=0.25),
        (FAST, SLOW),
    ),
    Case(
        "nginx before an application, bodies of 1 MiB",
        software.nginx_before_application,
        body=2**20 - 100,
    ),
    Case(
        "nginx, `client_max_body_size 64k`, bodies of 1 MiB",
        partial(software.nginx, settings=("client_max_body_size 64k;",)),
        outcome="error 413",
        body=2**20 - 100,
    ),
    Case(
        "Apache, `KeepAliveTimeout 1`",
        partial(software.apache, settings=("KeepAliveTimeout 1",)),
        (FAST, slow(1)),
    ),
    Case(
        "Apache, `KeepAliveTimeout 2`",
        partial(software.apache, settings=("KeepAliveTimeout 2",)),
        (slow(2),),
    ),
    Case(
        "Apache, `SSLVerifyClient` in a `Location`, TLS 1.2",
        partial(software.apache, settings=(_CERTIFICATE, "SSLProtocol TLSv1.2")),
        client_certificate=True,
    ),
    Case(
        "Apache, `SSLVerifyClient` in a `Location`, TLS 1.3",
        partial(software.apache, settings=(_CERTIFICATE, "SSLProtocol TLSv1.3")),
        client_certificate=True,
    ),
    Case(
        "Apache, `SSLVerifyClient optional` in a `Location`, TLS 1.2",
        partial(software.apache, settings=(_OPTIONAL, "SSLProtocol TLSv1.2")),
    ),
    Case(
        "Apache, `SSLVerifyClient optional` in a `Location`, TLS 1.3",
        partial(software.apache, settings=(_OPTIONAL, "SSLProtocol TLSv1.3")),
    ),
    Case(
        "HAProxy, `timeout http-keep-alive 1s`",
        partial(software.haproxy, keep_alive="1s"),
        (FAST, slow(1)),
    ),
    Case("uWSGI, `--https`", software.uwsgi, (FAST, SLOW)),
    Case("gunicorn, sync workers", partial(software.gunicorn, options=("--workers", "8"))),
    Case(
        "gunicorn, threads, `--keep-alive 1`",
        partial(software.gunicorn, options=_THREADS),
        (FAST, slow(1)),
    ),
    Case(
        "uvicorn, `--timeout-keep-alive 1`",
        partial(software.uvicorn, options=("--timeout-keep-alive", "1")),
        (FAST, slow(1)),
    ),
    Case("Node, as it comes (5 s)", software.node, (FAST, slow(5))),
    Case(
        "Node, `keepAliveTimeout = 1000`",
        partial(software.node, keep_alive=(1000,)),
        (FAST, slow(1)),
    ),
    Case("Python's `ThreadingHTTPServer`", software.python),
    Case(
        "Python's `ThreadingHTTPServer`, 204 with a body",
        partial(software.python, options=("--status", "204")),
        outcome="delivered 204",
        serial=True,
    ),
    Case(
        "Python's `ThreadingHTTPServer`, body not read",
        partial(software.python, options=("--unread",)),
    ),
    Case(
        "Python's `ThreadingHTTPServer`, body not read, `keep_alive: false`",
        partial(software.python, options=("--unread",)),
        serial=True,
        keep_alive=False,
    ),
    Case(
        "Python's `ThreadingHTTPServer`, HTTP/1.0, body not read",
        partial(software.python, options=("--unread", "--protocol", "HTTP/1.0")),
        serial=True,
    ),
    Case(
        "Python's `HTTPServer`",
        partial(software.python, options=("--single",)),
        serial=True,
        alone=True,
    ),
    Case(
        "Python's `HTTPServer`, body not read",
        partial(software.python, options=("--single", "--unread")),
        serial=True,
        alone=True,
    ),
    Case(
        "nginx, `keepalive_timeout 1s`, behind tinyproxy",
        partial(software.tinyproxy, settings=("keepalive_timeout 1s;",)),
        (FAST, slow(1)),
    ),
]
