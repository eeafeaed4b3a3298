"""Writes Server-Sent Events as the run event stream frames them. Pure bytes: no socket, no clock.

The framing is that of the bctrl stream of mid 2026: `run.event` with an id line, `heartbeat` and `run.ended`
without one, JSON in `data`.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bridge.emulator.faults import FaultSettings


class Traits(NamedTuple):
    """What filters look at; None where the event has no such field."""

    type: str | None = None
    status: str | None = None
    category: str | None = None
    page: str | None = None
    context: str | None = None
    connection: str | None = None

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> "Traits":
        """Reads them from an event; a field that is no text counts as absent."""
        names = ("type", "status", "category", "pageId", "contextId", "connectionId")
        return cls(*(value if isinstance(value := fields.get(name), str) else None for name in names))


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run: its place in the run, its id, and its JSON exactly as it goes out."""

    index: int
    id: str
    traits: Traits
    body: bytes
    raw: bytes | None = None  # sent in place of a frame of its own, and in no list


def encode(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def rfc3339(seconds: float) -> str:
    """Seconds since 1970 as text in UTC with milliseconds, as in 2026-06-25T12:00:05.000Z."""
    whole, ms = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{ms:03d}Z"


def run_event(id_: str | None, body: bytes) -> bytes:
    """A `run.event` frame; a body with line ends becomes several data lines."""
    id_line = f"id: {id_}\n".encode() if id_ is not None else b""
    return b"event: run.event\n%b%b\n" % (id_line, _data(body))


def heartbeat(style: str, now: str) -> bytes:
    """A keep-alive as an event (`{"time": ...}`, the documented form) or as a comment."""
    if style == "comment":
        return b": heartbeat\n\n"
    return b"event: heartbeat\n%b\n" % _data(encode({"time": now}))


def run_ended(state: dict[str, object]) -> bytes:
    """The last frame of a run that has ended."""
    return b"event: run.ended\n%b\n" % _data(encode(state))


def frames(event: Event, faults: FaultSettings) -> Iterator[bytes]:
    """The frame, or the two, that go out for an event under these faults (line ends still LF)."""
    if event.raw is not None:
        yield event.raw
        return
    frame = _frame(event, faults)
    yield frame
    if faults.duplicate:
        yield frame


def _frame(event: Event, faults: FaultSettings) -> bytes:
    index = event.index
    if index in faults.bad_json_at:
        return run_event(event.id, event.body[: len(event.body) // 2])
    if index in faults.no_id_at:
        fields = json.loads(event.body)
        fields.pop("id", None)
        return run_event(None, encode(fields))
    if index in faults.no_id_line_at:
        return run_event(None, event.body)
    frame = run_event(event.id, event.body)
    if index in faults.huge_at:
        head, tail = b',"padding":"', b'"}'
        room = faults.huge_bytes - len(frame) - len(head) - len(tail) + 1
        return run_event(event.id, event.body[:-1] + head + b"x" * max(0, room) + tail)
    return frame


def _data(body: bytes) -> bytes:
    return b"".join(b"data: %b\n" % line for line in body.splitlines() or [b""])
