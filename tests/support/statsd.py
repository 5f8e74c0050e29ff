"""A StatsD server that only remembers."""

from __future__ import annotations

import socket
import threading
from typing import Self

LAST = b"the last packet"


class Statsd:
    """Listens for UDP packets on a free local port, until the end of a `with` block."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._packets: list[str] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._socket.close()

    @property
    def options(self) -> dict[str, str]:
        """Environment variables that send an Airflow's metrics here, with tags."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self._socket.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    def metrics(self, name: str) -> list[str]:
        """Return what came so far with a name, such as `airflow.zbl.attempts,integration=a:1|c`."""
        return [packet for packet in list(self._packets) if name in packet]

    def all_metrics(self, name: str) -> list[str]:
        """Return what came with a name, when this process has sent all it will."""
        self._end()
        return self.metrics(name)

    def _end(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(LAST, self._socket.getsockname())
        self._thread.join(10)

    def _listen(self) -> None:
        while (packet := self._socket.recv(65536)) != LAST:
            self._packets.append(packet.decode())
