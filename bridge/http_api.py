"""Health and metrics on `http.listen`. Refuses to steer anything yet: the control API has its place here.

`/livez`: the process answers. `/readyz`: Redis takes writes and the upstream refuses no source; the body
says what is not. `/metrics`: Prometheus text.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the bridge does its job, and in words what is not in order."""

    ready: bool
    problems: dict[str, str]


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpApi:
    """The bridge's own HTTP server. With a `token`, metrics are for its bearers only; probes carry none."""

    def __init__(
        self, readiness: Callable[[], Readiness], registry: CollectorRegistry, *, token: str | None = None
    ) -> None:
        self._readiness = readiness
        self._registry = registry
        self._token = token
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the address can't be had."""
        application = web.Application()
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        readiness = self._readiness()
        body = {"status": "ready" if readiness.ready else "not ready", "problems": readiness.problems}
        return web.json_response(body, status=200 if readiness.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")  # any bytes may be sent
        if self._token is not None and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            challenge = {"WWW-Authenticate": "Bearer"}
            return web.json_response({"error": "a bearer token is needed"}, status=401, headers=challenge)
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
