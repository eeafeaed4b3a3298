"""Turns what a wait for an operation or an invocation says into an event per change. Pure: no I/O, no clock.

The answers are `{operation, timedOutWaiting}`, `{invocation, timedOutWaiting}`, or the fields of the work itself
beside `waitStatus` (CONTRACT A.2, A.3, A.5).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET

from bridge.event import Event, Parked
from bridge.normalize import attributes
from bridge.normalize.attributes import Moment, Raw, Text, Unreadable
from bridge.normalize.run_event import parked
from bridge.normalize.surrogates import paired, verbatim

Noun = Literal["operation", "invocation"]
TERMINAL = frozenset({"succeeded", "failed", "cancelled", "canceled", "timed_out"})
ACTIVE = frozenset({"queued", "dispatching", "running", "cancelling"})


class _Work(attributes.Attributes, rename="camel", gc=False):
    started_at: Moment = UNSET
    last_heartbeat_at: Moment = UNSET
    cancel_requested_at: Moment = UNSET
    workspace_id: Text = UNSET
    progress: Raw = UNSET


_read = attributes.reader(_Work)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one wait said: the present state as an event, and whether it is the last one."""

    record: Event | Parked
    over: bool = False


@dataclass(frozen=True, slots=True)
class DurableWork:
    """Reads the answers about one operation or invocation. `resource` is the CloudEvents `source`."""

    noun: Noun
    id: str
    resource: str

    def answer(self, body: bytes, received: datetime) -> Answer:
        """The state that the answer tells; its id is the same for the same status and step.

        The end by a status that nobody knows is `<work>:<status>:ended`: the work may have been in it before its end.
        """
        try:
            body.decode()
            said = attributes.fields(paired(body))
            inner = said.get(self.noun)
            data = verbatim(body, inner, self.noun) if inner is not None else body
            work = _read(data)
        except UnicodeDecodeError:
            return Answer(parked("not UTF-8", body, body))
        except Unreadable as error:
            return Answer(parked(str(error), body, body))
        status = work.status
        if not status:
            return Answer(parked(f"no {self.noun} with a status in the answer", body, body))
        over = status in TERMINAL or (status not in ACTIVE and _done(said, work))
        step = _step(work) if not over else None if status in TERMINAL else "ended"
        work.time = _moment(work, over=over) or (received if over else None)
        work.space_id = work.space_id or work.workspace_id
        id_ = ":".join((self.id, status, *([str(step)] if step is not None else [])))
        event = attributes.event(
            data, work, received, self.resource, self.id, id_, f"ai.bctrl.{self.noun}.{status}", work.run_id
        )
        return Answer(event, over)


def _done(said: dict[str, msgspec.Raw], work: _Work) -> bool:
    """Whether a status that nobody knows is the last one: the wait says that it has ended, or both it and the work do.

    A status alone never is: sources end for good, and a new word for being at work must not end one.
    """
    if bytes(said.get("waitStatus", b"")) == b'"completed"':
        return True
    return bytes(said.get("timedOutWaiting", b"")) == b"false" and bool(work.finished_at)


def _step(work: _Work) -> int | None:
    try:
        return msgspec.json.decode(bytes(work.progress or b"null"), type=_Progress | None).step
    except (msgspec.MsgspecError, RecursionError, AttributeError):
        return None


class _Progress(msgspec.Struct):
    step: int | None = None


def _moment(work: _Work, *, over: bool) -> Moment:
    """When the work came to this state, as nearly as it says."""
    if over:
        return work.finished_at or work.last_heartbeat_at
    if work.status == "cancelling":
        return work.cancel_requested_at or work.last_heartbeat_at
    if work.status == "running":
        return work.last_heartbeat_at or work.started_at
    return work.created_at
