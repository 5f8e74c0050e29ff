"""A real MariaDB server, a Debian package that `tests/mariadb/install_mariadb` installs."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTS_WITHIN = 60
_ENDS_WITHIN = 60


@contextmanager
def running_mariadb(*, time_zone: str = "-03:00") -> Iterator[int]:
    """
    Run a MariaDB server with an empty database ``leads``, for as long as the block lasts.

    :param time_zone: the server's own, which its sessions have unless they ask for another
    :return: its port on 127.0.0.1; the user is ``leads``, the password ``secret``
    """
    with TemporaryDirectory(prefix="zbl-mariadb-") as folder:
        data, local, port = Path(folder) / "data", Path(folder) / "socket", _free_port()
        user = pwd.getpwuid(os.getuid()).pw_name
        common = ("--no-defaults", f"--datadir={data}", f"--user={user}")
        install = ("mariadb-install-db", *common, "--auth-root-authentication-method=normal")
        subprocess.run(install, check=True, capture_output=True)
        options = (
            f"--socket={local}",
            "--bind-address=127.0.0.1",
            f"--port={port}",
            f"--default-time-zone={time_zone}",
            "--character-set-server=utf8mb4",
            "--skip-name-resolve",
            "--innodb-flush-log-at-trx-commit=0",
        )
        nowhere = subprocess.DEVNULL
        command = ("mariadbd", *common, *options)
        server = subprocess.Popen(command, stdout=nowhere, stderr=nowhere)
        try:
            _make_database(local)
            yield port
        finally:
            server.terminate()
            server.wait(_ENDS_WITHIN)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _make_database(local: Path) -> None:
    """Ask again and again, since a server that starts refuses at first."""
    statements = (
        "CREATE DATABASE IF NOT EXISTS leads; "
        "CREATE USER IF NOT EXISTS leads IDENTIFIED BY 'secret'; "
        "GRANT ALL ON leads.* TO leads"
    )
    client = ("mariadb", "--no-defaults", f"--socket={local}", "--user=root", "-e", statements)
    end = time.monotonic() + _STARTS_WITHIN
    while subprocess.run(client, capture_output=True, check=False).returncode:
        assert time.monotonic() < end, "MariaDB did not start"
        time.sleep(0.2)
