"""
A receiver as people write it with `http.server`: python receiver.py PORT ARRIVED [options].

ARRIVED is a file to which it adds the webhook-id of each request that reaches it.
"""

import argparse
import http.server
import ssl
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("arrived", type=Path)
parser.add_argument("--certificate")
parser.add_argument("--single", action="store_true", help="one thread for all connections")
parser.add_argument("--protocol", default="HTTP/1.1")
parser.add_argument("--unread", action="store_true", help="answer without reading the body")
parser.add_argument("--status", type=int, default=200)
arguments = parser.parse_args()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = arguments.protocol

    def do_POST(self):
        with arguments.arrived.open("a") as arrived:
            arrived.write(self.headers["webhook-id"] + "\n")
        if not arguments.unread:
            self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(arguments.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


kind = http.server.HTTPServer if arguments.single else http.server.ThreadingHTTPServer
kind.request_queue_size = 512
server = kind(("127.0.0.1", arguments.port), Handler)
if arguments.certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
