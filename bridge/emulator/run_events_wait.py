"""Serves `POST /v1/runs/{id}/events/wait`: the next event of a run that fits, or the news that none came.

What the document leaves open is decided so: without a cursor a wait starts at the oldest event; a cursor stands after
the event that came with it, goes on over events that don't fit, and is no event id; `timeoutMs` is 30,000 unless it
is given, and at most 120,000; a run that is over has no next event, so that the wait lasts its time.
"""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from bridge.emulator.answers import bctrl_error
from bridge.emulator.faults import FaultSettings, PollFault
from bridge.emulator.filters import WAIT, Filter
from bridge.emulator.older_bodies import waited
from bridge.emulator.runs import Run
from bridge.emulator.state import State
from bridge.emulator.vocabulary import KINDS, ORIGINS
from bridge.emulator.waits import AT_ONCE, MAX_MS, Answer, body_of, give, hang, timeout_ms
from bridge.emulator.wire import Event

SCAN = 1000  # so many events are looked at before others get a turn


class RunEventsWait:
    """The handler."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """200 `{cursor, event, timedOut}`; 404 for an unknown run, 400 for a body or cursor without a meaning."""
        run, raw = self._state.runs.find(request.match_info["id"]), await request.read()
        if run is None:
            return bctrl_error(404, "The requested resource was not found.")
        body, milliseconds = body_of(raw), timeout_ms(raw)
        if body is None or milliseconds is None:
            return bctrl_error(400, f"The body must be an object, timeoutMs in it an integer from 0 to {MAX_MS}.")
        if wrong := _wrong(body):
            return bctrl_error(400, wrong)
        position = _position(run, body.get("cursor"), self._state.faults.settings)
        if position is None:
            return bctrl_error(400, "The cursor is unknown or has expired.", "pagination.cursor_invalid")
        fault = self._state.faults.spoils_poll("run-events-wait")
        if fault == "hang":
            await hang()
        event, deadline = None, asyncio.get_running_loop().time() + milliseconds / 1000
        if fault not in AT_ONCE:
            position, event = await _next(run, position, Filter(_Body(body), WAIT), deadline)
        settings = self._state.faults.settings
        if event is not None:
            position, fault = _cursor_place(run, event, settings), fault or _fault_at(event.index, settings)
        said = {"cursor": run.wait_cursor(position), "timedOut": event is None and fault != "empty"}
        thing = None if event is None else waited(event, run.id)
        return await give(request, Answer("event", thing, said), fault, settings)


class _Body(dict[str, list[str]]):
    """The filters of a JSON body, read as those of a query; an empty list filters nothing."""

    def __init__(self, body: Mapping[str, object]) -> None:
        for name in WAIT:
            value = body.get(name)
            if value:
                self[name] = value if isinstance(value, list) else [str(value)]

    def getall(self, key: str) -> list[str]:
        """All values of a key."""
        return self[key]


def _wrong(body: Mapping[str, object]) -> str:
    """What is wrong with the filters and the cursor of a request; empty where nothing is."""
    for name, choices in (("type", ()), ("kind", KINDS), ("source", ORIGINS)):
        values = body.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            return f"{name} must be an array of strings."
        if choices and not set(values) <= set(choices):
            return f"{name} must be among {', '.join(choices)}."
    for name in ("cursor", "connectionId", "pageId", "contextId"):
        if not isinstance(body.get(name, ""), str):
            return f"{name} must be a string."
    return ""


def _position(run: Run, cursor: object, settings: FaultSettings) -> int | None:
    """The index of the next event to look at; None for a cursor that the run never gave or has forgotten."""
    if not cursor:
        return run.oldest()
    position = run.wait_position(str(cursor))
    if position is not None and settings.replay_last and position > run.replayed_to:
        run.replayed_to = position
        return max(run.oldest(), position - settings.replay_last)
    return position


async def _next(run: Run, position: int, wanted: Filter, deadline: float) -> tuple[int, Event | None]:
    """The first event from a position on that fits, or None at the deadline; and where the search has come to."""
    loop = asyncio.get_running_loop()
    while True:
        position = max(position, run.oldest())
        for index in range(position, min(run.head(), position + SCAN)):
            position = index + 1
            run.read_to = max(run.read_to, position)
            if wanted.takes(run.traits(index)) and (event := run.event(index)).raw is None:
                return position, event
        left = deadline - loop.time()
        if left <= 0:
            return position, None
        if position < run.head():
            await asyncio.sleep(0)
        else:
            due = run.next_due()
            await run.changed.wait(left if due is None else min(left, due))


def _cursor_place(run: Run, event: Event, settings: FaultSettings) -> int:
    """Where the cursor beside an event stands: after it, unless it is to come twice and has not yet."""
    if settings.duplicate and event.index >= run.repeated_to:
        run.repeated_to = event.index + 1
        return event.index
    return event.index + 1


def _fault_at(index: int, settings: FaultSettings) -> PollFault:
    if index in settings.no_id_at:
        return "no-id"
    if index in settings.not_object_at:
        return "not-object"
    return "huge" if index in settings.huge_at else ""
