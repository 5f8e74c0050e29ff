"""An ASGI application that adds the webhook-id of each request to the file ARRIVED."""

import os
from pathlib import Path


def record(webhook_id):
    with Path(os.environ["ARRIVED"]).open("a") as arrived:
        arrived.write(webhook_id + "\n")


async def application(scope, receive, send):
    assert scope["type"] == "http"
    record(dict(scope["headers"])[b"webhook-id"].decode())
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})
