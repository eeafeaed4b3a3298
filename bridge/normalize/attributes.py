"""Reads the attributes of an upstream object of any API generation. Pure: never raises for what a value looks like.

Only these few are decoded; everything else stays in the bytes. `docs/events.md` says which attribute of the event
each becomes.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from bridge.event import Event
from bridge.normalize import moment
from bridge.normalize.surrogates import paired

Text = str | None | UnsetType
Moment = datetime | None | UnsetType
Raw = msgspec.Raw | UnsetType

CATEGORIES = {"artifact": "file", "tool_call": "tool"}
"""`kind` of the older API -> `category` of the newer; all other words are the same (CONTRACT D.1)."""


class Attributes(msgspec.Struct, rename="camel", gc=False):  # holds no containers, so no cycles
    """What is read of an event, a frame, an operation or an invocation."""

    id: Text = UNSET
    type: Text = UNSET
    time: Moment = UNSET
    timestamp: Moment = UNSET
    created_at: Moment = UNSET
    kind: Text = UNSET
    category: Text = UNSET
    source: Text = UNSET
    status: Text = UNSET
    outcome: Text = UNSET
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
    seq: Raw = UNSET
    event: Raw = UNSET
    finished_at: Moment = UNSET
    ended_at: Moment = UNSET


Kind = TypeVar("Kind", bound=Attributes)
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Unreadable(ValueError):
    """The bytes are no JSON object."""


def reader(kind: type[Kind]) -> Callable[[bytes], Kind]:
    """What reads one kind of attributes; made once, since it prepares a decoder.

    It returns those of one JSON object, however its values are typed, with half a surrogate pair as U+FFFD. Raises
    Unreadable.
    """
    decode = msgspec.json.Decoder(kind).decode
    names = {field.encode_name: (field.name, field.type) for field in msgspec.structs.fields(kind)}

    def read(data: bytes) -> Kind:
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                raise Unreadable("not UTF-8") from None
        try:
            return decode(data)
        except (msgspec.DecodeError, RecursionError):
            return leniently(paired(data))

    def leniently(data: bytes) -> Kind:
        """For an object whose attributes have other types: a number is its text, the rest is left out."""
        said = kind()
        for encoded, raw in fields(data).items():
            name, type_ = names.get(encoded, ("", None))
            text = bytes(raw)
            if type_ == Raw:
                setattr(said, name, raw)
            elif name and text.startswith(b'"'):
                value = msgspec.json.decode(raw, type=str)
                setattr(said, name, _moment(value) if type_ == Moment else value)
            elif name and text[0] in b"-0123456789":
                setattr(said, name, _moment(float(text)) if type_ == Moment else text.decode())
        return said

    return read


def fields(data: bytes) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, undecoded. Raises Unreadable."""
    try:
        return _decode_fields(data)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except msgspec.ValidationError:
        raise Unreadable("not a JSON object") from None
    except msgspec.DecodeError:
        raise Unreadable("not JSON") from None


def _moment(value: str | float) -> Moment:
    text = moment.read(value)
    return UNSET if text is None else datetime.fromisoformat(text)


def when(said: Moment, received: datetime) -> datetime:
    """A time that was said, in UTC; the time of receipt where there is none."""
    said = said or received
    if said.tzinfo is UTC:
        return said
    try:
        return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)
    except OverflowError:  # the first or last day of the calendar, in another zone
        return received


def event(  # noqa: PLR0917  # by keyword it costs a tenth of the whole
    data: bytes, said: Attributes, received: datetime, source: str, subject: str, id_: str, type_: str, run: Text
) -> Event:  # fmt: skip
    """The CloudEvent of an upstream object whose bytes are `data`."""
    category = said.category or said.kind
    # From 16 keywords on, CPython makes a dict of them: ten times as slow. So the rarer attributes are set apart.
    made = Event(
        id=id_,
        source=source,
        type=type_,
        subject=subject,
        time=when(said.time or said.timestamp or said.created_at, received),
        partitionkey=subject,
        category=CATEGORIES.get(category, category) if category else UNSET,
        origin=said.source or UNSET,
        status=said.status or said.outcome or UNSET,
        runid=run or UNSET,
        runtimeid=said.runtime_id or UNSET,
        pageid=said.page_id or UNSET,
        commandid=said.command_id or UNSET,
        correlationid=said.correlation_id or UNSET,
        data=msgspec.Raw(data),
    )
    _relate(made, said)
    return made


def _relate(made: Event, said: Attributes) -> None:
    """Set the attributes that few events have."""
    if said.runtime_kind:
        made.runtimekind = said.runtime_kind
    if said.space_id:
        made.spaceid = said.space_id
    if said.context_id:
        made.contextid = said.context_id
    if said.connection_id:
        made.connectionid = said.connection_id
    if said.tool_call_id:
        made.toolcallid = said.tool_call_id
    if said.artifact_id:
        made.artifactid = said.artifact_id
    if said.traceparent:
        made.traceparent = said.traceparent
