"""Reads a page of a list call: `{data: [...], nextCursor, hasMore}`. Pure: no I/O, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from bridge.normalize.surrogates import paired, verbatim

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Page:
    """The objects of a page, as received, and the cursor of the next; "" on the last one."""

    items: tuple[bytes, ...]
    next: str
    more: bool | None
    """Whether there is a next one, with or without a cursor; None where neither `hasMore` nor `nextCursor` is there."""


def read(body: bytes) -> Page | None:
    """The page of an answer; None where it is none."""
    try:
        body.decode()
        said = _decode(paired(body))
        items = _decode_list(said["data"])
        following = msgspec.json.decode(said.get("nextCursor", b"null"), type=str | None)
        more = {b"true": True, b"false": False}.get(bytes(said.get("hasMore", b"")))  # another value says nothing
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    if more is None and "nextCursor" in said:
        more = bool(following)
    return Page(tuple(_verbatim(verbatim(body, said["data"], "data"), items)), (more and following) or "", more)


def _verbatim(listed: bytes, items: list[msgspec.Raw]) -> Iterator[bytes]:
    text, at = paired(listed), 1  # of the same length, so that a place in the one is one in the other
    for item in items:
        at = text.index(item, at)
        yield listed[at : at + len(bytes(item))]
        at += len(bytes(item))
