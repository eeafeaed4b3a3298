"""Looks at the end of the log for those who follow it: pages bounded in bytes, and how far it goes. Writes nothing.

Nothing here waits for more, so that any number of followers share one connection a partition.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.event import Entry
from bridge.redis_log.entries import entry_of
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Link, Server
from bridge.redis_log.scripts import TAIL

PAGE_BYTES = 1 << 20
"""Bytes of one page, and one event more."""


@dataclass(frozen=True, slots=True)
class Page:
    """One partition of the log at one moment, and what was read of it."""

    first: str
    """The id of the first entry there is."""
    last: str
    """The id of the last one there ever was; "0-0" before any."""
    added: int
    """Entries ever added."""
    there: int
    """Entries there are."""
    known: bool
    """The entry that this was asked from is there."""
    entries: list[Entry]

    @property
    def trimmed(self) -> int:
        """Entries there are no more."""
        return self.added - self.there


class Tail:
    """All partitions, over connections of its own. Every coroutine raises LogUnavailable."""

    def __init__(self, server: Server, keys: Sequence[Keys]) -> None:
        self._both = [(each.events, Link(server, each.events)) for each in keys]

    @property
    def partitions(self) -> range:
        """The partitions' numbers."""
        return range(len(self._both))

    async def after(self, partition: int, id_: str, most: int = 256) -> Page:
        """The entries after one, at most `most` and some PAGE_BYTES."""
        return await self._look(partition, id_, most, "next")

    async def newest(self, partition: int, after: str, most: int) -> Page:
        """The last entries, newest first, at most `most` and none up to `after`; without their events."""
        return await self._look(partition, after, most, "newest")

    async def close(self) -> None:
        """Close the connections."""
        for _, link in self._both:
            await link.close()

    async def _look(self, partition: int, id_: str, most: int, which: str) -> Page:
        events, link = self._both[partition]
        first, last, added, there, known, found = await link.script(TAIL, events, id_, most, PAGE_BYTES, which)
        return Page(
            first.decode(), last.decode(), added, there, known == b"1", [entry_of(id_, fields) for id_, fields in found]
        )  # fmt: skip
