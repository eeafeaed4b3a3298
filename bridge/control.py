"""Steers a running bridge: does what HTTP and Redis ask, and reloads. Judges by the roster's plans alone.

What a command changes is stored first, in one step with its answer, and comes into force after that; a crash in
between is mended by the next start, which begins with what is stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from random import Random
from typing import Any, Literal

from bridge import commands
from bridge.backoff import delays
from bridge.clock import now, rfc3339
from bridge.commands import Command, Done, command_of
from bridge.errors import ConfigurationError, Declined, LogUnavailable, Moved, Problem
from bridge.event import Entry
from bridge.facts import CommandDone, CommandRefused, LogBlocked
from bridge.fleet import Fleet
from bridge.kept import Kept
from bridge.normalize.own import command_event
from bridge.overview import Overview
from bridge.ports import Definition, Observe
from bridge.redis_log.definitions import Definitions, Received
from bridge.roster import At, Plan, Roster
from bridge.settings import Settings
from bridge.stop import Stop
from bridge.watching import watched

LOOK = 2.0
"""Seconds between looks at what is stored, and at watches that are over."""
MOST_TRIES = 5
"""Times that a command is planned anew because somebody else has changed something meanwhile."""
MOST_BESIDE = 16
"""Slow commands of Redis that are under way at once; with so many, those behind them wait."""
MOST_REFERENCE = 128
"""Characters of a caller's own reference."""
MARGIN = timedelta(minutes=1)
"""Before a watch from which its destination wants the log: clocks of two machines differ."""
SLOW = (commands.TestDestination, commands.RetryParked)
"""Commands that change no definition and may take their time: nothing waits for them."""

Effect = Callable[[Command, Roster], Awaitable[Done | None]]
"""What a command does beside the definitions (tests, retries, resuming what is disabled); None: nothing of that."""
Spawn = Callable[[Coroutine[Any, Any, None], str], object]


class Control:
    """The port `bridge.ports.Steering`. `overview` and what a command does beside definitions are handed in."""

    def __init__(
        self, roster: Roster, definitions: Definitions, fleet: Fleet, effect: Effect,
        overview: Callable[[], Coroutine[Any, Any, Overview]], *, observe: Observe, spawn: Spawn, stop: Stop,
    ) -> None:  # fmt: skip
        self.roster = roster
        self.overview = overview
        self._definitions, self._fleet, self._effect = definitions, fleet, effect
        self._observe, self._spawn, self._stop = observe, spawn, stop
        self._kept = Kept(definitions, roster.adopt, observe)
        self._lock = asyncio.Lock()
        self._blocked = ""
        """Why the definitions can't be read yet."""
        self._beside: set[str] = set()
        """Entries of slow commands that are under way."""
        self._forgotten: set[At] = set()
        """What is being forgotten: nothing of that name may begin before."""
        self._ended: dict[At, float] = {}
        """Watches whose run is over, since when by the event loop's time."""

    async def begin(self) -> None:
        """Load what is stored, however long Redis is away, and start everything.

        Raises ConfigurationError where something of the file can't be started.
        """
        wait = delays(Random(), first=0.05, longest=2.0)
        while not (self._kept.loaded or self._stop.is_set()):
            try:
                await self._kept.agree()
            except LogUnavailable as error:
                if error.code not in {self._blocked, "CONNECTION"}:  # that one the committers say
                    self._observe(LogBlocked(error.code, str(error)))
                self._blocked = error.code
                await self._stop.pause(next(wait))
        async with self._lock:
            await self._apply()
        problems = {name: found for name, found in self._fleet.problems.items() if self._of_file(name)}
        if problems:
            raise ConfigurationError(tuple(each for found in problems.values() for each in found))

    @property
    def trouble(self) -> dict[str, str]:
        """What keeps the bridge from its sources and destinations, if anything does."""
        if self._kept.loaded:
            return {}
        return {"start": f"the definitions in Redis have not been read yet{self._blocked and f': {self._blocked}'}"}

    async def definitions(self, section: Literal["sources", "destinations"]) -> list[Definition]:
        """What there is, the file's first."""
        return [self.roster.definition((section, id_)) for id_ in self.roster.ids(section)]

    async def do(self, command: Command, via: str = "http") -> Done:
        """Do what HTTP asks, or what is told. Raises Declined, or LogUnavailable."""
        name = _name(command)
        try:
            done = await self._done(command)
        except Declined as declined:
            self._observe(CommandRefused(name, str(declined), via))
            raise
        self._observe(CommandDone(name, done.id, done.changed, via))
        await self._forget(command)
        return done

    async def reload(self, file: Settings) -> list[str]:
        """Put another file in force; the key paths of what was started, ended or restarted."""
        async with self._lock:
            before = self._running()
            self.roster.replace(file)
            await self._apply()
            after = self._running()
        return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))

    # -- the loops

    async def follow(self) -> None:
        """Do what comes through Redis, until cancelled; everything is answered once."""
        wait = delays(Random(), first=0.1, longest=2.0)
        while True:
            try:
                for received in await self._definitions.commands():
                    await self._take(received)
                wait = delays(Random(), first=0.1, longest=2.0)
            except LogUnavailable:
                self._definitions.again()
                await self._stop.pause(next(wait))
                if self._stop.is_set():
                    return

    async def tidy(self) -> None:
        """Look from time to time at what is stored, and take down watches that are over; until cancelled."""
        while not await self._stop.pause(LOOK):
            try:
                async with self._lock:
                    if await self._kept.look():
                        await self._apply()
                for at in await self._over():
                    kind = commands.RemoveSource if at[0] == "sources" else commands.RemoveDestination
                    await self.do(kind(at[1], forget=True), "watch")
            except (LogUnavailable, Declined):
                continue  # Redis is away, or somebody was quicker; the next look is soon

    # -- one command

    async def _take(self, received: Received) -> None:
        """Do a command of Redis; beside the others where it may take its time."""
        if received.entry in self._beside:
            return
        slow = received.fields.get("do") in {str(kind.__struct_config__.tag) for kind in SLOW}
        if slow and len(self._beside) < MOST_BESIDE:
            self._beside.add(received.entry)
            self._spawn(self._take_beside(received), "command")
        else:
            await self._received(received)

    async def _take_beside(self, received: Received) -> None:
        try:
            await self._received(received)
        except LogUnavailable:
            self._definitions.again()
        finally:
            self._beside.discard(received.entry)

    async def _received(self, received: Received) -> None:
        """Do a command of Redis, and say in the log what came of it."""
        fields = dict(received.fields)
        request = fields.pop("request", "")[:MOST_REFERENCE] or received.entry
        do = fields.get("do", "")
        answer = _Answer(received.entry, request, do if do in commands.NAMES else "unknown")
        try:
            _refuse_doubled(received)
            command = command_of(fields)
            done = await self._done(command, answer)
        except LogUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  # one command's mistake must not stop those behind it for ever
            declined = error if isinstance(error, Declined) else _mistake(error)
            await self._kept.store({}, command=answer.entry, answer=answer.refused(declined))
            self._observe(CommandRefused(answer.do, str(declined), "redis"))
        else:
            self._observe(CommandDone(answer.do, done.id, done.changed, "redis"))
            self._spawn(self._forget(command), "forget")

    async def _done(self, command: Command, answer: "_Answer | None" = None) -> Done:
        if not self._kept.loaded:
            raise Declined("unavailable", "the bridge has not reached Redis yet, where its definitions are")
        if isinstance(command, SLOW):
            done = await self._effect(command, self.roster) or Done(command.id, changed=False)
            if answer:
                await self._kept.store({}, command=answer.entry, answer=answer.done(done))
            return done
        async with self._lock:
            for _ in range(MOST_TRIES):
                try:
                    return await self._changed(command, answer)
                except Moved:
                    if await self._kept.agree():
                        await self._apply()
        raise Declined("unavailable", "others change the definitions all the time; try again")

    async def _changed(self, command: Command, answer: "_Answer | None") -> Done:
        """Plan it, store it, put it in force. Raises Moved where somebody else has changed something meanwhile."""
        plan = self._planned(command)
        done = await self._effect(command, self.roster) or plan.done
        if answer:
            await self._kept.store(plan.changes, command=answer.entry, answer=answer.done(done))
        elif plan.changes:
            await self._kept.store(plan.changes)
        if plan.changes:
            await self._apply()
        if isinstance(command, commands.RemoveSource | commands.RemoveDestination) and command.forget:
            self._forgotten.add(_at(command))
        return done

    def _planned(self, command: Command) -> Plan:
        moment = now()
        if isinstance(command, commands.WatchRun):
            return watched(self.roster, command, rfc3339(moment), rfc3339(moment - MARGIN))
        if _at(command) in self._forgotten:
            raise Declined("unavailable", f"{command.id} is being forgotten still; try again in a moment")
        return self.roster.plan(command, rfc3339(moment))

    async def _forget(self, command: Command) -> None:
        """What the log knows of it goes too, once nothing runs there any more."""
        if not isinstance(command, commands.RemoveSource | commands.RemoveDestination) or not command.forget:
            return
        try:
            if isinstance(command, commands.RemoveSource):
                await self._fleet.gone(self._fleet.sources, command.id)
                await self._definitions.forget_source(command.id)
            else:
                await self._fleet.gone(self._fleet.destinations, command.id)
                await self._definitions.forget_destination(command.id)
        finally:
            self._forgotten.discard(_at(command))

    # -- what runs

    async def _apply(self) -> None:
        await self._fleet.apply(self.roster.wanted, self.roster.resting)

    async def _over(self) -> list[At]:
        """The watches that are over, and whose time to stay has passed; a destination's once it has everything."""
        time = asyncio.get_running_loop().time()
        runs = {self.roster.run_of(source) for source in self._fleet.ended}
        watches = dict(self.roster.watches())
        self._ended = {at: since for at, since in self._ended.items() if at in watches}  # others were removed
        over = []
        for at, watch in watches.items():
            if watch.run not in runs or time - self._ended.setdefault(at, time) < watch.keep:
                continue
            if at[0] == "sources" or await self._definitions.idle(at[1]):
                over.append(at)
                del self._ended[at]
        return sorted(over)  # destinations first: they are over only while their source is known

    def _running(self) -> dict[str, object]:
        wanted = self.roster.wanted
        links, sender = wanted.http.links, wanted.sender
        found: dict[str, object] = {}
        for name, source in wanted.sources.items():
            found[f"sources.{name}"] = source, wanted.accounts.get(getattr(source, "account", ""))
        for name, destination in wanted.destinations.items():
            found[f"destinations.{name}"] = destination, links, sender
        return found

    def _of_file(self, name: str) -> bool:
        noun, _, id_ = name.partition(" ")
        return self.roster.in_file(("sources" if noun == "source" else "destinations", id_))


class _Answer:
    """The answer to one command of Redis: the same event however often it has to be stored."""

    def __init__(self, entry: str, request: str, do: str) -> None:
        self.entry, self.request, self.do = entry, request, do

    def done(self, done: Done) -> Entry:
        """It was done."""
        return self._event(
            "done", {"do": self.do, "id": done.id, "changed": done.changed, "state": done.state, "detail": done.detail}
        )

    def refused(self, declined: Declined) -> Entry:
        """It can't be done."""
        errors = [{"path": each.path, "message": each.message} for each in declined.problems]
        return self._event(
            "refused", {"do": self.do, "kind": declined.kind, "detail": declined.detail, "errors": errors}
        )

    def _event(self, what: str, data: dict[str, object]) -> Entry:
        id_ = f"command:{self.entry}"
        type_, event = command_event(id_=id_, request=self.request, what=what, data=data, time=rfc3339(now()))
        return Entry("", id_, type_, self.request, event)


def _name(command: Command) -> str:
    return str(command.__struct_config__.tag)


def _at(command: Any) -> At:  # noqa: ANN401  # any command but WatchRun
    return "sources" if _name(command).startswith("source.") else "destinations", command.id


def _refuse_doubled(received: Received) -> None:
    if received.doubled:
        problems = tuple(Problem(name, "is there twice") for name in received.doubled)
        raise Declined("invalid", "the command can't be read", problems)


def _mistake(error: Exception) -> Declined:
    return Declined("unavailable", f"a mistake of the bridge: {type(error).__name__}: {error}"[:500])
