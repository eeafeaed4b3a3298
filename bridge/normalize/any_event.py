"""Turns the frames of any event stream into events, by JSON pointers (RFC 6901). Pure: no I/O, no clock."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from bridge.event import Batch, Event, Parked, State
from bridge.normalize import moment
from bridge.normalize.moment import rfc3339
from bridge.normalize.run_event import parked
from bridge.normalize.surrogates import paired
from bridge.sse import Frame

Found = msgspec.Raw | None
"""A JSON text, undecoded: so a number keeps its digits, however many."""
MAX_UNNAMED = 10_000
"""Different frames without an id that are told apart behind one id."""
MAX_NAMED = 10_000
"""Ids of frames whose bytes are remembered, over connections too: other bytes under one of them are another event."""
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_NUMBER = frozenset({b"%c" % character for character in b"-0123456789"})
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


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
    the stream has no ids at all, `new_id` makes one, and a replay brings it again. Where an id comes again with other
    bytes it is no frame's own: from then on, frames that have it are known by their bytes too.
    """

    resource: str
    subject: str
    pointers: Pointers
    type_prefix: str
    terminal: str | None
    new_id: Callable[[], str]
    resumes: bool = False
    """Where no frame has an id, the one that the pointer finds is the cursor."""
    _unnamed: Counter[int] = field(default_factory=Counter)
    _first: dict[int, str] = field(default_factory=dict)
    """By an id's hash: the digest of the frame that has the id for its own."""
    _shared: Counter[int] = field(default_factory=Counter)
    """By hash: how often each id, and each of its frames, came since this connection has shown the id to be shared."""
    _named: bool = False
    _pointed: str = ""
    _made: int = 0
    """Ids that `new_id` has made."""

    def connected(self) -> None:
        """A new connection begins: what the upstream replays is counted from here."""
        self._unnamed.clear()
        self._shared.clear()

    def batch(self, frames: Iterable[Frame], received: datetime) -> Batch:
        """What the frames say, in their order; the state is ENDED behind an event of the terminal name."""
        batch = Batch()
        made = self._made
        for frame in frames:
            if frame.own_id:
                self._unnamed.clear()
                self._named = True
            self._pointed = ""
            batch.records.append(self._record(frame, received))
            if self._pointed and self.resumes and not self._named:
                batch.cursor = self._pointed
            if frame.event == self.terminal:
                batch.state, batch.reason = State.ENDED, ""
                break
        batch.made = 0 < len(batch.records) == self._made - made
        return batch

    def _record(self, frame: Frame, received: datetime) -> Event | Parked:
        data = frame.data
        if frame.oversized:
            return _park(frame, f"oversized: {frame.oversized} bytes, of which the first {len(data)} are kept")
        try:
            text = data.decode()
            try:
                said = msgspec.json.decode(paired(data), type=msgspec.Raw)
            except msgspec.DecodeError:
                return self._event(frame, None, msgspec.json.encode(text), "text/plain", received)
            return self._event(frame, said, data, "application/json", received)
        except UnicodeDecodeError:
            return _park(frame, "not UTF-8")
        except RecursionError:  # also by a pointer, which reads it again a few calls deeper
            return _park(frame, "nested too deeply")

    def _event(self, frame: Frame, said: Found, data: bytes, form: str, received: datetime) -> Event:
        at = self.pointers
        subject = _text(said, at.subject) or self.subject
        self._pointed = _text(said, at.id)
        return Event(
            id=self._pointed or self._id(frame),
            source=self.resource,
            type=self.type_prefix + (_text(said, at.type) or frame.event),
            subject=subject,
            time=_moment(said, at.time) or rfc3339(received),
            datacontenttype=form,
            partitionkey=subject,
            data=msgspec.Raw(data),
        )

    def _id(self, frame: Frame) -> str:
        if not frame.id:
            return self._new_id()
        digest = hashlib.blake2b(frame.event.encode() + b"\n" + frame.data, digest_size=12).hexdigest()
        if not frame.own_id:
            return self._numbered(self._unnamed, f"{frame.id}:{digest}")
        known = hash(frame.id)
        first = self._first.setdefault(known, digest)
        if len(self._first) > MAX_NAMED:
            del self._first[next(iter(self._first))]
        if first == digest and known not in self._shared:
            return frame.id
        self._shared[known] += 1
        return self._numbered(self._shared, f"{frame.id}:{digest}:id")

    def _numbered(self, seen: Counter[int], id_: str) -> str:
        if len(seen) >= MAX_UNNAMED:
            return self._new_id()
        seen[hash(id_)] += 1
        return f"{id_}:{seen[hash(id_)]}"

    def _new_id(self) -> str:
        self._made += 1
        return self.new_id()


def _park(frame: Frame, reason: str) -> Parked:
    """A frame that can't be read, known by its bytes and, where it has one, its id."""
    return parked(reason, frame.data, frame.id.encode() + b"\n" + frame.data if frame.own_id else frame.data)


def find(said: Found, pointer: str | None) -> Found:
    """What a pointer points to in a JSON text; None where there is nothing, or no pointer."""
    if pointer is None:
        return None
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        kind = bytes(said or b"")[:1]
        if said is not None and kind == b"{":
            said = _decode_object(said).get(name)
        elif said is not None and kind == b"[" and _INDEX.fullmatch(name):
            items = _decode_array(said)
            said = items[int(name)] if int(name) < len(items) else None
        else:
            return None
    return said


def _text(said: Found, pointer: str | None) -> str:
    """A text, or a number with the digits that the upstream wrote; "" for anything else."""
    found = bytes(find(said, pointer) or b"")
    if found.startswith(b'"'):
        return msgspec.json.decode(found, type=str)
    return found.decode() if found[:1] in _NUMBER else ""


def _moment(said: Found, pointer: str | None) -> str | None:
    found = bytes(find(said, pointer) or b"")
    if found.startswith(b'"'):
        return moment.read(msgspec.json.decode(found, type=str))
    return moment.read(float(found)) if found[:1] in _NUMBER else None
