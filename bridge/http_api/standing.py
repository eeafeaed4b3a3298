"""How the bridge stands: probes, metrics, the overview, the page, and what there is to ask. Changes nothing."""

from typing import Any, Literal

from aiohttp import web
from msgspec import Struct
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bridge.http_api.operation import Call, Operation, Says
from bridge.http_api.page import HEADERS, PAGE
from bridge.http_api.served import Served, answer
from bridge.overview import Overview


class Alive(Struct, frozen=True):
    """Whether the loops make progress; `problems` says which don't."""

    status: Literal["alive", "stuck"]
    problems: dict[str, str]


class Ready(Struct, frozen=True):
    """Whether the bridge does its job; `problems` says what is not in order."""

    status: Literal["ready", "not ready"]
    problems: dict[str, str]


class Index(Struct, frozen=True):
    """What there is to ask, by name: paths, of which those in braces are to be filled in."""

    links: dict[str, str]


class Standing:
    """The handlers. `document` and `links` are given once the whole table is known."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.document = b""
        self.links: dict[str, str] = {}

    def operations(self) -> list[Operation]:
        """The table of these."""
        text: dict[str, Any] = {"type": "string"}
        return [
            Operation("GET", "/livez", "getLiveness", "Whether the loops make progress", self._livez,
                [Says(200, "They do.", Alive), Says(503, "Some don't.", Alive)], free=True, tag="bridge"),
            Operation("GET", "/readyz", "getReadiness", "Whether everything is in order", self._readyz,
                [Says(200, "It is.", Ready), Says(503, "Something is not.", Ready)], free=True, tag="bridge"),
            Operation("GET", "/metrics", "getMetrics", "Metrics for Prometheus", self._metrics,
                [Says(200, "The metrics.", text, "text/plain")], refuses=(503,), tag="bridge"),
            Operation("GET", "/", "getPage", "The status page, without any data", self._page,
                [Says(200, "The page.", text, "text/html")], free=True, tag="bridge"),
            Operation("GET", "/v1", "getIndex", "What there is", self._index, [Says(200, "Links.", Index)],
                tag="bridge"),
            Operation("GET", "/v1/openapi.json", "getDocument", "This document", self._openapi,
                [Says(200, "The OpenAPI document.", {"type": "object"})], tag="bridge"),
            Operation("GET", "/v1/status", "getStatus", "How everything stands, at most a second ago", self._status,
                [Says(200, "The overview.", Overview)], refuses=(503,), tag="bridge"),
        ]  # fmt: skip

    async def _livez(self, _call: Call) -> web.StreamResponse:
        problems = self._served.alive()
        return answer(Alive("stuck" if problems else "alive", problems), 503 if problems else 200)

    async def _readyz(self, _call: Call) -> web.StreamResponse:
        readiness = self._served.readiness()
        status: Literal["ready", "not ready"] = "ready" if readiness.ready else "not ready"
        return answer(Ready(status, readiness.problems), 200 if readiness.ready else 503)

    async def _metrics(self, _call: Call) -> web.StreamResponse:
        return answer(await self._served.metrics(), content_type=CONTENT_TYPE_LATEST)

    async def _page(self, _call: Call) -> web.StreamResponse:
        return web.Response(body=PAGE, headers=HEADERS)

    async def _index(self, _call: Call) -> web.StreamResponse:
        return answer(Index(self.links))

    async def _openapi(self, _call: Call) -> web.StreamResponse:
        return answer(self.document)

    async def _status(self, _call: Call) -> web.StreamResponse:
        return answer(await self._served.steering.overview())
