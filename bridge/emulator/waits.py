"""Answers a wait of bctrl, spoiled where a fault says so. Knows neither runs nor operations.

Every wait has the same form: one thing that is waited for (`event`, `operation`, `invocation`), and a flag that says
whether the time was up first.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import NamedTuple

from aiohttp import web

from bridge.emulator.answers import json_bytes, sever
from bridge.emulator.faults import FaultSettings, PollFault
from bridge.emulator.wire import NOT_OBJECT, encode, padded, without_id

# No document of these generations gives the figures; they are those of the oldest documented wait.
DEFAULT_MS, MAX_MS = 30_000, 120_000
AT_ONCE: frozenset[PollFault] = frozenset({"empty", "instant-timeout"})  # these don't wait


class Answer(NamedTuple):
    """What a wait found: a thing under its name (JSON; None: null), and whatever else is said beside it."""

    name: str  # empty: the fields of the thing stand beside the rest
    thing: bytes | None
    rest: Mapping[str, object]


def timeout_ms(body: bytes) -> int | None:
    """`timeoutMs` of a request; None where it has no meaning."""
    fields = body_of(body)
    return None if fields is None else bounded(fields.get("timeoutMs", DEFAULT_MS), MAX_MS)


def bounded(value: object, most: int, unit: int = 1) -> int | None:
    """A whole number from 0 to `most`, in units; None for anything else."""
    return value * unit if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most else None


def body_of(raw: bytes) -> dict[str, object] | None:
    """The JSON object of a request; an empty body is an empty object, anything else is None."""
    try:
        body = json.loads(raw or b"{}")
    except (ValueError, RecursionError):  # the second: nested too deeply
        return None
    return body if isinstance(body, dict) else None


async def hang() -> None:
    """Never returns: only the client's going, or the emulator's stop, ends it."""
    await asyncio.Event().wait()


async def give(request: web.Request, found: Answer, fault: PollFault, settings: FaultSettings) -> web.StreamResponse:
    """Sends the answer as the fault has it."""
    thing = found.thing
    if thing is not None and fault in ("huge", "no-id", "not-object"):
        thing = _spoiled(thing, fault, settings.huge_bytes)
    if fault == "null-cursor" and thing is not None and "cursor" in found.rest:
        found = found._replace(rest={**found.rest, "cursor": None})
    body = _whole(found._replace(thing=thing))
    if fault == "lost-answer":
        return await sever(request)
    if fault == "bad-json":
        return json_bytes(body[: len(body) // 2])
    if fault == "cut" or settings.slow:
        return await in_halves(request, body, settings.slow, whole=fault != "cut")
    return json_bytes(body)


def _whole(found: Answer) -> bytes:
    thing = b"null" if found.thing is None else found.thing
    rest = b"".join(b",%b:%b" % (encode(name), encode(value)) for name, value in found.rest.items())
    if found.name:
        return b"{%b:%b%b}" % (encode(found.name), thing, rest)
    return thing[:-1] + rest + b"}" if thing.startswith(b"{") else thing


def _spoiled(thing: bytes, fault: PollFault, huge_bytes: int) -> bytes:
    if fault == "huge":
        return padded(thing, huge_bytes)
    return without_id(thing) if fault == "no-id" else NOT_OBJECT


async def in_halves(request: web.Request, body: bytes, pause: float, *, whole: bool = True) -> web.StreamResponse:
    """Sends half of a JSON body, and after so many seconds the other half, or a reset."""
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    middle = len(body) // 2
    await response.prepare(request)
    await response.write(body[:middle])
    await asyncio.sleep(pause)
    if not whole:
        return await sever(request)
    await response.write(body[middle:])
    await response.write_eof()
    return response
