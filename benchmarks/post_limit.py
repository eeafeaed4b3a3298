"""The limit for a sender in Python on uvloop: ready-made requests, the next one when the answer is there.

No log, no signature, no order, no retry, nothing kept. `batch` events in the body of one request.

    python -m benchmarks.post_limit REDIS RECEIVER EVENTS LANES TOGETHER BATCH
"""

import asyncio
import sys
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.entries import Lanes, bodies

AT_ONCE = 32
"""Connections."""


class Lane(asyncio.Protocol):
    """One connection that sends the next request of all."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.data_received(b"HTTP/1.1 2")

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 2"):
            raise SystemExit(f"not taken: {data!r}")
        request = next(self._requests, None)
        if request is not None:
            self._transport.write(request)


def batches(events: int, lanes: int, together: int, batch: int) -> list[bytes]:
    """The bodies of all requests: one event each, or arrays of `batch`."""
    singles = list(bodies(events, Lanes(lanes, together)))
    if batch == 1:
        return singles
    return [b"[" + b",".join(singles[start : start + batch]) + b"]" for start in range(0, events, batch)]


async def main(_redis_url: str, receiver: str, *numbers: str) -> None:
    url = urlsplit(receiver)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    requests = iter([head % (len(body), body) for body in batches(*map(int, numbers))])
    loop = asyncio.get_running_loop()
    for _ in range(AT_ONCE):
        await loop.create_connection(lambda: Lane(requests), url.hostname or "", url.port or 80)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
