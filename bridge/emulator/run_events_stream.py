"""Serves `GET /v1|v2/runs/{id}/events/stream`: the events of a run as Server-Sent Events, live, until it ends."""

import time
from collections.abc import Mapping

from aiohttp import web

from bridge.emulator import wire
from bridge.emulator.answers import bctrl_error
from bridge.emulator.faults import FaultSettings
from bridge.emulator.filters import Filter
from bridge.emulator.pulse import Pulse
from bridge.emulator.runs import Run
from bridge.emulator.state import State
from bridge.emulator.stream import BLOCK_BYTES, BLOCK_EVENTS, Batch, send_feed


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
        return await send_feed(request, self._state, RunEvents(run, position, Filter(request.query, self._names)))

    def _position(self, request: web.Request, run: Run) -> int | None:
        faults = self._state.faults.settings
        cursor = request.query.get("cursor") or request.headers.get("Last-Event-ID")
        if not cursor or faults.ignore_cursor:
            return run.oldest()
        position = run.position(cursor)
        return None if position is None else max(run.oldest(), position - faults.replay_last)


class RunEvents:
    """The feed: `run.event` frames from a position on, and `run.ended`."""

    def __init__(self, run: Run, position: int, wanted: Filter) -> None:
        self._run = run
        self._position = position
        self._wanted = wanted
        self._ended = False

    @property
    def changed(self) -> Pulse:
        """The run's."""
        return self._run.changed

    def take(self, faults: FaultSettings) -> Batch | None:
        """The next block of events, or the end."""
        self._position = max(self._position, self._run.oldest())  # the client may lag by more than is kept
        if self._position < (head := self._run.head()):
            return self._block(head, faults)
        if self._ended or self._run.status == "active":
            return None
        self._ended = True
        self._run.append_late(faults.frames_after_end)
        return Batch([] if faults.end_without_run_ended else [wire.run_ended(self._run.ended())])

    def next_due(self) -> float | None:
        """When the story goes on."""
        return self._run.next_due()

    def over(self) -> bool:
        """Whether the end was taken, and all that came late."""
        return self._ended and self._position >= self._run.head()

    def heartbeat(self, faults: FaultSettings) -> bytes:
        """An event, as documented, or a comment."""
        return wire.heartbeat(faults.heartbeats, wire.rfc3339(time.time()))

    def _block(self, head: int, faults: FaultSettings) -> Batch:
        story = self._run.story_alone()
        if story is not None and self._wanted.takes_all and faults.spare_frames:
            start, room = self._position, max(1, min(BLOCK_EVENTS, BLOCK_BYTES // story.frame_bytes))
            self._move(min(head, start + room))
            return Batch([story.frames(start, self._position)], joined=self._position - start)
        stop, size = min(head, self._position + BLOCK_EVENTS), 0
        frames: list[bytes] = []
        while self._position < stop and size < BLOCK_BYTES:
            if self._wanted.takes_all or self._wanted.takes(self._run.traits(self._position)):
                made = list(wire.frames(self._run.event(self._position), faults))
                frames += made
                size += sum(map(len, made))
            self._move(self._position + 1)
        return Batch(frames)

    def _move(self, position: int) -> None:
        self._position = position
        self._run.read_to = max(self._run.read_to, position)
