"""`sse`: any Server-Sent Events URL, resumed by `Last-Event-ID` and, where it has one, a query parameter.

Refuses to hide what it can't know: a stream that has told no id to go on from brings nothing that happened between two
connections, and each such gap is said in the log.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime

from msgspec.structs import replace

from bridge.clock import uuid7
from bridge.errors import CursorRefused
from bridge.event import Batch, Event, Parked, Position
from bridge.normalize.any_event import AnyStream as Reads
from bridge.normalize.any_event import Pointers
from bridge.sources.account import Account
from bridge.sources.bookmark import Bookmark
from bridge.sources.event_stream import Call, EventStream, sendable
from bridge.sources.seam import Seam
from bridge.sources.subscription import FROM_UPSTREAM, Start, scope_of
from bridge.sse import Decoder, Frame

NO_IDS = "no event with an id has come to go on from, so what happened while it was not connected may be missing"
NAMELESS = "its type was the name of its frame, which was not kept"
UNSENDABLE = "its last event's id has control characters, which no header can carry: set cursor_query"


def resource(url: str) -> str:
    """The CloudEvents `source` of a stream's events: its URL without the query, which may hold a token."""
    return re.split("[?#]", url, maxsplit=1)[0]


class AnyStream(EventStream):
    """One stream. `pointers` say where the attributes of an event are; `cursor_query` names the parameter."""

    linger = 0.0

    def __init__(
        self, id_: str, account: Account, *, url: str, pointers: Pointers, type_prefix: str = "",
        cursor_query: str | None = None, terminal_event: str | None = None, headers: Mapping[str, str] | None = None,
        idle_timeout: float = 60.0, max_event_bytes: int = 8 << 20, recheck: float = 300.0,
        start: Start = FROM_UPSTREAM,
    ) -> None:  # fmt: skip
        named = resource(url)
        self._gap_said = False
        self._frames_read = reads = Reads(
            named, id_, pointers, type_prefix, terminal_event, uuid7, resumes=bool(cursor_query and pointers.id)
        )
        call = Call(url, cursor_query, (), headers or {}, idle_timeout, max_event_bytes)
        super().__init__(
            id_, account, call, reads, resource=named, subject=id_, recheck=recheck,
            scope=scope_of("", [("url", url)]), start=start,
        )  # fmt: skip

    def begin(self, position: Position) -> Bookmark:
        """How the source goes on. Raises CursorRefused where its URL has changed, or its cursor can't be sent."""
        if position.cursor and not (self._call.cursor or sendable(position.cursor)):
            raise CursorRefused(UNSENDABLE)
        return super().begin(position)

    def again(self, raw: bytes, name: str, received: datetime) -> Event | Parked | None:
        """What a parked frame says now; it stays parked where its type can't be told from its data."""
        old, unknown = self._frames_read, "\0"
        reads = Reads(old.resource, old.subject, old.pointers, old.type_prefix, None, lambda: name)
        (record,) = reads.batch([Frame(unknown, raw, "", None)], received).records
        nameless = isinstance(record, Event) and record.type == old.type_prefix + unknown
        return Parked(NAMELESS, raw) if nameless else record

    @staticmethod
    def placed(event: Event) -> str:
        """The event's time: its data may have any member, and `createdAt` may be that of anything."""
        return event.time if isinstance(event.time, str) else event.time.isoformat()

    async def _connection(self, position: Position, bookmark: Bookmark) -> AsyncGenerator[Batch]:
        """The first connection without a cursor is marked as made: later ones say that there was a gap.

        Once: where nothing has come since it was said, it is the same gap still.
        """
        self._frames_read.connected()
        marked = Batch(bookmark=replace(bookmark, connected=True).text)
        first = not position.cursor
        async with aclosing(super()._connection(position, bookmark)) as batches:
            async for batch in batches:
                if first:
                    first = False
                    if not bookmark.connected:
                        yield marked
                    elif not self._gap_said:
                        self._gap_said = True
                        yield self.lost(NO_IDS)
                elif batch.bookmark is not None:
                    batch.bookmark = replace(Bookmark.read(batch.bookmark), connected=True).text
                self._gap_said = self._gap_said and not batch.records
                yield batch

    def _batch(self, decoder: Decoder, chunk: bytes, seam: Seam) -> Batch:
        """As the standard says, an empty `id:` line takes the cursor back: nothing is sent on the next connection."""
        before = decoder.last_event_id
        batch = super()._batch(decoder, chunk, seam)
        if before and not decoder.last_event_id:
            batch.cursor = ""
        return batch
