"""What the commands about parked records do at the log: find them, choose them, and ask a bridge to read them again."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.commands import RetryParked
from bridge.errors import Declined
from bridge.redis_log import ParkedRecord, ParkedRecords, WholeRecord
from bridge.redis_log.commands import Commands
from bridge.redis_log.parked import PAGE, place
from bridge.settings import Settings
from bridge.wiring import keys_of, server_of

ANSWERS_WITHIN = 15.0
"""Seconds in which a running bridge answers; without an answer, no more is asked."""
SILENT = "no bridge answers: it is done when one runs"


@dataclass(slots=True)
class Chosen:
    """The records that a command is about, by partition, and ids that none has. No bytes of theirs are held."""

    ids: dict[int, list[str]] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(map(len, self.ids.values()))

    def pages(self) -> Iterator[tuple[int, list[str]]]:
        """Partition and ids, as many at once as a round trip takes."""
        for partition, ids in self.ids.items():
            for at in range(0, len(ids), PAGE):
                yield partition, ids[at : at + PAGE]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one record: `detail` has `event` and `duplicate`, or `reason`."""

    name: str
    stored: bool
    detail: dict[str, Any]


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[ParkedRecords]:
    """The parked records of a configuration's log."""
    records = ParkedRecords(server_of(settings), keys_of(settings))
    try:
        yield records
    finally:
        await records.close()


async def found(records: ParkedRecords, sources: Sequence[str]) -> AsyncIterator[ParkedRecord]:
    """All records, or those of some sources; oldest first in each partition."""
    for partition in records.partitions:
        async for page in records.pages(partition):
            for record in page:
                if not sources or record.source in sources:
                    yield record


async def newest(records: ParkedRecords, sources: Sequence[str], limit: int) -> list[ParkedRecord]:
    """The last `limit`, newest last."""
    kept: list[ParkedRecord] = []
    for partition in records.partitions:
        some: list[ParkedRecord] = []
        async for page in records.pages(partition, backwards=True, most=min(limit, PAGE)):
            some += [record for record in page if not sources or record.source in sources]
            if len(some) >= limit:
                break
        kept += some[:limit]
    return sorted(kept, key=lambda record: (*map(int, record.id.split("-")), record.partition))[-limit:]


async def whole(records: ParkedRecords, name: str) -> WholeRecord | None:
    """The record of this id; None where there is none."""
    at = place(name)
    return await records.whole(*at) if at else None


async def choose(records: ParkedRecords, names: Sequence[str], sources: Sequence[str]) -> Chosen:
    """Those of these ids, or all where there are none; in either case only those of `sources`, if any are given."""
    chosen, missing = Chosen(), []
    for name in names:
        record = await whole(records, name)
        if record is None or (sources and record.source not in sources):
            missing.append(name)
        elif record.id not in chosen.ids.setdefault(record.partition, []):
            chosen.ids[record.partition].append(record.id)
    if not names:
        async for one in found(records, sources):
            chosen.ids.setdefault(one.partition, []).append(one.id)
    chosen.missing = frozenset(missing)
    return chosen


async def ask_for(settings: Settings, chosen: Chosen) -> AsyncIterator[Answer]:
    """Has a running bridge read them again, one after the other, in their order; ends where no bridge answers."""
    commands = Commands(server_of(settings), keys_of(settings)[0])
    try:
        for partition, ids in chosen.ids.items():
            for id_ in ids:
                answer = await _ask(commands, RetryParked(id=id_, partition=partition))
                yield answer
                if answer.detail.get("reason") == SILENT:
                    return
    finally:
        await commands.close()


async def _ask(commands: Commands, command: RetryParked) -> Answer:
    name = f"{command.partition}-{command.id}"
    try:
        done = await commands.ask(command, ANSWERS_WITHIN)
    except Declined as declined:
        return Answer(name, stored=False, detail={"reason": str(declined)})
    if done is None:
        return Answer(name, stored=False, detail={"reason": SILENT})
    return Answer(name, stored=done.changed, detail=done.detail)
