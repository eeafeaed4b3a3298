"""Writes Server-Sent Events as the run event stream frames them. Pure bytes: no socket, no clock.

The framing is that of the bctrl stream of mid 2026: `run.event` with an id line, `heartbeat` and `run.ended`
without one, JSON in `data`.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bridge.emulator.faults import FaultSettings
from bridge.emulator.vocabulary import ORIGINS, kind_of, origin_of


class Traits(NamedTuple):
    """What filters look at; None where the event has no such field."""

    type: str | None = None
    status: str | None = None
    category: str | None = None
    page: str | None = None
    context: str | None = None
    connection: str | None = None
    span: str | None = None
    source: str | None = None
    kind: str | None = None
    origin: str | None = None

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> "Traits":
        """Reads them from an event; a field that is no text counts as absent, kind and origin follow from the rest."""
        names = ("type", "status", "category", "pageId", "contextId", "connectionId", "spanId", "source")
        said = cls(*(value if isinstance(value := fields.get(name), str) else None for name in names))
        given = fields.get("kind")
        kind = given if isinstance(given, str) else kind_of(fields.get("category"))
        return said._replace(kind=kind, origin=said.source if said.source in ORIGINS else origin_of(kind))


_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
NOT_OBJECT = b'"an event that is not an object"'


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run: its place in the run, its id, and its JSON exactly as it goes out."""

    index: int
    id: str
    traits: Traits
    body: bytes
    raw: bytes | None = None  # sent in place of a frame of its own, and in no list or wait
    given: bool = False  # it came with an id of its own, and goes out as it came in every API


def encode(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return _COMPACT.encode(value).encode()


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


Framing = Callable[[str | None, bytes], bytes]  # the frame of an id (None: without its line) and a body


def today_frame(name: object, *, event_line: bool) -> Framing:
    """How the streams of late July 2026 and of today frame: an id line, an event line that tells a type, the data."""
    named = event_line and isinstance(name, str) and name.isprintable()
    line = f"event: {name}\n".encode() if named else b""

    def framed(id_: str | None, body: bytes) -> bytes:
        id_line = f"id: {id_}\n".encode() if id_ is not None else b""
        return b"%b%b%b\n" % (id_line, line, _data(body))

    return framed


def frames(event: Event, faults: FaultSettings, framed: Framing = run_event) -> Iterator[bytes]:
    """The frame, or the two, that go out for an event under these faults (line ends still LF)."""
    if event.raw is not None:
        yield event.raw
        return
    frame = _frame(event, faults, framed)
    yield frame
    if faults.duplicate:
        yield frame


def _frame(event: Event, faults: FaultSettings, framed: Framing) -> bytes:
    index = event.index
    if index in faults.bad_json_at:
        return framed(event.id, event.body[: len(event.body) // 2])
    if index in faults.no_id_at:
        return framed(None, without_id(event.body))
    if index in faults.not_object_at:
        return framed(event.id, NOT_OBJECT)
    if index in faults.no_id_line_at:
        return framed(None, event.body)
    frame = framed(event.id, event.body)
    if index in faults.huge_at:
        return framed(event.id, padded(event.body, faults.huge_bytes - len(frame) + len(event.body)))
    return frame


def padded(body: bytes, size: int) -> bytes:
    """A JSON object of at least this many bytes: the one given, with padding."""
    head, tail = b',"padding":"', b'"}'
    return body[:-1] + head + b"x" * max(0, size - len(body) - len(head) - len(tail) + 1) + tail


def without_id(body: bytes) -> bytes:
    """A JSON object without its id."""
    fields = json.loads(body)
    fields.pop("id", None)
    return encode(fields)


def _data(body: bytes) -> bytes:
    return b"".join(b"data: %b\n" % line for line in body.splitlines() or [b""])
