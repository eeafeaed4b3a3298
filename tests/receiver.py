"""A webhook receiver: a real HTTP server that keeps every request and answers as a test says. Knows nothing of bridge.

async with Receiver(answer) as receiver:      # async def answer(hook: Hook) -> int | web.StreamResponse
receiver.url, receiver.hooks
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True)
class Hook:
    """One request as it came; `at` in monotonic seconds, header names in lower case."""

    request: web.BaseRequest
    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @cached_property
    def event(self) -> dict[str, Any]:
        """The body, decoded."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self.event["id"])

    @property
    def subject(self) -> str:
        """The event's subject."""
        return str(self.event["subject"])


Answer = Callable[[Hook], Awaitable[int | web.StreamResponse]]


async def accept(hook: Hook) -> int:
    """An answer to everything: 204."""
    return 204


def status(number: int, **headers: str) -> Answer:
    """An answer to everything: this status, with these headers (`_` for `-`)."""

    async def answer(hook: Hook) -> web.StreamResponse:
        return web.Response(status=number, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


class Receiver:
    """Listens on a port of `host`. `answer` may be changed at any time; handlers end when their client is gone."""

    def __init__(self, answer: Answer = accept, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.answer = answer
        self.hooks: list[Hook] = []
        self.most_at_once = 0
        self.most_of_one_subject = 0
        self._open: Counter[str] = Counter()
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        server = web.Server(self._take, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://{self._host}:{self._port}"

    def ids(self, subject: str = "") -> list[str]:
        """The ids of the events that came, in order; of one subject, if it is given."""
        return [hook.id for hook in self.hooks if subject in {"", hook.subject}]

    def of(self, id_: str) -> list[Hook]:
        """The requests for one event."""
        return [hook for hook in self.hooks if hook.id == id_]

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        hook = Hook(request, request.path_qs, headers, await request.read(), time.monotonic())
        self.hooks.append(hook)
        try:
            subject = hook.subject
        except (ValueError, KeyError, TypeError, RecursionError):
            subject = ""
        self._open[subject] += 1
        self.most_at_once = max(self.most_at_once, self._open.total())
        self.most_of_one_subject = max(self.most_of_one_subject, self._open[subject])
        try:
            answer = await self.answer(hook)
        finally:
            self._open[subject] -= 1
        return answer if isinstance(answer, web.StreamResponse) else web.Response(status=answer)


async def hang(hook: Hook) -> int:
    """No answer until the client goes away."""
    await asyncio.Event().wait()
    return 500
