"""A TCP connection to Redis that can go wrong: answers get lost, requests arrive late or by halves.

Passes everything on unread, but for looking where an append and its answer are. Refuses to speak Redis itself.
"""

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Self

APPEND = b":parked"
"""In the request of an append, and in no other."""
DONE = b"*1\r\n$2\r\nOK\r\n"
"""The answer of a script that has written, and has nothing more to say."""
PIECE = 1 << 18


class Mishap(StrEnum):
    """What can happen to one append."""

    LOST = "answer lost"
    """Redis has done it; then the connection breaks."""
    HALF = "half an answer"
    """As LOST, with a part of the answer arriving."""
    SILENT = "silence"
    """Redis has done it; the answer never comes, and the connection stays."""
    LATE = "late request"
    """The connection breaks; Redis does it a little later, perhaps after the bridge has sent it again."""
    PARTIAL = "half a request"
    """Redis never gets all of it."""


class Wire:
    """Listens on a port of the loopback and passes on to the server behind `path`, a unix socket."""

    def __init__(self, random: Random, path: Path) -> None:
        self.happened: Counter[Mishap] = Counter()
        self.written = 0
        """Answers since `watch` that say that something was written."""
        self._random = random
        self._path = path
        self._armed: Mishap | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self, mishap: Mishap) -> None:
        """Let this happen to the next append."""
        self._armed = mishap

    @property
    def armed(self) -> bool:
        """True until it has happened."""
        return self._armed is not None

    def watch(self) -> None:
        """Count from now on what is written over this wire."""
        self.written = 0

    def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            answers, server = await asyncio.open_unix_connection(str(self._path))
            try:
                async with asyncio.TaskGroup() as both:
                    requests = both.create_task(self._requests(reader, writer, server))
                    await self._answers(answers, writer)
                    requests.cancel()
            except* OSError:
                pass  # one side is gone, and with it the connection
            finally:
                server.close()
        writer.close()

    async def _requests(
        self, client: asyncio.StreamReader, back: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        while piece := await client.read(PIECE):
            if self._armed in {Mishap.LATE, Mishap.PARTIAL} and APPEND in piece:
                late = self._armed is Mishap.LATE
                self._happens()
                _reset(back)
                if late:
                    await asyncio.sleep(self._random.uniform(0.0, 0.3))
                server.write(piece if late else piece[: self._random.randrange(1, len(piece))])
                await server.drain()
                break
            server.write(piece)
            await server.drain()
        server.write_eof()

    async def _answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        tail = b""
        while piece := await server.read(PIECE):
            seen = tail + piece
            self.written += seen.count(DONE[4:])
            tail = seen[-len(DONE[4:]) + 1 :]
            if client.is_closing():
                continue  # what comes of a late request interests nobody any more
            if self._armed in {Mishap.LOST, Mishap.HALF, Mishap.SILENT} and piece.startswith(DONE):
                mishap = self._armed
                self._happens()
                if mishap is Mishap.SILENT:
                    continue
                if mishap is Mishap.HALF:
                    client.write(piece[: self._random.randrange(1, len(piece))])
                    await client.drain()
                    client.close()
                else:
                    _reset(client)
                return
            client.write(piece)
            await client.drain()

    def _happens(self) -> None:
        if self._armed is not None:
            self.happened[self._armed] += 1
        self._armed = None


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
