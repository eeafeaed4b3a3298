"""An upstream of run events for the kill suite: event n of a run is always the same bytes, and connections break.

Server-Sent Events as in the providers' documents, on bare asyncio streams. Imports nothing of the bridge and nothing
of its emulator, so that it agrees with neither's mistakes.
"""

import asyncio
import contextlib
import socket
import struct
import time
from random import Random
from typing import Self
from urllib.parse import parse_qs, urlsplit

PIECE = 64
"""Frames written in one go at most."""
LOOK = 0.004
"""Seconds between looks for new events."""


class Run:
    """One run: `rate` events a second from `begin` on, until `finish`."""

    def __init__(self, name: str, rate: float) -> None:
        self.name = name
        self._rate = rate
        self._started: float | None = None
        self._last: int | None = None

    def begin(self) -> None:
        """The first event happens now."""
        self._started = time.monotonic()

    def finish(self) -> None:
        """No more events after those that there are; the run ends."""
        self._last = self.available

    @property
    def ended(self) -> bool:
        """True after `finish`."""
        return self._last is not None

    @property
    def available(self) -> int:
        """How many events there are by now."""
        if self._last is not None or self._started is None:
            return self._last or 0
        return 1 + int((time.monotonic() - self._started) * self._rate)

    def id(self, index: int) -> str:
        """The id of event `index`."""
        return f"{self.name}-{index:08d}"

    def index(self, id_: str) -> int:
        """The index that an id was made of."""
        return int(id_.removeprefix(f"{self.name}-"))

    def body(self, index: int) -> str:
        """The JSON of event `index`; its size varies, not all of it is ASCII."""
        seconds, ms = divmod(index, 1000)
        return (
            f'{{"id":"{self.id(index)}","type":"console.message","runId":"{self.name}","category":"console",'
            f'"time":"2026-06-25T{12 + seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}Z",'
            f'"data":{{"n": {index}, "text": "caf\u00e9 {"x" * (index * 37 % 251)}"}}}}'
        )

    @property
    def end_body(self) -> str:
        """The JSON of the last frame."""
        return f'{{"runId":"{self.name}","status":"stopped","finishedAt":"2026-06-25T18:00:00.000Z","failure":null}}'

    @property
    def state(self) -> str:
        """The run itself, as it can be looked at: at its end the JSON of the last frame."""
        return self.end_body if self.ended else f'{{"runId":"{self.name}","status":"active"}}'

    def frame(self, index: int) -> bytes:
        """The frame of event `index`; the one after the last is `run.ended`."""
        if index == self._last:
            return f"event: run.ended\ndata: {self.end_body}\n\n".encode()
        return f"event: run.event\nid: {self.id(index)}\ndata: {self.body(index)}\n\n".encode()

    @property
    def sent(self) -> dict[str, str]:
        """After the end: the id and the JSON of all that this run has said, in order."""
        said = {self.id(index): self.body(index) for index in range(self.available)}
        return {**said, f"{self.name}:ended": self.end_body}


class Upstream:
    """Serves runs. A connection breaks in the middle of a frame, on average after `cut_every` frames (0: never).

    A resumed one starts up to `replay` events early. `cuts` and `replayed` count both; `complaints` say what was wrong
    with a request.
    """

    def __init__(self, random: Random, runs: list[Run], *, cut_every: int = 0, replay: int = 0) -> None:
        self.runs = {run.name: run for run in runs}
        self.cuts = self.replayed = 0
        self.complaints: list[str] = []
        self._random = random
        self._cut_every = cut_every
        self._replay = replay
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self) -> None:
        """All runs begin."""
        for run in self.runs.values():
            run.begin()

    def finish(self) -> None:
        """All runs end with what has happened by now."""
        for run in self.runs.values():
            run.finish()

    def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, request: str, writer: asyncio.StreamWriter) -> None:
        line, *lines = request.rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        target = urlsplit(line.split()[1])
        if looked := self.runs.get(target.path.removeprefix("/v1/runs/")):
            writer.write(_json(looked.state))
            return
        run = self.runs.get(target.path.removeprefix("/v2/runs/").removesuffix("/events/stream"))
        if run is None or not headers.get("authorization", "").startswith("Bearer "):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        cursor = parse_qs(target.query).get("cursor", [""])[0]
        if cursor != headers.get("last-event-id", ""):
            self.complaints.append(f"cursor {cursor!r}, but Last-Event-ID {headers.get('last-event-id')!r}")
        after = run.index(cursor) + 1 if cursor else 0
        start = max(0, after - self._random.randint(0, self._replay))
        self.replayed += after - start
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await self._stream(run, start, writer)

    async def _stream(self, run: Run, at: int, writer: asyncio.StreamWriter) -> None:
        left = int(self._random.expovariate(1 / self._cut_every)) if self._cut_every else -1
        while not writer.is_closing():
            ready = run.available + run.ended
            if at == ready:
                if run.ended:
                    writer.write(b"0\r\n\r\n")
                    return
                await asyncio.sleep(LOOK)
                continue
            stop = min(ready, at + PIECE)
            if 0 <= left <= stop - at - 1:
                await self._cut(run, at, at + left, writer)
                return
            frames = b"".join(map(run.frame, range(at, stop)))
            keep_alive = b": heartbeat\n\n" if stop % 7 == 0 else b""
            writer.write(_chunk(keep_alive + frames))
            await writer.drain()
            left -= stop - at if self._cut_every else 0
            at = stop

    async def _cut(self, run: Run, at: int, last: int, writer: asyncio.StreamWriter) -> None:
        """Write up to frame `last`, of this one a part, and end the connection one way or the other."""
        self.cuts += 1
        whole = b"".join(map(run.frame, range(at, last)))
        half = run.frame(last)[: self._random.randrange(1, len(run.frame(last)))]
        writer.write(_chunk(whole + half))
        await writer.drain()
        if self._random.random() < 0.5:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif self._random.random() < 0.5:
            writer.write(b"0\r\n\r\n")  # a clean end, though of half a frame


def _json(body: str) -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return f"{head}{body}".encode()


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)
