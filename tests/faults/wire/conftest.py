"""What the tests of hostile destinations share."""

import json

import pytest

from tests.support.peers import Authority, Receiver


@pytest.fixture(scope="session")
def authority():
    return Authority()


@pytest.fixture(scope="session")
def ca_file(authority, tmp_path_factory):
    return authority.write(tmp_path_factory.mktemp("ca") / "ca.pem")


@pytest.fixture
def receive(authority):
    """Start receivers that end with the test."""
    started = []

    def start(behaviour, **options):
        receiver = Receiver(behaviour, authority, **options)
        started.append(receiver)
        return receiver.__enter__()

    yield start
    for receiver in started:
        receiver.__exit__()


@pytest.fixture
def connect(ca_file, monkeypatch):
    """Make a connection known to Airflow, and networks allowed; give the connection's id."""

    def make(url, *, allowed="127.0.0.0/8", **extra):
        connection = {"conn_type": "zbl_webhook", "host": url, "extra": {"verify": ca_file} | extra}
        monkeypatch.setenv("AIRFLOW_CONN_FAULTY", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__ZBL__ALLOWED_NETWORKS", allowed)
        return "faulty"

    return make
