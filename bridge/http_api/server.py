"""The bridge's own HTTP server: routes requests by the table of operations, behind the guard. Does nothing itself.

Health and metrics, the status page, and the control API under /v1, which steers through `Steering` and reads the log
over connections of its own. Everything is bounded: requests at once, followers, bodies, and what a follower holds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from bridge.errors import Declined, LogUnavailable
from bridge.http_api import guard, operation, problem
from bridge.http_api.body import LARGEST, read_json
from bridge.http_api.guard import Access
from bridge.http_api.operation import Call, Operation
from bridge.http_api.problem import Refused
from bridge.http_api.readers import Readers
from bridge.http_api.served import Readiness, Served
from bridge.http_api.table import operations
from bridge.ports import Steering
from bridge.redis_log import Keys, Server
from bridge.stop import Stop

MOST = 64
"""Requests that are worked on at once, probes not among them."""
WAITING = 512
"""Requests that wait for their turn; who asks for more is told to come again."""
FOLLOWERS = 64
"""Connections that follow /v1/events and /v1/live at once."""
PARTING = 2.0
"""Seconds that answers under way may take after a stop."""
LONGEST_LINE = 64 << 10
"""Bytes of a request's first line: many globs in a query are long."""
_PROBES = ("/livez", "/readyz")
_quiet = logging.getLogger(f"{__name__}.parser")
_quiet.setLevel(logging.CRITICAL)  # bytes that are no HTTP are the client's mistake, and no stack trace of ours
_JUDGED = ("Host", "Origin", "Sec-Fetch-Site", "Authorization")


class HttpApi:
    """What `http.listen` serves. `access` may be replaced at any time: the next request is judged by it."""

    def __init__(
        self, *, access: Access, alive: Callable[[], dict[str, str]], readiness: Callable[[], Readiness],
        metrics: Callable[[], Awaitable[bytes]], steering: Steering, server: Server, keys: Sequence[Keys],
        schemas: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.access = access
        self._stop = Stop()
        self._readers = Readers(server, keys)
        served = Served(alive, readiness, metrics, steering, self._readers, schemas, self._stop)
        self._operations = operations(served)
        self._loopback = True
        self._working = 0
        self._room = asyncio.Semaphore(MOST)
        self._following = 0
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the address can't be had."""
        self._loopback = guard.is_loopback(host)
        application = web.Application(middlewares=[self._answer], client_max_size=LARGEST)
        for path, those in _by_path(self._operations).items():
            pattern = path.replace("{letter}", "{letter:(?!retry$)[^/]+}")
            for each in those:
                application.router.add_route(each.method, pattern, self._handler(each))
                if each.method == "GET":
                    application.router.add_route("HEAD", pattern, self._handler(each))
            application.router.add_route("OPTIONS", pattern, _options(those))
        application.on_response_prepare.append(_signed)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=PARTING, logger=_quiet, max_line_size=LONGEST_LINE
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def stop(self) -> None:
        """Stop listening, end what is followed, and close the connections to the log."""
        self._stop.set()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._readers.close()

    @web.middleware
    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Judge first, then handle; whatever is refused becomes problem details."""
        try:
            guard.judge(self.access, _came(request), loopback=self._loopback, free=_is_free(request))
            return await handler(request)
        except Refused as refused:
            return problem.response(refused)
        except Declined as declined:
            return problem.response(problem.of_declined(declined))
        except LogUnavailable as error:
            return problem.response(problem.of_unavailable(error))
        except web.HTTPException as error:
            return problem.response(_of_library(error))
        except Exception:
            logging.getLogger(__name__).exception("a request failed: %s %s", request.method, request.rel_url.raw_path)
            return problem.response(Refused(500, "the bridge made a mistake; its log says which"))

    def _handler(self, each: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if each.follows:
                return await self._followed(each, request)
            if each.path in _PROBES:
                return await each.handler(Call(request, {}))
            if self._working >= MOST + WAITING:
                raise Refused(503, "too many requests are worked on at once", headers={"Retry-After": "1"})
            self._working += 1
            try:
                async with self._room:
                    return await each.handler(await _call(each, request))
            finally:
                self._working -= 1

        return handle

    async def _followed(self, each: Operation, request: web.Request) -> web.StreamResponse:
        call = await _call(each, request)
        if self._following >= FOLLOWERS:
            raise Refused(503, f"{FOLLOWERS} connections follow the log already", headers={"Retry-After": "10"})
        self._following += 1
        try:
            return await each.handler(call)
        finally:
            self._following -= 1


async def _signed(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "runbridge"  # not which versions of what


async def _call(each: Operation, request: web.Request) -> Call:
    """The request as the operation wants it. Raises Refused."""
    path, query = operation.path_of(request), operation.read_query(request, each.query)
    if each.body is None:
        return Call(request, path, query)
    body = await read_json(request, each.body.types, required=each.body.required)
    if isinstance(each.body.kind, type):
        body = operation.read_struct(each.body.kind, body)
    elif not isinstance(body, dict):
        raise Refused(422, "the body can't be used: expected an object")
    return Call(request, path, query, body)


def _came(request: web.Request) -> guard.Came:
    headers = {name: request.headers.getall(name, ()) for name in _JUDGED}
    return guard.came_of(request.method, request.path, headers)


def _is_free(request: web.Request) -> bool:
    return request.path in (*_PROBES, "/")


def _by_path(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    for each in operations:
        found.setdefault(each.path, []).append(each)
    return found


def _options(those: Sequence[Operation]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    methods: set[str] = {each.method for each in those}
    allow = ", ".join(sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}))

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=204, headers={"Allow": allow})

    return answer


def _of_library(error: web.HTTPException) -> Refused:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return Refused(405, f"this can be asked by {allow} only", headers={"Allow": allow})
    if error.status == 404:
        return Refused(404, "there is nothing here; /v1 and /v1/openapi.json say what there is")
    return Refused(error.status, error.text or error.reason)
