"""The log as one destination sees it: a consumer group for what flows, lists and sorted sets for what waits.

Every exchange is fenced by the destination's owner, so that two bridges never deliver side by side.
"""

from collections.abc import Callable

from bridge.clock import now, rfc3339
from bridge.errors import LogUnavailable
from bridge.event import Entry
from bridge.lane import Head, Settlement, Taken
from bridge.redis_log.commit import accept
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Command, Link, Reply, classify
from bridge.redis_log.scripts import OPEN_DESTINATION, SETTLE, TAKE

MAX_DEAD = 1_000_000
"""Dead letters kept per destination and partition; the oldest go first."""


class RedisLanes:
    """One destination in one partition. Speaks over a link that several destinations may share."""

    def __init__(
        self, link: Link, keys: Keys, destination: str, *, instance: str, start: str,
        listen: Callable[[Callable[[], None]], None],
    ) -> None:  # fmt: skip
        self._link = link
        self._keys = keys
        self._destination = destination
        self._instance = instance
        self._start = {"now": "$"}.get(start, "0")
        self._owner = ""
        self._epoch = 0
        self._generation = 0
        self.listen = listen

    async def open(self) -> None:
        """Take over the delivery, making the consumer group where there is none. Raises LogUnavailable, Fenced."""
        reply = await self._link.script(
            OPEN_DESTINATION, self._keys.destination(self._destination), self._keys.events,
            self._instance, self._epoch, self._destination, self._start,
        )  # fmt: skip
        owner, epoch = accept(reply)
        self._owner, self._epoch = owner.decode(), int(epoch)
        self._generation = self._link.generation

    async def exchange(
        self,
        settled: list[str],
        settlements: list[Settlement],
        *,
        want: int,
        heads: int,
        busy: list[str],
        after: str,
    ) -> Taken:
        """Settle and take in one round trip (`bridge.ports.Lanes`)."""
        keys, name = self._keys, self._destination
        shared = (keys.events, keys.destination(name), keys.held(name), keys.due(name), keys.oldest(name))
        common = (self._owner, name, keys.lane(name))
        calls: list[tuple[object, Command]] = [
            (SETTLE, (*shared, keys.dead(name), *common, *self._settlement(settlement))) for settlement in settlements
        ]
        calls.append((TAKE, (*shared, *common, want, after, heads, len(settled), *settled, *busy)))
        *verdicts, taken = await self._link.scripts(calls)  # type: ignore[arg-type]
        if self._generation != self._link.generation:
            raise LogUnavailable("CONNECTION", "a new connection: the log may be an older copy")
        missing = sum(int(_checked(verdict)[0]) for verdict in verdicts)
        next_due, gone, read, last, entries, due = _checked(taken)
        return Taken(
            entries=[entry_of(id_, fields) for id_, fields in entries],
            heads=[_head(*head) for head in due],
            next_due=None if next_due < 0 else next_due / 1000,
            missing=missing + gone,
            read=read,
            last=last.decode(),
        )

    def _settlement(self, settlement: Settlement) -> Command:
        entry = settlement.entry
        return (
            settlement.subject, settlement.id, str(settlement.verdict), settlement.attempts,
            int(settlement.delay * 1000), "" if settlement.status is None else settlement.status, settlement.error,
            MAX_DEAD, rfc3339(now()), entry.id if entry else "", entry.type if entry else "",
            entry.event if entry else b"", *settlement.waiting,
        )  # fmt: skip


def _checked(reply: Reply) -> list[Reply]:
    if isinstance(reply, Exception):
        raise classify(reply) from reply
    return accept(reply)


def entry_of(id_: bytes, fields: list[bytes]) -> Entry:
    """One entry of the stream; fields somebody else left out are empty."""
    at = dict(zip(fields[::2], fields[1::2], strict=True))
    event_id, type_, subject = (at.get(name, b"").decode(errors="replace") for name in (b"id", b"type", b"subject"))
    return Entry(id_.decode(), event_id, type_, subject, at.get(b"event", b""))


def _head(subject: bytes, id_: bytes, attempts: bytes, fields: list[bytes], *following: list[Reply]) -> Head:
    entry = entry_of(id_, fields) if fields else None
    behind = tuple(entry_of(*one) for one in following)
    return Head(subject.decode(errors="replace"), id_.decode(), int(attempts), entry, behind)
