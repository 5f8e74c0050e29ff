"""A receiver that is well, falls ill with one fault, and is well again."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

from tests.support.peers import LOOPBACK, Authority, Receiver, response

if TYPE_CHECKING:
    from tests.faults.wire.catalogue import Fault


class AilingReceiver(Receiver):
    """
    Serves as it should, until it is told to be ill.

    :param fault: its illness
    :param authority: who signs its certificate when it is well
    """

    def __init__(self, fault: Fault, authority: Authority):
        super().__init__(self._behave, authority)
        self._fault = fault
        self._ill = threading.Event()
        self._over = threading.Event()  # the illness, or the test
        self._well = self._context
        self._false = _context(fault.certificate(authority)) if fault.certificate else self._well

    def fall_ill(self) -> None:
        self._ill.set()
        self._context = self._false
        if self._fault.refuse:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def recover(self) -> None:
        self._ill.clear()
        self._over.set()
        self._context = self._well
        if self._fault.refuse:
            self._listener = socket.create_server((LOOPBACK, self.port), backlog=512)
            self.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        super().__exit__(*exception)

    def _behave(self, peer, request):
        if self._ill.is_set() and self._fault.request:
            self._fault.request(peer, request)
        else:
            # Each lead can tell its own answer from another's.
            peer.send(response(body=request.headers["webhook-id"]))

    def _handle(self, connection):
        if self._ill.is_set() and self._fault.connection:
            self._fault.connection(connection, self._well, self._over)
        else:
            super()._handle(connection)


def _context(certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context
