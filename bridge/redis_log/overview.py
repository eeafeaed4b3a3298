"""What the log knows of itself, its sources and its destinations, for people and scrapes. Writes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from time import monotonic

from bridge.delivery.health import Standing
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.keys import Keys, partition_of
from bridge.redis_log.link import Argument, Link, Reply, Server, classify
from bridge.redis_log.partitions import Partitions
from bridge.redis_log.scripts import LOOK

PART = 500
"""Sources and destinations, each, that one script call looks at: the server answers nobody else meanwhile."""
RECENT = 1.0
"""Seconds for which `recent` is content with what was seen."""


@dataclass(frozen=True, slots=True)
class SourceLook:
    """A source as it is stored; one that has never run is all empty."""

    sequence: int = 0
    cursor: str | None = None
    state: str = ""
    reason: str = ""
    time: str = ""
    """When it was stored last, RFC 3339."""


@dataclass(frozen=True, slots=True)
class DestinationLook:
    """A destination over all partitions. Times in seconds from now."""

    standing: Standing
    """As it was stored last."""
    since: float | None
    """How long it has been in this state; None where it never left the first one."""
    positions: tuple[str, ...]
    """Up to which entry each partition was looked at; "" where it never was."""
    lag: int | None
    """Entries that were not looked at; None where Redis does not know."""
    in_flight: int
    """Entries that were taken up and neither settled nor put back."""
    lanes: int
    """Subjects, or batches, that wait for a retry or behind one."""
    next_due: float | None
    """When the next of them is due; negative: it is due already."""
    dead: int
    """Dead letters."""
    oldest: float | None
    """How long its oldest unsettled entry has been in the log; None where nothing waits."""
    entries: int = 0
    """Entries that wait in the lanes, of the first ones where there are very many."""


@dataclass(frozen=True, slots=True)
class PartitionLook:
    """One partition of the log."""

    entries: int
    added: int
    """Entries ever added."""
    last: str
    """The newest entry's id, "0-0" before the first."""
    parked: int


@dataclass(frozen=True, slots=True)
class Look:
    """All of it at about one moment."""

    log: tuple[PartitionLook, ...]
    sources: dict[str, SourceLook]
    destinations: dict[str, DestinationLook]
    """Those asked for, then others that have a group and dead letters in the log."""
    at: float
    """When, in monotonic seconds."""


class Overviews(Partitions):
    """Looks over connections of its own, a round trip a partition. Every coroutine raises LogUnavailable."""

    def __init__(self, server: Server, keys: Sequence[Keys]) -> None:
        super().__init__(server, keys)
        self._clock = DeliveryClock(self._links[0], keys[0])
        self._lock = asyncio.Lock()
        self._seen: tuple[tuple[Sequence[str], Sequence[str]], Look] | None = None

    async def look(self, sources: Sequence[str], destinations: Sequence[str]) -> Look:
        """What is stored now of these."""
        await self._clock.start()
        log = []
        found: dict[str, SourceLook] = {}
        destined: dict[str, list[_Share | None]] = {name: [] for name in destinations}
        for at, (keys, link) in enumerate(self._both()):
            here = [id_ for id_ in sources if partition_of(id_, len(self.partitions)) == at]
            partition, states, shares = await _partition(keys, link, here, destinations)
            log.append(partition)
            found |= zip(here, states, strict=True)
            for name in shares:
                destined.setdefault(name, [None] * at)
            for name, each in destined.items():
                each.append(shares.get(name))
        now = self._clock.seconds()
        looks = {name: _together(shares, now) for name, shares in destined.items()}
        return Look(tuple(log), {id_: found[id_] for id_ in sources}, looks, monotonic())

    async def recent(self, sources: Sequence[str], destinations: Sequence[str]) -> Look:
        """As `look`, a second old at most; those who ask at the same time share one."""
        asked = list(sources), list(destinations)
        async with self._lock:
            if self._seen is None or self._seen[0] != asked or monotonic() - self._seen[1].at >= RECENT:
                self._seen = asked, await self.look(*asked)
            return self._seen[1]


@dataclass(frozen=True, slots=True)
class _Share:
    """What one partition knows of a destination; `due` by the delivery clock, `oldest` an age, both in seconds."""

    standing: bytes
    position: str
    lag: int | None
    in_flight: int
    lanes: int
    due: float | None
    oldest: float | None
    dead: int
    entries: int


async def _partition(
    keys: Keys, link: Link, sources: Sequence[str], destinations: Sequence[str]
) -> tuple[PartitionLook, list[SourceLook], dict[str, _Share]]:
    replies = await link.scripts([
        (LOOK, [keys.events, keys.parked, keys.root, len(some), *some, *others])
        for some, others in zip_longest(_parts(sources), _parts(destinations), fillvalue=())
    ])  # fmt: skip
    partition = PartitionLook(0, 0, "", 0)
    found: list[SourceLook] = []
    shares: dict[str, _Share] = {}
    for reply in replies:
        if isinstance(reply, Exception):
            raise classify(reply) from reply
        now, (entries, added, last, parked), states, stands = reply
        partition = PartitionLook(entries, added, last.decode(), parked)
        found += [_source(*state) for state in states]
        shares |= {_text(name): _share(rest, now) for name, *rest in stands}
    return partition, found, shares


def _parts(names: Sequence[str]) -> list[Sequence[Argument]]:
    return [names[at : at + PART] for at in range(0, len(names), PART)] or [()]


def _source(sequence: Reply, cursor: Reply, state: Reply, reason: Reply, time: Reply) -> SourceLook:
    return SourceLook(
        int(sequence or 0), None if cursor is None else _text(cursor), _text(state), _text(reason), _text(time)
    )  # fmt: skip


def _share(found: list[Reply], now: int) -> _Share:
    standing, position, lag, in_flight, lanes, due, oldest, dead, entries = found
    return _Share(
        standing or b"", _text(position), lag, in_flight, lanes, None if due is None else due / 1000,
        None if oldest is None else max(0.0, (now - oldest) / 1000), dead, entries,
    )  # fmt: skip


def _together(shares: Sequence[_Share | None], now: float) -> DestinationLook:
    there = [share for share in shares if share is not None]
    standing = Standing.decode(next((share.standing for share in there if share.standing), b""))
    lags = [share.lag for share in there]
    return DestinationLook(
        standing,
        max(0.0, now - standing.since) if standing.since else None,
        tuple("" if share is None else share.position for share in shares),
        None if None in lags else sum(lag or 0 for lag in lags),
        sum(share.in_flight for share in there),
        sum(share.lanes for share in there),
        min((share.due - now for share in there if share.due is not None), default=None),
        sum(share.dead for share in there),
        max((share.oldest for share in there if share.oldest is not None), default=None),
        sum(share.entries for share in there),
    )


def _text(stored: bytes | None) -> str:
    return (stored or b"").decode(errors="replace")
