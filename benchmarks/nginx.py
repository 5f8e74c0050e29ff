"""The receiver of the benchmarks: nginx over TLS on loopback, which is never the slowest."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIG = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  log_format ids '$status $http_webhook_id';
  access_log {log};
  keepalive_requests 10000000;
  client_body_temp_path {folder}/body;
  server {{
    listen 127.0.0.1:{port} ssl backlog=4096;
    server_name localhost;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    client_body_buffer_size 64k;
    client_max_body_size 2m;
    location / {{ return 200 '{{"ok": true}}'; }}
    location /closed {{
      if (!-f {gate}/open) {{ return 503; }}
      return 200 '{{"ok": true}}';
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """
    A running nginx.

    :param origin: scheme, host and port
    :param authority: path of its CA
    :param log: path of the file with each answer's status and webhook-id; None when there is none
    :param gate: path of a file that makes it answer 200 where it is closed; there is none at first
    """

    origin: str
    authority: str
    log: Path | None
    gate: Path

    @property
    def url(self) -> str:
        """Where it takes every POST with 200."""
        return f"{self.origin}/hook"

    @property
    def closed_url(self) -> str:
        """Where it answers 503 as long as there is no file `gate`."""
        return f"{self.origin}/closed"


@contextmanager
def running_nginx(*, log: bool = False) -> Iterator[Nginx]:
    """Run nginx (a Debian package) for as long as the block lasts."""
    with (
        tempfile.TemporaryDirectory(prefix="zbl-nginx-") as name,
        tempfile.TemporaryDirectory(prefix="zbl-nginx-gate-") as gate,
    ):
        folder, port = Path(name), _free_port()
        # Started by root, its worker is a user of its own, who has to see the file.
        Path(gate).chmod(0o755)
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        ids = folder / "ids.log" if log else None
        access = f"{ids} ids" if ids else "off"
        config = _CONFIG.format(folder=folder, port=port, log=access, gate=gate)
        (folder / "nginx.conf").write_text(config)
        process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")])
        try:
            _wait(port)
            origin = f"https://localhost:{port}"
            yield Nginx(origin, str(folder / "ca.pem"), ids, Path(gate) / "open")
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("nginx did not start")
