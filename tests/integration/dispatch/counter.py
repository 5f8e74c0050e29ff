"""
A quick HTTPS receiver in a process of its own, which counts who was sent how often.

    python counter.py CERTIFICATE    prints its port; at end of input prints webhook-ids and counts
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
from collections import Counter

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
HEAD = re.compile(rb"^content-length: *(\d+)|^webhook-id: *(\S+)", re.IGNORECASE | re.MULTILINE)
counts: Counter[str] = Counter()


class Count(asyncio.Protocol):
    def connection_made(self, transport) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            length, webhook_id = 0, b""
            for size, named in HEAD.findall(self.data[:end]):
                length, webhook_id = int(size or length), named or webhook_id
            if len(self.data) < end + 4 + length:
                return
            counts[webhook_id.decode()] += 1
            self.data = self.data[end + 4 + length :]
            self.transport.write(ANSWER)


async def main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Count, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(counts))


asyncio.run(main())
