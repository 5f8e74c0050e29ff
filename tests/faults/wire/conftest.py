"""What the tests of destinations share, the hostile ones too."""

import asyncio
import json
from ipaddress import ip_network

import pytest
import uvloop

from tests.support.peers import Authority, Receiver
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.exchange import Request
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.transport import Transport


def pytest_asyncio_loop_factories():
    """Run every test in both of the event loops that a dispatch may have."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority():
    return Authority()


@pytest.fixture(scope="session")
def ca_file(authority, tmp_path_factory):
    return authority.write(tmp_path_factory.mktemp("ca") / "ca.pem")


@pytest.fixture
def loopback():
    """Open loopback, as a deployment may with `[zbl] allowed_networks`."""
    return Guard([ip_network("127.0.0.0/8")])


@pytest.fixture
def receive(authority):
    """Start receivers that end with the test."""
    started = []

    def start(behaviour, **options):
        receiver = Receiver(behaviour, options.pop("authority", authority), **options)
        started.append(receiver)
        return receiver.__enter__()

    yield start
    for receiver in started:
        receiver.__exit__()


@pytest.fixture
def destination(ca_file):
    """Build a destination that trusts the test's CA."""

    def build(url, **extra):
        extra.setdefault("verify", ca_file)
        return Destination.parse(integration="test", host=url, extra=extra)

    return build


@pytest.fixture
def transport(destination, loopback):
    """Build a transport to a URL; what is no option of Transport goes into the connection."""

    def build(url, **extra):
        names = ("deadline", "clock", "resolver")
        options = {name: extra.pop(name) for name in names if name in extra}
        guard = extra.pop("guard", loopback)
        return Transport(destination(url, **extra), guard, **options)

    return build


@pytest.fixture
def send(transport):
    """Send once, or as often as asked, over one transport."""

    async def send_once(url, *, times=1, body=b"{}", **extra):
        async with transport(url, **extra) as opened:
            results = [await opened.send(Request("msg_1", body)) for _ in range(times)]
        return results if times > 1 else results[0]

    return send_once


@pytest.fixture
def at_loopback():
    """Resolve every name to 127.0.0.1."""

    async def resolve(host, port):
        await asyncio.sleep(0)
        return ["127.0.0.1"]

    return resolve


@pytest.fixture
def connect(ca_file, monkeypatch):
    """Make a connection known to Airflow, and networks allowed; give the connection's id."""

    def make(url, *, allowed="127.0.0.0/8", **extra):
        connection = {"conn_type": "zbl_webhook", "host": url, "extra": {"verify": ca_file} | extra}
        monkeypatch.setenv("AIRFLOW_CONN_FAULTY", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__ZBL__ALLOWED_NETWORKS", allowed)
        return "faulty"

    return make
