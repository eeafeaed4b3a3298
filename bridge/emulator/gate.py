"""Stands before every upstream call: records the request, lets faults happen, and asks for the key."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web

from bridge.emulator.answers import anchor_error, bctrl_error, proxy_error
from bridge.emulator.state import BODY_KEPT, RequestRecord, State

CLIENT_GONE = 499  # in the request log: the client closed the connection before the answer was whole
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Call:
    """One upstream call: the name that faults, counts and the request log know it by, and its handler."""

    name: str
    provider: Literal["bctrl", "anchor"]
    method: str
    path: str
    handler: Handler


def gated(call: Call, state: State) -> Handler:
    """The handler of a call, behind the gate."""

    async def handle(request: web.Request) -> web.StreamResponse:
        record = await _record(call, request, state)
        try:
            stopped = await _stopped(call, request, state)
            answer = await call.handler(request) if stopped is None else stopped
        except asyncio.CancelledError:
            record.status = CLIENT_GONE
            raise
        record.status = answer.status
        return answer

    return handle


async def _record(call: Call, request: web.Request, state: State) -> RequestRecord:
    body = await request.read()
    record = RequestRecord(
        call=call.name,
        method=request.method,
        path=request.rel_url.raw_path,
        at=asyncio.get_running_loop().time(),
        query={name: request.query.getall(name) for name in request.query},
        headers={name.lower(): text for name, text in request.headers.items()},
        body=body[:BODY_KEPT],
    )
    state.requests.append(record)
    state.counts[call.name] += 1
    return record


async def _stopped(call: Call, request: web.Request, state: State) -> web.Response | None:
    """The answer that a request gets instead of its handler's; None where it may pass."""
    faults = state.faults.settings
    touched = faults.touches(call.name)
    if touched and faults.first_byte_delay:
        await asyncio.sleep(faults.first_byte_delay)
    if touched and faults.redirect_to:
        return web.Response(status=faults.redirect_status, headers={"Location": _target(faults.redirect_to, request)})
    if state.faults.refuses(call.name):
        return _refusal(call, faults.status, faults.status_body, faults.retry_after)
    return None if _key_fits(call, request, state.options.api_key) else _unauthorized(call)


def _target(redirect_to: str, request: web.Request) -> str:
    """The URL itself; an origin alone gets the path and query of the request."""
    alone = urlsplit(redirect_to).path in ("", "/")
    return f"{redirect_to.rstrip('/')}{request.rel_url.raw_path_qs}" if alone else redirect_to


def _refusal(call: Call, status: int, body: str, retry_after: str) -> web.Response:
    message = f"The request was answered with {status} by a fault."
    if body == "html":
        answer = proxy_error(status)
    elif body == "empty":
        answer = web.Response(status=status)
    else:
        answer = anchor_error(status, message) if call.provider == "anchor" else bctrl_error(status, message)
    if retry_after:
        answer.headers["Retry-After"] = retry_after
    return answer


def _key_fits(call: Call, request: web.Request, key: str) -> bool:
    if call.provider == "anchor":
        given = request.headers.get("anchor-api-key", "").strip()
    else:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
    return hmac.compare_digest(given.encode(), key.encode()) if key else bool(given)


def _unauthorized(call: Call) -> web.Response:
    if call.provider == "anchor":
        return anchor_error(401, "Unauthorized: send a valid key in the anchor-api-key header")
    return bctrl_error(401, "Authentication is required: send Authorization: Bearer <api-key>.")
