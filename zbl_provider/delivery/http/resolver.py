"""How names are looked up."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives a host's addresses as plain text, the preferred one first; raises OSError for none."""

# glibc tells "no such name" from "the name has no address"; other systems may not.
_UNKNOWN: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """
    Ask the operating system, as every other program on the machine does.

    A look-up cannot be broken off, and where name servers are silent it outlasts the attempt. So it
    has a thread of its own: an event loop would wait for those of its pool before it ends.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str] | None, problem: OSError | None) -> None:
        if result.done():
            return
        if problem is not None:
            result.set_exception(problem)
        else:
            result.set_result(addresses or [])

    def ask() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            try:
                loop.call_soon_threadsafe(settle, look_up(host, port), None)
            except OSError as problem:
                loop.call_soon_threadsafe(settle, None, problem)

    try:
        threading.Thread(target=ask, name="zbl-look-up", daemon=True).start()
    except RuntimeError as problem:  # it has no type of its own for "no more threads"
        raise OSError(errno.EAGAIN, "no thread for a look-up") from problem
    return await result


def look_up(host: str, port: int) -> list[str]:
    """
    Ask the operating system, and wait for it.

    :param host: a name or an address
    :param port: the TCP port that will be connected to
    :returns: the host's addresses, the preferred one first
    :raises OSError: if it has none
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError:  # a label that no name can have
        raise socket.gaierror(socket.EAI_NONAME, "it is not a valid host name") from None
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in infos))


def is_unknown(problem: OSError) -> bool:
    """
    Tell whether a look-up found out that there is no such name.

    A look-up that ended in any other way has found out nothing.
    """
    return isinstance(problem, socket.gaierror) and problem.errno in _UNKNOWN
