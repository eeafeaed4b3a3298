"""Writes the frames of `GET /v1/runs/{id}/stream`: what an event, a span, a change of control or the end looks like.

A frame belongs to an event of the run and has a slot beside it; index and slot are its id, so that nothing is stored.
"""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bridge.emulator import today_event
from bridge.emulator.control_changes import ControlChanges
from bridge.emulator.faults import FaultSettings
from bridge.emulator.runs import Run
from bridge.emulator.story import VISIT
from bridge.emulator.today_event import Fields
from bridge.emulator.today_run import STATUSES
from bridge.emulator.wire import Event, Traits, encode, frames, rfc3339, today_frame

# The slots, ascending: changes of control come first, from 0 on.
SPAN_STARTED, EVENT, SPAN_NEWS, ENDED = 60, 70, 80, 99

# Event type: what it says of the command's span, and the span's status after it.
_COMMAND: Mapping[object, tuple[str, str]] = {
    "connection.command.started": ("span.started", "running"),
    "connection.command.updated": ("span.updated", "running"),
    "connection.command.finished": ("span.completed", "succeeded"),
    "connection.command.failed": ("span.completed", "failed"),
}


class _Said(NamedTuple):
    """What a frame says: its slot, its type, when, and the fields of that type; or raw bytes in its place."""

    slot: int
    type: str
    timestamp: object
    fields: Fields
    raw: bytes | None = None


class RunFrames:
    """The frames of one run for one client: `parts` are "trace", "events" or both; `today`, with BCTRL-Version."""

    def __init__(self, run: Run, controls: ControlChanges, parts: frozenset[str], *, today: bool) -> None:
        self._run = run
        self._controls = controls
        self._parts = parts
        self._today = today

    def at(self, index: int, faults: FaultSettings, *, since: int) -> list[tuple[int, bytes]]:
        """(slot, frame) of all that belongs to an index, from the slot `since` on."""
        said = self._changes(index) if self._today else iter(())
        found = [
            each for each in (*said, *(self._told(index) if index < self._run.head() else ())) if each.slot >= since
        ]
        return [(each.slot, frame) for each in found for frame in self._framed(index, each, faults)]

    def ended(self, index: int, faults: FaultSettings) -> bytes:
        """The last frame of a run with `index` events."""
        state = self._run.ended()
        status = STATUSES[self._run.status] if self._today else state["status"]
        (frame, *_) = self._framed(index, _Said(ENDED, "run.ended", state["finishedAt"], {"status": status}), faults)
        return frame

    def _changes(self, index: int) -> Iterator[_Said]:
        for slot, change in enumerate(self._controls.before(self._run, index)):
            fields: Fields = {
                "by": change.by,
                "epoch": change.epoch,
                "holder": change.holder,
                "reason": change.reason,
                "runtimeId": today_event.browser_of(self._run),
            }
            yield _Said(slot, "control.changed", change.timestamp, fields)

    def _told(self, index: int) -> Iterator[_Said]:
        """The event at an index, and what it says of a span."""
        stored = self._run.event(index)
        if stored.raw is not None:
            yield _Said(EVENT, "", "", {}, stored.raw)
            return
        event: Fields = json.loads(stored.body)
        at = event.get("timestamp") or event.get("time") or rfc3339(self._run.created)
        step, status = self._step(index, event)
        span: Fields = {"span": self._span(index, event, status, at)} if step and "trace" in self._parts else {}
        if span and step == "span.started":
            yield _Said(SPAN_STARTED, step, at, span)
        if "events" in self._parts:
            shown = today_event.of_run(self._run, index) if self._today else self._older(event, at)
            yield _Said(EVENT, "runtime.event", at, {"event": shown})
        if span and step != "span.started":
            yield _Said(SPAN_NEWS, step, at, span)

    def _older(self, event: Fields, at: object) -> Fields:
        """The event with all fields that the documents of late July 2026 require."""
        made: Fields = {
            "type": "event",
            "runId": self._run.id,
            "source": "control-plane",
            "pageId": None,
            "spanId": None,
        }
        return {**made, "timestamp": at, "data": {}, **event}

    def _step(self, index: int, event: Fields) -> tuple[str, str]:
        """What an event says of its span; in a story the first navigation of a visit is news of it too."""
        if today_event.span_id(self._run, index, event) is None:
            return "", ""
        number = self._run.number(index)
        if number is not None and (number - 1) % len(VISIT) == 1:
            return "span.updated", "running"
        return _COMMAND.get(event.get("type"), ("", ""))

    def _span(self, index: int, event: Fields, status: str, at: object) -> Fields:
        """The span of a command; one of a story knows how it began, one that was fed knows what the event says."""
        number, story = self._run.number(index), self._run.story
        first, began = event, at if status == "running" else None
        if number is not None and story is not None:
            start = number - (number - 1) % len(VISIT)
            first, began = json.loads(story.event(start, index).body), story.time(start)
        data = event.get("data") if isinstance(event.get("data"), dict) else {}
        duration = data.get("durationMs") if isinstance(data, dict) else None
        return {
            "id": today_event.span_id(self._run, index, event),
            "object": "trace_span",
            "kind": "browser",
            "name": first.get("name") or first.get("type"),
            "status": status,
            "runId": self._run.id,
            "parentId": None,
            "resourceId": first.get("connectionId"),
            "resourceType": "connection" if first.get("connectionId") else None,
            "startedAt": began,
            "finishedAt": None if status == "running" else at,
            "durationMs": duration if isinstance(duration, int) and status != "running" else None,
            "data": data,
        }

    def _framed(self, index: int, said: _Said, faults: FaultSettings) -> Iterator[bytes]:
        if said.raw is not None:
            return iter((said.raw,))
        id_ = f"rse_{self._run.code}{index:012d}{said.slot:02d}"
        body = encode({"type": said.type, "id": id_, "runId": self._run.id, "timestamp": said.timestamp, **said.fields})
        # Faults of single frames count the events of the run, and leave the other frames alone.
        place = index if said.slot == EVENT else -1
        framed = today_frame(said.type, event_line=not faults.no_event_line)
        return frames(Event(place, id_, Traits(), body), faults, framed)
