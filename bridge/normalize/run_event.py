"""Turns the frames of a bctrl event stream into events. Pure: no I/O, no clock, no logging.

The rules are those of CONTRACT D.4: every generation's frames are told apart by their shape, unknown ones only show
that the stream is alive, and a record that can't be read is parked, never dropped. Attributes: DESIGN section 6.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from msgspec import UNSET

from bridge.event import Batch, Event, Parked, State
from bridge.normalize import attributes
from bridge.normalize.attributes import Attributes, Text, Unreadable
from bridge.normalize.resource import below
from bridge.normalize.surrogates import paired, verbatim
from bridge.sse import Frame

RECORD_FRAMES = {"run.event", "runtime.event", "run.ended", "message"}
"""Frame names that promise a record: one that can't be read is parked. Other names count only with an `id:` line."""
PREFIX = "ai.bctrl."


class RunEvent(Attributes, rename="camel", gc=False):
    """What is read of an event; the ids after the run's tell what an event without a run is about."""

    task_id: Text = UNSET
    sandbox_id: Text = UNSET
    conversation_id: Text = UNSET


read = attributes.reader(RunEvent)


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
                if record.type == "ai.bctrl.run.ended" and self.ends(record):
                    batch.cursor = frame.id or None
                    batch.state, batch.reason = State.ENDED, ""
        return batch

    def record(self, data: bytes, received: datetime) -> Event | Parked | None:
        """What one JSON object of a list or of a wait's answer says; None for one that says nothing."""
        return self._record(Frame("run.event", data, "", None), received)[0]

    def ended(self, data: bytes, received: datetime) -> Event:
        """The end of the run, as the run itself (`GET /v1/runs/{id}`) tells it."""
        return self._ended(data, read(data), received)

    def ends(self, event: Event) -> bool:
        """True for the event after which the stream has nothing more to say."""
        return event.id == f"{self.run}:ended"

    def _record(self, frame: Frame, received: datetime) -> tuple[Event | Parked | None, str]:
        """What a frame says, and the id to resume from where it has no `id:` line."""
        data = frame.data
        if not data or data == b"[DONE]":
            return None, ""
        if frame.oversized:
            return park(frame, f"oversized: {frame.oversized} bytes, of which the first {len(data)} are kept"), ""
        promised = frame.own_id or frame.event in RECORD_FRAMES
        try:
            said = read(data)
            resume = said.id or ""
            inner = _inner(data, said) if "runtime.event" in (frame.event, said.type) else None
            if inner is not None:
                data, said = inner, read(inner)
        except Unreadable as error:
            return park(frame, str(error)) if promised else None, ""
        if "run.ended" in (frame.event, said.type) and inner is None and not _is_event(said):
            return self._ended(data, said, received), resume
        id_ = said.id or (frame.id if frame.own_id else "") or resume
        if id_ and said.type:
            return self._event(data, said, id_, said.type, received), resume
        promised = promised or said.object == "event"  # a whole Event (CONTRACT D.3), whatever its frame is called
        alive_only = not promised or (frame.event == "message" and _only_time(data))
        return None if alive_only else park(frame, "no type" if id_ else "no id"), ""

    def _event(self, data: bytes, said: Attributes, id_: str, type_: str, received: datetime) -> Event:
        run = said.run_id or self.run
        return attributes.event(data, said, received, self.resource, self.run, id_, PREFIX + type_, run)

    def _ended(self, data: bytes, said: Attributes, received: datetime) -> Event:
        # not its creation, which a run also tells
        said.time = said.finished_at or said.ended_at or said.time or said.timestamp or received
        return self._event(data, said, f"{self._over(said)}:ended", "run.ended", received)

    def _over(self, said: Attributes) -> str:  # noqa: ARG002  # AccountStream asks it
        """The run that an end marker ends: on a run's own stream that one, whatever id it is given there."""
        return self.run


@dataclass(frozen=True, slots=True)
class AccountStream(RunStream):
    """Reads the events of a whole account. Each is about its run, or about the task, sandbox or browser it names.

    `resource` is the account's base URL; `run` is the subject of an event that names nothing.
    """

    def ends(self, event: Event) -> bool:  # noqa: ARG002  # one run's end is not the account's
        """Never: a run's end is an event like others here."""
        return False

    def _over(self, said: Attributes) -> str:
        return said.run_id or self.run

    def _event(self, data: bytes, said: Attributes, id_: str, type_: str, received: datetime) -> Event:
        segments = _about(said)
        subject = segments[-1] if segments else self.run
        source = below(self.resource, *(segments or ("events",)))
        return attributes.event(data, said, received, source, subject, id_, PREFIX + type_, said.run_id)


def _about(said: Attributes) -> tuple[str, str] | None:
    """The resource that an event of the account is about, the narrowest that orders its events first."""
    if said.run_id:
        return "runs", said.run_id
    if isinstance(said, RunEvent):
        for noun, id_ in (
            ("tasks", said.task_id), ("sandboxes", said.sandbox_id), ("browsers", said.runtime_id),
            ("conversations", said.conversation_id), ("spaces", said.space_id),
        ):  # fmt: skip
            if id_:
                return noun, id_
    return None


def _inner(data: bytes, wrapper: Attributes) -> bytes | None:
    """The bytes of the event inside a `runtime.event` wrapper; None where there is no object inside."""
    inner = wrapper.event
    return verbatim(data, inner, "event") if inner and bytes(inner).startswith(b"{") else None


def _is_event(said: Attributes) -> bool:
    """True for a whole Event, which may be about a run's end without being the stream's (CONTRACT D.3)."""
    seq = bytes(said.seq or b"null")
    return bool(said.category or said.kind) or said.object == "event" or seq != b"null"


def _only_time(data: bytes) -> bool:
    """True for `{"time": ...}`: a heartbeat without its name."""
    try:
        return set(attributes.fields(paired(data))) <= {"time"}
    except Unreadable:  # it was read at a little less depth
        return False


def park(frame: Frame, reason: str) -> Parked:
    """A frame that can't be read, known by its id or by its bytes."""
    return parked(reason, frame.data, frame.id.encode() if frame.own_id else frame.data)


def parked(reason: str, raw: bytes, known_by: bytes) -> Parked:
    """A record that can't be read; one that comes again is recognised by `known_by`."""
    return Parked(reason, raw, f"parked:{hashlib.blake2b(known_by, digest_size=12).hexdigest()}")
