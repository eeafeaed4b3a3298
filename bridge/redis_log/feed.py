"""The end of one partition of the log, read once for all destinations. Refuses to write.

A destination that has looked at everything rests here; it is woken by the first entry whose type it may want, so that
a thousand destinations which want nothing of what comes cost nothing.
"""

import asyncio
from collections.abc import Callable

from bridge.delivery.lane import Reader
from bridge.errors import LogUnavailable
from bridge.event import Entry
from bridge.redis_log.entries import entry_of
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Link
from bridge.stop import nap, within

MOST = 512
"""Entries of one read."""
LARGE = 8 << 20
"""Bytes of events in one read; after a larger one fewer entries are read at once."""
KEPT = 4096
"""Entries kept for destinations that are a little behind."""
KEPT_BYTES = 16 << 20
"""Bytes of events kept; at least one read is."""
POLL = 1.0
"""Seconds that new entries are waited for, and between looks for requests: less than the connection's time-out."""
MAX_TYPES = 4096
"""Types whose readers are remembered."""


class Feed:
    """Reads on demand: what somebody has read lately is kept for the others. `run` is its only loop."""

    def __init__(self, link: Link, blocking: Link, keys: Keys, *, beat: Callable[[], None] = lambda: None) -> None:
        self._link = link
        self._blocking = blocking
        """Where new entries are waited for; nobody else waits behind that."""
        self._keys = keys
        self._beat = beat
        self._joined = asyncio.Event()
        """Somebody reads: the first one is not to wait for the next look."""
        self._lock = asyncio.Lock()
        self._rests = asyncio.Event()
        """Set when somebody comes to rest, until nobody does."""
        self._kept: list[Entry] = []
        self._bytes = 0
        self._before = ""
        """The id before the first kept entry."""
        self._base = 0
        """The number of the first kept entry since this feed began."""
        self._end = ""
        """The id of the last kept entry, or of the one before the first."""
        self._last = False
        """Nothing came after it when somebody looked last."""
        self._place: dict[str, int] = {}
        """Id of a kept entry -> its number; and of the one before the first."""
        self._generation = 0
        self._most = MOST
        self._readers: dict[str, Reader] = {}
        self._resting = 0
        self._interested: dict[str, list[Reader]] = {}

    def join(self, reader: Reader) -> None:
        """Know a destination."""
        self._readers[reader.destination] = reader
        self._interested.clear()
        self._joined.set()

    def leave(self, reader: Reader) -> None:
        """Forget a destination."""
        self.rouse(reader)
        if self._readers.get(reader.destination) is reader:
            del self._readers[reader.destination]
        self._interested.clear()

    def doubt(self) -> None:
        """Somebody has found the log in another state than expected: keep nothing that was read before."""
        self._forget("")

    async def after(self, position: str, count: int) -> list[Entry]:
        """The entries after this one, at most `count`; none where it is the last. Raises LogUnavailable."""
        kept = self._from_kept(position, count)
        if not kept and not (self._resting and self._last and position == self._end):  # else what comes is waited for
            async with self._lock:
                # somebody else may have read it meanwhile
                kept = self._from_kept(position, count) or (await self._read(position, count))[:count]
        return kept

    def has(self, position: str) -> bool:
        """Whether entries after this one are here, without asking Redis."""
        return bool(self._from_kept(position, 1))

    def rest(self, reader: Reader, position: str) -> bool:
        """Be woken by what comes, if this is the end of what was read; False where there is more."""
        if position != self._end or not self._last:
            return False
        if not reader.resting:
            reader.resting, reader.rested = True, self._place[position]
            self._resting += 1
            self._rests.set()
        return True

    def rouse(self, reader: Reader) -> None:
        """Rest no more: `position` is how far this one has looked, over `passed` entries."""
        if reader.resting:
            reader.resting, reader.position, reader.passed = False, self._end, self._place[self._end] - reader.rested
            self._resting -= 1

    async def run(self) -> None:
        """Wake those that rest and look for requests, until cancelled."""
        time = asyncio.get_running_loop().time
        look = time()
        while True:
            self._beat()
            try:
                if not self._readers:
                    self._joined.clear()
                    await within(self._joined.wait(), POLL)
                    continue
                if time() >= look:
                    await self._requests()
                    look = time() + POLL
                await within(self._rests.wait(), max(0.0, look - time()))
                while self._resting and time() < look:
                    await self._wait(look - time())
                if not self._resting:
                    self._rests.clear()
            except LogUnavailable:
                await nap(POLL)  # the committers and the destinations say what is wrong with Redis
                self.doubt()

    async def _wait(self, seconds: float) -> None:
        """Keep what comes next, if anything comes in time."""
        position = self._end
        reply = await self._blocking.call(
            "XREAD", "COUNT", self._most, "BLOCK", max(1, int(seconds * 1000)), "STREAMS", self._keys.events, position
        )  # fmt: skip
        if reply and position == self._end:  # nobody else has read it meanwhile
            self._keep([entry_of(id_, fields) for id_, fields in reply[0][1]])

    async def _requests(self) -> None:
        for name in await self._link.call("SMEMBERS", self._keys.requests()):
            reader = self._readers.get(name.decode(errors="replace"))
            if reader is not None:
                reader.asked()

    def _from_kept(self, position: str, count: int) -> list[Entry]:
        place = self._place.get(position)
        if place is None:
            return []
        at = place + 1 - self._base
        return self._kept[at : at + count]

    async def _read(self, position: str, count: int) -> list[Entry]:
        if not self._end:
            self._forget(position)
        shared = position == self._end
        most = self._most if shared else min(count, self._most)
        reply = await self._link.call("XRANGE", self._keys.events, f"({position}", "+", "COUNT", most)
        entries = [entry_of(id_, fields) for id_, fields in reply]
        size = sum(len(entry.event) for entry in entries)
        self._most = max(self._most // 4, 1) if size > LARGE else min(self._most * 2, MOST)
        if self._link.generation != self._generation:
            # a new connection may lead to an older copy: nothing that was kept is sure
            self._generation = self._link.generation
            self._forget(position)
            self._keep(entries)
        elif shared and position != self._end:
            entries = self._from_kept(position, count)  # they came while this was asked for
        elif shared:
            self._keep(entries)
            self._last = len(entries) < most
        elif len(entries) < most:
            # somebody has come to the end of the log: from here on it is read for all
            places = [at for at, entry in enumerate(entries, 1) if entry.entry == self._end]
            if not places:
                self._forget(position)
            self._keep(entries[places[0] :] if places else entries)
            self._last = True
        return entries

    def _forget(self, position: str) -> None:
        """Keep nothing any more, and rouse everybody who relied on it."""
        for reader in self._readers.values():
            self._wake(reader)
        self._base += len(self._kept) + 1
        self._kept, self._bytes = [], 0
        self._before = self._end = position
        self._last = False
        self._place = {position: self._base - 1}

    def _keep(self, entries: list[Entry]) -> None:
        place = self._base + len(self._kept)
        for entry in entries:
            if self._resting:
                for reader in self._of(entry.type):
                    self._wake(reader)
            self._place[entry.entry] = place
            self._bytes += len(entry.event)
            self._end = entry.entry
            place += 1
        self._kept += entries
        if len(self._kept) > KEPT or (self._bytes > KEPT_BYTES and len(self._kept) > max(1, 2 * len(entries))):
            self._drop(len(self._kept) // 2)

    def _drop(self, count: int) -> None:
        """The oldest ones go."""
        gone = self._kept[:count]
        for id_ in (self._before, *(entry.entry for entry in gone[:-1])):
            del self._place[id_]
        self._before = gone[-1].entry
        self._bytes -= sum(len(entry.event) for entry in gone)
        del self._kept[:count]
        self._base += count

    def _wake(self, reader: Reader) -> None:
        if reader.resting:
            self.rouse(reader)
            reader.wake()

    def _of(self, type_: str) -> list[Reader]:
        found = self._interested.get(type_)
        if found is None:
            if len(self._interested) >= MAX_TYPES:
                self._interested.clear()
            found = [reader for reader in self._readers.values() if reader.wants(type_)]
            self._interested[type_] = found
        return found
