"""Decodes Server-Sent Events exactly by the WHATWG rules; refuses to do I/O, and to hold without bound.

Specification: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from typing import Final, Literal

import msgspec

BOM: Final = b"\xef\xbb\xbf"
FIELDS: Final = frozenset((b"data", b"event", b"id", b"retry"))
MAX_LINE_BYTES: Final = 64 * 1024  # of any line but data; chunks are worked on in pieces of this size
MAX_RETRY_MS: Final = 2**63 - 1  # has 19 digits; a larger number counts as this one


class _Reception(msgspec.Struct, frozen=True, eq=False, gc=False, kw_only=True):
    """How a frame came in: no part of what it is."""

    own_id: bool = False
    oversized: int = 0


class Frame(_Reception, frozen=True, eq=False, gc=False):
    """One dispatched event. Equality, hash and repr are those of the first four fields.

    Attributes:
        event: the event type; `message` where the stream gave none.
        data: the data lines joined by LF, as received, not decoded.
        id: the last event id in force, perhaps set by an earlier frame; empty where there is none.
        retry: the reconnection time in force, in ms; None where the stream set none.
        own_id: whether this frame itself carried an accepted `id` line.
        oversized: 0, or the number of data bytes received where they exceed the decoder's bound; `data` then
            holds the first of them, as many as the bound allows.
    """

    event: str
    data: bytes
    id: str
    retry: int | None

    def _fields(self) -> tuple[str, bytes, str, int | None]:
        return self.event, self.data, self.id, self.retry

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, Frame) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"Frame(event={self.event!r}, data={self.data!r}, id={self.id!r}, retry={self.retry!r})"


class Decoder:
    """Turns the bytes of one connection into frames: the same in any chunking, in linear time.

    It holds about twice `max_event_bytes` at most. A frame with more data comes out cut (`Frame.oversized`);
    the next one is exact again. Any other line over MAX_LINE_BYTES is ignored, whatever its field.

    Attributes:
        last_event_id: what to send as `Last-Event-ID` on reconnection; an unfinished frame doesn't change it.
        retry: the reconnection time in force, in ms; None where the stream set none.
    """

    def __init__(self, *, max_event_bytes: int = 8 * 1024 * 1024, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self._bound = max_event_bytes
        self._start: bytes | None = b""  # the first bytes, until it is clear whether they are a BOM
        self._after_cr = False  # a LF that comes next belongs to the CR before it
        self._line = bytearray()  # the line whose end hasn't arrived, unless it is long
        self._long: Literal["no", "data", "ignored"] = "no"  # over MAX_LINE_BYTES, and what becomes of it
        self._id = last_event_id  # the specification's last event id buffer
        self._own_id = False
        self._event = ""
        self._data: bytes | bytearray | None = None  # None: this frame has no data line so far
        self._lost = 0  # data bytes of this frame that are over the bound

    @property
    def inside(self) -> bool:
        """True while a frame, or a line, has begun and not ended."""
        begun = self._line or self._event or self._own_id or self._long != "no"
        return bool(begun) or self._data is not None

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes of the stream, as many as there are; return the frames that they complete."""
        if len(chunk) <= MAX_LINE_BYTES:
            return self._feed(chunk)
        starts = range(0, len(chunk), MAX_LINE_BYTES)
        return [frame for start in starts for frame in self._feed(chunk[start : start + MAX_LINE_BYTES])]

    def _feed(self, chunk: bytes) -> list[Frame]:
        if self._start is not None:
            chunk = self._without_bom(self._start + chunk)
        lines = self._lines(chunk)
        rest = lines.pop()
        if lines and (self._line or self._long != "no"):
            lines[:1] = self._end_line(lines[0])
        frames = []
        for line in lines:
            if line:
                self._field(line)
                continue
            self.last_event_id = self._id
            if self._data is not None:
                frames.append(self._frame(self._data))
            self._event = ""
            self._own_id = False
        if rest:
            self._extend_line(rest)
        return frames

    def _without_bom(self, start: bytes) -> bytes:
        if len(start) < len(BOM) and BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(BOM)

    def _lines(self, chunk: bytes) -> list[bytes]:
        """Split at LF, CR and CRLF; the last item goes on in the next chunk. No CR waits for its LF."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" not in chunk:
            return chunk.split(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()  # of bytes: at these three only
        if chunk.endswith((b"\r", b"\n")):
            lines.append(b"")
        return lines

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b": ")
        if name not in FIELDS:  # so no space follows the first colon, if there is a colon
            name, _, value = line.partition(b":")
        if name == b"data":
            if self._data is None and len(value) <= self._bound:
                self._data = value
            else:
                self._add_data(value if self._data is None else b"\n" + value)
        elif name == b"id":
            text = value.decode("utf-8", "replace")
            if "\0" not in text:
                self._id = text
                self._own_id = True
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            self.retry = min(int(value.lstrip(b"0")[:20] or b"0"), MAX_RETRY_MS)

    def _add_data(self, piece: bytes) -> None:
        """Append to the frame's data up to the bound; count the rest, keep none of it."""
        data = self._data if isinstance(self._data, bytearray) else bytearray(self._data or b"")
        kept = piece[: self._bound - len(data)]
        data += kept
        self._data = data
        self._lost += len(piece) - len(kept)

    def _frame(self, data: bytes | bytearray) -> Frame:
        frame = Frame(
            self._event or "message",
            data if isinstance(data, bytes) else bytes(data),
            self._id,
            self.retry,
            own_id=self._own_id,
            oversized=len(data) + self._lost if self._lost else 0,
        )
        self._data = None
        self._lost = 0
        return frame

    def _extend_line(self, piece: bytes) -> None:
        """Take a piece of the line that has no end yet. A long one is kept only if data, in the frame."""
        if self._long == "data":
            self._add_data(piece)
        elif self._long == "no":
            self._line += piece
            if len(self._line) > MAX_LINE_BYTES:
                start = bytes(self._line)
                self._line.clear()
                self._long = "data" if start.startswith(b"data:") else "ignored"
                if self._long == "data":
                    self._field(start)

    def _end_line(self, piece: bytes) -> list[bytes]:
        """Take the last piece of a line; return the line, or nothing where it was long and is dealt with."""
        self._extend_line(piece)
        if self._long != "no":
            self._long = "no"
            return []
        line = bytes(self._line)
        self._line.clear()
        return [line]
