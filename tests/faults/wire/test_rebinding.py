"""A name that changes between look-up and connecting gains nothing, whichever way out it tries."""

import contextlib
import socket
import tempfile

import pytest

from tests.support.peers import LOOPBACK, answer
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
from zbl_provider.exceptions import BlockedAddress, ZblError
from zbl_provider.hooks.webhook import WebhookHook
from zbl_provider.leads.lead import read_lead
from zbl_provider.log.model import RunKey
from zbl_provider.log.store import DeliveryLog

# Opened by the test, and nobody listens there: it stands for a public address.
PERMITTED = "127.0.0.2"


@pytest.fixture
def rebinding(monkeypatch):
    """Have a name answer the permitted address first, and then the receiver's."""
    system, asked = socket.getaddrinfo, []

    def getaddrinfo(host, *args, **kwargs):
        if host == "localhost":
            asked.append(host)
            host = PERMITTED if len(asked) % 2 else LOOPBACK
        return system(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def press_the_button(hook):
    return hook.test_connection()[1]


def send_by_the_hook(hook):
    from zbl_provider.delivery.exchange import Request

    return hook.send(Request("msg_1", b"{}")).detail


def post_by_the_session(hook):
    import requests

    with hook.get_conn() as session:
        try:
            return str(session.post(hook.destination.url, data=b"{}"))
        except (requests.RequestException, BlockedAddress) as problem:
            return str(problem)


def post_prepared_by_the_session(hook):
    import requests

    with hook.get_conn() as session:
        try:
            return str(session.send(requests.Request("POST", hook.destination.url).prepare()))
        except (requests.RequestException, BlockedAddress) as problem:
            return str(problem)


def run_the_hook(hook):
    try:
        return str(hook.run(json={}))
    except ZblError as problem:
        return str(problem)


def dispatch_a_lead(hook):
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(DeliveryLog(f"sqlite:///{folder}/log.db")) as log,
    ):
        log.upgrade()
        dispatcher = Dispatcher(
            log=log,
            destination=hook.destination,
            guard=hook.guard,
            policy=Policy(schedule=Schedule.parse(())),
        )
        report = dispatcher.dispatch(RunKey("dag", "task", "run"), 0, [read_lead({"id": 1})])
        return report.failed[0].reason


@pytest.mark.parametrize(
    "way",
    [press_the_button, send_by_the_hook, post_by_the_session, post_prepared_by_the_session,
     run_the_hook, dispatch_a_lead],
)  # fmt: skip
def test_a_name_that_changes_gains_nothing(receive, connect, rebinding, way):
    """What is looked up is what is connected to, and it is judged before that (Contract 7.1)."""
    receiver = receive(answer())
    connect(receiver.url("/rebinding", host="localhost"), allowed=f"{PERMITTED}/32")
    said = [way(WebhookHook("faulty")) for _ in range(4)]
    assert receiver.connections == 0
    assert len(rebinding) == 4, "one look-up for each connection"
    assert ["[zbl] allowed_networks" in words for words in said] == [False, True] * 2


@pytest.mark.parametrize("way", [post_by_the_session, run_the_hook, send_by_the_hook])
def test_a_permitted_name_is_reached_at_any_of_its_addresses(receive, connect, monkeypatch, way):
    """Of several permitted addresses the one that answers is used (Contract 3)."""
    receiver = receive(answer())
    system = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        hosts = [PERMITTED, LOOPBACK] if host == "hooks.test" else [host]
        return [address for name in hosts for address in system(name, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    connect(receiver.url("/rebinding", host="hooks.test"))
    assert "200" in way(WebhookHook("faulty"))
    assert [request.headers["host"][:10] for request in receiver.requests] == [b"hooks.test"]
