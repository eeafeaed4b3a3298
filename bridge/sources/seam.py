"""Leaves out what a stream without a cursor tells from before: what a list has told, or what nobody asked for. Pure.

Exact for a stream that begins at its own beginning or with what happens now, for lists of any length: each event comes
once. One that begins somewhere in between tells again what is older than the window of known ids. Refuses to leave out
what it is not sure of: in doubt an event comes twice.
"""

from collections.abc import Callable, Container
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from bridge.event import Batch, Event
from bridge.sources.bookmark import Bookmark

EDGE = 64
"""Ids of a list's first and last events that are kept: by so many places the stream's order may be another."""


class Seam:
    """A stream's seam, over all its connections. `open` is False once everything is let through for good.

    With `since`, what happened before is left out until the first later event. With `first`, a list has told the
    history: where the stream tells one of its first events, it is at its beginning, and is left out until it tells one
    of the last. What a list never tells (spans, changes of control) passes meanwhile.
    """

    def __init__(
        self, bookmark: Bookmark, known: Container[str], time: Callable[[Event], str] | None = None
    ) -> None:  # fmt: skip
        self._time = time or placed
        self._bookmark = bookmark
        self._known = known
        self._first = frozenset(bookmark.first)
        self._last = frozenset(bookmark.last)
        self._since = moment(bookmark.since)
        self._through = moment(bookmark.through)
        self._within = bookmark.within
        self.open = bool(bookmark.since or bookmark.first or bookmark.again)

    def passed(self, batch: Batch) -> Batch:
        """The batch without what is left out, and with the bookmark that a crash goes on from."""
        before = self._within
        batch.records = [
            record for record in batch.records
            if not (self.open and isinstance(record, Event) and self._left_out(record))
        ]  # fmt: skip
        if not self.open:
            batch.bookmark = ""
        elif self._within != before:
            batch.bookmark = msgspec.structs.replace(self._bookmark, within=self._within).text
        return batch

    def _left_out(self, event: Event) -> bool:
        when = moment(self._time(event))
        if event.id in self._last:
            self._within = False
            return True
        if event.id in self._first:
            self._within = True
            return True
        if self._since and when and when < self._since:
            return True
        listed = event.origin is not UNSET or event.category is not UNSET  # frames of the stream's own have neither
        later = not self._through or not when or when > self._through
        if self._within and listed and not later:
            return True
        if later and (listed or not self._first) and event.id not in self._known:
            self.open = False
        return False


class _Created(msgspec.Struct):
    createdAt: str = ""  # noqa: N815  # the upstream's name


def placed(event: Event) -> str:
    """The time by which a list is ordered: the upstream's `createdAt` as it wrote it, else the event's time."""
    try:
        created = msgspec.json.decode(event.data, type=_Created).createdAt
    except msgspec.MsgspecError:
        created = ""
    return created or (event.time.isoformat() if isinstance(event.time, datetime) else event.time)


def moment(text: str) -> datetime | None:
    """A time as an aware datetime, a naive one as UTC; None for a text that is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
