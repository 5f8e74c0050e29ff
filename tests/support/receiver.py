"""A local HTTPS receiver with a CA of its own, which remembers all it got."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import trustme

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

HOST = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request, as it came in.

    :param at: Unix time at which its body had been read.
    :param before: how many requests with the same path and webhook-id came earlier.
    """

    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float
    before: int
    status: int = 0

    @property
    def webhook_id(self) -> str:
        """The header by which a receiver tells a repetition from a new lead."""
        return self.headers.get("webhook-id", "")

    @property
    def lead_id(self) -> str:
        """The lead's id, from the body."""
        return str(json.loads(self.body)["lead"]["id"])


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer, and how many seconds to think about it first."""

    status: int = 200
    body: bytes = b'{"ok": true}'
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0.0


class Receiver:
    """Answers every POST as `answer` says, over HTTPS on a free local port.

    :param answer: called with each request, in the thread that serves it.
    """

    def __init__(self, answer: Callable[[Received], Reply] = lambda _: Reply()) -> None:
        self.answer = answer
        self._authority = trustme.CA(organization_name="ZBL demo")
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._begun: dict[tuple[str, str], int] = {}
        self._server = _Server((HOST, 0), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(HOST, "127.0.0.1").configure_cert(context)
        self._server.context = context
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        return f"https://{HOST}:{self._server.server_address[1]}"

    @property
    def received(self) -> list[Received]:
        """Everything that was answered so far, in the order of the answers."""
        with self._lock:
            return list(self._received)

    def write_authority(self, path: Path) -> Path:
        """Write the CA's certificate, for a connection's `verify`."""
        self._authority.cert_pem.write_to_path(path)
        return path

    def _begin(self, path: str, headers: Mapping[str, str], body: bytes) -> Received:
        key = (path, headers.get("webhook-id", ""))
        with self._lock:
            before = self._begun.get(key, 0)
            self._begun[key] = before + 1
        return Received(path=path, headers=headers, body=body, at=time.time(), before=before)

    def _end(self, request: Received, status: int) -> None:
        done = Received(
            path=request.path,
            headers=request.headers,
            body=request.body,
            at=request.at,
            before=request.before,
            status=status,
        )
        with self._lock:
            self._received.append(done)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = receiver._begin(self.path, headers, body)
                reply = receiver.answer(request)
                time.sleep(reply.after)
                # Remembered before the answer is out: who has been answered has been counted.
                receiver._end(request, reply.status)
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, *_: object) -> None:
                """Say nothing: what came in is remembered, not printed."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    context: ssl.SSLContext

    def process_request_thread(self, request: Any, client_address: object) -> None:
        # The handshake belongs to the connection's thread: a slow client must not hold the others.
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except OSError:
            self.shutdown_request(request)
            return
        super().process_request_thread(secured, client_address)

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that hangs up is no news."""


def is_signed(request: Received, secret: str) -> bool:
    """Tell whether a request carries a right Standard Webhooks signature.

    Written from the specification, not with the sender's code, so that the two can disagree.

    :param secret: `whsec_…`.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    head = f"{request.webhook_id}.{request.headers.get('webhook-timestamp', '')}."
    digest = hmac.new(key, head.encode() + request.body, hashlib.sha256).digest()
    right = "v1," + base64.b64encode(digest).decode()
    signatures = request.headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(right, given) for given in signatures)
