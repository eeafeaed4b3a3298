"""A fan-out in a test's hands: what is in its log, its lives, and what is in its streams."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from running_log import beside
from servers import RedisServer

from bridge.delivery.template import Template
from bridge.event import Entry
from bridge.facts import Fact
from bridge.fan_out import FanOut
from bridge.redis_log import Keys, Server
from bridge.redis_log.fan_out import FollowedLog, Streams, position_key
from bridge.redis_log.link import Link
from bridge.stop import Stop

F = TypeVar("F", bound=Fact)
NAME = "copy"


def put(server: RedisServer, prefix: str, events: Iterable[tuple[str, str]], type_: str = "t") -> list[str]:
    """Put events (id, subject) into the log as anybody may; their ids in the stream."""
    pipeline = server.client().pipeline(transaction=False)
    for id_, subject in events:
        entry = {"id": id_, "type": type_, "subject": subject, "event": f'{{"id":"{id_}","source":"s-{id_}"}}'}
        pipeline.xadd(Keys(prefix, 0).events, entry)  # type: ignore[arg-type]  # the stubs want bytes among them
    return list(pipeline.execute())


def spread(count: int, subjects: int, first: int = 0) -> list[tuple[str, str]]:
    """Events e0, e1, ..., in turn of the subjects s0, s1, ..."""
    return [(f"e{number}", f"s{number % subjects}") for number in range(first, first + count)]


def by_stream(events: Iterable[tuple[str, str]], start: str = "runs:") -> dict[str, list[str]]:
    """What the streams have to hold: stream -> event ids, in the order of the log."""
    found: dict[str, list[str]] = {}
    for id_, subject in events:
        found.setdefault(start + subject, []).append(id_)
    return found


def streams(target: RedisServer, match: str = "runs:*") -> dict[str, list[str]]:
    """What the streams hold: stream -> event ids."""
    keys = target.client().scan_iter(match=match, count=1000, _type="stream")
    return {key: [fields["id"] for _, fields in target.call("XRANGE", key, "-", "+")] for key in sorted(keys)}


def dead(server: RedisServer, prefix: str) -> list[dict[str, str]]:
    """The dead letters."""
    return [fields for _, fields in server.call("XRANGE", Keys(prefix, 0).dead(NAME), "-", "+")]


def group(server: RedisServer, prefix: str) -> dict[str, Any]:
    """The consumer group; nothing where there is none."""
    if not server.call("EXISTS", Keys(prefix, 0).events):
        return {}
    groups: list[dict[str, Any]] = server.client().xinfo_groups(Keys(prefix, 0).events)
    return next((found for found in groups if found["name"] == NAME), {})


@dataclass
class Life:
    """One life of a fan-out."""

    log: FollowedLog
    target: Streams
    loop: FanOut
    stop: Stop
    facts: list[Fact]
    listeners: list[Callable[[], None]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def of(self, kind: type[F]) -> list[F]:
        """The facts of one kind so far."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def wake(self) -> None:
        """Say that the log has grown."""
        for listener in self.listeners:
            listener()


@asynccontextmanager
async def life(
    log_url: str, target_url: str, prefix: str, template: str = "runs:{subject}", *, instance: str = "one",
    start: str | int = "start", most: int | None = None, wants: Callable[[Entry], bool] = lambda _: True,
) -> AsyncIterator[Life]:  # fmt: skip
    """One life, not yet running; its connections are closed at the end of the block."""
    keys, stop, listeners = Keys(prefix, 0), Stop(), list[Callable[[], None]]()
    facts: list[Fact] = []
    made = Template(template)
    link = Link(Server(log_url), keys.events)
    log = FollowedLog(link, keys, NAME, instance=instance, start=start, listen=listeners.append)
    like = made.key(Entry("", "", "", "", b""), 0)
    target = Streams(Server(target_url), position_key(prefix, 0, NAME, made.tag(0)), most=most, like=like)
    loop = FanOut(
        NAME, log, target, wants, partial(made.key, partition=0), reserved=f"{prefix}:{{", observe=facts.append,
        stop=stop,
    )  # fmt: skip
    try:
        yield Life(log, target, loop, stop, facts, listeners)
    finally:
        await target.close()
        await link.close()


@asynccontextmanager
async def fanning(*where: str, **options: Any) -> AsyncIterator[Life]:
    """One life, running; at the end of the block it is cut off, as by kill -9."""
    async with life(*where, **options) as found, beside(found.loop.run) as (found.task,):
        yield found


class Cut:
    """Awaits a coroutine up to its await point number `at`, and cuts it off there.

    Before what it waits for has come or, with `late`, just after.
    """

    def __init__(self, loop: Coroutine[Any, Any, None], at: int, *, late: bool) -> None:
        self._loop, self._at, self._late = loop, at, late

    def __await__(self) -> Generator[Any, None, None]:
        try:
            for at in range(self._at + 1):
                waits = self._loop.send(None)
                if self._late or at < self._at:
                    yield waits
            waits = self._loop.throw(asyncio.CancelledError())
            while True:
                yield waits
                waits = self._loop.send(None)
        except (asyncio.CancelledError, StopIteration):
            return
