"""Reads a page of a list call: `{data: [...], nextCursor, hasMore}`. Pure: no I/O, no clock."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from bridge.normalize.surrogates import paired

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Page:
    """The objects of a page, as received, and the cursor of the next; "" on the last one."""

    items: tuple[bytes, ...]
    next: str


def read(body: bytes) -> Page | None:
    """The page of an answer; None where it is none."""
    try:
        body.decode()
        text = paired(body)  # of the same length, so that a place in it is one in the body
        said = _decode(text)
        items = _decode_list(said["data"])
        following = msgspec.json.decode(said.get("nextCursor", b"null"), type=str | None)
        more = bytes(said.get("hasMore", b"true")) != b"false"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    return Page(tuple(_verbatim(body, text, items)), (following or "") if more else "")


def _verbatim(body: bytes, text: bytes, items: list[msgspec.Raw]) -> Iterator[bytes]:
    at = text.index(b'"data"')
    for item in items:
        at = text.index(item, at)
        yield body[at : at + len(bytes(item))]
        at += len(bytes(item))
