"""A log with its loops running, the facts it observed, what tests put into it and how they look at it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import msgspec
from servers import RedisServer

from bridge.backoff import Pace
from bridge.event import Batch, Event, Parked, Position, State
from bridge.facts import Fact
from bridge.ingest import ingest
from bridge.redis_log import Keys, LogOptions, RedisLog, Server
from bridge.redis_log.writer import Writer
from bridge.stop import Stop

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


def ids(server: RedisServer, keys: Keys) -> list[str]:
    """The event ids in the log, in its order."""
    return [fields["id"] for _, fields in server.call("XRANGE", keys.events, "-", "+")]


def source_hash(server: RedisServer, keys: Keys, source: str = "s") -> dict[str, str]:
    """What the log knows of a source."""
    found: dict[str, str] = server.call("HGETALL", keys.source(source))
    return found


def script_calls(server: RedisServer) -> int:
    """How many scripts the server has run since its statistics were reset."""
    stats = server.call("INFO", "commandstats")
    return sum(int(stats[f"cmdstat_{name}"]["calls"]) for name in ("evalsha", "eval") if f"cmdstat_{name}" in stats)


async def store(writer: Writer, *batches: Batch) -> None:
    """Add the batches, one append each."""
    for one in batches:
        await writer.add(one)
        await writer.stored()


class Upstream:
    """A source that can be read again: its events' ids are `<id>-<number>`, an event's cursor is its number."""

    recheck = 60.0
    floor = 0.0
    resource = RESOURCE
    scope = ""
    quiet = False

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.length = 0
        self.ended = False
        self._grown = asyncio.Event()

    def grow(self, count: int, *, ended: bool = False) -> None:
        """Make `count` more events; with `ended`, the last one is the end of all."""
        self.length += count
        self.ended = ended
        self._grown.set()

    @property
    def ids(self) -> list[str]:
        """All its events so far."""
        return [f"{self.id}-{number}" for number in range(1, self.length + 1)]

    async def batches(self, position: Position) -> AsyncGenerator[Batch, None]:
        """Pages of up to ten events after the position, without an end."""
        at = int(position.cursor or 0)
        while True:
            while at < self.length:
                page = range(at + 1, min(at + 10, self.length) + 1)
                at = page[-1]
                state = State.ENDED if self.ended and at == self.length else None
                yield batch(*(f"{self.id}-{number}" for number in page), cursor=str(at), state=state)
            self._grown.clear()
            await self._grown.wait()

    def failed(self, reason: str, status: int) -> Batch:
        """What stands for a refusal."""
        return batch(f"{self.id}-failed-{status}", state=State.FAILED, reason=reason)

    def lost(self, reason: str) -> Batch:
        """What stands for a possible loss."""
        return batch(f"{self.id}-lost", reason=reason)

    def gap(self, reason: str, position: Position) -> tuple[Batch, str]:
        """What stands for a cursor's end."""
        return batch(f"{self.id}-gap", cursor="", reason=reason), "earliest"

    async def admit(self) -> None:
        """At once."""


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
    log = RedisLog(Server(url, password), LogOptions(prefix=prefix, **options), instance=instance, observe=facts.append)
    loops = [loop for name, loop in log.workers().items() if trim or name != "trim"]
    try:
        async with beside(*loops):
            yield Running(log, facts)
    finally:
        await log.close()


@contextlib.asynccontextmanager
async def reading(running: Running, *sources: Upstream) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The ingest loops of some sources."""

    def loop(source: Upstream) -> Callable[[], Awaitable[None]]:
        return lambda: ingest(source, running.log, Pace(Random()), observe=running.facts.append, stop=Stop())

    async with beside(*(loop(source) for source in sources)) as tasks:
        yield tasks


@contextlib.asynccontextmanager
async def beside(*loops: Callable[[], Awaitable[Any]]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Run loops beside the block and cancel them at its end; an error of theirs ends the block and is raised."""
    parent = asyncio.current_task()
    assert parent is not None
    errors: list[BaseException] = []

    def ended(task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            errors.append(error)
            parent.cancel()

    tasks = [asyncio.ensure_future(loop()) for loop in loops]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield tasks
    except asyncio.CancelledError:
        if not errors:
            raise
        parent.uncancel()
    finally:
        for task in tasks:
            task.remove_done_callback(ended)
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        errors += [end for end in ends if isinstance(end, Exception) and end not in errors]
    if errors:
        raise errors[0]
