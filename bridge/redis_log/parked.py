"""The records that could not be read, as an operator sees them: looks, in pages, and drops. Reads none again."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.clock import rfc3339
from bridge.redis_log.partitions import Partitions
from bridge.redis_log.scripts import PARKED

PAGE = 200
"""Records of one page, without their bytes."""
LOOKED_AT = 32 << 20
"""Bytes that one page has Redis look at, and the last record's: other clients wait meanwhile."""
FIRST, LAST = "-", "+"
"""The ends of the stream, as a page begins and ends."""
_NAME = re.compile(r"(\d{1,2})-(\d{1,20}-\d{1,20})").fullmatch


@dataclass(frozen=True, slots=True)
class ParkedRecord:
    """A parked record without its bytes."""

    partition: int
    id: str
    """Its entry in the partition's parked stream."""
    source: str
    """The id of the source that brought it."""
    reason: str
    size: int
    """Bytes that are kept of it."""
    cursor: str
    """Where the source stood when it was stored."""

    @property
    def name(self) -> str:
        """What people and programs call it: `<partition>-<milliseconds>-<number>`."""
        return f"{self.partition}-{self.id}"

    @property
    def time(self) -> str:
        """When it was stored, RFC 3339; "" where its id tells none."""
        try:
            return rfc3339(datetime.fromtimestamp(int(self.id.partition("-")[0]) / 1000, UTC))
        except (ValueError, OverflowError, OSError):
            return ""

    @property
    def whole(self) -> bool:
        """False where only its beginning was kept."""
        return not self.reason.startswith("oversized")


@dataclass(frozen=True, slots=True)
class WholeRecord(ParkedRecord):
    """A parked record with its bytes, as they were received."""

    raw: bytes


def place(name: str) -> tuple[int, str] | None:
    """Partition and entry of a record's name; None for what is none."""
    found = _NAME(name)
    if found is None or max(map(int, found[2].split("-"))) >= 2**64:
        return None
    return int(found[1]), found[2]


class ParkedRecords(Partitions):
    """All partitions' records, over connections of its own. Every coroutine raises LogUnavailable."""

    async def count(self) -> int:
        """How many there are."""
        return sum([await link.call("XLEN", keys.parked) for keys, link in self._both()])

    async def pages(
        self, partition: int, begin: str = FIRST, end: str = LAST, *, backwards: bool = False, most: int = PAGE
    ) -> AsyncIterator[list[ParkedRecord]]:
        """Records from `begin` to `end` (ids, FIRST or LAST), oldest first unless `backwards`; at most `most` each."""
        keys, link = self._keys[partition], self._links[partition]
        while True:
            command, first, last = ("XREVRANGE", end, begin) if backwards else ("XRANGE", begin, end)
            more, found = await link.script(PARKED, keys.parked, command, first, last, most, LOOKED_AT)
            records = [_record(partition, one) for one in found]
            if records:
                yield records
            if more != b"1":
                return
            following = f"({records[-1].id}"
            begin, end = (begin, following) if backwards else (following, end)

    async def whole(self, partition: int, id_: str) -> WholeRecord | None:
        """One record with its bytes; None where there is none of this id, any more or at all."""
        if partition not in self.partitions:
            return None
        found = await self._links[partition].call("XRANGE", self._keys[partition].parked, id_, id_)
        if not found:
            return None
        fields = dict(zip(found[0][1][::2], found[0][1][1::2], strict=True))
        source, reason, cursor = (
            fields.get(name, b"").decode(errors="replace") for name in (b"source", b"reason", b"cursor")
        )
        raw = fields.get(b"raw", b"")
        return WholeRecord(partition, id_, source, reason, len(raw), cursor, raw)

    async def drop(self, partition: int, ids: Sequence[str]) -> int:
        """Remove records of one partition for good; how many there were."""
        if not ids or partition not in self.partitions:
            return 0
        return int(await self._links[partition].call("XDEL", self._keys[partition].parked, *ids))


def _record(partition: int, found: list[Any]) -> ParkedRecord:
    id_, source, reason, cursor = (found[at].decode(errors="replace") for at in (0, 1, 2, 4))
    return ParkedRecord(partition, id_, source, reason, int(found[3]), cursor)
