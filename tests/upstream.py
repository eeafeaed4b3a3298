"""A scripted HTTP/1.1 server on asyncio streams: each request is played a script. Knows nothing of bridge or emulator.

    async with Upstream() as upstream:
        upstream.on("/v2/runs/r/events/stream", stream(frame("e1"), then=CUT), stream(frame("e2"), then=HANG))

The first request of a path gets its first script, the second the second; the last is for all that follow. Every
answer ends its connection. Every request is kept with its time, query, headers, body and the time it was over.
"""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from waiting import wait_until

SSE = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}


@dataclass(slots=True)
class Request:
    """One request as it came; `path` and `target` are still percent-encoded, times are monotonic seconds."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float
    until: float | None = None
    """When it was over, answered or not; None while it is under way."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters, in order."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def cursor(self) -> tuple[str | None, str | None]:
        """Where the reader goes on from: the parameter `cursor` and the header `Last-Event-ID`."""
        return dict(self.query).get("cursor"), self.headers.get("last-event-id")

    @property
    def said(self) -> dict[str, Any]:
        """The body's JSON object."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(slots=True)
class Exchange:
    """One request and the connection it came on, for a script to answer."""

    request: Request
    writer: asyncio.StreamWriter
    _chunked: bool = field(default=False)

    async def head(self, status: int, headers: dict[str, str], length: int | None = None) -> None:
        """Status line and headers; without a length the body follows in chunks."""
        self._chunked = length is None
        framing = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
        fields = {**headers, **framing, "Connection": "close"}
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        await self.raw("\r\n".join(lines).encode())

    async def send(self, data: bytes) -> None:
        """A part of the body."""
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    async def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def end(self) -> None:
        """The end of a body in chunks."""
        if self._chunked:
            await self.raw(b"0\r\n\r\n")

    def cut(self) -> None:
        """Break the connection off with a reset (RST)."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def gaps(requests: Sequence[Request]) -> list[float]:
    """Seconds from the end of each request to the beginning of the next."""
    return [later.at - (earlier.until or later.at) for earlier, later in pairwise(requests)]


SECOND = 0.95
"""What a pause of a second or more measures at least, from here."""


def at_once(pauses: Sequence[float]) -> bool:
    """True if nobody waited: within 100 ms, but for what a busy machine adds now and then, and never a second."""
    ordered = sorted(pauses)
    return ordered[len(ordered) * 9 // 10 - 1] < 0.1 and ordered[-1] < SECOND


Script = Callable[[Exchange], Awaitable[None]]
Part = bytes | float | asyncio.Event


async def CUT(exchange: Exchange) -> None:  # noqa: N802  # reads as a constant where it is used
    """Break the connection off, mid-body if a body is under way."""
    exchange.cut()


async def CLOSE(exchange: Exchange) -> None:  # noqa: N802  # as above
    """End the body as it should."""
    await exchange.end()


async def HANG(exchange: Exchange) -> None:  # noqa: N802  # as above
    """Say nothing more until the client goes away."""
    await asyncio.Event().wait()


def stream(
    *parts: Part, then: Script = CLOSE, status: int = 200, headers: dict[str, str] | None = None
) -> Script:  # fmt: skip
    """A body in parts: bytes are sent as one chunk each, numbers are pauses in seconds, events are waited for."""

    async def script(exchange: Exchange) -> None:
        await exchange.head(status, SSE if headers is None else headers)
        for part in parts:
            if isinstance(part, bytes):
                await exchange.send(part)
            else:
                await _pass(part)
        await then(exchange)

    return script


def answer(status: int, body: bytes | dict[str, Any] = b"", headers: dict[str, str] | None = None) -> Script:
    """A whole answer; a dict becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {} if isinstance(body, bytes) else JSON

    async def script(exchange: Exchange) -> None:
        await exchange.head(status, {**kind, **(headers or {})}, len(content))
        if content:
            await exchange.send(content)

    return script


def after(part: float | asyncio.Event, script: Script) -> Script:
    """The script, once some seconds have passed or an event is set: the answer is late."""

    async def late(exchange: Exchange) -> None:
        await _pass(part)
        await script(exchange)

    return late


async def _pass(part: float | asyncio.Event) -> None:
    if isinstance(part, asyncio.Event):
        await part.wait()
    else:
        await asyncio.sleep(part)


def frame(id_: str, type_: str = "navigation", **fields: Any) -> bytes:
    """A `run.event` frame as CONTRACT A.5 shows it."""
    return f"event: run.event\nid: {id_}\ndata: {json.dumps(happened(id_, type_, **fields))}\n\n".encode()


def happened(id_: str, type_: str = "navigation", **fields: Any) -> dict[str, Any]:
    """An event of a run, with the members that every generation of the API has."""
    return {"id": id_, "runId": "r", "type": type_, "time": "2026-06-25T12:00:00.000Z", **fields}


def waited(event: Any = None, **members: Any) -> Script:
    """An answer of a run's wait as CONTRACT A.3 shows it: with an event, or else timed out; its cursor is a member."""
    return answer(200, {"event": event, "timedOut": event is None, **members})


def ended(run: str = "r") -> bytes:
    """The last frame of a run."""
    data = {"runId": run, "status": "stopped", "finishedAt": "2026-06-25T12:01:00.000Z", "failure": None}
    return f"event: run.ended\ndata: {json.dumps(data)}\n\n".encode()


def counting(total: int, pause: float = 0.0) -> Script:
    """A run of `total` events e0, e1, ... with a pause after each; it goes on after the cursor, and never ends."""

    async def script(exchange: Exchange) -> None:
        cursor = exchange.request.cursor[0]
        first = int(cursor.removeprefix("e")) + 1 if cursor else 0
        parts = [part for number in range(first, total) for part in (frame(f"e{number}"), pause)]
        await stream(*parts, then=HANG)(exchange)

    return script


HEARTBEAT = b'event: heartbeat\ndata: {"time":"2026-06-25T12:00:05.000Z"}\n\n'
COMMENT = b": alive\n\n"


class Upstream:
    """Listens on a port of 127.0.0.1 that stays the same over `stop` and `start`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.most_at_once: dict[str, int] = {}
        """Path -> the most requests that were under way at the same time."""
        self._scripts: dict[str, list[Script]] = {}
        self._port = 0
        self._server: asyncio.Server | None = None
        self._talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self._port}"

    def on(self, path: str, *scripts: Script) -> None:
        """What requests of this path get from now on, in turn; the last script is for all that follow."""
        self._scripts[path] = list(scripts)

    def of(self, path: str) -> list[Request]:
        """The requests of a path so far."""
        return [request for request in self.requests if request.path == path]

    async def asked(self, path: str, count: int = 1, timeout: float = 15.0) -> None:
        """Wait until so many requests of a path have come."""
        await wait_until(lambda: len(self.of(path)) >= count, f"{count} requests for {path}", timeout)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections from now on, and break off those there are."""
        if self._server is not None:
            self._server.close()
        talks = dict(self._talks)
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        for writer in talks.values():  # a talk that was cancelled before it began has not closed its own
            with contextlib.suppress(asyncio.CancelledError):  # one that was cancelled while it closed
                await _close(writer)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.create_task(self._talk(reader, writer))
        self._talks[talk] = writer
        talk.add_done_callback(self._talks.pop)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            request = await _read(reader)
            self.requests.append(request)
            open_ = sum(other.until is None for other in self.of(request.path))
            self.most_at_once[request.path] = max(open_, self.most_at_once.get(request.path, 0))
            await _play(self._script(request), Exchange(request, writer), reader)
        await _close(writer)

    def _script(self, request: Request) -> Script:
        scripts = self._scripts.get(request.path)
        if not scripts:
            return answer(404, {"code": "route.not_found", "error": f"no script for {request.path}"})
        return scripts.pop(0) if len(scripts) > 1 else scripts[0]


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Request:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ")
    fields: Sequence[tuple[str, str, str]] = [line.partition(":") for line in lines[1:] if line]
    headers = {name.lower(): value.strip() for name, _, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, time.monotonic())


async def _play(script: Script, exchange: Exchange, reader: asyncio.StreamReader) -> None:
    """Run the script until it is done or the client is gone."""
    playing = asyncio.ensure_future(script(exchange))
    leaving = asyncio.ensure_future(reader.read())
    try:
        await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        exchange.request.until = time.monotonic()
        playing.cancel()
        leaving.cancel()
        failure, _ = await asyncio.gather(playing, leaving, return_exceptions=True)
    if isinstance(failure, Exception) and not isinstance(failure, OSError):
        raise failure
