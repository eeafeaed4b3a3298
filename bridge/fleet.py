"""The sources and destinations that run: starts, ends and restarts each while the others go on.

Knows what is wanted only from `apply`; decides nothing about it, and stores nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from bridge.backoff import Pace
from bridge.consume import consume
from bridge.destinations import Around, workers_of
from bridge.errors import ConfigurationError, LogError, Problem
from bridge.event import State
from bridge.http_client import HttpClient
from bridge.ingest import ingest
from bridge.live import Live
from bridge.ports import Observe, Tracer, Writer
from bridge.redis_log import RedisLog
from bridge.settings import AccountSource, AnyAccount, AnyDestination, AnySource, EventWait, Settings, Sse
from bridge.sources.account import Account
from bridge.sources.subscription import Subscription
from bridge.spool import Spool
from bridge.stop import Stop, nap, within
from bridge.subscriptions import subscription_of
from bridge.supervisor import Group, Phase, Supervisor, Worker
from bridge.wiring import account_of

PATIENCE = 2.0
"""Seconds that a change may take before whoever asked goes on; it is completed beside."""

Make = Callable[[Any, Group, contextlib.AsyncExitStack], Awaitable[list[Worker]]]
"""Makes the workers of what is wanted; what they hold is closed with the stack. Raises ConfigurationError."""


class Slot:
    """The place of one source or destination: what runs in it becomes what is wanted, one step after the other."""

    def __init__(self, name: str, make: Make, gone: Callable[[], Awaitable[None]], supervisor: Supervisor) -> None:
        self.name = name
        self.wanted: object = None
        self.running: object = None
        self.problems: tuple[Problem, ...] = ()
        """Why what is wanted could not be started."""
        self._failed: object = None
        self._make, self._gone, self._supervisor = make, gone, supervisor
        self._group: Group | None = None
        self._stack = contextlib.AsyncExitStack()
        self._lock = asyncio.Lock()

    @property
    def settled(self) -> bool:
        """Whether what is wanted runs, or can't."""
        if self._failed is not None:
            return self.wanted == self._failed
        return self.running == self.wanted

    def want(self, wanted: object) -> None:
        """Let this run, or nothing (None); what could not be started is tried again."""
        self.wanted, self._failed, self.problems = wanted, None, ()

    async def converge(self, grace: float, stop: Stop) -> None:
        """End what isn't wanted any more, and start what is."""
        async with self._lock:
            while not (self.settled or stop.is_set()):
                if self._group is not None:
                    await self._end(grace)
                elif self.wanted is not None:
                    await self._start(self.wanted)

    async def restart(self, grace: float, stop: Stop) -> None:
        """Begin anew with what runs."""
        async with self._lock:
            if self._group is not None:
                await self._end(grace)
        self._failed = None
        await self.converge(grace, stop)

    async def close(self) -> None:
        """Close what the workers held, once they are gone."""
        await self._stack.aclose()

    async def _start(self, wanted: object) -> None:
        group = self._supervisor.group()
        try:
            workers = await self._make(wanted, group, self._stack)
        except ConfigurationError as error:
            self.problems, self._failed = error.problems, wanted
            await group.end(0)
            await self._stack.aclose()
            return
        self.problems, self._failed = (), None
        self._group, self.running = group, wanted
        for worker in workers:
            group.start(worker)

    async def _end(self, grace: float) -> None:
        group, self._group = self._group, None
        if group is not None:
            await group.end(grace)
        await self._gone()
        await self._stack.aclose()
        self.running = None


@dataclass(slots=True)
class _Held:
    wanted: AnyAccount
    account: Account
    client: HttpClient
    users: int = 0


class Accounts:
    """One client an account for all its sources; closed when the last of them is gone."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    async def take(self, name: str, wanted: AnyAccount, stack: contextlib.AsyncExitStack) -> Account:
        """The account, until the stack is closed."""
        held = self._held.get(name)
        if held is None or held.wanted != wanted:
            client = await HttpClient(limit=wanted.max_connections).__aenter__()
            held = self._held[name] = _Held(wanted, account_of(name, wanted, client), client)
        held.users += 1
        stack.push_async_callback(self._release, name, held)
        return held.account

    async def _release(self, name: str, held: _Held) -> None:
        held.users -= 1
        if not held.users:
            if self._held.get(name) is held:
                del self._held[name]
            await held.client.__aexit__(None, None, None)


class Fleet:
    """All slots of a bridge."""

    def __init__(
        self, log: RedisLog, supervisor: Supervisor, spool: Spool, *, observe: Observe, live: Live, stop: Stop,
        tracer: Tracer | None = None,
    ) -> None:  # fmt: skip
        self._log, self._supervisor, self._spool = log, supervisor, spool
        self._observe, self._live, self._stop, self._tracer = observe, live, stop, tracer
        self.subscriptions: dict[str, Subscription] = {}
        """Of the sources that run, by id."""
        self.sources: dict[str, Slot] = {}
        self.destinations: dict[str, Slot] = {}
        self.gone_so_far = 0
        """How many sources and destinations have ended since the start."""
        self._accounts = Accounts()
        self._grace = 20.0

    async def apply(self, wanted: Settings, paused: Iterable[str] = ()) -> None:
        """Have exactly the wanted sources and destinations run; returns once they do, or after some seconds.

        `paused` names destinations that rest: what they have not settled is kept from the trimming all the same.
        """
        self._grace = wanted.grace
        self._log.keep(paused)
        links, sender = wanted.http.links, wanted.sender
        destinations = {name: (destination, links, sender) for name, destination in wanted.destinations.items()}
        accounts = wanted.accounts
        sources = {
            name: (source, accounts[source.account] if isinstance(source, AccountSource) else None)
            for name, source in wanted.sources.items()
        }
        changed = self._want(self.destinations, destinations, self._destination_slot)
        # destinations first: a new one's place has to be there before the first event
        await self._settle(changed)
        if changed and sources.keys() - self.sources.keys():
            await within(self._begun({slot.name for slot in changed}), PATIENCE)
        await self._settle(self._want(self.sources, sources, self._source_slot))

    @property
    def problems(self) -> dict[str, tuple[Problem, ...]]:
        """What could not be started, and why."""
        slots = {f"source {name}": slot for name, slot in self.sources.items()}
        slots |= {f"destination {name}": slot for name, slot in self.destinations.items()}
        return {name: slot.problems for name, slot in slots.items() if slot.problems}

    async def restart(self, slots: Mapping[str, Slot], name: str) -> None:
        """Have a source, or a destination, begin anew."""
        slot = slots.get(name)
        if slot is not None:
            await self._beside([slot.restart(self._grace, self._stop)], f"restart {name}")

    def around(self, links: str, sender: str, group: Group) -> Around:
        """What the destinations share, for one whose work is this group's."""
        return Around(self._log, links, sender, self._observe, group.spawn, group.start, group.stop, self._tracer)

    def reading(self, source: str) -> tuple[Subscription, Writer] | None:
        """A source that runs, and its place in the log."""
        writer = next((one for one in self._log.writers if one.source == source), None)
        subscription = self.subscriptions.get(source)
        return None if writer is None or subscription is None else (subscription, writer)

    @property
    def ended(self) -> list[str]:
        """The sources whose end is reached: nothing comes of them any more."""
        return [writer.source for writer in self._log.writers if writer.position.state is State.ENDED]

    def stopped(self, source: str) -> bool:
        """Whether the upstream refuses it, or somebody else took it over: another look may mend that."""
        if self._live.source(source).state == "fenced":
            return True
        return any(one.source == source and one.position.state is State.FAILED for one in self._log.writers)

    def taken_over(self, destination: str) -> bool:
        """Whether somebody else delivers to it."""
        return bool(self._live.destination(destination).fenced)

    async def gone(self, slots: Mapping[str, Slot], name: str) -> None:
        """Return when nothing runs under this name any more; it has to be unwanted."""
        slot = slots.get(name)
        if slot is not None:
            await slot.converge(self._grace, self._stop)

    async def close(self) -> None:
        """Close what all workers held, once they are gone."""
        for slot in (*self.sources.values(), *self.destinations.values()):
            await slot.close()

    def _want(
        self, slots: dict[str, Slot], wanted: Mapping[str, object], make: Callable[[str], Slot]
    ) -> list[Slot]:  # fmt: skip
        for name in wanted.keys() - slots.keys():
            slots[name] = make(name)
        changed = []
        for name, slot in slots.items():
            slot.want(wanted.get(name))
            if not slot.settled:
                changed.append(slot)
        return changed

    async def _settle(self, slots: list[Slot]) -> None:
        for group in (self.sources, self.destinations):
            for name in [name for name, slot in group.items() if slot.running is None and slot.wanted is None]:
                if group[name] not in slots:
                    del group[name]
        await self._beside([slot.converge(self._grace, self._stop) for slot in slots], "converge")

    async def _beside(self, work: list[Any], name: str) -> None:
        """Do the work in tasks of its own, and wait for it for a while."""
        tasks = [self._supervisor.spawn(each, name) for each in work]
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def _begun(self, names: set[str]) -> None:
        while names & set(self._log.beginning):
            await nap(0.005)

    # -- what runs in a slot

    def _destination_slot(self, name: str) -> Slot:
        async def make(wanted: Any, group: Group, stack: contextlib.AsyncExitStack) -> list[Worker]:  # noqa: ANN401
            destination: AnyDestination
            destination, links, sender = wanted
            self._live.begin_destination(name)
            return list(await workers_of(name, destination, self.around(links, sender, group), stack))

        async def gone() -> None:
            self.gone_so_far += 1
            self._log.leave(name)

        return Slot(name, make, gone, self._supervisor)

    def _source_slot(self, name: str) -> Slot:
        async def make(wanted: Any, group: Group, stack: contextlib.AsyncExitStack) -> list[Worker]:  # noqa: ANN401
            source, account = wanted
            subscription = await self._subscription(name, source, account, stack)
            self.subscriptions[name] = subscription
            self._live.begin(name)
            return [self._reader(name, source, subscription, group.stop)]

        async def gone() -> None:
            self.gone_so_far += 1
            self.subscriptions.pop(name, None)
            await within(self._forget(name), self._grace)

        return Slot(name, make, gone, self._supervisor)

    async def _subscription(
        self, name: str, source: AnySource, account: AnyAccount | None, stack: contextlib.AsyncExitStack
    ) -> Subscription:  # fmt: skip
        if isinstance(source, Sse):
            client = await stack.enter_async_context(HttpClient())
            secrets = {header: value.get_secret_value() for header, value in source.headers.items()}
            return subscription_of(name, source, Account(name, source.url, secrets, client))
        assert account is not None, "every other kind has an account: settings say so"  # noqa: S101
        return subscription_of(name, source, await self._accounts.take(source.account, account, stack))

    def _reader(self, name: str, source: AnySource, subscription: Subscription, stop: Stop) -> Worker:
        pace, log, observe = Pace(Random()), self._log, self._observe
        if isinstance(source, EventWait):
            return Worker(
                f"source {name}",
                lambda: consume(subscription, log, self._spool, pace, observe=observe, stop=stop),
                Phase.FINISH,
            )
        return Worker(f"source {name}", lambda: ingest(subscription, log, pace, observe=observe, stop=stop), Phase.CUT)

    async def _forget(self, source: str) -> None:
        """What was read goes into the log first, if it takes it: it need not be read again then."""
        for writer in [writer for writer in self._log.writers if writer.source == source]:
            try:
                await writer.stored()
            except LogError:
                pass  # it belongs to somebody else, or will be read again
            finally:
                self._log.forget(writer)
