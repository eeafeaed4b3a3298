"""Sends a feed to one client as Server-Sent Events, with what goes wrong on the way. Knows no runs and no events."""

import asyncio
import contextlib
import random
import time
from typing import NamedTuple, Protocol

from aiohttp import web

from bridge.emulator.answers import sever
from bridge.emulator.faults import Fate, FaultSettings
from bridge.emulator.pulse import Pulse
from bridge.emulator.state import State

BLOCK_BYTES = 128 * 1024  # about so much is written at once to a client that lags
BLOCK_EVENTS = 1024


class Batch(NamedTuple):
    """Frames that are there now (line ends LF); with `joined`, one piece of so many frames that no fault touches."""

    frames: list[bytes]
    joined: int = 0


class Feed(Protocol):
    """What one client is sent, in order; it keeps the client's place."""

    @property
    def changed(self) -> Pulse:
        """Fires when there may be more."""

    def take(self, faults: FaultSettings) -> Batch | None:
        """The next frames, possibly none of those that were looked at; None where nothing is left now."""

    def next_due(self) -> float | None:
        """Seconds until there is more by itself; None where there won't be."""

    def over(self) -> bool:
        """Whether nothing will ever follow."""

    def heartbeat(self, faults: FaultSettings) -> bytes:
        """What keeps a quiet stream alive."""


async def send_feed(request: web.Request, state: State, feed: Feed) -> web.StreamResponse:
    """200, and the feed until it is over, a fault ends the stream, or the client goes."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    with state.streaming(request), contextlib.suppress(ConnectionError):  # the client may go at any time
        await response.prepare(request)
        await Follower(state, request, response, feed).follow()
    return response


class Follower:
    """One client: what it was sent, and what goes wrong for it."""

    def __init__(self, state: State, request: web.Request, response: web.StreamResponse, feed: Feed) -> None:
        self._state = state
        self._request = request
        self._response = response
        self._feed = feed
        self._sent = 0
        self._quiet_since = time.monotonic()
        self._chance = random.Random(f"{state.options.seed}:{state.next_connection()}")

    async def follow(self) -> None:
        """Sends the feed; CancelledError where the client goes."""
        going = True
        while going:
            faults = self._state.faults.settings
            if (fate := faults.after(self._sent)) != "send":
                going = await self._meet(fate)
            elif (batch := self._feed.take(faults)) is not None:
                going = await self._send(batch, faults)
                await asyncio.sleep(0)  # others get a turn, however fast this client reads
            elif self._feed.over():
                return
            else:
                await self._idle(faults)
            if going:
                await self._keep_alive(faults)

    async def _send(self, batch: Batch, faults: FaultSettings) -> bool:
        """Writes frames as the faults allow; False where the stream is over."""
        if batch.joined:
            await self._write(batch.frames[0])
            self._sent += batch.joined
            return True
        ready: list[bytes] = []
        fate: Fate = "send"
        for frame in batch.frames:
            wired = self._wired(frame, faults)
            if (fate := faults.before(self._sent, self._chance)) == "cut":
                ready.append(wired[: len(wired) // 2])
                break
            ready.append(wired)
            self._sent += 1
            if (fate := faults.after(self._sent)) != "send":
                break
            if faults.slow:
                await self._write(b"".join(ready))
                await asyncio.sleep(faults.slow)
                ready = []
        await self._write(b"".join(ready))
        return await self._meet(fate)

    def _wired(self, frame: bytes, faults: FaultSettings) -> bytes:
        crlf = faults.crlf or (faults.mixed_ends and self._sent % 2 == 0)
        return frame.replace(b"\n", b"\r\n") if crlf else frame

    async def _meet(self, fate: Fate) -> bool:
        """Carries out what happens to the stream; False where it is over."""
        if fate == "cut":
            await sever(self._request)
        elif fate == "hang":
            await asyncio.Event().wait()  # only the client's going, or the emulator's stop, ends this
        return fate == "send"

    async def _idle(self, faults: FaultSettings) -> None:
        beat = None if faults.heartbeats == "none" else self._next_heartbeat()
        until = [seconds for seconds in (self._feed.next_due(), beat) if seconds is not None]
        await self._feed.changed.wait(min(until, default=None))

    async def _keep_alive(self, faults: FaultSettings) -> None:
        if faults.heartbeats != "none" and not self._next_heartbeat():
            await self._write(self._wired(self._feed.heartbeat(faults), faults))

    def _next_heartbeat(self) -> float:
        return max(0.0, self._quiet_since + self._state.options.heartbeat - time.monotonic())

    async def _write(self, data: bytes) -> None:
        if data:
            await self._response.write(data)
            self._quiet_since = time.monotonic()
