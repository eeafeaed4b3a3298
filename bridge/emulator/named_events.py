"""Holds signals and waiters by event name, and answers Anchor's two calls. Knows no runs.

What the documents leave open is decided so: a name has a queue; each signal wakes one waiter, the one that has
waited longest; without a waiter it is remembered, up to `remember` a name, the oldest going first.
"""

import asyncio
from collections import deque

from aiohttp import web

from bridge.emulator.answers import anchor_error, json_answer, json_bytes, proxy_error, sever
from bridge.emulator.faults import Faults
from bridge.emulator.waits import body_of, in_halves
from bridge.emulator.wire import encode

DEFAULT_TIMEOUT_MS = 60_000  # "Defaults to 60000ms (1 minute)"
MAX_TIMEOUT_MS = 3_600_000  # no maximum is documented; this bounds what one connection can hold
MAX_NAMES = 10_000
NOT_SIGNALED = "Event was not signaled within the specified timeout"


class NoRoomError(Exception):
    """There are MAX_NAMES names with remembered signals already."""


class NamedEvents:
    """Signals that nobody has taken, and waiters that have got none."""

    def __init__(self, *, remember: int) -> None:
        self._remember = remember
        self._signals: dict[str, deque[object]] = {}
        self._waiters: dict[str, deque[asyncio.Future[object]]] = {}
        self.forgotten = 0  # signals dropped because a name had `remember` of them

    def signal(self, name: str, data: object) -> None:
        """Wakes the longest waiter, or remembers the signal; NoRoomError where there is no room for the name."""
        waiters = self._waiters.get(name, deque())
        while waiters:
            waiter = waiters.popleft()
            if not waiters:
                del self._waiters[name]
            if not waiter.done():
                waiter.set_result(data)
                return
        if name not in self._signals and len(self._signals) >= MAX_NAMES:
            raise NoRoomError
        signals = self._signals.setdefault(name, deque())
        signals.append(data)
        if len(signals) > self._remember:
            signals.popleft()
            self.forgotten += 1

    def join(self, name: str) -> asyncio.Future[object]:
        """A waiter for the next signal of this name; done at once where one is remembered."""
        waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if signals := self._signals.get(name):
            waiter.set_result(signals.popleft())
            if not signals:
                del self._signals[name]
        else:
            self._waiters.setdefault(name, deque()).append(waiter)
        return waiter

    def leave(self, name: str, waiter: asyncio.Future[object]) -> None:
        """Ends a wait; a signal that had come to it and reached nobody goes to the next, or first in the queue."""
        if not waiter.done():
            self.forget(name, waiter)
        elif self._waiters.get(name):
            self.signal(name, waiter.result())
        else:
            self._signals.setdefault(name, deque()).appendleft(waiter.result())

    def forget(self, name: str, waiter: asyncio.Future[object]) -> None:
        """Takes a waiter off the list; a signal that had come to it is gone."""
        waiters = self._waiters.get(name, deque())
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[name]

    def forget_all(self) -> None:
        """Forgets every signal and every waiter."""
        self._signals.clear()
        self._waiters.clear()

    def describe(self) -> dict[str, object]:
        """How many signals are remembered and how many waiters there are, by name."""
        return {
            "remembered": {name: len(signals) for name, signals in self._signals.items()},
            "waiting": {name: len(waiters) for name, waiters in self._waiters.items()},
            "forgotten": self.forgotten,
        }


class SignalEvent:
    """`POST /v1/events/{event_name}`."""

    def __init__(self, events: NamedEvents) -> None:
        self._events = events

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """200 `{"data":{"status":"signaled"}}`; 400 without data, which has to be an object."""
        data = (body_of(await request.read()) or {}).get("data")
        if not isinstance(data, dict):
            return anchor_error(400, "Event data is required")
        try:
            self._events.signal(request.match_info["event_name"], data)
        except NoRoomError:
            return anchor_error(500, f"Failed to signal event: {MAX_NAMES} names hold signals already")
        return json_answer({"data": {"status": "signaled"}})


class WaitForEvent:
    """`POST /v1/events/{event_name}/wait`."""

    def __init__(self, events: NamedEvents, faults: Faults) -> None:
        self._events = events
        self._faults = faults

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """200 with the data that was signaled, or 408 after `timeoutMs`."""
        body = body_of(await request.read())
        timeout_ms = None if body is None else body.get("timeoutMs", DEFAULT_TIMEOUT_MS)
        if type(timeout_ms) is not int or not 0 <= timeout_ms <= MAX_TIMEOUT_MS:
            return anchor_error(400, f"timeoutMs must be an integer from 0 to {MAX_TIMEOUT_MS}")
        name, fault = request.match_info["event_name"], self._faults.spoils_wait()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000
        waiter, abandoned = self._events.join(name), True
        try:
            if fault in SPOILING:
                await asyncio.sleep(self._faults.settings.wait_fault_after)
                return await _spoil(request, fault)
            done, _ = await asyncio.wait({waiter}, timeout=timeout_ms / 1000)
            abandoned = False
            if not done:
                self._events.forget(name, waiter)
                return anchor_error(408, NOT_SIGNALED)
            return await _answer(request, waiter.result(), fault, self._faults.settings.slow)
        finally:
            if abandoned and self._faults.settings.ghost_waiters:
                loop.call_at(deadline, self._events.forget, name, waiter)
            elif abandoned:
                self._events.leave(name, waiter)


SPOILING = frozenset({"504", "500", "cut", "early-408", "hang"})  # these end a wait whether or not a signal has come


async def _answer(request: web.Request, data: object, fault: str, slow: float) -> web.StreamResponse:
    body = encode({"data": data})
    if fault == "lost-answer":
        return await sever(request)
    if slow and not fault:
        return await in_halves(request, body, slow)
    return json_bytes(body[: len(body) // 2] if fault == "bad-json" else body)


async def _spoil(request: web.Request, fault: str) -> web.StreamResponse:
    if fault == "hang":
        await asyncio.Event().wait()  # only the client's going, or the emulator's stop, ends this
    if fault == "504":
        return proxy_error(504)
    if fault == "500":
        return anchor_error(500, "Failed to wait for event")
    return anchor_error(408, NOT_SIGNALED) if fault == "early-408" else await sever(request)
