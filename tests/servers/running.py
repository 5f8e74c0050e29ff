"""What all servers of these tests share: certificates, a port, a file of what arrived, an end."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trustme

from tests.servers.forwarder import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Site:
    """
    What a server is given.

    :param folder: its own; users other than ours may look into it
    """

    folder: Path

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        for path, name in ((self.certificate, "localhost"), (self.client, "sender.test")):
            issued = authority.issue_cert(name)
            issued.private_key_and_cert_chain_pem.write_to_path(path)

    @property
    def authority(self) -> Path:
        """Who has signed both certificates."""
        return self.folder / "authority.pem"

    @property
    def certificate(self) -> Path:
        """The server's, with its key."""
        return self.folder / "server.pem"

    @property
    def client(self) -> Path:
        """The sender's, with its key."""
        return self.folder / "client.pem"

    @property
    def arrived(self) -> Path:
        """A line for each request that the server or the application behind it got: its id."""
        return self.folder / "arrived"

    def arrivals(self) -> Counter[str]:
        """Count what has arrived, by webhook-id."""
        return Counter(self.arrived.read_text().split() if self.arrived.exists() else ())

    def write(self, name: str, text: str) -> Path:
        """Write a configuration."""
        path = self.folder / name
        path.write_text(text)
        return path


@dataclass(frozen=True)
class Server:
    """
    A running server.

    :param port: where it takes connections
    :param destination: the port of the destination behind it, where it is a proxy
    """

    port: int
    destination: int | None = None


def free_port() -> int:
    """Give a port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    site: Site, port: int, *command: object, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a program for as long as the block lasts, from when it takes connections.

    :param port: where it will take connections
    """
    log = site.folder / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=PROGRAMS,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"} | environment,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends_at = time.monotonic() + 20
    while time.monotonic() < ends_at and process.poll() is None:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args} does not start:\n{log.read_text()}")
