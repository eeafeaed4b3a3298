"""The delivery loop of one destination: in order per subject, parallel over subjects, nothing dropped.

Knows neither Redis nor HTTP. Holds at most a window of entries; what has to wait longer waits in the log, which also
keeps attempts and due times. All talk with the log is one exchange at a time, so its answers need no locks.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from bridge.backoff import delays
from bridge.errors import Fenced, LogUnavailable
from bridge.event import Entry
from bridge.facts import DeadLettered, DeliveryBlocked, DestinationFenced, EntriesMissing, LaneHeld
from bridge.lane import Delivered, Failed, Limits, Outcome, Settlement, Taken, Verdict
from bridge.ports import Lanes, Observe, Send
from bridge.stop import Stop, within

LANE = 8
"""Entries of one subject in memory, its first one included; more wait in the log."""
IDLE = 1.0
"""Seconds between looks at the log when nobody says that it has grown."""

Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class Delivery:
    """One destination's worker in one partition. `run` is its only loop; attempts run beside it through `spawn`."""

    def __init__(
        self, destination: str, lanes: Lanes, send: Send, wants: Callable[[str], bool], limits: Limits,
        *, spawn: Spawn, observe: Observe, stop: Stop,
    ) -> None:  # fmt: skip
        self.destination = destination
        self._lanes, self._send, self._wants, self._limits = lanes, send, wants, limits
        self._spawn, self._observe, self._stop = spawn, observe, stop
        self._random = Random()
        self._woken = asyncio.Event()
        lanes.listen(self._woken.set)
        stop.listen(self._woken.set)
        self._flowing: dict[str, deque[Entry]] = {}
        """Lanes whose entries are all in memory; the first of each is in flight or ready."""
        self._held: dict[str, list[str] | None] = {}
        """Lanes that wait in the log while their first entry is in flight -> ids that join them there; None: joined."""
        self._following: dict[str, deque[Entry]] = {}
        """Entries of held lanes that come after the one in flight, as far as they are in memory."""
        self._unread = 0
        self._ready: deque[tuple[Entry, int]] = deque()
        self._in_flight = 0
        self._outcomes: list[tuple[Entry, int, Outcome]] = []
        self._settled: list[str] = []
        self._settlements: list[Settlement] = []
        self._unconfirmed: dict[tuple[str, int], Outcome] = {}
        """Outcomes on their way to the log, by entry and attempts before."""
        self._known: dict[tuple[str, int], Outcome] = {}
        """After a broken exchange: outcomes that the log may not have heard of, used instead of sending again."""

    async def run(self) -> None:
        """Deliver until the bridge stops and nothing is in flight, or somebody newer takes over."""
        wait = delays(Random(), first=0.1, longest=2.0)
        blocked = ""
        while not self._stop.is_set():
            try:
                await self._recover()
                wait = delays(Random(), first=0.1, longest=2.0)
                blocked = ""
                await self._work()
            except LogUnavailable as error:
                if blocked != error.code:
                    blocked = error.code
                    self._observe(DeliveryBlocked(self.destination, error.code, str(error)))
                await self._landed()
                await self._stop.pause(next(wait))
            except Fenced as fenced:
                self._observe(DestinationFenced(self.destination, fenced.owner))
                await self._landed()
                return

    async def _work(self) -> None:
        while not self._stop.is_set() or self._in_flight or self._settled or self._settlements:
            going = not self._stop.is_set()
            room = self._room if going else 0
            taken = await self._exchange(want=room, heads=self._heads if going else 0)
            self._admit(taken)
            self._pump()
            more = 0 < room <= taken.read
            if (going or self._in_flight) and not (self._settled or self._settlements or more):
                await self._rest(taken.next_due if going and self._heads else None)
            self._judge()
            self._pump()

    async def _recover(self) -> None:
        """Start from what the log says: entries read before and not settled come first, in their order."""
        await self._landed()
        await self._lanes.open()
        self._flowing.clear()
        self._held.clear()
        self._following.clear()
        self._ready.clear()
        self._unread = 0
        after = "0"
        while after:
            taken = await self._exchange(want=256, heads=0, after=after)
            self._admit(taken)
            after = taken.last

    async def _exchange(self, *, want: int, heads: int, after: str = ">") -> Taken:
        taken = await self._lanes.exchange(
            self._settled, self._settlements, want=want, heads=heads, busy=list(self._held), after=after
        )
        self._settled, self._settlements = [], []
        self._held = dict.fromkeys(self._held)
        self._unconfirmed.clear()
        if taken.missing:
            self._observe(EntriesMissing(self.destination, taken.missing))
        return taken

    async def _rest(self, next_due: float | None) -> None:
        """Wait for an outcome, for growth that there is room for, for the next due lane, or for the stop."""
        longest = IDLE if next_due is None else min(IDLE, next_due + 0.001)
        while await within(self._woken.wait(), longest) is not None:
            self._woken.clear()
            if self._outcomes or self._room or self._stop.is_set():
                return

    async def _landed(self) -> None:
        """Wait until nothing is in flight: what is sent again after a recovery must not overtake itself."""
        self._ready.clear()
        while len(self._outcomes) < self._in_flight:
            self._woken.clear()
            await self._woken.wait()
        landed = {(entry.entry, attempts): outcome for entry, attempts, outcome in self._outcomes}
        known = self._known | self._unconfirmed | landed
        # what the log did hear of is never asked for: the oldest go
        self._known = dict(list(known.items())[-4 * self._limits.max_in_flight :])
        self._unconfirmed = {}
        self._outcomes.clear()
        self._settlements.clear()
        self._in_flight = 0

    # -- what comes in

    @property
    def _heads(self) -> int:
        """How many waiting lanes may be taken up. New entries are taken by the same measure, so neither starves."""
        return max(0, self._limits.max_in_flight - self._in_flight - len(self._ready))

    @property
    def _room(self) -> int:
        """How many new entries may be taken."""
        limit = self._limits.max_in_flight
        return max(0, limit * LANE - self._unread) if self._in_flight < limit else 0

    def _admit(self, taken: Taken) -> None:
        for entry in taken.entries:
            self._queue(entry)
        for head in taken.heads:
            if head.entry is None:
                self._observe(EntriesMissing(self.destination, 1))
                self._settlements.append(Settlement(head.subject, head.id, Verdict.DONE))
            else:
                self._held[head.subject] = None
                self._following[head.subject] = deque(head.following)
                self._ready.append((head.entry, head.attempts))

    def _queue(self, entry: Entry) -> None:
        if entry.subject in self._held:
            joining = self._held[entry.subject]
            if joining is None:
                # the log says that nothing waits: what is in flight was trimmed meanwhile
                raise LogUnavailable("TRIMMED", f"entries of {entry.subject} are gone: start again from what is left")
            joining.append(entry.entry)
            return
        lane = self._flowing.get(entry.subject)
        if lane is not None:
            lane.append(entry)
            self._unread += 1
            if len(lane) > LANE:
                # a subject this far behind would fill the window: the rest of it waits in the log from here on
                self._hold(lane, Settlement(entry.subject, lane[0].entry, Verdict.HOLD), in_flight=True)
        elif self._wants(entry.type):
            self._flowing[entry.subject] = deque((entry,))
            self._unread += 1
            self._ready.append((entry, 0))
        else:
            self._settled.append(entry.entry)

    def _hold(self, lane: deque[Entry], settlement: Settlement, *, in_flight: bool = False) -> None:
        """Move a lane from memory to the log, with whatever still arrives for it in this round."""
        del self._flowing[settlement.subject]
        self._unread -= len(lane)
        lane.popleft()
        settlement.waiting.extend(entry.entry for entry in lane)
        self._settlements.append(settlement)
        if in_flight:
            self._held[settlement.subject] = settlement.waiting

    # -- attempts

    def _pump(self) -> None:
        while self._ready and self._in_flight < self._limits.max_in_flight and not self._stop.is_set():
            entry, attempts = self._ready.popleft()
            self._in_flight += 1
            self._spawn(self._attempt(entry, attempts), f"attempt {self.destination} {entry.entry}")

    async def _attempt(self, entry: Entry, attempts: int) -> None:
        outcome = self._known.pop((entry.entry, attempts), None)
        if outcome is None:
            try:
                outcome = await self._send(entry, attempts + 1) if self._wants(entry.type) else Delivered()
            except Exception as error:  # noqa: BLE001  # a mistake of ours must not hold this lane for ever
                outcome = Failed(None, f"{type(error).__name__}: {error}")
        self._outcomes.append((entry, attempts, outcome))
        self._woken.set()

    def _judge(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        self._in_flight -= len(outcomes)
        for entry, attempts, outcome in outcomes:
            self._unconfirmed[entry.entry, attempts] = outcome
            if isinstance(outcome, Failed):
                self._failed(entry, attempts, outcome)
            elif entry.subject in self._held:
                self._follow(entry)
            else:
                self._settled.append(entry.entry)
                self._advance(entry.subject)

    def _failed(self, entry: Entry, attempts: int, failed: Failed) -> None:
        made = attempts + (1 if failed.counts else 0)
        if failed.counts and made >= self._limits.max_attempts:
            self._observe(DeadLettered(self.destination, entry.id, made, failed.error))
            self._settle(
                Settlement(
                    entry.subject,
                    entry.entry,
                    Verdict.DEAD,
                    made,
                    0.0,
                    failed.status,
                    failed.error,
                    entry=entry,
                )
            )
            if entry.subject in self._flowing:
                self._advance(entry.subject)
            return
        delay = max(self._limits.delay(max(made, 1), self._random), failed.retry_after or 0.0)
        self._observe(LaneHeld(self.destination, entry.subject, made, delay))
        settlement = Settlement(entry.subject, entry.entry, Verdict.RETRY, made, delay, failed.status, failed.error)
        lane = self._flowing.get(entry.subject)
        if lane is None:
            self._settle(settlement)
        else:
            self._hold(lane, settlement)

    def _follow(self, entry: Entry) -> None:
        """A held lane's first entry was delivered: go on with the next, if it is in memory."""
        done = Settlement(entry.subject, entry.entry, Verdict.DONE)
        following = self._following.get(entry.subject)
        if following:
            self._settlements.append(done)
            self._ready.append((following.popleft(), 0))
        else:
            self._settle(done)

    def _settle(self, settlement: Settlement) -> None:
        """The lane's first entry is no longer in flight; what comes next is the log's to say."""
        self._held.pop(settlement.subject, None)
        self._following.pop(settlement.subject, None)
        self._settlements.append(settlement)

    def _advance(self, subject: str) -> None:
        lane = self._flowing[subject]
        lane.popleft()
        self._unread -= 1
        if lane:
            self._ready.append((lane[0], 0))
        else:
            del self._flowing[subject]
