"""The log as one replay sees it: lanes with a consumer group of their own, over one range of the log.

Reads by itself and over its own connection, so that no other destination waits for it. What it gives up is a dead
letter of its destination.
"""

from bridge.delivery.lane import Reader, Together
from bridge.event import Entry
from bridge.redis_log.commit import accept
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.entries import entry_of
from bridge.redis_log.feed import Feed
from bridge.redis_log.keys import Keys
from bridge.redis_log.lanes import RedisLanes
from bridge.redis_log.link import Argument, Link, Reply, Server
from bridge.redis_log.replays import Asked, closing, place
from bridge.redis_log.scripts import CLOSE_REPLAY, OPEN_REPLAY

MOST = 64
"""Entries of one read."""
DONE, GONE, LEFT = "DONE", "GONE", "LEFT"
"""What closing says: it is off the list now, it was before, or something of it is left to do."""


class ReplayLanes(RedisLanes):
    """One replay in one partition. To be closed by `release`."""

    def __init__(
        self, server: Server, feed: Feed, clock: DeliveryClock, keys: Keys, destination: str, *,
        asked: Asked, text: str, instance: str, together: Together | None = None,
    ) -> None:  # fmt: skip
        self._own = Link(server, keys.events)
        super().__init__(
            self._own, feed, clock, keys, asked.name(destination),
            instance=instance, start=asked.after, together=together,
        )  # fmt: skip
        self._dead = keys.dead(destination)
        self._keys = (*self._keys[:5], self._dead, self._keys[6])
        self._asked, self._text, self._of = asked, text, (keys, destination)
        self._end = ""
        """Where the last look found nothing more."""

    def join(self, reader: Reader) -> None:
        """Nothing: the range does not grow."""

    def leave(self, reader: Reader) -> None:
        """Nothing."""

    async def after(self, position: str, count: int) -> list[Entry]:
        """The range's entries after this one, at most `count`; none at its end."""
        begin = max(position, self._asked.after, key=place)
        reply = await self._link.call(
            "XRANGE", self._events, f"({begin}", self._asked.last, "COUNT", min(count, MOST)
        )  # fmt: skip
        if not reply:
            self._end = position
        return [entry_of(id_, fields) for id_, fields in reply]

    def has(self, position: str) -> bool:  # noqa: ARG002  # the port's
        """Never without asking Redis."""
        return False

    def rest(self, reader: Reader, position: str) -> bool:
        """Whether this is the end of the range."""
        reader.position, reader.passed = position, 0
        return position == self._end

    def rouse(self, reader: Reader) -> None:
        """Nothing: nothing came."""

    async def _take_over(self, *args: Argument) -> Reply:
        keys, destination = self._of
        return await self._link.script(
            OPEN_REPLAY, self._keys[1], self._events, keys.requests(destination), *args, self._text
        )

    async def close(self) -> str:
        """Take the replay off the list with all its keys, if nothing is left of it: DONE, GONE or LEFT.

        Raises LogUnavailable, and Fenced where somebody newer has taken it over.
        """
        keys, destination = self._of
        owner = self._owner or "nobody:0"  # it was never opened
        (said,) = accept(
            await self._link.script(
                CLOSE_REPLAY,
                *closing(keys, destination, self._asked, self._text, "done", owner=owner),
            )
        )
        return str(said.decode())

    async def release(self) -> None:
        """Close the connection."""
        await self._own.close()
