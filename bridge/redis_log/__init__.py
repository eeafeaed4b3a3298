"""The log on Redis Streams: the only importer of redis. Its Lua lies in the `.lua` files beside it.

`RedisLog` is the whole of it for the app; `bridge.redis_log.commit` is the heart, `lanes` the destinations' side.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from bridge.clock import unix
from bridge.delivery.lane import Together
from bridge.errors import LogUnavailable
from bridge.facts import LogTrimmed
from bridge.ports import Observe
from bridge.redis_log.commit import Committer
from bridge.redis_log.cursors import Cursors, StoredCursor
from bridge.redis_log.dead_letters import DeadLetters
from bridge.redis_log.definitions import Definitions
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.fan_out import FollowedLog, Streams, position_key
from bridge.redis_log.feed import Feed
from bridge.redis_log.keys import Keys, partition_of
from bridge.redis_log.lanes import RedisLanes
from bridge.redis_log.link import Link, Server
from bridge.redis_log.overview import Look, Overviews
from bridge.redis_log.parked import ParkedRecord, ParkedRecords, WholeRecord
from bridge.redis_log.reader import Lookup, Reader, ping
from bridge.redis_log.replay_lanes import ReplayLanes
from bridge.redis_log.replays import Asked, Listed, ReplayRequests, unlisting
from bridge.redis_log.scripts import CLOSE_REPLAY, TRIM
from bridge.redis_log.writer import Writer
from bridge.stop import nap

__all__ = [
    "Asked", "Cursors", "DeadLetters", "Definitions", "Keys", "Listed", "LogOptions", "Look", "Lookup", "Overviews",
    "ParkedRecord", "ParkedRecords", "Reader", "RedisLog", "ReplayLanes", "ReplayRequests", "Server", "StoredCursor",
    "Streams", "WholeRecord", "partition_of", "ping", "position_key",
]  # fmt: skip

MAX_LINKS = 16
"""Connections of destinations to one partition. With one for all, each waits for the others' exchanges (measured)."""
TRIM_EVERY = 5.0
"""Seconds between looks at the log's age and length."""
TRIM_STEP = 1000
"""Entries removed by count in one script call, so that no other client waits long."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Section `[log]`: `retention` in seconds, `window` in event ids per source, `replicas` to wait for."""

    prefix: str = "bridge"
    partitions: int = 1
    retention: float = 7 * 86_400.0
    max_entries: int = 1_000_000
    window: int = 10_000
    replicas: int = 0


class RedisLog:
    """All partitions of the log. `workers` are its own loops, for the supervisor to run."""

    def __init__(
        self, server: Server, options: LogOptions, *, instance: str, observe: Observe,
        beat: Callable[[str], Callable[[], None]] = lambda _: lambda: None,
    ) -> None:  # fmt: skip
        self._server = server
        self._options = options
        self._instance = instance
        self._observe = observe
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        """What is to be called when the log has grown, by destination."""
        self._keys = [Keys(options.prefix, partition) for partition in range(options.partitions)]
        self._committers = [
            Committer(
                server, keys, instance=instance, window=options.window, replicas=options.replicas,
                observe=observe, appended=self._appended, beat=beat(f"commit {keys.partition}"),
            )
            for keys in self._keys
        ]  # fmt: skip
        self._links = [Link(server, keys.events) for keys in self._keys]
        self._spread: deque[list[Link]] = deque()
        """What destinations speak over, a connection a partition each; the last was given out last."""
        self._feed_links = [(Link(server, keys.events), Link(server, keys.events)) for keys in self._keys]
        self.feeds = [
            Feed(*links, keys, beat=beat(f"feed {keys.partition}"))
            for links, keys in zip(self._feed_links, self._keys, strict=True)
        ]
        self._beat = beat("trim")
        self.clock = DeliveryClock(self._links[0], self._keys[0])
        self.destinations: set[str] = set()
        """Whose unsettled entries the trimming spares: those that run."""
        self._kept: frozenset[str] = frozenset()
        """The same for those that rest."""
        self._places: list[tuple[str, RedisLanes | FollowedLog]] = []

    @property
    def prefix(self) -> str:
        """What the log's keys begin with."""
        return self._options.prefix

    @property
    def blocked(self) -> str | None:
        """Redis' word for why it takes no writes now; None while it does."""
        return next((committer.blocked for committer in self._committers if committer.blocked), None)

    @property
    def beginning(self) -> list[str]:
        """The destinations that have no place in the log yet: a new one may still miss what comes."""
        self._places = [(name, place) for name, place in self._places if not place.begun]
        return sorted({name for name, _ in self._places})

    @property
    def writers(self) -> list[Writer]:
        """All sources' writers."""
        return [writer for committer in self._committers for writer in committer.writers]

    async def open(self, source: str, resource: str, scope: str = "") -> Writer:
        """Take ownership of a source and read its position, however long Redis is away."""
        return await self._home(source).open(source, resource, scope)

    def forget(self, writer: Writer) -> None:
        """The source has stopped for good."""
        self._home(writer.source).forget(writer)

    def lanes(self, destination: str, start: str, together: Together | None = None) -> list[RedisLanes]:
        """The log as a destination sees it, one object a partition.

        `start` is where a new one begins: "start", "now", or ms since 1970. `together`: what goes out in one request,
        where that is more than one event.
        """
        self.destinations.add(destination)
        found = [
            RedisLanes(
                link, feed, self.clock, keys, destination, instance=self._instance, start=start, together=together
            )
            for link, feed, keys in zip(self._shared(), self.feeds, self._keys, strict=True)
        ]  # fmt: skip
        self._places += [(destination, lanes) for lanes in found]
        return found

    def replay(
        self, destination: str, partition: int, asked: Asked, text: str, together: Together | None = None
    ) -> ReplayLanes:  # fmt: skip
        """The log as a replay to a destination sees it, of which `text` is the request; `together` as for `lanes`."""
        return ReplayLanes(
            self._server, self.feeds[partition], self.clock, self._keys[partition], destination,
            asked=asked, text=text, instance=self._instance, together=together,
        )  # fmt: skip

    async def unlist(self, destination: str, partition: int, text: str) -> None:
        """Take a request off the list that nobody can read. Raises LogUnavailable."""
        await self._links[partition].script(CLOSE_REPLAY, *unlisting(self._keys[partition], destination, text))

    def followed(self, destination: str, start: str) -> list[FollowedLog]:
        """The log as a fan-out of this name sees it, one object a partition; `start` as for `lanes`."""
        self.destinations.add(destination)
        found = [
            FollowedLog(
                link, keys, destination, instance=self._instance, start=start,
                listen=self._listeners.setdefault(destination, []).append,
            )
            for link, keys in zip(self._shared(), self._keys, strict=True)
        ]  # fmt: skip
        self._places += [(destination, place) for place in found]
        return found

    def keep(self, destinations: Iterable[str]) -> None:
        """Spare what these have not settled, though they don't run."""
        self._kept = frozenset(destinations)

    def leave(self, destination: str) -> None:
        """The destination doesn't run any more."""
        self.destinations.discard(destination)
        self._listeners.pop(destination, None)
        self._places = [(name, place) for name, place in self._places if name != destination]

    def change(self, *, retention: float, max_entries: int) -> None:
        """Trim by these from now on."""
        self._options = replace(self._options, retention=retention, max_entries=max_entries)

    def _shared(self) -> list[Link]:
        """A connection a partition for one more destination: of its own for the first ones, then shared in turn."""
        if len(self._spread) < MAX_LINKS:
            self._spread.append([Link(self._server, keys.events) for keys in self._keys])
        else:
            self._spread.rotate(-1)
        return self._spread[-1]

    def workers(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Name -> loop, for the supervisor: one committer and one feed a partition, and the trimming."""
        loops = {f"commit {at}": committer.run for at, committer in enumerate(self._committers)}
        feeds = {f"feed {at}": feed.run for at, feed in enumerate(self.feeds)}
        return {**loops, **feeds, "trim": self._tidy_forever}

    async def drained(self) -> None:
        """Return when every writer's batches are in the log."""
        for committer in self._committers:
            await committer.drained()

    async def close(self) -> None:
        """Close all connections."""
        for committer in self._committers:
            await committer.close()
        for link in chain(self._links, *self._feed_links, *self._spread):
            await link.close()

    async def trim(self, partition: int) -> tuple[int, int]:
        """Remove what is too old or too much; how many entries went, and how many of them were unsettled."""
        keys, options = self._keys[partition], self._options
        groups = [part for name in sorted(self.destinations | self._kept) for part in (name, keys.oldest(name))]
        oldest = int((unix() - options.retention) * 1000)
        removed = unsettled = 0
        excess = 1
        while excess:
            self._beat()  # a million entries take a thousand calls
            reply = await self._links[partition].script(
                TRIM, keys.events, max(0, oldest), options.max_entries, TRIM_STEP, *groups
            )
            removed, unsettled, excess = removed + reply[0], unsettled + reply[1], reply[2]
        return removed, unsettled

    async def _tidy_forever(self) -> None:
        while True:
            await nap(TRIM_EVERY)
            self._beat()
            try:
                if self.clock.started:
                    await self.clock.note()
                for partition in range(len(self._keys)):
                    removed, unsettled = await self.trim(partition)
                    if removed:
                        self._observe(LogTrimmed(removed, unsettled))
            except LogUnavailable:
                continue  # the committers say what is wrong with Redis; the next look is soon

    def _home(self, source: str) -> Committer:
        return self._committers[partition_of(source, len(self._committers))]

    def _appended(self) -> None:
        for listeners in self._listeners.values():
            for wake in listeners:
                wake()
