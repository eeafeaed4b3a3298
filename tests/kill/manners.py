"""Receivers of webhooks that behave well or badly, and what came to them: every request, signed, and how it ended.

A server of its own on bare asyncio, so that a connection can be reset or an answer cut at any byte. Judges nothing.
"""

import asyncio
import contextlib
import json
import re
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import NamedTuple, Self

from standardwebhooks.webhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjU"
TAKES = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n", re.IGNORECASE)
_verified = Webhook(SECRET).verify


class End(Enum):
    """How a request ends."""

    ANSWER = auto()
    CUT = auto()
    """A part of an answer, without its last byte."""
    RESET = auto()
    SILENCE = auto()


class Reply(NamedTuple):
    """What becomes of a request: `status` after some seconds, or no whole answer."""

    status: int = 204
    after: float = 0.0
    end: End = End.ANSWER

    @property
    def takes(self) -> bool:
        """True where the receiver has the events now, whoever still hears of it."""
        return self.end is End.ANSWER and self.status == 204


Manner = Callable[[tuple[str, ...], Random], Reply]
"""The ids of the events of one request -> what becomes of it."""


@dataclass(slots=True, eq=False)
class Arrival:
    """One request. Times in seconds since 1970."""

    ids: tuple[str, ...]
    webhook_id: str
    life: int
    """In which life of the bridge it was sent."""
    at: float
    taken: float | None = None
    repeated: bool = False
    """The client sends it once more as the same attempt: a used connection broke before the first byte of an answer."""


class Receiver:
    """One endpoint. `life` says how often the bridge was started."""

    def __init__(self, random: Random, manner: Manner, life: Callable[[], int]) -> None:
        self.arrivals: list[Arrival] = []
        self.by_id: defaultdict[str, list[Arrival]] = defaultdict(list)
        self.forged = 0
        self.url = ""
        self.life = life
        self._random = random
        self._manner = manner
        self._server: asyncio.Server | None = None
        self.lines: set[_Line] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Line(self), "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for line in list(self.lines):
            line.transport.abort()

    def judge(self, headers: dict[str, str], body: bytes, *, used: bool) -> tuple[Arrival | None, Reply]:
        """Keep a request, and decide what becomes of it."""
        try:
            _verified(body, headers)
        except Exception:  # noqa: BLE001  # the package raises more than its own errors
            self.forged += 1
            return None, Reply(400)
        sent = json.loads(body)
        ids = tuple(event["id"] for event in (sent if isinstance(sent, list) else [sent]))
        reply = self._manner(ids, self._random)
        arrival = Arrival(ids, headers["webhook-id"], self.life(), time.time())
        arrival.repeated = used and reply.end is End.RESET
        self.arrivals.append(arrival)
        for id_ in ids:
            self.by_id[id_].append(arrival)
        return arrival, reply

    def part(self, status: int) -> bytes:
        """An answer without its end."""
        whole = TAKES if status == 204 else _answer(status)
        return whole[: self._random.randrange(1, len(whole))]


class _Line(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._receiver.lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.lines.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        found = _LENGTH.search(head + b"\r\n")
        length = int(found[1]) if found else 0
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        lines = head.decode("latin-1").split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        arrival, reply = self._receiver.judge(headers, rest[:length], used=self._requests > 0)
        self._requests += 1
        if reply.after:
            asyncio.get_running_loop().call_later(reply.after, self._end, arrival, reply)
        else:
            self._end(arrival, reply)

    def _end(self, arrival: Arrival | None, reply: Reply) -> None:
        if arrival is not None and reply.takes:
            arrival.taken = time.time()
        if self.transport.is_closing():
            return
        match reply.end:
            case End.ANSWER:
                self.transport.write(TAKES if reply.takes else _answer(reply.status))
            case End.CUT:
                self.transport.write(self._receiver.part(reply.status))
                self.transport.close()
            case End.RESET:
                with contextlib.suppress(OSError):  # the other side was faster
                    linger = struct.pack("ii", 1, 0)
                    self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.transport.abort()
            case End.SILENCE:
                pass


def _answer(status: int) -> bytes:
    return b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status
