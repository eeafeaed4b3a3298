"""The log as one destination sees it: a consumer group for what flows, lists and sorted sets for what waits.

Every exchange is fenced by the destination's owner, so that two bridges never deliver side by side.
"""

import re
from typing import Any

from bridge.clock import now, rfc3339
from bridge.delivery.lane import Claims, Head, Reader, Request, Settlement, Taken, Together
from bridge.errors import Fenced, LogUnavailable
from bridge.event import Entry
from bridge.redis_log.commit import accept, own_is_overtaken
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.entries import entries_of, entry_of
from bridge.redis_log.feed import Feed
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Argument, Command, Link, Reply, classify
from bridge.redis_log.scripts import AGAIN, MARK, OPEN_DESTINATION, PENDING, SETTLE, TAKE

MAX_DEAD = 1_000_000
"""Dead letters kept per destination and partition; the oldest go first."""
LETTER = "retry "
"""What a request begins with that names a dead letter; `ENABLE` is the other one there is."""
ENABLE = "enable"
_ID = re.compile(r"\d+-\d+").fullmatch


class RedisLanes:
    """One destination in one partition. Speaks over a link that several destinations may share.

    `start` is where a new one begins: "start", "now", ms since 1970, or the id before its first. `together` says how
    much goes out in one request, where that is more than one event.
    """

    def __init__(
        self, link: Link, feed: Feed, clock: DeliveryClock, keys: Keys, destination: str, *, instance: str, start: str,
        together: Together | None = None,
    ) -> None:  # fmt: skip
        self._link = link
        self._feed = feed
        self.clock = clock
        self._destination = destination
        self._instance = instance
        self._start = {"now": "$", "start": "0"}.get(start) or (
            start if _ID(start) else f"{max(int(start) - 1, 0)}-18446744073709551615"
        )
        self._together = Together() if together is None else together
        self._batches = int(together is not None)
        self._events, self._dead, self._requests = keys.events, keys.dead(destination), keys.requests(destination)
        name = destination
        self._keys = (
            keys.events, keys.destination(name), keys.held(name), keys.due(name), keys.oldest(name), keys.dead(name),
            keys.lanes_of(name),
        )  # fmt: skip
        self._all_requests = keys.requests()
        self._lane = keys.lane(name)
        self._owner = ""
        self._epoch = 0
        self._generation = 0
        self._read: int | None = None
        """Entries up to the position since the stream began, where that is known."""

    @property
    def begun(self) -> bool:
        """Whether the destination has its place in the log."""
        return self._epoch > 0

    def join(self, reader: Reader) -> None:
        """Have the reader woken by what it wants, once it rests."""
        self._feed.join(reader)

    def leave(self, reader: Reader) -> None:
        """Wake it no more."""
        self._feed.leave(reader)

    async def open(self) -> tuple[str, bytes]:
        """Take over the delivery, making the consumer group where there is none. Raises LogUnavailable, Fenced.

        Returns the id up to which the group has looked, and what was stored by `mark`.
        """
        await self.clock.start()
        if self._epoch:
            self._feed.doubt()
        reply = await self._take_over(self._instance, self._epoch, self._destination, self._start)
        owner, epoch, position, read, standing = accept(reply)
        self._owner, self._epoch = owner.decode(), int(epoch)
        self._read = int(read) if int(read) >= 0 else None
        self._generation = self._link.generation
        return position.decode(), standing

    async def _take_over(self, *args: Argument) -> Reply:
        return await self._link.script(OPEN_DESTINATION, self._keys[1], self._events, *args)

    async def pending(self, after: str, count: int = 256) -> tuple[list[Entry], str, int]:
        """Entries claimed before and not settled, beyond `after`: a page, the last id looked at, how many are gone."""
        reply = await self._call(
            PENDING, self._owner, self._destination, self._lane, after, count, self._batches
        )  # fmt: skip
        missing, last, entries = reply
        return [entry_of(id_, fields) for id_, fields in entries], last.decode(), missing

    async def after(self, position: str, count: int) -> list[Entry]:
        """The log's entries after this one, at most `count` (`bridge.ports.Lanes`)."""
        return await self._feed.after(position, count)

    def has(self, position: str) -> bool:
        """Whether `after` answers at once."""
        return self._feed.has(position)

    def rest(self, reader: Reader, position: str) -> bool:
        """Wait to be woken by what is wanted; False where there is something to read."""
        return self._feed.rest(reader, position)

    def rouse(self, reader: Reader) -> None:
        """Rest no more."""
        self._feed.rouse(reader)

    async def exchange(
        self, settled: list[str], settlements: list[Settlement], claims: Claims, *, heads: int, busy: list[str],
        mark: tuple[bytes, Entry | None] | None = None,
    ) -> Taken:  # fmt: skip
        """Settle, mark, claim and take in one round trip (`bridge.ports.Lanes`)."""
        time = self.clock.milliseconds()
        common = (self._owner, self._destination, self._lane, time)
        calls: list[tuple[Any, Command]] = [
            (SETTLE, (*self._keys, *common, *self._settlement(settlement))) for settlement in settlements
        ]
        if mark is not None:
            standing, event = mark
            said = (event.id, event.type, event.subject, event.event) if event else ("", "", "", b"")
            calls.append((MARK, (*self._keys[:2], self._owner, standing, *said)))
        read = -1 if self._read is None or claims.passed is None else self._read + claims.passed
        calls.append((TAKE, (
            *self._keys, *common, claims.position, read, heads, self._batches, len(settled), *settled,
            len(claims.entries), *(part for entry in claims.entries for part in (entry.entry, entry.subject)), *busy,
        )))  # fmt: skip
        replies = await self._link.scripts(calls)
        if self._generation != self._link.generation:
            raise LogUnavailable("CONNECTION", "a new connection: the log may be an older copy")
        verdicts = [self._checked(reply) for reply in replies]
        next_due, waiting, due, joined = verdicts.pop()
        if claims.position:
            self._read = None if read < 0 else read
        return Taken(
            heads=[_head(*head) for head in due],
            next_due=None if next_due < 0 else next_due / 1000,
            waiting=waiting,
            missing=sum(int(verdict[0]) for verdict in verdicts),
            joined=frozenset(joined),
        )

    async def requests(self, count: int) -> list[Request]:
        """What somebody asks of this destination, the oldest first; dead letters that are gone among them."""
        texts = await self._link.call("LRANGE", self._requests, 0, count - 1)
        letters = [text.decode(errors="replace").removeprefix(LETTER) for text in texts]
        found = await self._link.pipeline([("XRANGE", self._dead, id_, id_) for id_ in letters if _ID(id_)])
        entries = {reply[0][0].decode(): entry_of(*reply[0]) for reply in found if reply and isinstance(reply, list)}
        return [
            Request(text, id_, entries[id_].subject if id_ in entries else "") if text != id_ else Request(text)
            for text, id_ in zip((text.decode(errors="replace") for text in texts), letters, strict=True)
        ]

    async def again(self, requests: list[Request], *, ordered: bool) -> None:
        """Have these dead letters join their lanes, where nothing of their subjects flows; the requests are done."""
        lanes = self._batches if ordered else ""
        said = [part for request in requests for part in (request.text, request.letter, request.subject)]
        await self._call(AGAIN, self._requests, self._all_requests, self._owner, self._destination, self._lane,
                         self.clock.milliseconds(), lanes, *said)  # fmt: skip

    async def _call(self, script: Any, *args: Any) -> list[Reply]:  # noqa: ANN401  # a script's own arguments
        reply = await self._link.script(script, *self._keys, *args)
        if self._generation != self._link.generation:
            raise LogUnavailable("CONNECTION", "a new connection: the log may be an older copy")
        return self._checked(reply)

    def _checked(self, reply: Reply) -> list[Reply]:
        if isinstance(reply, Exception):
            raise classify(reply) from reply
        try:
            return accept(reply)
        except Fenced as fenced:
            raise own_is_overtaken(fenced, self._instance) from None

    def _settlement(self, settlement: Settlement) -> Command:
        outcome = settlement.outcome
        status = "" if outcome is None or outcome.status is None else outcome.status
        dead = [part for one in settlement.dead for part in (one.entry, one.id, one.type, one.subject, one.event)]
        return (
            settlement.lane, str(settlement.verdict), f"{settlement.attempts} {settlement.refusals}",
            int(settlement.delay * 1000), status,
            outcome.error if outcome else "", outcome.answer if outcome else b"", MAX_DEAD, rfc3339(now()),
            self._together.events, self._together.bytes, self._batches, len(settlement.ids), *settlement.ids,
            len(settlement.dead), *dead, *(part for pair in settlement.behind for part in pair),
        )  # fmt: skip


def _head(
    lane: bytes, ids: bytes, attempts: bytes, refusals: bytes, found: list[Any], *following: list[Any]
) -> Head:  # fmt: skip
    return Head(
        lane.decode(errors="replace"), tuple(ids.decode().split(",")), int(attempts), int(refusals),
        entries_of(found), entries_of(list(following)),
    )  # fmt: skip
