"""What a socket has to read, and still to send: asked beside the event loop that it belongs to."""

from __future__ import annotations

import ctypes
import fcntl
import select
import struct
import termios


class _PollFd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


# `select.poll` lets other threads run while it waits. This does not wait: one request after another
# would have to get Python's lock back, which costs more than the question.
_poll = ctypes.PyDLL(None).poll
_poll.argtypes = (ctypes.POINTER(_PollFd), ctypes.c_ulong, ctypes.c_int)
_poll.restype = ctypes.c_int


class Quiet:
    """
    Looks at one socket. Its truth is whether nothing has come.

    :param file: its number; it must be open whenever it is looked at
    """

    __slots__ = ("_asked", "_file")

    def __init__(self, file: int) -> None:
        self._file = file
        self._asked = ctypes.byref(_PollFd(file, select.POLLIN, 0))

    def __bool__(self) -> bool:
        """Whether there is nothing to read: no bytes, no end, no error."""
        return bool(_poll(self._asked, 1, 0) == 0)

    def all_sent(self) -> bool:
        """Whether the other machine has got all that was handed over to the system."""
        try:
            (waiting,) = struct.unpack("i", fcntl.ioctl(self._file, termios.TIOCOUTQ, bytes(4)))
        except OSError:  # not every system tells
            return True
        return bool(waiting == 0)
