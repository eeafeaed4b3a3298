"""A webhook receiver that does nothing but answer 204 and count; it doesn't look at signatures.

A process of its own: `python -m benchmarks.receiver` prints its port. `GET /` answers the number of POSTs so far and
how long the paced events among them took from the upstream's write to here, in ms.
"""

import asyncio
import json
import time

import uvloop

from benchmarks.upstream import SENT

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
MARK = f'"{SENT}":'.encode()


class Receiver(asyncio.Protocol):
    """One connection. Requests are taken whole, one after the other."""

    count = 0
    delays: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            if head.startswith(b"get"):
                self.say()
                length = 0
            else:
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                if len(self.buffer) < end + 4 + length:
                    return
                self.took(self.buffer[end + 4 : end + 4 + length])
            self.buffer = self.buffer[end + 4 + length :]

    def took(self, body: bytes) -> None:
        Receiver.count += 1
        _, mark, rest = body.partition(MARK)
        if mark:
            sent = int(rest[: rest.index(b"}")])
            self.delays.append((time.monotonic_ns() - sent) / 1e6)
        self.transport.write(ANSWER)

    def say(self) -> None:
        body = json.dumps({"count": self.count, "delays": self.delays}).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
