"""Serves operations and invocations: get, wait and cancel, as in the documents of the waits and as in June 2026.

No document shows what get and cancel answer; here it is the operation or invocation itself, and a second cancel, or
one that comes too late, changes nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Literal

from aiohttp import web

from bridge.emulator.answers import bctrl_error, json_answer
from bridge.emulator.faults import PollFault
from bridge.emulator.state import State
from bridge.emulator.waits import AT_ONCE, MAX_MS, Answer, body_of, bounded, give, hang, timeout_ms
from bridge.emulator.wire import encode
from bridge.emulator.work_bodies import invocation, operation
from bridge.emulator.works import Snapshot, Work, Works

Noun = Literal["operation", "invocation"]


class WorkCalls:
    """The handlers of operations, or of invocations."""

    def __init__(self, state: State, noun: Noun) -> None:
        self._state = state
        self._noun = noun
        self._body: Callable[[Snapshot], dict[str, object]] = operation if noun == "operation" else invocation

    @property
    def _works(self) -> Works:
        return self._state.operations if self._noun == "operation" else self._state.invocations

    async def get(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/<noun>s/{id}`."""
        work = self._find(request)
        return self._missing() if work is None else json_answer(self._body(work.look()))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/<noun>s/{id}/cancel`."""
        work = self._find(request)
        return self._missing() if work is None else json_answer(self._body(work.cancel()))

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/<noun>s/{id}/wait`: 200 `{<noun>, timedOutWaiting}`, at the end of the work or of `timeoutMs`."""
        work, milliseconds = self._find(request), timeout_ms(await request.read())
        if work is None:
            return self._missing()
        if milliseconds is None:
            return bctrl_error(400, f"timeoutMs must be an integer from 0 to {MAX_MS}.")
        now, fault = await self._wait(work, milliseconds / 1000)
        thing = None if fault == "empty" else encode(self._body(now))
        answer = Answer(self._noun, thing, {"timedOutWaiting": not now.terminal and fault != "empty"})
        if fault == "instant-timeout":
            answer = answer._replace(rest={"timedOutWaiting": True})
        return await give(request, answer, fault, self._state.faults.settings)

    async def wait_flat(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/runtimes/{rid}/invocations/{id}/wait`: the fields themselves, and `waitStatus`.

        The time is `timeoutSeconds`, as the OpenAPI document of June 2026 has it, or `timeoutMs`, as its SDK does.
        """
        work, raw = self._find(request), await request.read()
        if work is None:
            return self._missing()
        seconds = (body_of(raw) or {}).get("timeoutSeconds")
        milliseconds = timeout_ms(raw) if seconds is None else bounded(seconds, MAX_MS // 1000, 1000)
        if milliseconds is None:
            return bctrl_error(400, f"timeoutSeconds must be an integer from 0 to {MAX_MS // 1000}.")
        now, fault = await self._wait(work, milliseconds / 1000)
        completed = now.terminal and fault != "instant-timeout"
        status = {"waitStatus": "completed"} if completed else {"waitStatus": "timeout", "retryAfterSeconds": 1}
        answer = Answer("", encode({"action": "act", **self._body(now)}), status)
        return await give(request, answer, fault, self._state.faults.settings)

    async def _wait(self, work: Work, seconds: float) -> tuple[Snapshot, PollFault]:
        """The work at its end or that of the time, and what is to go wrong with the answer."""
        fault = self._state.faults.spoils_poll(f"{self._noun}-wait")
        if fault == "hang":
            await hang()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (0 if fault in AT_ONCE else seconds)
        while not (now := work.look()).terminal and (left := deadline - loop.time()) > 0:
            due = work.next_due()
            await work.changed.wait(left if due is None else min(left, due))
        return now, fault

    def _find(self, request: web.Request) -> Work | None:
        return self._works.find(request.match_info["id"])

    def _missing(self) -> web.Response:
        return bctrl_error(404, "The requested resource was not found.", f"{self._noun}.not_found")
