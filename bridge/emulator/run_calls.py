"""Serves the calls about runs that are no stream: list, get, wait, and the list of a run's events."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from bridge.emulator.answers import bctrl_error, json_answer, json_bytes
from bridge.emulator.filters import LIST, Filter
from bridge.emulator.runs import Run
from bridge.emulator.state import State
from bridge.emulator.waits import MAX_MS, timeout_ms
from bridge.emulator.wire import encode

# No document of this generation gives these figures.
DEFAULT_LIMIT, MAX_LIMIT = 50, 1000
SCAN = 100_000  # so many events at most are looked at for one page; a short page with a cursor may follow

NOT_FOUND = "The requested resource was not found."


class RunCalls:
    """The handlers, each named after its call."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def runs(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs`: `{data, nextCursor}`, oldest first; filter `status`; the cursor is the last run's id."""
        limit = _limit(request.query)
        if limit is None:
            return _bad_limit()
        wanted = frozenset(request.query.getall("status", []))
        runs = {run.id: run for run in self._state.runs if not wanted or run.status in wanted}
        ids, cursor = list(runs), request.query.get("cursor")
        if cursor and cursor not in runs:
            return _bad_cursor()
        start = ids.index(cursor) + 1 if cursor else 0
        page = ids[start : start + limit]
        more = start + limit < len(ids)
        return json_answer({"data": [runs[id_].describe() for id_ in page], "nextCursor": page[-1] if more else None})

    async def run(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs/{id}`."""
        run = self._find(request)
        return bctrl_error(404, NOT_FOUND) if run is None else json_answer(run.describe())

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/runs/{id}/wait`: the run, with `waitStatus` "completed" or "timeout".

        Only an SDK knows this call; the field is that of the documented wait for an invocation.
        """
        run, milliseconds = self._find(request), timeout_ms(await request.read())
        if run is None:
            return bctrl_error(404, NOT_FOUND)
        if milliseconds is None:
            return bctrl_error(400, f"timeoutMs must be an integer from 0 to {MAX_MS}.")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + milliseconds / 1000
        while run.status == "active" and (left := deadline - loop.time()) > 0:
            due = run.next_due()
            await run.changed.wait(left if due is None else min(left, due))
        status = "timeout" if run.status == "active" else "completed"
        return json_answer({**run.describe(), "waitStatus": status})

    async def events(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs/{id}/events`: `{data, nextCursor}`, oldest first; the cursor is the last event's id."""
        run, limit = self._find(request), _limit(request.query)
        if run is None:
            return bctrl_error(404, NOT_FOUND)
        if limit is None:
            return _bad_limit()
        cursor = request.query.get("cursor")
        start = run.position(cursor) if cursor else run.oldest()
        if start is None:
            return _bad_cursor()
        bodies, next_cursor = _page(run, start, limit, Filter(request.query, LIST))
        return json_bytes(b'{"data":[%b],"nextCursor":%b}' % (b",".join(bodies), encode(next_cursor)))

    def _find(self, request: web.Request) -> Run | None:
        return self._state.runs.find(request.match_info["id"])


def _page(run: Run, start: int, limit: int, wanted: Filter) -> tuple[list[bytes], str | None]:
    """Up to `limit` bodies from `start` on, and the id to go on after; None where there is nothing after it."""
    head = run.head()
    bodies: list[bytes] = []
    for index in range(start, min(head, start + SCAN)):
        run.read_to = max(run.read_to, index + 1)
        if wanted.takes(run.traits(index)) and (event := run.event(index)).raw is None:
            bodies.append(event.body)
        if len(bodies) == limit or index + 1 == start + SCAN:
            return bodies, run.event(index).id if index + 1 < head else None
    return bodies, None


def _limit(query: Mapping[str, str]) -> int | None:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not text.isascii() or not text.isdigit() or not int(text):
        return None
    return min(int(text), MAX_LIMIT)


def _bad_limit() -> web.Response:
    return bctrl_error(400, f"limit must be an integer of at least 1; more than {MAX_LIMIT} counts as {MAX_LIMIT}.")


def _bad_cursor() -> web.Response:
    return bctrl_error(400, "The cursor is unknown or has expired.", "pagination.cursor_invalid")
