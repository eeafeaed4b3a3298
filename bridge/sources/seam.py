"""Leaves out what a stream without a cursor tells from before: what a list has told, or what nobody asked for. Pure."""

from collections.abc import Container
from datetime import UTC, datetime

from bridge.event import Batch, Event, Parked
from bridge.sources.bookmark import Bookmark


class Seam:
    """One connection's seam. `open` is False from the first record on that it lets through for good.

    Two cases. With `since`, events before that time are left out until the first later one. With `first`, the list
    has told the history: if the stream begins with the very event that the list began with, all of it comes again, and
    what is older than the window of known ids has to be left out here, up to the first known one.
    """

    def __init__(self, bookmark: Bookmark, known: Container[str]) -> None:
        self._known = known
        self._since = _moment(bookmark.since)
        self._first = bookmark.first
        self._through = _moment(bookmark.through)
        self.open = bool(bookmark.since or bookmark.first)
        self._skipping = False

    def passed(self, batch: Batch) -> Batch:
        """The batch without what is left out; it drops the bookmark where the seam is behind it."""
        kept: list[Event | Parked] = []
        for record in batch.records:
            if self.open and isinstance(record, Event) and self._left_out(record):
                continue
            if isinstance(record, Event):
                self.open = False
            kept.append(record)
        batch.records = kept
        if not self.open:
            batch.bookmark = ""
        elif self._first:
            batch.cursor = None  # after a crash all of it comes again, and has to be told apart again
        return batch

    def _left_out(self, event: Event) -> bool:
        moment = event.time if isinstance(event.time, datetime) else _moment(event.time)
        if self._since is not None:
            return moment is not None and moment < self._since
        if event.id in self._known:
            return False
        if event.id == self._first:
            self._skipping = True
        return self._skipping and (self._through is None or moment is None or moment <= self._through)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
