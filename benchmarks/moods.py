"""A webhook receiver in many moods at once: the first part of the path says which, the whole path is whose account it is.

A process of its own: `python -m benchmarks.moods` prints its port. It writes down what it answered with 2xx.

    POST /healthy/...    204
    POST /refusing/...   401
    POST /poison/...     400 to every 50th event by its number, 204 to the others
    POST /slow/...       204 after 20 s
    POST /flaky/...      of 30 % of the requests a third each: 500, 503, the connection reset; 204 to the others
    GET  /count/<path>, /receipts/<path>    events taken under the path: how many; a list of [mark, time in ns]
"""

import asyncio
import json
import re
import time
from collections import defaultdict
from random import Random
from typing import cast

import uvloop

from benchmarks.marks import FIND

SLOW = 20.0
"""Seconds."""
FLAKY = 0.3
POISON = 50
END = b"\r\n\r\n"
_length = re.compile(rb"ontent-[Ll]ength: *(\d+)").search
_taken: defaultdict[str, list[tuple[bytes, int]]] = defaultdict(list)
_random = Random(1)


class Moody(asyncio.Protocol):
    """One connection; the next request is looked at when this one has its answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""
        self._busy = False

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._next()

    def _next(self) -> None:
        end = self._buffer.find(END)
        if self._busy or end < 0:
            return
        length = _length(self._buffer, 0, end)
        stop = end + 4 + (int(length[1]) if length else 0)
        if stop > len(self._buffer):
            return
        method, target, _ = self._buffer[:end].split(b" ", 2)
        body, self._buffer, self._busy = self._buffer[end + 4 : stop], self._buffer[stop:], True
        path = target.decode().removeprefix("/")
        if method == b"GET":
            self._say(*path.split("/", 1))
        else:
            self._judge(path, FIND(body))

    def _judge(self, path: str, marks: list[bytes]) -> None:
        mood = path.partition("/")[0]
        if mood == "slow":
            asyncio.get_running_loop().call_later(SLOW, self._take, path, marks)
        elif mood == "refusing":
            self._answer(b"401 Unauthorized")
        elif mood == "poison" and any(poisonous(int(mark.split()[1])) for mark in marks):
            self._answer(b"400 Bad Request")
        elif mood == "flaky" and _random.random() < FLAKY:
            status = _random.choice((b"500 Internal Server Error", b"503 Service Unavailable", b""))
            if status:
                self._answer(status)
            else:
                self._transport.abort()
        else:
            self._take(path, marks)

    def _take(self, path: str, marks: list[bytes]) -> None:
        if self._transport.is_closing():
            return  # nobody hears the answer, so it is not delivered
        now = time.monotonic_ns()
        _taken[path] += [(mark, now) for mark in marks]
        self._answer(b"204 No Content")

    def _say(self, what: str, path: str) -> None:
        taken = _taken[path]
        said = len(taken) if what == "count" else [[mark.decode(), seen] for mark, seen in taken]
        self._answer(b"200 OK", json.dumps(said).encode())

    def _answer(self, status: bytes, body: bytes = b"") -> None:
        length = b"" if status.startswith(b"204") else b"Content-Length: %d\r\n" % len(body)
        self._transport.write(b"HTTP/1.1 %b\r\n%b\r\n%b" % (status, length, body))
        self._busy = False
        self._next()


def poisonous(number: int) -> bool:
    """Whether `/poison` refuses the event of this number."""
    return number % POISON == POISON - 1


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Moody, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
