"""A destination in a test's hands: its exchanges with the log one by one, or its whole delivery with a receiver."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from running_log import Running, beside, running_log
from servers import RedisServer

from bridge.deliver import Delivery
from bridge.errors import LogUnavailable
from bridge.event import Entry
from bridge.lane import Delivered, Failed, Limits, Outcome, Settlement, Taken
from bridge.redis_log import Keys, Server
from bridge.redis_log.lanes import RedisLanes
from bridge.redis_log.link import Link
from bridge.stop import Stop

AT_ONCE = Limits(max_in_flight=8, schedule=(0.01,))


def fill(server: RedisServer, prefix: str, events: Iterable[tuple[str, str]]) -> list[str]:
    """Put events (id, subject) into the log as anybody may; their ids in the stream."""
    pipeline = server.client().pipeline(transaction=False)
    for id_, subject in events:
        entry = {"id": id_, "type": "t", "subject": subject, "event": f'{{"id":"{id_}"}}'}
        pipeline.xadd(Keys(prefix, 0).events, entry)  # type: ignore[arg-type]  # the stubs want bytes among them
    return list(pipeline.execute())


def pending(server: RedisServer, prefix: str, name: str = "crm") -> int:
    """How many entries were read and not settled, by the consumer group."""
    return int(server.call("XPENDING", Keys(prefix, 0).events, name)["pending"])


class Destination:
    """Lanes with the exchange's arguments filled in."""

    def __init__(self, lanes: RedisLanes) -> None:
        self.lanes = lanes

    async def take(self, *settlements: Settlement, settled: Iterable[str] = (), want: int = 1000, heads: int = 100,
                   busy: Iterable[str] = (), after: str = ">") -> Taken:  # fmt: skip
        """One exchange."""
        return await self.lanes.exchange(
            list(settled), list(settlements), want=want, heads=heads, busy=list(busy), after=after
        )


@asynccontextmanager
async def destination(
    server: RedisServer, prefix: str, *, name: str = "crm", instance: str = "one", start: str = "beginning"
) -> AsyncIterator[Destination]:
    """A destination that has taken over its delivery, over a connection of its own."""
    link = Link(Server(server.url), Keys(prefix, 0).events)
    lanes = RedisLanes(link, Keys(prefix, 0), name, instance=instance, start=start, listen=lambda _: None)
    await lanes.open()
    try:
        yield Destination(lanes)
    finally:
        await link.close()


@dataclass
class Receiver:
    """A receiver that does what the test says: takes everything, refuses some, keeps some waiting."""

    refused: set[str] = field(default_factory=set)
    """Ids and subjects that get a 503."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """Id -> what its attempts wait for."""
    ours: bool = False
    """Failures are this machine's own."""
    attempts: list[tuple[str, int]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    open: int = 0

    def hold(self, *ids: str) -> asyncio.Event:
        """Keep the attempts of these waiting."""
        gate = asyncio.Event()
        self.gates |= dict.fromkeys(ids, gate)
        return gate

    def numbers(self, id_: str) -> list[int]:
        """The numbers that this event's attempts had."""
        return [number for name, number in self.attempts if name == id_]

    async def __call__(self, entry: Entry, attempt: int, /) -> Outcome:
        """One attempt."""
        self.attempts.append((entry.id, attempt))
        self.open += 1
        try:
            if entry.id in self.gates:
                await self.gates[entry.id].wait()
        finally:
            self.open -= 1
        if {entry.id, entry.subject} & self.refused:
            return Failed(503, "not now", counts=not self.ours)
        self.taken.append(entry.id)
        return Delivered(200)


class Watched:
    """Lanes as they are; notes how often the log could not be reached."""

    def __init__(self, lanes: RedisLanes, failures: list[LogUnavailable]) -> None:
        self.listen = lanes.listen
        self._lanes, self._failures = lanes, failures

    async def open(self) -> None:
        """The lanes' own."""
        await self._noted(self._lanes.open())

    async def exchange(self, *settled: Any, **wanted: Any) -> Taken:
        """The lanes' own."""
        taken: Taken = await self._noted(self._lanes.exchange(*settled, **wanted))
        return taken

    async def _noted(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except LogUnavailable as error:
            self._failures.append(error)
            raise


@dataclass(frozen=True)
class Life:
    """A running delivery."""

    running: Running
    stop: Stop
    task: asyncio.Task[None]


@asynccontextmanager
async def delivering(
    url: str, prefix: str, send: Receiver, limits: Limits = AT_ONCE, *, instance: str = "one",
    wants: Callable[[str], bool] = lambda _: True, failures: list[LogUnavailable] | None = None,
) -> AsyncIterator[Life]:  # fmt: skip
    """One life of a destination's delivery; at the end of the block it is cut off, as by kill -9."""
    spawned: set[asyncio.Task[None]] = set()

    def spawn(work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.ensure_future(work)
        spawned.add(task)
        task.add_done_callback(spawned.discard)

    async with running_log(url, prefix, instance=instance) as running:
        (lanes,) = running.log.lanes("crm", "beginning")
        stop = Stop()
        watched = Watched(lanes, [] if failures is None else failures)
        delivery = Delivery(
            "crm", watched, send, wants, limits, spawn=spawn, observe=running.facts.append, stop=stop
        )  # fmt: skip
        async with beside(delivery.run) as (task,):
            yield Life(running, stop, task)
        for left in list(spawned):
            left.cancel()
        await asyncio.gather(*spawned, return_exceptions=True)
