"""A TCP proxy before a real server, which can hold, swallow or delay answers and cut connections.

Refuses to read what passes: it knows bytes, not commands.
"""

import asyncio
import contextlib
from enum import Enum, auto
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from waiting import wait_until


class Server(Protocol):
    """What the proxy stands before."""

    @property
    def url(self) -> str:
        """Where clients find it."""
        ...


class Answers(Enum):
    """What becomes of the server's answers."""

    PASS = auto()
    HOLD = auto()
    """Kept back until they pass again."""
    SWALLOW = auto()
    """Lost."""


class Proxy:
    """Listens on a port of the loopback; `url` is where clients connect instead of the server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pass = asyncio.Event()
        self._pass.set()
        self._answers = Answers.PASS
        self.delay = 0.0
        """Seconds that every answer is kept back."""
        self.refuse = False
        """Close every new connection at once."""
        self.connections = 0

    @property
    def url(self) -> str:
        """The server's URL, by way of this proxy."""
        assert self._listener is not None
        scheme = urlsplit(self._server.url).scheme.replace("unix", "redis")
        return f"{scheme}://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    @property
    def answers(self) -> Answers:
        """What becomes of answers from now on."""
        return self._answers

    @answers.setter
    def answers(self, answers: Answers) -> None:
        self._answers = answers
        if answers is Answers.PASS:
            self._pass.set()
        else:
            self._pass.clear()

    def cut(self) -> None:
        """Break all connections; what was held is lost. New ones are taken."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        self.answers = Answers.PASS
        self.cut()
        await wait_until(lambda: not self._writers, "all connections of the proxy closed")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            writer.transport.abort()
            return
        to = urlsplit(self._server.url)
        try:
            far_reader, far_writer = await (
                asyncio.open_unix_connection(to.path)
                if to.scheme == "unix"
                else asyncio.open_connection(to.hostname, to.port)
            )
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        requests = asyncio.create_task(self._requests(reader, far_writer))
        try:
            await self._relay(far_reader, writer)
        finally:
            for end in both:
                end.transport.abort()
            await requests
            self._writers -= both

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self._answers is Answers.SWALLOW:
                    continue
                await self._pass.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
