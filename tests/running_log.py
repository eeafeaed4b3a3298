"""A log with its loops running, the facts it observed, and the batches that tests put into it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from bridge.event import Batch, Event, Parked, State
from bridge.facts import Fact
from bridge.redis_log import LogOptions, RedisLog, Server

F = TypeVar("F", bound=Fact)

RESOURCE = "https://api.example/runs/1"


def event(id_: str, *, subject: str = "run-1", data: bytes = b'{"a":1}', kind: str = "ai.bctrl.run.step") -> Event:
    """One event, as a source makes it."""
    return Event(
        id=id_, source=RESOURCE, type=kind, subject=subject, time="2026-11-21T12:00:00.000Z", partitionkey=subject,
        data=msgspec.Raw(data),
    )  # fmt: skip


def batch(*ids: str, cursor: str | None = None, state: State | None = None, reason: str = "", **kind: Any) -> Batch:
    """One page of events with these ids."""
    records: list[Event | Parked] = [event(id_, **kind) for id_ in ids]
    return Batch(records, cursor, state, reason)


@dataclass(frozen=True, slots=True)
class Running:
    """A log that commits."""

    log: RedisLog
    facts: list[Fact] = field(default_factory=list)

    def of(self, kind: type[F]) -> list[F]:
        """The facts of one kind so far, in order."""
        return [fact for fact in self.facts if isinstance(fact, kind)]


@contextlib.asynccontextmanager
async def running_log(
    url: str, prefix: str, *, instance: str = "one", password: str | None = None, trim: bool = False, **options: Any
) -> AsyncIterator[Running]:
    """A log on a real server; its committers run until the end of the block, the trimming only where asked for."""
    facts: list[Fact] = []
    log = RedisLog(
        Server(url, password), LogOptions(prefix=prefix, **options), instance=instance, observe=facts.append
    )
    loops = [loop for name, loop in log.workers().items() if trim or name != "trim"]
    try:
        async with beside(*loops):
            yield Running(log, facts)
    finally:
        await log.close()


@contextlib.asynccontextmanager
async def beside(*loops: Callable[[], Awaitable[Any]]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Run loops beside the block and cancel them at its end; an error of theirs is the test's."""
    tasks = [asyncio.ensure_future(loop()) for loop in loops]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
            raise end
