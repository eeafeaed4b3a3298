"""Health, metrics and single events on `http.listen`. Refuses to steer anything yet: the control API has its place.

`/livez`: the process answers. `/readyz`: Redis takes writes and the upstream refuses no source; the body
says what is not. `/metrics`: Prometheus text. `/v1/events/<id>`: the event that a thin webhook links to.
"""

import asyncio
import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bridge.errors import LogUnavailable
from bridge.event import Entry

LONGEST = 5.0
"""Seconds that the log may take to answer for one event."""
MOST = 64
"""Events that are looked up at once; who asks for more is told to come again."""

_event_id = re.compile(r"(?:(\d{1,6})-)?(\d{1,20}-\d{1,20})", re.ASCII).fullmatch
_LARGEST = 1 << 64
"""Both parts of an entry's id are below."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the bridge does its job, and in words what is not in order."""

    ready: bool
    problems: dict[str, str]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Find = Callable[[int, str], Awaitable[Entry | None]]
"""An entry of the log, by partition and id. Raises LogUnavailable."""


class HttpApi:
    """The bridge's own HTTP server. With a `token`, metrics and events are for its bearers only; probes carry none."""

    def __init__(
        self, readiness: Callable[[], Readiness], registry: CollectorRegistry, find: Find, *, token: str | None = None
    ) -> None:
        self._readiness = readiness
        self._registry = registry
        self._find = find
        self._finding = 0
        self._token = token
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the address can't be had."""
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._for_bearers(self._metrics))
        application.router.add_get("/v1/events/{id}", self._for_bearers(self._event))
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _for_bearers(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            given = request.headers.get("Authorization", "").encode(errors="surrogateescape")  # any bytes may be sent
            if self._token is not None and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
                challenge = {"WWW-Authenticate": "Bearer"}
                return web.json_response({"error": "a bearer token is needed"}, status=401, headers=challenge)
            return await handler(request)

        return guarded

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        readiness = self._readiness()
        body = {"status": "ready" if readiness.ready else "not ready", "problems": readiness.problems}
        return web.json_response(body, status=200 if readiness.ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _event(self, request: web.Request) -> web.Response:
        """The whole CloudEvent, byte for byte as it lies in the log."""
        parts = _event_id(request.match_info["id"])
        if parts is None or any(int(part) >= _LARGEST for part in parts[2].split("-")):
            return _problem(400, "expected <partition>-<milliseconds>-<number>, as a thin event's dataref has it")
        if self._finding >= MOST:
            return _problem(503, "too many events are looked up at once", {"Retry-After": "1"})
        self._finding += 1
        try:
            async with asyncio.timeout(LONGEST):
                entry = await self._find(int(parts[1] or 0), parts[2])
        except (LogUnavailable, TimeoutError):
            return _problem(503, "the log can't be read at the moment", {"Retry-After": "5"})
        finally:
            self._finding -= 1
        if entry is None:
            return _problem(404, "the log has no such entry, or not any more")
        headers = {"Content-Type": "application/cloudevents+json; charset=utf-8", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=entry.event, headers=headers)


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """RFC 9457, with no type of its own."""
    titles = {400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}
    body = {"title": titles[status], "status": status, "detail": detail}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")
