"""The client of webhook attempts: requests to one URL over kept connections, told by callbacks, no task per request.

Refuses to follow redirects, to pipeline, to keep cookies, and to read a proxy from the environment by itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from bridge.dial import CONNECT_TIMEOUT, SYSTEM_TLS, Dialler, Tls
from bridge.errors import ConfigurationError, HttpError, Problem
from bridge.guard import Guard
from bridge.post_connection import MAX_ANSWER, Answer, Connection, Done, Request
from bridge.stop import nap
from bridge.target import Target, proxy_from_environment, target_of

__all__ = ["CONNECT_TIMEOUT", "MAX_ANSWER", "Answer", "PostClient", "Tls", "proxy_from_environment"]

CLOSING = 1.0
"""Seconds that the end of the connections is waited for."""

Spawn = Callable[[Coroutine[Any, Any, None], str], None]
"""Runs a coroutine in a task of this name (`bridge.supervisor`)."""


class PostClient:
    """Sends requests to one URL, at most `connections` at a time; more wait in their order, at no cost of their time.

    `timeout`: seconds for one request, from the start of its connection or of its writing to the end of its answer.
    The guard's rule and `plain`, `tls` and `proxy` (a URL, "" for none) are those of `bridge.dial.Dialler`.

    Made within a running event loop. The path of the URL is sent as it is; its user and password become Basic auth.

    Raises:
        ConfigurationError: the URL, the proxy or a file of `tls` can't be used.
    """

    def __init__(
        self, url: str, *, guard: Guard | None, spawn: Spawn, tls: Tls = SYSTEM_TLS, proxy: str = "",
        timeout: float = 15.0, connections: int = 32, plain: bool = False,
    ) -> None:  # fmt: skip
        self._target = _target("url", url)
        self._proxy = _target("proxy", proxy) if proxy else None
        if self._proxy is not None and self._proxy.scheme != "http":
            raise ConfigurationError((Problem("proxy", "expected a URL that starts with http://"),))
        self._dialler = Dialler(self._target, guard=guard, plain=plain, tls=tls, proxy=self._proxy)
        self._spawn = spawn
        self._timeout = timeout
        self._limit = connections
        self._shown = f"connect {self._target.scheme}://{self._target.authority}"
        self._post = self._first_lines(b"POST")
        self._idle: list[Connection] = []
        """The one used last is used first, so that those that aren't needed end."""
        self._connections: set[Connection] = set()
        self._dialling: dict[Request, asyncio.Task[Any] | None] = {}
        self._queue: deque[Request] = deque()
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def post(self, headers: bytes, body: bytes, done: Done, *, method: bytes = b"POST") -> None:
        """Start a request; `done` gets its answer or its error once, later, from the event loop.

        `headers` are whole lines, each with its end, without Host, User-Agent, Content-Length and those of the
        connection. An answer whose body is too long or too slow is one still: its status counts. After a break before
        the first byte of an answer over a used connection, the request is sent once more over a fresh one.
        """
        first = self._post if method == b"POST" else self._first_lines(method)
        request = Request((b"%b%bContent-Length: %d\r\n\r\n" % (first, headers, len(body)), body), done)
        if self._closed:
            self._loop.call_soon(done, _closed(sent=False))
            return
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._write(connection, request)
                return
        if len(self._connections) + len(self._dialling) < self._limit:
            self._connect(request)
        else:
            self._queue.append(request)

    async def close(self) -> None:
        """End all connections; what is under way is told that it was this side's doing."""
        if self._closed:
            return
        self._closed = True
        waiting, self._queue = [*self._dialling, *self._queue], deque()
        tasks = [task for task in self._dialling.values() if task is not None]
        self._dialling.clear()
        for task in tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.abort(_closed(sent=True))
        for request in waiting:
            request.done(_closed(sent=False))
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING)
        await nap(0)  # a transport closes its socket in the loop's next round

    # -- the connections' side

    def released(self, connection: Connection) -> None:
        """Give it the next request that waits, or keep it."""
        if self._queue:
            self._write(connection, self._queue.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: Connection, again: Request | None = None) -> None:
        """Forget it; its place is taken by `again`, or by the next request that waits."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if again is not None:
            again.again = True
            self._queue.appendleft(again)
        self._pump()

    # -- opening

    def _pump(self) -> None:
        while self._queue and len(self._connections) + len(self._dialling) < self._limit:
            self._connect(self._queue.popleft())

    def _connect(self, request: Request) -> None:
        if not request.deadline:
            request.deadline = self._loop.time() + self._timeout
        self._dialling[request] = None
        self._spawn(self._dial(request), self._shown)

    async def _dial(self, request: Request) -> None:
        if request not in self._dialling:  # closed before this began
            return
        self._dialling[request] = asyncio.current_task()
        try:
            left = max(0.0, request.deadline - self._loop.time())
            connection = await self._dialler.open(lambda: Connection(self, self._loop), left)
        except HttpError as error:
            if self._dialled(request):
                self._pump()
                request.done(error)
        except BaseException:  # the end of the daemon, or a mistake: whoever asked is told in any case
            if self._dialled(request):
                request.done(_closed(sent=False))
            raise
        else:
            if self._dialled(request):
                self._connections.add(connection)
                connection.send(request)
            else:
                connection.abort()

    def _dialled(self, request: Request) -> bool:
        known = request in self._dialling
        self._dialling.pop(request, None)
        return known

    def _write(self, connection: Connection, request: Request) -> None:
        request.deadline = self._loop.time() + self._timeout
        connection.send(request)

    def _first_lines(self, method: bytes) -> bytes:
        target, proxy = self._target, self._proxy
        path, login = target.path, ""
        if proxy is not None and target.scheme == "http":
            path = f"http://{target.authority}{path}"
            login = f"Proxy-Authorization: Basic {proxy.login}\r\n" if proxy.login else ""
        if target.login:
            login += f"Authorization: Basic {target.login}\r\n"
        lines = f" {path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: runbridge\r\n{login}"
        return method + lines.encode()


def _target(key: str, url: str) -> Target:
    try:
        return target_of(url)
    except ValueError as error:
        raise ConfigurationError((Problem(key, str(error)),)) from None


def _closed(*, sent: bool) -> HttpError:
    return HttpError("closed", sent=sent, ours=True)
