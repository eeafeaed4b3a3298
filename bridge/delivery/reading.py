"""Reads of an event what a filter asks for, and only when it asks. Refuses nothing: what can't be read is absent.

The envelope is decoded for the attributes asked for, with `data` left as bytes; `data` for the members asked for, or
as a whole. Absent and JSON's null are one: None.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Raw

from bridge.event import Entry

IN_ENTRY = frozenset({"id", "type", "subject"})
"""What the log tells beside the event: nothing has to be decoded for it."""

_UNREAD: Any = object()


class Envelope(msgspec.Struct):
    """The attributes asked for are fields of a class below this one, which is made for each filter."""

    data: Raw = Raw(b"null")


class Reader:
    """How the events are read for one filter: `attributes` by name, and `data`'s `members`, each with its field's name.

    Only what is asked for is decoded: what else is in the event can be as odd as it likes, as long as it is JSON.
    """

    def __init__(self, attributes: frozenset[str], members: Mapping[str, str]) -> None:
        fields: list[Any] = [(name, Any, None) for name in sorted(attributes - IN_ENTRY)]
        envelope = cast("type[Envelope]", msgspec.defstruct("AskedEnvelope", fields, bases=(Envelope,)))
        within = [(field, Any, msgspec.field(name=name, default=None)) for name, field in members.items()]
        data = msgspec.defstruct("AskedData", within)
        self._envelope, self._no_envelope = msgspec.json.Decoder(envelope), envelope()
        self._members, self._no_members = msgspec.json.Decoder(data), data()
        self._whole = msgspec.json.Decoder()

    def envelope(self, event: bytes) -> Envelope:
        """The event's attributes, and `data` as bytes; all of them absent in what is no CloudEvent."""
        try:
            return self._envelope.decode(event)
        except ValueError:
            return self._mended(event) if rb"\u" in event else self._no_envelope
        except RecursionError:
            return self._no_envelope

    def members(self, data: Raw) -> msgspec.Struct:
        """The members of `data` that are asked for, all of them absent if it is no object."""
        try:
            return self._members.decode(data)
        except (ValueError, RecursionError):
            return self._no_members

    def whole(self, data: Raw) -> object:
        """All of `data`, absent if it can't be read."""
        try:
            return self._whole.decode(data)
        except (ValueError, RecursionError):
            return None

    def _mended(self, event: bytes) -> Envelope:
        """The envelope with U+FFFD for each half of a surrogate pair: RFC 8259, 8.2, allows them, msgspec doesn't."""
        try:
            text = json.dumps(json.loads(event.decode()), ensure_ascii=False)
            paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
            return self._envelope.decode(paired)
        except (ValueError, RecursionError):
            return self._no_envelope


class Reading:
    """One event being read; what was decoded is kept for the next question about it."""

    __slots__ = ("_attributes", "_data", "_members", "_reader", "entry")

    def __init__(self, reader: Reader, entry: Entry) -> None:
        self.entry = entry
        self._reader = reader
        self._attributes: Envelope = _UNREAD
        self._members: msgspec.Struct = _UNREAD
        self._data: object = _UNREAD

    def attributes(self) -> Envelope:
        """What `Reader.envelope` makes of the event."""
        if self._attributes is _UNREAD:
            self._attributes = self._reader.envelope(self.entry.event)
        return self._attributes

    def members(self) -> msgspec.Struct:
        """What `Reader.members` makes of its data."""
        if self._members is _UNREAD:
            self._members = self._reader.members(self.attributes().data)
        return self._members

    def data(self) -> object:
        """What `Reader.whole` makes of its data."""
        if self._data is _UNREAD:
            self._data = self._reader.whole(self.attributes().data)
        return self._data
