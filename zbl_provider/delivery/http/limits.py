"""What this machine itself runs out of: no destination is to blame for it (Contract 2.6)."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
import time
from typing import Final

from zbl_provider.exceptions import ZblError

logger = logging.getLogger(__name__)

WAIT_SECONDS: Final = 3.0
"""How long one request waits for this machine's own limits."""

PAUSE_SECONDS: Final = 0.25
"""How long after a shortage the next connection is tried."""

_LOG_SECONDS: Final = 30.0

_SHORTAGES: Final = {
    errno.EMFILE: "this process may not open more files: raise its limit (ulimit -n)",
    errno.ENFILE: "this machine may not open more files: raise its limit (sysctl fs.file-max)",
    errno.EADDRNOTAVAIL: "this machine has no local port left for a further connection: widen "
    "net.ipv4.ip_local_port_range, or lower max_concurrency",
    errno.EAGAIN: "this process may not start more threads: raise its limit (ulimit -u)",
    errno.ENOBUFS: "this machine has no memory left for a further connection",
    errno.ENOMEM: "this machine has no memory left for a further connection",
}
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
# What a process opens beside its connections while it sends: logs, databases, threads' pipes.
_OTHER_FILES: Final = 16


class ShortageError(ZblError):
    """This machine has reached a limit of its own; the text names it. Nothing was sent."""

    airflow_may_retry = True


class Shortages:
    """Notices when this machine itself keeps requests waiting, and says so now and then."""

    def __init__(self) -> None:
        self._noticed_at = -math.inf
        self._logged_at = -math.inf

    def notice(self, problem: BaseException) -> str | None:
        """
        Take note of a failure to connect, if it is this machine's own.

        :param problem: what was raised on the way to a connection
        :returns: the limit that was reached and what to do about it, or None if it is not that
        """
        limit = shortage(problem)
        if limit is None:
            return None
        self._noticed_at = time.monotonic()
        if self._noticed_at - self._logged_at >= _LOG_SECONDS:
            self._logged_at = self._noticed_at
            logger.warning("Sending waits for a limit of this machine: %s.", limit)
        return limit

    def any_since(self, moment: float) -> bool:
        """Tell whether there has been one since then, by the clock that never goes back."""
        return self._noticed_at >= moment


def shortage(problem: BaseException) -> str | None:
    """
    Tell whether a failure to connect is this machine's own.

    :param problem: what was raised on the way to a connection
    :returns: the limit that was reached and what to do about it, or None if it is not that
    """
    if isinstance(problem, MemoryError):
        return _SHORTAGES[errno.ENOMEM]
    if not isinstance(problem, OSError):
        return None
    if problem.errno in _SHORTAGES:
        return _SHORTAGES[problem.errno]
    if isinstance(problem, socket.gaierror):
        # A name server cannot be asked without a socket, and the system's look-up says only
        # "failed".
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as full:
            return _SHORTAGES[errno.EMFILE] if full.errno in _NO_FILES else None
    return None


def room_for_connections() -> int | None:
    """
    Count the connections that this process may still open.

    :returns: how many, after what else it needs; None where the system does not tell
    """
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names alone, no objects
    except (ImportError, OSError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used - _OTHER_FILES)
