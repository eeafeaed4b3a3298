"""Replays to one destination: the loops that send a range of the log again, one a partition, beside the live delivery.

A request stays in the log until its replay is done, so that a restart goes on with it. Decides nothing about the
destination: what it wants, how it is sent to and whether it is well is the live delivery's.
"""

import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any
from weakref import WeakValueDictionary

from bridge.backoff import delays
from bridge.deliver import Delivery
from bridge.delivery.filter import FilterError
from bridge.delivery.gate import Gate
from bridge.delivery.lane import Limits
from bridge.delivery.replay_gate import ReplayGate
from bridge.errors import Fenced, LogUnavailable
from bridge.event import Entry
from bridge.facts import DeliveryBlocked, DestinationFenced, Fact, ReplayEnded, ReplayStarted
from bridge.ports import Observe, Send, Wants
from bridge.redis_log import Asked, RedisLog, ReplayLanes
from bridge.redis_log.replay_lanes import DONE, GONE, LEFT
from bridge.redis_log.replays import CANCEL
from bridge.stop import Stop

HEADER = "Runbridge-Replay"
"""What every request of a replay carries, with the replay's id, and no other request."""
AGAIN = 0.5
"""Seconds before a replay goes on of which something was left against expectation, as after a Redis was put back."""
OUTCOMES = {DONE: "done", GONE: "cancelled"}

Sender = Callable[[int, bytes], contextlib.AbstractAsyncContextManager[Send]]
"""Sends as the live delivery of this partition does, with these header lines, over connections of its own."""
Start = Callable[[str, Callable[[], Coroutine[Any, Any, None]]], None]
"""Runs a loop of this name until it returns or the bridge stops; one that raises is started again."""


@dataclass(frozen=True, slots=True)
class Live:
    """The live delivery whose events are sent again."""

    destination: str
    log: RedisLog
    sender: Sender
    wants: Wants
    limits: Limits
    gate: Gate
    observe: Observe
    stop: Stop
    start: Start


class Replays:
    """All replays to one destination: one at a time in each partition, the others wait their turn."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lines: dict[int, list[str]] = {}
        """Partition -> requests in their turn, the first of them at work."""
        self._handled: dict[int, set[str]] = {}
        """Requests that are done with here and may be on the list still."""
        self._stops: dict[int, tuple[str, Stop]] = {}
        """The replay at work, and what ends it."""
        self._gates: WeakValueDictionary[str, ReplayGate] = WeakValueDictionary()
        live.stop.listen(self._end)

    def take(self, partition: int, texts: Sequence[str]) -> None:
        """Hear what requests there are, and begin with those that are new."""
        handled = self._handled.setdefault(partition, set())
        handled.intersection_update(texts)
        line = self._lines.setdefault(partition, [])
        fresh = [text for text in texts if text not in handled and text not in line]
        if not fresh:
            return
        working = bool(line)
        line += fresh
        for text in fresh:
            id_, stop = self._stops.get(partition, ("", None))
            if stop is not None and text == CANCEL + id_:
                stop.set()
        if not working:
            self._live.start(f"replay {self._live.destination} {partition}", partial(self._work, partition))

    def _end(self) -> None:
        for _, stop in self._stops.values():
            stop.set()

    async def _work(self, partition: int) -> None:
        line = self._lines[partition]
        while line and not self._live.stop.is_set():
            text = line[0]
            asked = Asked.read(text)
            try:
                wants = None if asked is None else Both(self._live.wants, asked.wanted())
            except FilterError:
                wants = None
            if asked is None or wants is None:
                await self._unlist(partition, text)
            else:
                await self._replay(partition, asked, text, wants)
            self._handled[partition].add(text)
            line.pop(0)

    async def _replay(self, partition: int, asked: Asked, text: str, wants: Wants) -> None:
        live = self._live
        gate = self._gates.get(asked.id) or ReplayGate(
            live.gate, asked.rate, live.limits.max_in_flight, live.log.clock.seconds, Random()
        )
        self._gates[asked.id] = gate
        lanes = live.log.replay(live.destination, partition, asked, text, live.limits.together)
        live.observe(ReplayStarted(live.destination, asked.id, partition, asked.events))
        mark = f"{HEADER}: {asked.id}\r\n".encode()
        outcome = LEFT
        try:
            async with live.sender(partition, mark) as send:
                while outcome == LEFT and not live.stop.is_set():
                    stop = Stop()
                    self._stops[partition] = asked.id, stop
                    await Delivery(
                        live.destination, lanes, send, wants, replace(live.limits, block=False),
                        gate=gate, observe=self._say, stop=stop, keeper=False, finite=True,
                    ).run()  # fmt: skip
                    outcome = await self._close(lanes)
                    if outcome == LEFT:
                        await live.stop.pause(AGAIN)
        finally:
            self._stops.pop(partition, None)
            await lanes.release()
        if outcome != LEFT:
            live.observe(ReplayEnded(live.destination, asked.id, partition, OUTCOMES.get(outcome, outcome)))

    async def _close(self, lanes: ReplayLanes) -> str:
        wait, stop = delays(Random(), first=0.1, longest=2.0), self._live.stop
        while not stop.is_set():
            try:
                return await lanes.close()
            except Fenced:
                return "taken over"
            except LogUnavailable:
                await stop.pause(next(wait))  # the live delivery says what is wrong with Redis
        return LEFT

    async def _unlist(self, partition: int, text: str) -> None:
        wait, stop = delays(Random(), first=0.1, longest=2.0), self._live.stop
        while not stop.is_set():
            try:
                await self._live.log.unlist(self._live.destination, partition, text)
            except LogUnavailable:
                await stop.pause(next(wait))
            else:
                return

    def _say(self, fact: Fact) -> None:
        """What befalls a replay befalls its destination; how the log is, the live delivery says."""
        if not isinstance(fact, DeliveryBlocked | DestinationFenced):
            self._live.observe(fact)


@dataclass(frozen=True, slots=True)
class Both:
    """What the destination wants, and the replay too."""

    first: Wants
    second: Wants

    def type(self, type_: str) -> bool:
        """Whether either may want such a type."""
        return self.first.type(type_) and self.second.type(type_)

    def __call__(self, entry: Entry) -> bool:
        """Whether both want it."""
        return self.second(entry) and self.first(entry)
