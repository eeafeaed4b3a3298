"""The values that flow through the bridge, frozen or short-lived. No I/O, no clock, no logic of a provider.

The event is a CloudEvent 1.0 in JSON form (https://github.com/cloudevents/spec, version 1.0.2); DESIGN
section 6 gives each attribute's meaning, `bridge/schema/event.schema.json` its exact form.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

Maybe = str | UnsetType


class Event(msgspec.Struct, kw_only=True, gc=False):  # holds no containers, so no cycles
    """One CloudEvent. `data` holds the upstream's bytes verbatim; unset extensions are left out.

    `sequence` and `recordedtime` are filled in when the event is numbered, just before it is encoded. `time` is
    RFC 3339 in UTC: as text, or as an aware UTC datetime.
    """

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: str | datetime
    datacontenttype: str = "application/json"
    sequence: Maybe = UNSET
    partitionkey: str
    recordedtime: Maybe = UNSET
    category: Maybe = UNSET
    origin: Maybe = UNSET
    status: Maybe = UNSET
    runid: Maybe = UNSET
    runtimeid: Maybe = UNSET
    runtimekind: Maybe = UNSET
    spaceid: Maybe = UNSET
    pageid: Maybe = UNSET
    contextid: Maybe = UNSET
    connectionid: Maybe = UNSET
    commandid: Maybe = UNSET
    toolcallid: Maybe = UNSET
    artifactid: Maybe = UNSET
    correlationid: Maybe = UNSET
    traceparent: Maybe = UNSET
    data: msgspec.Raw


class State(StrEnum):
    """What a source is doing, as stored beside its cursor."""

    RUNNING = "running"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that could not be read: kept whole, with the reason, so that nothing is lost unseen."""

    reason: str
    raw: bytes
    key: str = ""
    """What it is known by in the de-duplication window, so that a replayed one is kept once; "" keeps every one."""


@dataclass(slots=True)
class Batch:
    """What one page of a source became, in upstream order, and where the source goes on from.

    `cursor` None leaves the stored cursor as it is, "" drops it. `state` None leaves the state as it is.
    """

    records: list[Event | Parked] = field(default_factory=list)
    cursor: str | None = None
    state: State | None = None
    reason: str = ""
    bookmark: str | None = None
    """What the source keeps beside its cursor, a text of its own; None leaves what is stored, "" drops it."""
    lost: str = ""
    """Not empty where the records only say that something may be missing here, and why."""
    made: bool = False
    """Only with records whose ids were made here: perhaps they are told again and again, so they are no progress."""
    broken: str = ""
    """Not empty where the upstream said, after these records, that it can't go on."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a source stands in the log: everything needed to go on after a crash."""

    sequence: int = 0
    cursor: str | None = None
    state: State = State.RUNNING
    reason: str = ""
    armed: bool = False
    """A consuming wait was under way when this was stored."""
    bookmark: str = ""
    """What the source keeps beside its cursor (`bridge.sources.bookmark`)."""
    known: Container[str] = field(default=frozenset(), compare=False, repr=False)
    """The ids in the de-duplication window, as they are at any moment."""


class Entry(msgspec.Struct, frozen=True, gc=False):  # made three times as fast as a dataclass
    """One entry of the log, as a destination reads it: the four fields, and `entry`, its id in the stream."""

    entry: str
    id: str
    type: str
    subject: str
    event: bytes
