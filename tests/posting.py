"""Posts for tests: a client whose tasks are owned, an outcome that can be waited for, and servers that misbehave."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from ipaddress import ip_network
from typing import Any

from waiting import wait_until

from bridge.errors import HttpError
from bridge.guard import Guard
from bridge.post import Answer, PostClient

LOOPBACK = Guard((ip_network("127.0.0.0/8"), ip_network("::1/128")))
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"

Serve = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection of a server's, the `number`th from 1 on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number

    async def request(self) -> bytes:
        """The next request, head and body; raises IncompleteReadError when there is none."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        return head + await self.reader.readexactly(length)

    async def say(self, *pieces: bytes) -> None:
        """Write these, each by itself."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    def reset(self) -> None:
        """End it the hard way."""
        self.writer.transport.abort()


class Server:
    """A server of raw connections."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.requests: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        """A hook of it."""
        return f"http://127.0.0.1:{self.port}/hook"


@contextlib.asynccontextmanager
async def serving(
    serve: Serve, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:  # fmt: skip
    """A server that does this with every connection, and closes it then."""
    found = Server()
    tasks = set[asyncio.Task[None] | None]()

    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        peer = Peer(reader, writer, len(found.peers) + 1)
        found.peers.append(peer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(peer)
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    server = await asyncio.start_server(taken, host, port, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for peer in found.peers:
            peer.writer.transport.abort()
        for task in tasks:
            if task is not None:
                task.cancel()
        await wait_until(lambda: all(task is None or task.done() for task in tasks), "the server has ended")
        await server.wait_closed()


def answering(*pieces: bytes, close: bool = False) -> Serve:
    """Answers every request of a connection with these bytes."""

    async def serve(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(*pieces)
            if close:
                return

    return serve


class Post:
    """A client, and what came of its requests in `outcomes`, by the order of their ends."""

    def __init__(self, url: str, **options: Any) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.outcomes: list[Answer | HttpError] = []
        self.client = PostClient(url, **{"guard": LOOPBACK, "spawn": self.spawn, "timeout": 5.0, **options})

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """As the supervisor's."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def start(
        self, body: bytes = b"{}", headers: bytes = b"webhook-id: m\r\n", method: bytes = b"POST"
    ) -> asyncio.Future[Answer | HttpError]:
        """A request; an error is the future's result, not its exception. A second outcome of it would raise."""
        future: asyncio.Future[Answer | HttpError] = asyncio.get_running_loop().create_future()

        def done(outcome: Answer | HttpError) -> None:
            self.outcomes.append(outcome)
            future.set_result(outcome)

        self.client.post(headers, body, done, method=method)
        assert not future.done(), "done was called inside post"
        return future

    async def answer(self, body: bytes = b"{}", **options: Any) -> Answer:
        """The answer to a request, which has to come."""
        outcome = await self.start(body, **options)
        assert isinstance(outcome, Answer), outcome
        return outcome

    async def error(self, body: bytes = b"{}") -> HttpError:
        """The error of a request, which has to fail."""
        outcome = await self.start(body)
        assert isinstance(outcome, HttpError), outcome
        return outcome


@contextlib.asynccontextmanager
async def posting(url: str, **options: Any) -> AsyncIterator[Post]:
    """A client of this URL with these options; it leaves no task behind."""
    post = Post(url, **options)
    try:
        yield post
    finally:
        await post.client.close()
        await wait_until(lambda: not post.tasks, "no task is left")
