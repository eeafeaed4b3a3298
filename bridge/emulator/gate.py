"""Stands before every upstream call: records the request, lets faults happen, and asks for the key."""

import asyncio
import contextlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web

from bridge.emulator.answers import VERSION_HEADER, anchor_error, bctrl_error, no_route, proxy_error
from bridge.emulator.state import BODY_KEPT, RequestRecord, State
from bridge.emulator.waits import body_of

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
            with state.waiting(request) if call.path.endswith("/wait") else contextlib.nullcontext():
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
    if faults.wrong_generation and not _generations(call, request).isdisjoint(faults.wrong_generation):
        return proxy_error(404) if faults.wrong_generation_body == "html" else no_route(request)
    if state.faults.refuses(call.name):
        return _refusal(call, faults.status, faults.status_body, faults.retry_after)
    if not _key_fits(call, request, state.options.api_key):
        return _unauthorized(call)
    follows = call.path.endswith(("/stream", "/wait"))
    if call.provider == "bctrl" and await _has_cursor(request) and state.faults.expires(call.name, follows=follows):
        return bctrl_error(faults.expired_status, "The cursor is unknown or has expired.", faults.expired_code)
    return None


async def _has_cursor(request: web.Request) -> bool:
    """Whether the request says where it wants to go on, in any of the ways that there are."""
    if any(request.query.get(name) for name in ("cursor", "after")) or request.headers.get("Last-Event-ID"):
        return True
    body = body_of(await request.read()) if request.method == "POST" else None
    return bool(body and body.get("cursor"))


def _generations(call: Call, request: web.Request) -> frozenset[str]:
    """All that the fault wrong_generation may know this request by."""
    return frozenset((call.name, request.headers.get(VERSION_HEADER) or request.path.split("/")[1]))


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
