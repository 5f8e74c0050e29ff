"""A WSGI application that adds the webhook-id of each request to the file ARRIVED."""

import os
from pathlib import Path


def application(environ, start_response):
    with Path(os.environ["ARRIVED"]).open("a") as arrived:
        arrived.write(environ["HTTP_WEBHOOK_ID"] + "\n")
    environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]
