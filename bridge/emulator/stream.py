"""Serves `GET /v1|v2/runs/{id}/events/stream`: the events of a run as Server-Sent Events, live, until it ends."""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping

from aiohttp import web

from bridge.emulator import wire
from bridge.emulator.answers import bctrl_error, sever
from bridge.emulator.faults import Fate, FaultSettings
from bridge.emulator.filters import Filter
from bridge.emulator.runs import Run
from bridge.emulator.state import State

BLOCK_BYTES = 128 * 1024  # about so much is written at once to a client that lags
BLOCK_EVENTS = 1024


class RunEventsStream:
    """The handler of one API version; `names` are its filters."""

    def __init__(self, state: State, names: Mapping[str, str]) -> None:
        self._state = state
        self._names = names

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """200 and frames from after the cursor; 404 for an unknown run, 400 for a cursor that it never had."""
        run = self._state.runs.find(request.match_info["id"])
        if run is None:
            return bctrl_error(404, "Run not found or not visible to actor")
        position = self._position(request, run)
        if position is None:
            return bctrl_error(400, "The cursor is unknown or has expired.", "pagination.cursor_invalid")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        follower = Follower(
            state=self._state,
            request=request,
            response=response,
            run=run,
            position=position,
            wanted=Filter(request.query, self._names),
        )
        with self._state.streaming(request), contextlib.suppress(ConnectionError):  # the client may go at any time
            await response.prepare(request)
            await follower.follow()
        return response

    def _position(self, request: web.Request, run: Run) -> int | None:
        faults = self._state.faults.settings
        cursor = request.query.get("cursor") or request.headers.get("Last-Event-ID")
        if not cursor or faults.ignore_cursor:
            return run.oldest()
        position = run.position(cursor)
        return None if position is None else max(run.oldest(), position - faults.replay_last)


class Follower:
    """One client on one run: where it is, what it was sent, and what goes wrong for it."""

    def __init__(
        self,
        *,
        state: State,
        request: web.Request,
        response: web.StreamResponse,
        run: Run,
        position: int,
        wanted: Filter,
    ) -> None:
        self._state = state
        self._request = request
        self._response = response
        self._run = run
        self._position = position
        self._wanted = wanted
        self._sent = 0
        self._quiet_since = time.monotonic()
        self._chance = random.Random(f"{state.options.seed}:{state.next_connection()}")

    async def follow(self) -> None:
        """Sends events until the run has ended, a fault ends the stream, or the client goes (CancelledError)."""
        going = True
        while going:
            faults = self._state.faults.settings
            self._position = max(self._position, self._run.oldest())  # it may lag by more than is kept
            if (fate := faults.after(self._sent)) != "send":
                going = await self._meet(fate)
            elif self._position < (head := self._run.head()):
                going = await self._send_block(head, faults)
                await asyncio.sleep(0)  # others get a turn, however fast this client reads
            elif self._run.status != "active":
                await self._send([wire.run_ended(self._run.ended())], faults)
                return
            else:
                await self._idle(faults)
            if going:
                await self._keep_alive(faults)

    async def _send_block(self, head: int, faults: FaultSettings) -> bool:
        story = self._run.story_alone()
        if story is not None and self._wanted.takes_all and faults.spare_frames:
            stop = min(head, self._position + max(1, min(BLOCK_EVENTS, BLOCK_BYTES // story.frame_bytes)))
            await self._write(story.frames(self._position, stop))
            self._sent += stop - self._position
            self._move(stop)
            return True
        stop, size = min(head, self._position + BLOCK_EVENTS), 0
        frames: list[bytes] = []
        while self._position < stop and size < BLOCK_BYTES:
            if self._wanted.takes_all or self._wanted.takes(self._run.traits(self._position)):
                made = list(wire.frames(self._run.event(self._position), faults))
                frames += made
                size += sum(map(len, made))
            self._move(self._position + 1)
        return await self._send(frames, faults)

    def _move(self, position: int) -> None:
        self._position = position
        self._run.read_to = max(self._run.read_to, position)

    async def _send(self, frames: list[bytes], faults: FaultSettings) -> bool:
        """Writes frames as the faults allow; False where the stream is over."""
        ready: list[bytes] = []
        fate: Fate = "send"
        for frame in frames:
            wired = frame.replace(b"\n", b"\r\n") if faults.crlf else frame
            if (fate := faults.before(self._sent, self._chance)) == "cut":
                ready.append(wired[: len(wired) // 2])
                break
            ready.append(wired)
            self._sent += 1
            if (fate := faults.after(self._sent)) != "send":
                break
        await self._write(b"".join(ready))
        return await self._meet(fate)

    async def _meet(self, fate: Fate) -> bool:
        """Carries out what happens to the stream; False where it is over."""
        if fate == "cut":
            await sever(self._request)
        elif fate == "hang":
            await asyncio.Event().wait()  # only the client's going, or the emulator's stop, ends this
        return fate == "send"

    async def _idle(self, faults: FaultSettings) -> None:
        beat = None if faults.heartbeats == "none" else self._next_heartbeat()
        until = [seconds for seconds in (self._run.next_due(), beat) if seconds is not None]
        await self._run.changed.wait(min(until, default=None))

    async def _keep_alive(self, faults: FaultSettings) -> None:
        if faults.heartbeats != "none" and not self._next_heartbeat():
            frame = wire.heartbeat(faults.heartbeats, wire.rfc3339(time.time()))
            await self._write(frame.replace(b"\n", b"\r\n") if faults.crlf else frame)

    def _next_heartbeat(self) -> float:
        return max(0.0, self._quiet_since + self._state.options.heartbeat - time.monotonic())

    async def _write(self, data: bytes) -> None:
        if data:
            await self._response.write(data)
            self._quiet_since = time.monotonic()
