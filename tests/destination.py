"""A destination in a test's hands: its exchanges with the log one by one, or its whole delivery with a receiver."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from running_log import Running, beside, running_log
from servers import RedisServer

from bridge.deliver import Delivery
from bridge.delivery.gate import Gate
from bridge.delivery.health import Rules
from bridge.delivery.lane import Claims, Head, Limits, Outcome, Result, Settlement, Together, Unit, Verdict
from bridge.delivery.schedule import Schedule
from bridge.errors import LogUnavailable
from bridge.event import Entry
from bridge.redis_log import Keys, RedisLog, Server
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.feed import Feed
from bridge.redis_log.lanes import RedisLanes
from bridge.redis_log.link import Link
from bridge.stop import Stop

AT_ONCE = Limits(max_in_flight=8, schedule=Schedule.listed([0.01]))
PATIENT = Rules(least=1_000_000)
"""A destination whose breaker never opens."""


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


def settle(
    lane: str, id_: str, verdict: Verdict, attempts: int = 0, delay: float = 0.0, *, status: int | None = None,
    error: str = "", dead: Entry | None = None, waiting: Iterable[str] = (),
) -> Settlement:  # fmt: skip
    """What came of one entry at the head of a lane."""
    outcome = Outcome(Result.FAILED, status, error)
    behind = [(lane, entry) for entry in waiting]
    return Settlement(
        lane, (id_,), verdict, attempts, 0, delay, outcome, dead=(dead,) if dead else (), behind=behind
    )  # fmt: skip


@dataclass(frozen=True)
class Came:
    """What an exchange brought: new entries that flow, and the rest of its answer."""

    entries: list[Entry]
    heads: list[Head]
    next_due: float | None
    missing: int
    last: str = ""


class Destination:
    """Lanes with the exchange's arguments filled in, and a position of their own."""

    def __init__(self, lanes: RedisLanes, position: str) -> None:
        self.lanes = lanes
        self.position = position

    async def open(self) -> None:
        """Take over the delivery (again)."""
        self.position, _ = await self.lanes.open()

    async def take(self, *settlements: Settlement, settled: Iterable[str] = (), want: int = 1000, heads: int = 100,
                   busy: Iterable[str] = (), mark: Any = None) -> Came:  # fmt: skip
        """Read what is new, and one exchange that claims it."""
        read = list[Entry]()
        while len(read) < want and (found := await self.lanes.after(self.position, want - len(read))):
            read += found
            self.position = found[-1].entry
        claims = Claims(read, self.position if read else "", len(read))
        taken = await self.lanes.exchange(
            list(settled), list(settlements), claims, heads=heads, busy=list(busy), mark=mark
        )
        entries = [entry for place, entry in enumerate(read) if place not in taken.joined]
        return Came(entries, taken.heads, taken.next_due, taken.missing, read[-1].entry if read else "")

    async def left(self, after: str = "0", *, count: int = 256, heads: int = 100) -> Came:
        """A page of what was claimed before and not settled, and what is due."""
        entries, last, missing = await self.lanes.pending(after, count)
        due = await self.take(want=0, heads=heads)
        return Came(entries, due.heads, due.next_due, missing + due.missing, last)


@asynccontextmanager
async def destination(
    server: RedisServer, prefix: str, *, name: str = "crm", instance: str = "one", start: str = "start",
    together: Together | None = None,
) -> AsyncIterator[Destination]:  # fmt: skip
    """A destination that has taken over its delivery, over connections of its own."""
    keys = Keys(prefix, 0)
    link, reading, blocking = (Link(Server(server.url), keys.events) for _ in range(3))
    lanes = RedisLanes(
        link, Feed(reading, blocking, keys), DeliveryClock(link, keys), keys, name,
        instance=instance, start=start, together=together,
    )  # fmt: skip
    position, _ = await lanes.open()
    try:
        yield Destination(lanes, position)
    finally:
        await link.close()
        await reading.close()
        await blocking.close()


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
    units: list[list[str]] = field(default_factory=list)
    """What was taken, request by request."""
    result: Result = Result.FAILED
    """What a refusal comes to."""
    open: int = 0

    def hold(self, *ids: str) -> asyncio.Event:
        """Keep the attempts of these waiting."""
        gate = asyncio.Event()
        self.gates |= dict.fromkeys(ids, gate)
        return gate

    def numbers(self, id_: str) -> list[int]:
        """The numbers that this event's attempts had."""
        return [number for name, number in self.attempts if name == id_]

    def __call__(self, unit: Unit, done: Callable[[Unit, Outcome], None]) -> None:
        """One attempt at one event."""
        asyncio.ensure_future(self._attempt(unit, done))  # noqa: RUF006  # the loop's end is the test's

    async def _attempt(self, unit: Unit, done: Callable[[Unit, Outcome], None]) -> None:
        self.attempts += [(entry.id, unit.attempts + 1) for entry in unit.entries]
        names = {entry.id for entry in unit.entries} | {entry.subject for entry in unit.entries}
        self.open += 1
        try:
            for gate in [gate for id_, gate in self.gates.items() if id_ in names]:
                await gate.wait()
        finally:
            self.open -= 1
        if names & self.refused:
            done(unit, Outcome(Result.OURS if self.ours else self.result, 503, "not now"))
            return
        self.taken += [entry.id for entry in unit.entries]
        self.units.append([entry.id for entry in unit.entries])
        done(unit, Outcome(Result.DELIVERED, 200))


class Watched:
    """Lanes as they are; notes how often the log could not be reached."""

    def __init__(self, lanes: RedisLanes, failures: list[LogUnavailable]) -> None:
        self._lanes, self._failures = lanes, failures

    def __getattr__(self, name: str) -> Any:
        """The lanes' own."""
        found = getattr(self._lanes, name)
        return self._noted(found) if inspect.iscoroutinefunction(found) else found

    def _noted(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def noted(*args: Any, **named: Any) -> Any:
            try:
                return await call(*args, **named)
            except LogUnavailable as error:
                self._failures.append(error)
                raise

        return noted


@dataclass(frozen=True)
class Types:
    """What a destination wants, by type."""

    type: Callable[[str], bool] = lambda _: True

    def __call__(self, entry: Entry) -> bool:
        """Whether this entry is wanted."""
        return self.type(entry.type)


@dataclass(frozen=True)
class Life:
    """A running delivery."""

    running: Running
    stop: Stop
    task: asyncio.Task[None]


def gate_of(log: RedisLog, limits: Limits, rules: Rules = PATIENT, rate: float | None = None) -> Gate:
    """A destination's gate."""
    return Gate(rules, limits.max_in_flight, log.clock.seconds, Random(), rate=rate)


@asynccontextmanager
async def delivering(
    url: str, prefix: str, send: Receiver, limits: Limits = AT_ONCE, *, instance: str = "one",
    wants: Callable[[str], bool] = lambda _: True, failures: list[LogUnavailable] | None = None,
    rules: Rules = PATIENT, rate: float | None = None,
) -> AsyncIterator[Life]:  # fmt: skip
    """One life of a destination's delivery; at the end of the block it is cut off, as by kill -9."""
    async with running_log(url, prefix, instance=instance) as running:
        log = running.log
        (lanes,) = log.lanes("crm", "start", limits.together)
        stop = Stop()
        watched: Any = Watched(lanes, [] if failures is None else failures)
        delivery = Delivery(
            "crm", watched, send, Types(wants), limits,
            gate=gate_of(log, limits, rules, rate), observe=running.facts.append, stop=stop,
        )  # fmt: skip
        async with beside(delivery.run) as (task,):
            yield Life(running, stop, task)
