"""Serves the calls of today's API that are no stream: the account's Events, one Event, runs and one run."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from bridge.emulator.account_log import AccountLog
from bridge.emulator.answers import VERSION_HEADER, bctrl_error, json_answer
from bridge.emulator.gate import Handler
from bridge.emulator.runs import Run
from bridge.emulator.state import State
from bridge.emulator.today_query import BadQueryError, Page, Times, Wanted, page_of, seconds
from bridge.emulator.today_run import described

SCAN = 20_000  # so many Events at most are made for one page
MAX_WAIT = 60  # seconds; what the documents say of another call's `wait`
NOT_FOUND = "The requested resource was not found."


def by_version(older: Handler, today: Handler) -> Handler:
    """One route for two generations: a request with BCTRL-Version gets today's answer."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await (today if VERSION_HEADER in request.headers else older)(request)

    return handle


def refusing(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Handler:
    """The handler, its BadQueryError answered with 400."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except BadQueryError as wrong:
            return bctrl_error(400, str(wrong), wrong.code)

    return handle


class TodayCalls:
    """The handlers, each named after its call."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._order = _ByCreation()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/events`: `{data, hasMore, nextCursor}` by createdAt and id, the newest first unless `order` is asc.

        What has been committed is listed; runs of a known length that are told as fast as they are read are committed
        for it.
        """
        page, wanted, log = Page.of(request.query), Wanted(request.query), self._state.account
        log.catch_up()
        log.draw_whole()
        if page.after and page.after.number < log.oldest:
            raise BadQueryError("The cursor is unknown or has expired.", "pagination.cursor_invalid")

        def read(position: int) -> object | None:
            return log.wanted(position, wanted)

        return _listed(*page_of(self._order.keys(log), page, read, SCAN))

    async def event(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/events/{id}`."""
        found = self._state.account.find(request.match_info["id"])
        if found is None or found[0].event(found[1]).raw is not None:
            return bctrl_error(404, NOT_FOUND, "event.not_found")
        return json_answer(self._state.account.event(*found))

    async def webhooks(self, _: web.Request) -> web.StreamResponse:
        """`GET /v1/webhooks`: there are none; whoever looks first whether events are pushed already is told so."""
        return _listed([], None)

    async def runs(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs`: `{data, hasMore, nextCursor}` by createdAt and id, the newest first unless `order` is asc."""
        page = Page.of(request.query)
        times = Times(request.query)
        fields = ("status", "spaceId", "resourceId", "resourceType")
        asked = {name: frozenset(request.query.getall(name)) for name in fields if name in request.query}
        runs = list(self._state.runs)

        def read(number: int) -> object | None:
            run = described(runs[number], self._state.controls)
            fits = all(run[name] in values for name, values in asked.items()) and times.take(run)
            return run if fits else None

        keys = sorted((run.created, run.id, number) for number, run in enumerate(runs))
        return _listed(*page_of(keys, page, read, len(keys) + 1))

    async def run(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs/{id}`; with `wait` (seconds, at most 60) once it has ended, or after that time as it is."""
        run, wait = self._state.runs.find(request.match_info["id"]), request.query.get("wait", "0")
        if run is None:
            return bctrl_error(404, NOT_FOUND)
        if not wait.isascii() or not wait.isdigit() or int(wait) > MAX_WAIT:
            raise BadQueryError(f"wait must be a whole number of seconds from 0 to {MAX_WAIT}.")
        await _ended(run, int(wait))
        return json_answer(described(run, self._state.controls))


class _ByCreation:
    """The places of the account's order, sorted by createdAt and id; brought up to date when a list asks."""

    def __init__(self) -> None:
        self._log: AccountLog | None = None
        self._keys: list[tuple[float, str, int]] = []
        self._next = 0

    def keys(self, log: AccountLog) -> list[tuple[float, str, int]]:
        """(createdAt in seconds, id, place), ascending; after a restart without memory the log is another one."""
        if log is not self._log:
            self._log, self._keys, self._next = log, [], 0
        if self._keys and len(self._keys) > log.head - log.oldest + 1024:
            self._keys = [key for key in self._keys if key[2] >= log.oldest]
        new = [_key(log, position) for position in range(max(self._next, log.oldest), log.head)]
        self._next = log.head
        if new:
            self._keys += new
            self._keys.sort()  # nearly sorted already, which it makes use of
        return self._keys


def _key(log: AccountLog, position: int) -> tuple[float, str, int]:
    run, index = log.at(position)
    number, story = run.number(index), run.story
    if number is not None and story is not None:
        return seconds(story.time(number)), run.event(index).id, position
    event = log.event(run, index)
    return seconds(event["createdAt"]), str(event["id"]), position


async def _ended(run: Run, wait: float) -> None:
    """Returns when the run has ended, or after so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    while run.status == "active" and (left := deadline - loop.time()) > 0:
        due = run.next_due()
        await run.changed.wait(left if due is None else min(left, due))


def _listed(items: list[object], cursor: str | None) -> web.Response:
    return json_answer({"data": items, "hasMore": cursor is not None, "nextCursor": cursor})
