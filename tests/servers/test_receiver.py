"""The receiver of docs/receiver for Node, with the library of npm (Contract 2.3)."""

import os
import shutil
import socket
import subprocess
import time

import pytest
import requests

from tests.support.commands import ROOT
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.signing import Signer

pytestmark = pytest.mark.servers

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = '{"lead": {"id": "Zoë"}}'.encode()


@pytest.fixture
def post(tmp_path):
    """Give a function that signs and posts to the running program."""
    shutil.copy(ROOT / "docs/receiver/receiver.mjs", tmp_path)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "standardwebhooks"]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=100)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = os.environ | {"SIGNING_SECRET": f"{NEW} {OLD}", "PORT": str(port)}
    with (tmp_path / "out").open("w") as out:
        node = subprocess.Popen(["node", "receiver.mjs"], cwd=tmp_path, env=environment, stdout=out)
    _wait_for(port, node)

    def send(webhook_id, secret, *, at=None, body=BODY, **more):
        extra = {"signing_secret": secret}
        key = Destination.parse(integration="x", host="https://x.test/", extra=extra)
        at = int(at or time.time())
        signed = dict(Signer(key.signing_secrets).headers(webhook_id, at, BODY))
        return requests.post(
            f"http://127.0.0.1:{port}/leads", data=body, headers=signed | more, timeout=10
        ).status_code

    send.port = port
    send.worked_on = lambda: (tmp_path / "out").read_text().splitlines()
    yield send
    node.kill()
    node.wait(10)


def _wait_for(port, node):
    for _ in range(600):
        assert node.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError


def test_it_takes_what_is_signed_once(post):
    """Either secret of a rotation is taken; a resend, a replay and a forgery change nothing."""
    assert post("msg_1", OLD) == 200
    assert post("msg_2", NEW) == 200
    assert post("msg_1", NEW) == 200
    assert post("msg_3", NEW, at=time.time() - 301) == 401
    assert post("msg_4", NEW, body=b"{}") == 401
    assert post("msg_5", NEW, **{"X-ZBL-Test": "true"}) == 200
    assert post.worked_on() == [
        '{"lead":"Zoë","webhookId":"msg_1"}',
        '{"lead":"Zoë","webhookId":"msg_2"}',
    ]


def test_a_request_that_ends_early_or_is_too_large_ends_nothing(post):
    """A sender that dies in the middle takes no receiver along (7.3)."""
    with socket.create_connection(("127.0.0.1", post.port)) as early:
        early.sendall(b"POST /leads HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    assert post("msg_6", NEW, body=b"x" * 1_048_577) == 413
    assert post("msg_7", NEW) == 200
