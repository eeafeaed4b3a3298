"""Turns the frames of any event stream into events, by JSON pointers (RFC 6901). Pure: no I/O, no clock."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from bridge.event import Batch, Event, Parked, State
from bridge.normalize import moment
from bridge.normalize.moment import rfc3339
from bridge.normalize.run_event import park
from bridge.normalize.surrogates import paired
from bridge.sse import Frame


MAX_UNNAMED = 10_000
"""Different frames without an id that are told apart behind one id."""


@dataclass(frozen=True, slots=True)
class Pointers:
    """Where the attributes of an event are in its data: pointers, or None for what the frame itself says."""

    id: str | None = None
    type: str | None = None
    subject: str | None = None
    time: str | None = None


@dataclass(slots=True)
class AnyStream:
    """Reads the frames of one stream. `subject` is that of events which name none.

    A frame without an id is known by the last id before it and its own bytes, so that a replay brings it once; where
    the stream has no ids at all, `new_id` makes one, and a replay brings it again.
    """

    resource: str
    subject: str
    pointers: Pointers
    type_prefix: str
    terminal: str | None
    new_id: Callable[[], str]
    _unnamed: Counter[str] = field(default_factory=Counter)

    def connected(self) -> None:
        """A new connection begins: what the upstream replays is counted from here."""
        self._unnamed.clear()

    def batch(self, frames: Iterable[Frame], received: datetime) -> Batch:
        """What the frames say, in their order; the state is ENDED behind an event of the terminal name."""
        batch = Batch()
        for frame in frames:
            if frame.own_id:
                self._unnamed.clear()
            if frame.data:
                batch.records.append(self._record(frame, received))
            if frame.event == self.terminal:
                batch.state, batch.reason = State.ENDED, ""
                break
        return batch

    def _record(self, frame: Frame, received: datetime) -> Event | Parked:
        data = frame.data
        if frame.oversized:
            return park(frame, f"oversized: {frame.oversized} bytes, of which the first {len(data)} are kept")
        try:
            text = data.decode()
            said = msgspec.json.decode(paired(data))
        except UnicodeDecodeError:
            return park(frame, "not UTF-8")
        except RecursionError:
            return park(frame, "nested too deeply")
        except msgspec.DecodeError:
            return self._event(frame, None, msgspec.json.encode(text), "text/plain", received)
        return self._event(frame, said, data, "application/json", received)

    def _event(self, frame: Frame, said: Any, data: bytes, form: str, received: datetime) -> Event:  # noqa: ANN401  # any JSON
        at = self.pointers
        subject = _text(said, at.subject) or self.subject
        return Event(
            id=_text(said, at.id) or (frame.id if frame.own_id else "") or self._made_id(frame),
            source=self.resource,
            type=self.type_prefix + (_text(said, at.type) or frame.event),
            subject=subject,
            time=moment.read(find(said, at.time)) or rfc3339(received),
            datacontenttype=form,
            partitionkey=subject,
            data=msgspec.Raw(data),
        )

    def _made_id(self, frame: Frame) -> str:
        if not frame.id or len(self._unnamed) >= MAX_UNNAMED:
            return self.new_id()
        digest = hashlib.blake2b(frame.event.encode() + b"\n" + frame.data, digest_size=12).hexdigest()
        self._unnamed[digest] += 1
        return f"{frame.id}:{digest}:{self._unnamed[digest]}"


def find(said: Any, pointer: str | None) -> Any:  # noqa: ANN401  # any JSON
    """What a pointer points to; None where there is nothing, or no pointer."""
    if pointer is None:
        return None
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(said, dict):
            said = said.get(name)
        elif isinstance(said, list) and name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
            said = said[int(name)] if len(name) < 10 and int(name) < len(said) else None
        else:
            return None
    return said


def _text(said: Any, pointer: str | None) -> str:  # noqa: ANN401  # any JSON
    found = find(said, pointer)
    if isinstance(found, str):
        return found
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else ""
