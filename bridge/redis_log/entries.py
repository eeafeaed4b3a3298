"""Entries of the log as Redis answers them, read leniently: others may have written some. Pure."""

from typing import Any

from bridge.event import Entry

_NAMES = [b"id", b"type", b"subject", b"event"]


def entry_of(id_: bytes, fields: list[bytes]) -> Entry:
    """One entry of a stream; fields somebody else left out are empty."""
    if fields[::2] == _NAMES:  # as the bridge writes them
        _, event_id, _, type_, _, subject, _, event = fields
    else:
        at = dict(zip(fields[::2], fields[1::2], strict=True))
        event_id, type_, subject, event = (at.get(name, b"") for name in _NAMES)
    return Entry(
        id_.decode(), event_id.decode(errors="replace"), type_.decode(errors="replace"),
        subject.decode(errors="replace"), event,
    )  # fmt: skip


def entries_of(found: list[Any]) -> tuple[Entry, ...]:
    """Those of several that the log still has."""
    return tuple(entry_of(*one) for one in found if one)
