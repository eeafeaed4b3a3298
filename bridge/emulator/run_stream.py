"""Serves `GET /v1/runs/{id}/stream`: the events and the trace of one run, in frames with ids of their own.

With BCTRL-Version a frame holds today's Event, and changes of control are told; without it the run event of late
July 2026. A frame id is made of the frame's place, so nothing is stored: the event at an index may have changes of
control before it, the start of a span, the event itself, and news of a span after it.
"""

import re

from aiohttp import web

from bridge.emulator.answers import VERSION_HEADER, bctrl_error
from bridge.emulator.faults import FaultSettings
from bridge.emulator.pulse import Pulse
from bridge.emulator.run_frames import ENDED, SPAN_STARTED, RunFrames
from bridge.emulator.runs import Run
from bridge.emulator.state import State
from bridge.emulator.stream import BLOCK_BYTES, BLOCK_EVENTS, Batch, send_feed
from bridge.emulator.today_query import BadQueryError

PARTS = frozenset(("trace", "events"))
COMMENT = b": heartbeat\n\n"


class RunStream:
    """The handler."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """200 and frames from after `after` or Last-Event-ID, or without them from the run's beginning; 404, 400."""
        run = self._state.runs.find(request.match_info["id"])
        if run is None:
            return bctrl_error(404, "The requested resource was not found.")
        parts = frozenset(request.query.getall("include", [])) or PARTS
        if unknown := sorted(parts - PARTS):
            raise BadQueryError(f"include must be trace or events, not {', '.join(unknown)}.")
        frames = RunFrames(run, self._state.controls, parts, today=VERSION_HEADER in request.headers)
        faults = self._state.faults.settings
        after = request.query.get("after") or request.headers.get("Last-Event-ID")
        if not after or faults.ignore_cursor:
            return await send_feed(request, self._state, _Feed(run, frames, run.oldest(), 0))
        place = _place(run, after)
        if place is None:
            raise BadQueryError(
                "after is no frame of this stream, or one that has expired.", "pagination.cursor_invalid"
            )
        index, slot = place
        if faults.replay_last:
            index, slot = max(run.oldest(), index - faults.replay_last), -1
        return await send_feed(request, self._state, _Feed(run, frames, index, slot + 1))


def _place(run: Run, id_: str) -> tuple[int, int] | None:
    """Index and slot of a frame; None where the run never had it or has forgotten it."""
    found = re.fullmatch(rf"rse_{run.code}(\d{{12}})(\d\d)", id_, re.ASCII)
    if found is None:
        return None
    index, slot = int(found[1]), int(found[2])
    last = index if SPAN_STARTED <= slot < ENDED else index - 1  # the event that was there by then
    if last >= 0 and run.position(run.made_id(last)) is None:
        return None
    return (index, SPAN_STARTED - 1) if slot == ENDED and index < run.head() else (index, slot)


class _Feed:
    """The feed: frames from a place on, and `run.ended`."""

    def __init__(self, run: Run, frames: RunFrames, index: int, slot: int) -> None:
        self._run = run
        self._frames = frames
        self._index = index
        self._slot = slot
        self._over = slot > ENDED

    @property
    def changed(self) -> Pulse:
        """The run's."""
        return self._run.changed

    def take(self, faults: FaultSettings) -> Batch | None:
        """The next block of frames, or the end."""
        run, head = self._run, self._run.head()
        if self._index < run.oldest():  # the client may lag by more than is kept
            self._index, self._slot = run.oldest(), 0
        if self._index < head:
            return self._block(min(head, self._index + BLOCK_EVENTS), faults)
        if waiting := self._frames.at(self._index, faults, since=self._slot):
            self._slot = waiting[-1][0] + 1
            return Batch([frame for _, frame in waiting])
        if self._over or run.status == "active":
            return None
        self._over = True
        if faults.frames_after_end:
            run.append_late(faults.frames_after_end)
        return Batch([] if faults.end_without_run_ended else [self._frames.ended(head, faults)])

    def next_due(self) -> float | None:
        """When the story goes on."""
        return self._run.next_due()

    def over(self) -> bool:
        """Whether the end was taken."""
        return self._over

    def heartbeat(self, faults: FaultSettings) -> bytes:  # noqa: ARG002 - as documented, whatever the fault says
        """A comment."""
        return COMMENT

    def _block(self, stop: int, faults: FaultSettings) -> Batch:
        made: list[bytes] = []
        size = 0
        while self._index < stop and size < BLOCK_BYTES:
            ready = [frame for _, frame in self._frames.at(self._index, faults, since=self._slot)]
            made += ready
            size += sum(map(len, ready))
            self._index, self._slot = self._index + 1, 0
        self._run.read_to = max(self._run.read_to, self._index)
        return Batch(made)
