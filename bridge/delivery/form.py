"""The formats: what a unit's request carries, headers and body. Pure; refuses to alter an event or to raise over one.

CloudEvents 1.0.2 (https://github.com/cloudevents/spec): HTTP binding 3.1 to 3.3, JSON format 3 and 4, the extensions
`dataref` and `traceparent`. A unit of several events goes out as a batch whatever the format, since they are one
request: one that was tried as a batch stays one when the format is changed.

An entry that is no CloudEvent (anybody may add one to the log) goes out as it is, except that a thin destination gets
none of it, and a batch, which it might spoil, has it in the `data_base64` of an event of type `UNREADABLE`.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import msgspec

from bridge.delivery import members
from bridge.delivery.lane import Unit
from bridge.delivery.members import Members
from bridge.event import Entry, Event
from bridge.signing import message_id

Formed = tuple[str, bytes, bytes, bytes]
"""The `webhook-id`, header lines that each end with CRLF, the value of `traceparent` or nothing, and the body."""
Form = Callable[[Unit], Formed]
Link = Callable[[Entry], str]
"""Where the whole event of an entry can be read: a URL."""

STRUCTURED = b"Content-Type: application/cloudevents+json; charset=utf-8\r\n"
BATCHED = b"Content-Type: application/cloudevents-batch+json; charset=utf-8\r\n"
UNREADABLE = "dev.runbridge.entry.unreadable"
SOURCE = "urn:runbridge:log"
"""The `source` of an event made of an entry that is none."""

Filled = Annotated[str, msgspec.Meta(min_length=1)]


class _Known(msgspec.Struct, gc=False):  # holds no containers, so no cycles
    source: str = ""
    id: str = ""
    traceparent: msgspec.Raw = msgspec.Raw()


class _Ours(Event, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An event as the bridge writes it: what decodes as this needs no closer look before it goes into a batch."""

    specversion: Literal["1.0"]
    id: Filled
    source: Filled
    type: Filled
    time: str


_known = msgspec.json.Decoder(_Known).decode
_ours = msgspec.json.Decoder(_Ours).decode
_BAD_TEXT = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_trace = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
"""W3C Trace Context, 2.2; a value of a version to come is not passed on, since nobody knows what it may hold."""


def form(name: str, link: Link | None = None) -> Form:
    """The format of this name: structured, binary, batched or thin, which needs `link`. Raises ValueError.

    A form raises nothing but what `link` raises.
    """
    if name == "thin":
        if link is None:
            raise ValueError("the format thin needs a link to the whole event")
        return thin(link)
    forms = {"structured": structured, "binary": binary, "batched": batched}
    if name not in forms:
        raise ValueError(f"{name!r} is no format; there are: structured, binary, batched, thin")
    return forms[name]


def structured(unit: Unit) -> Formed:
    """The body is the event as it lies in the log, whatever that is."""
    if len(unit.entries) > 1:
        return batched(unit)
    entry = unit.entries[0]
    id_, trace = _identity(entry)
    return id_, STRUCTURED, trace, entry.event


def binary(unit: Unit) -> Formed:
    """The data as the body, the attributes as `ce-` headers; structured where that can't be (`members.binary`)."""
    if len(unit.entries) > 1:
        return batched(unit)
    entry = unit.entries[0]
    id_, trace = _identity(entry)
    event = members.read(entry.event)
    message = members.binary(event) if event else None
    headers, body = message or (STRUCTURED, entry.event)
    return id_, headers, trace, body


def batched(unit: Unit) -> Formed:
    """A JSON array of the events as they lie in the log, also of one."""
    ids, traces, events = zip(*map(_batch_member, unit.entries), strict=True)
    return _batch_id(ids), BATCHED, _shared(traces), b"[%b]" % b",".join(events)


def thin(link: Link) -> Form:
    """The event without its data, with `dataref`: where `link` says that the whole of it is."""

    def member(entry: Entry) -> bytes:
        event = members.read(entry.event) or _stand_in(entry)
        event.pop("data", None)
        event.pop("data_base64", None)
        event["dataref"] = msgspec.json.encode(link(entry))
        return members.text(event)

    def formed(unit: Unit) -> Formed:
        if len(unit.entries) > 1:
            ids, traces = zip(*map(_identity, unit.entries), strict=True)
            return _batch_id(ids), BATCHED, _shared(traces), b"[%b]" % b",".join(map(member, unit.entries))
        entry = unit.entries[0]
        id_, trace = _identity(entry)
        return id_, STRUCTURED, trace, member(entry)

    return formed


def webhook_id(entry: Entry) -> str:
    """The `webhook-id` of one event (`bridge.signing.message_id`), the same in every format.

    An entry that is no JSON object is known by its fields: a digest of subject and id.
    """
    return _identity(entry)[0]


def _identity(entry: Entry) -> tuple[str, bytes]:
    """The `webhook-id`, and a `traceparent` that may be a header or nothing: one pass over the bytes."""
    try:
        known = _known(entry.event)
    except _BAD_TEXT:
        # the id in the log, also of one that comes back from the dead letters
        return message_id(entry.subject, entry.id or entry.entry.rpartition(":")[2]), b""
    trace = bytes(known.traceparent)[1:-1]
    return message_id(known.source, known.id), trace if trace and _trace(trace) else b""


def _batch_id(ids: Sequence[str]) -> str:
    """The `webhook-id` of a batch: of its only member, or a digest of the members' in their order."""
    if len(ids) == 1:
        return ids[0]
    return "msg_" + hashlib.blake2b("\n".join(ids).encode(), digest_size=16).hexdigest()


def _shared(traces: Sequence[bytes]) -> bytes:
    """The trace context that all members of a batch have; nothing where one has another, or none."""
    first = traces[0]
    return first if first and traces.count(first) == len(traces) else b""


def _batch_member(entry: Entry) -> tuple[str, bytes, bytes]:
    """The `webhook-id` of an entry, its `traceparent` or nothing, and a CloudEvent for the array."""
    text = entry.event
    try:
        ours = _ours(text)
        if not text.isascii():
            text.decode()
    except _BAD_TEXT:
        event = members.read(text)
        return *_identity(entry), text if event else members.text(_stand_in(entry))
    id_ = message_id(ours.source, ours.id)
    if not ours.traceparent:
        return id_, b"", text
    trace = ours.traceparent.encode()
    return id_, trace if _trace(trace) else b"", text


def _stand_in(entry: Entry) -> Members:
    """An event made of an entry that is none. Its id is the entry's `webhook-id`, `logentry` its place in the log."""
    said = {
        "specversion": "1.0", "id": webhook_id(entry), "source": SOURCE, "type": UNREADABLE,
        "subject": (entry.subject or entry.entry).encode(errors="replace").decode(), "logentry": entry.entry,
        "datacontenttype": "application/octet-stream", "data_base64": entry.event,
    }  # fmt: skip
    return {name: msgspec.json.encode(value) for name, value in said.items()}
