"""Turns the frames of a run's event stream into events. Pure: no I/O, no clock, no logging.

The rules are those of CONTRACT D.4: every generation's frames are told apart by their shape, unknown ones only show
that the stream is alive, and a record that can't be read is parked, never dropped. Attributes: DESIGN section 6.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET, UnsetType

from bridge.event import Batch, Event, Maybe, Parked, State
from bridge.normalize import moment
from bridge.normalize.surrogates import paired, verbatim
from bridge.sse import Frame

Text = str | None | UnsetType
Moment = datetime | None | UnsetType

RECORD_FRAMES = {"run.event", "runtime.event", "run.ended", "message"}
"""Frame names that promise a record: one that can't be read is parked. Other names count only with an `id:` line."""
CATEGORIES = {"artifact": "file", "tool_call": "tool"}
"""`kind` of the older API -> `category` of the newer; all other words are the same (CONTRACT D.1)."""


class RunEvent(msgspec.Struct, rename="camel", gc=False):  # holds no containers, so no cycles
    """The attributes that are read from an upstream event of any generation; everything else stays in `data`."""

    id: Text = UNSET
    type: Text = UNSET
    time: Moment = UNSET
    timestamp: Moment = UNSET
    created_at: Moment = UNSET
    kind: Text = UNSET
    category: Text = UNSET
    source: Text = UNSET
    status: Text = UNSET
    run_id: Text = UNSET
    runtime_id: Text = UNSET
    runtime_kind: Text = UNSET
    space_id: Text = UNSET
    page_id: Text = UNSET
    context_id: Text = UNSET
    connection_id: Text = UNSET
    command_id: Text = UNSET
    tool_call_id: Text = UNSET
    artifact_id: Text = UNSET
    correlation_id: Text = UNSET
    traceparent: Text = UNSET
    object: Text = UNSET
    seq: msgspec.Raw | UnsetType = UNSET
    event: msgspec.Raw | UnsetType = UNSET
    finished_at: Moment = UNSET


_MOMENTS = {"time", "timestamp", "created_at", "finished_at"}
_RAW = {"seq", "event"}
_FIELDS = {field.encode_name: field.name for field in msgspec.structs.fields(RunEvent)}
_decode = msgspec.json.Decoder(RunEvent).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Unreadable(ValueError):
    """The data of a frame is no JSON object."""


def read(data: bytes) -> RunEvent:
    """The attributes of one JSON object, however its values are typed. Raises Unreadable.

    Half a surrogate pair is read as U+FFFD.
    """
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            raise Unreadable("not UTF-8") from None
    try:
        return _decode(data)
    except (msgspec.DecodeError, RecursionError):
        return _read_leniently(paired(data))


def _read_leniently(data: bytes) -> RunEvent:
    """As `read`, for an object whose attributes have other types: a number is its text, the rest is left out."""
    try:
        fields = _decode_fields(data)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except msgspec.ValidationError:
        raise Unreadable("not a JSON object") from None
    except msgspec.DecodeError:
        raise Unreadable("not JSON") from None
    event = RunEvent()
    for encoded, raw in fields.items():
        name, text = _FIELDS.get(encoded), bytes(raw)
        if name in _RAW:
            setattr(event, name, raw)
        elif name is not None and text.startswith(b'"'):
            value = msgspec.json.decode(raw, type=str)
            setattr(event, name, _moment(value) if name in _MOMENTS else value)
        elif name is not None and text[0] in b"-0123456789":
            setattr(event, name, _moment(float(text)) if name in _MOMENTS else text.decode())
    return event


def _moment(value: str | float) -> Moment:
    text = moment.read(value)
    return UNSET if text is None else datetime.fromisoformat(text)


def _maybe(value: Text) -> Maybe:
    return value or UNSET


def _time(event: RunEvent, received: datetime) -> datetime:
    when = event.time or event.timestamp or event.created_at or received
    if when.tzinfo is UTC:
        return when
    try:
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:  # the first or last day of the calendar, in another zone
        return received


@dataclass(frozen=True, slots=True)
class RunStream:
    """Reads the frames of one run. `resource` is the CloudEvents `source`, `run` the subject."""

    run: str
    resource: str

    def batch(self, frames: Iterable[Frame], received: datetime) -> Batch:
        """What the frames say, in their order. `cursor` is the last record's own id, where frames carry none."""
        batch = Batch()
        records = batch.records
        for frame in frames:
            name = frame.event
            if name == "heartbeat":
                continue
            if name == "error" and not frame.own_id:
                batch.broken = frame.data[:200].decode(errors="replace") or "no reason given"
                break
            record, resume = self._record(frame, received)
            if record is None:
                continue
            records.append(record)
            if isinstance(record, Event):
                batch.cursor = frame.id if frame.own_id and frame.id else resume or None
                if record.type == "ai.bctrl.run.ended" and record.id == f"{self.run}:ended":
                    batch.cursor = frame.id or None
                    batch.state, batch.reason = State.ENDED, ""
        return batch

    def _record(self, frame: Frame, received: datetime) -> tuple[Event | Parked | None, str]:
        """What a frame says, and the id to resume from where it has no `id:` line."""
        data = frame.data
        if not data or data == b"[DONE]":
            return None, ""
        if frame.oversized:
            return _park(frame, f"oversized: {frame.oversized} bytes, of which the first {len(data)} are kept"), ""
        promised = frame.own_id or frame.event in RECORD_FRAMES
        try:
            event = read(data)
            resume = event.id or ""
            inner = _inner(data, event) if "runtime.event" in (frame.event, event.type) else None
            if inner is not None:
                data, event = inner, read(inner)
        except Unreadable as error:
            return _park(frame, str(error)) if promised else None, ""
        if "run.ended" in (frame.event, event.type) and inner is None and not _is_event(event):
            return self._ended(data, event, received), resume
        id_ = event.id or (frame.id if frame.own_id else "") or resume
        if id_ and event.type:
            return self._event(data, event, id_, event.type, received), resume
        alive_only = not promised or (frame.event == "message" and _only_time(data))
        return None if alive_only else _park(frame, "no type" if id_ else "no id"), ""

    def _event(self, data: bytes, event: RunEvent, id_: str, type_: str, received: datetime) -> Event:
        category = event.category or event.kind
        # From 16 keywords on, CPython makes a dict of them: ten times as slow. So the rarer attributes are set apart.
        made = Event(
            id=id_,
            source=self.resource,
            type="ai.bctrl." + type_,
            subject=self.run,
            time=_time(event, received),
            partitionkey=self.run,
            category=CATEGORIES.get(category, category) if category else UNSET,
            origin=event.source or UNSET,
            status=event.status or UNSET,
            runid=event.run_id or self.run,
            runtimeid=event.runtime_id or UNSET,
            pageid=event.page_id or UNSET,
            commandid=event.command_id or UNSET,
            correlationid=event.correlation_id or UNSET,
            data=msgspec.Raw(data),
        )
        _relate(made, event)
        return made

    def _ended(self, data: bytes, event: RunEvent, received: datetime) -> Event:
        event.time = event.finished_at or event.time
        return self._event(data, event, f"{self.run}:ended", "run.ended", received)


def _relate(made: Event, event: RunEvent) -> None:
    """Set the attributes that few events have."""
    if event.runtime_kind:
        made.runtimekind = event.runtime_kind
    if event.space_id:
        made.spaceid = event.space_id
    if event.context_id:
        made.contextid = event.context_id
    if event.connection_id:
        made.connectionid = event.connection_id
    if event.tool_call_id:
        made.toolcallid = event.tool_call_id
    if event.artifact_id:
        made.artifactid = event.artifact_id
    if event.traceparent:
        made.traceparent = event.traceparent


def _inner(data: bytes, wrapper: RunEvent) -> bytes | None:
    """The bytes of the event inside a `runtime.event` wrapper; None where there is no object inside."""
    inner = wrapper.event
    return verbatim(data, inner) if inner and bytes(inner).startswith(b"{") else None


def _is_event(event: RunEvent) -> bool:
    """True for a whole Event, which may be about a run's end without being the stream's (CONTRACT D.3)."""
    seq = bytes(event.seq or b"null")
    return bool(event.category) or event.object == "event" or seq != b"null"


def _only_time(data: bytes) -> bool:
    """True for `{"time": ...}`: a heartbeat without its name."""
    try:
        return set(_decode_fields(paired(data))) <= {"time"}
    except RecursionError:  # it was read at a little less depth
        return False


def _park(frame: Frame, reason: str) -> Parked:
    known = frame.id.encode() if frame.own_id else frame.data
    digest = hashlib.blake2b(known, digest_size=12).hexdigest()
    return Parked(reason, frame.data, f"parked:{digest}")
