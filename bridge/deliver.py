"""The delivery loop of one destination: in order per subject, parallel over subjects, nothing dropped.

Knows neither Redis nor HTTP. Holds at most a window of entries; what has to wait longer waits in the log, which also
keeps attempts and due times. All talk with the log is one exchange at a time, so its answers need no locks; outcomes
come in between, and what is ready is sent at once.
"""

import asyncio
import math
from collections.abc import Callable
from random import Random
from time import monotonic

from bridge.backoff import delays
from bridge.delivery.gate import Gate
from bridge.delivery.lane import Claims, Limits, Outcome, Reader, Request, Result, Taken, Unit
from bridge.delivery.queue import SLOW, Queue
from bridge.errors import Fenced, LogUnavailable
from bridge.event import Entry
from bridge.facts import (
    DeadLettered,
    DeliveryBlocked,
    DestinationFenced,
    EntriesMissing,
    LaneHeld,
)
from bridge.keeper import Keeper
from bridge.ports import Lanes, Observe, Send, Wants
from bridge.stop import Stop, within

STORE_AFTER = 30.0
"""Seconds after which the log is told how far a destination has looked that wants nothing of what comes."""
SCAN = 4096
"""Unwanted entries that are passed over before anything else gets its turn."""
REQUESTS = 64
"""Requests taken up at once."""

Key = tuple[tuple[str, ...], int]


class Delivery:
    """One destination's worker in one partition. `run` is its only loop.

    `keeper`: this one tells the log what becomes of the destination as a whole; of all partitions' workers, one does.
    `finite`: there is an end to what it reads; once all of that is settled it sets its own stop. `replays` is told the
    requests for replays, as often as somebody looks.
    """

    def __init__(
        self, destination: str, lanes: Lanes, send: Send, wants: Wants, limits: Limits,
        *, gate: Gate, observe: Observe, stop: Stop, keeper: bool = True, finite: bool = False,
        replays: Callable[[list[str]], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.destination = destination
        self._lanes, self._send, self._wants, self._gate = lanes, send, wants, gate
        self._limits = limits
        self._observe, self._stop = observe, stop
        self._keeper = Keeper(destination, gate, observe) if keeper else None
        self._finite, self._replays = finite, replays
        self._random = Random()
        self._time: Callable[[], float] = monotonic
        """The event loop's, once it runs: asking for the loop each time costs a call to the system."""
        self._queue = Queue(limits)
        self._woken = asyncio.Event()
        self._reader = Reader(destination, wants.type, self._woken.set, self._ask)
        lanes.join(self._reader)
        stop.listen(self._woken.set)
        gate.listen(self._opened)
        self._asked = True
        """Somebody may have a request: looked for at the start, and when told."""
        self._position = self._stored = ""
        self._passed: int | None = 0
        """Entries between the two, where that is known."""
        self._store_at = math.inf
        self._waiting = 0
        """Lanes that wait in the log, as it said last."""
        self._due_at = math.inf
        """When the next of them is due, by the event loop's time."""
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight = 0
        self._told = False
        """The last round only told."""
        self._shut = False
        """It rests although there may be something: no attempt is allowed at all."""
        self._landing = False
        """The log's word is awaited before anything is sent: outcomes are only noted."""
        self._unconfirmed: dict[Key, Outcome] = {}
        """Outcomes that the log has not been told."""
        self._telling: dict[Key, Outcome] = {}
        """Outcomes on their way to the log."""
        self._known: dict[Key, Outcome] = {}
        """After a broken exchange: outcomes that the log may not have heard of, used instead of sending again."""

    async def run(self) -> None:
        """Deliver until the bridge stops and nothing is in flight, or somebody newer takes over."""
        self._time = asyncio.get_running_loop().time
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
                break
        self._lanes.leave(self._reader)

    async def _work(self) -> None:
        while not self._over():
            if self._asked and not self._stop.is_set():
                await self._requests()
            self._queue.relieve(self._time())
            claims = Claims() if self._tells_first() else await self._read()
            if self._worth_telling(claims):
                self._admit(claims.entries, await self._exchange(claims))
            self._pump()
            await self._rest()

    def _tells_first(self) -> bool:
        """Whether the log is told what came of attempts before it is read, which may take its time."""
        queue = self._queue
        first = bool(queue.settled or queue.settlements) and not self._told and not self._lanes.has(self._position)
        self._told = first
        return first

    def _over(self) -> bool:
        if not self._stop.is_set():
            return False
        queue = self._queue
        return not (self._in_flight or queue.settled or queue.settlements) and self._stored == self._position

    async def _recover(self) -> None:
        """Start from what the log says: entries claimed before and not settled come first, in their order."""
        await self._landed()
        self._position, standing = await self._lanes.open()
        self._stored, self._passed, self._store_at = self._position, 0, math.inf
        if self._keeper:
            self._keeper.adopt(standing)
        self._queue.clear()
        self._landing = False
        self._due_at, self._waiting = 0.0, 1  # the log is asked what waits there
        # of a batch the log tells the entries, not which went out together
        delivered = {
            id_ for (ids, _), outcome in self._known.items() if outcome.result is Result.DELIVERED for id_ in ids
        }
        after = "0"
        while after:
            entries, after, missing = await self._lanes.pending(after)
            self._lost(missing)
            self._queue.settled += [entry.entry for entry in entries if entry.entry in delivered]
            self._admit([entry for entry in entries if entry.entry not in delivered], None)
        self._asked = True

    async def _landed(self) -> None:
        """Wait until nothing is in flight: what is sent again after a recovery must not overtake itself."""
        self._landing = True
        while self._in_flight:
            self._woken.clear()
            await self._woken.wait()
        known = self._known | self._telling | self._unconfirmed
        # what the log did hear of is never asked for: the oldest go, but nothing of what it may not have heard
        most = max(4 * self._limits.max_in_flight, len(self._telling) + len(self._unconfirmed))
        self._known = dict(list(known.items())[-most:])
        self._telling, self._unconfirmed = {}, {}

    # -- what comes in

    @property
    def _heads(self) -> int:
        """How many waiting lanes may be taken up: as many as may be in flight, so that no backlog starves a retry."""
        if self._stop.is_set():
            return 0
        return max(0, self._gate.limit - len(self._queue.held))

    async def _read(self) -> Claims:
        """What is wanted of the next entries, as far as there is room."""
        entries, passed, position = list[Entry](), 0, self._position
        room = 0 if self._stop.is_set() or self._gate.disabled else self._queue.room
        while len(entries) < room and passed < SCAN:
            found = await self._lanes.after(position, room - len(entries))
            if not found:
                break
            entries += [entry for entry in found if self._wants(entry)]
            position, passed = found[-1].entry, passed + len(found)
        self._move(position, passed)
        return Claims(entries, self._position if self._position != self._stored else "", self._passed)

    def _move(self, position: str, passed: int | None) -> None:
        if position == self._position:
            return
        self._position = position
        self._passed = None if passed is None or self._passed is None else self._passed + passed
        self._store_later()

    def _store_later(self) -> None:
        if self._store_at == math.inf:
            self._store_at = self._time() + STORE_AFTER * self._random.uniform(0.8, 1.2)

    def _worth_telling(self, claims: Claims) -> bool:
        queue, time = self._queue, self._time()
        if claims.entries or queue.settled or queue.settlements or (self._keeper and self._gate.changes):
            return True
        if time >= self._store_at or (self._stop.is_set() and self._stored != self._position):
            return True
        return time >= self._due_at and self._heads > 0

    async def _exchange(self, claims: Claims) -> Taken:
        settled, settlements = self._queue.told()
        self._telling, self._unconfirmed = self._unconfirmed, {}
        mark, standing = self._keeper.mark() if self._keeper else (None, None)
        taken = await self._lanes.exchange(
            settled, settlements, claims, heads=self._heads, busy=list(self._queue.held), mark=mark
        )
        self._telling = {}
        if standing is not None:
            self._gate.saved(standing)
        if claims.position:
            self._stored, self._passed, self._store_at = claims.position, 0, math.inf
        self._lost(taken.missing)
        self._waiting = taken.waiting
        self._due_at = (
            math.inf if taken.next_due is None else self._time() + taken.next_due
        )  # fmt: skip
        return taken

    def _admit(self, entries: list[Entry], taken: Taken | None) -> None:
        time, queue = self._time(), self._queue
        joined = taken.joined if taken else frozenset[int]()
        try:
            for place, entry in enumerate(entries):
                if place not in joined:
                    queue.add(entry, time)
        except LookupError as error:
            # the log says that nothing waits: what is in flight was trimmed meanwhile
            raise LogUnavailable("TRIMMED", f"entries of {error} are gone: start again from what is left") from error
        for head in taken.heads if taken else ():
            if not head.entries:
                self._lost(head.missing)
            queue.add_head(head)

    def _lost(self, count: int) -> None:
        if count:
            self._observe(EntriesMissing(self.destination, count))

    async def _rest(self) -> None:
        """Wait for an outcome, for growth that there is room for, for the next due lane, or for the stop."""
        if self._woken.is_set() or self._queue.settlements:  # a head that is gone is settled without an outcome
            self._woken.clear()
            return
        if self._stop.is_set() and not self._in_flight:
            return
        reading = not (self._stop.is_set() or self._gate.disabled) and self._queue.room > 0
        if reading and not self._lanes.rest(self._reader, self._position):
            return
        if self._finite and reading and self._nothing_left():
            self._stop.set()
        if reading:
            self._store_later()  # it may move while it rests, and what it has passed may be trimmed
        time = self._time()
        self._shut = self._gate.limit == 0
        full = not (reading or self._shut)
        until = min(self._store_at, self._due_at if self._heads else math.inf, time + SLOW if full else math.inf)
        await within(self._woken.wait(), None if until == math.inf else max(0.001, until - time))
        self._woken.clear()
        if reading:
            self._lanes.rouse(self._reader)
            self._move(self._reader.position, self._reader.passed)
            if self._position == self._stored:
                self._store_at = math.inf

    def _nothing_left(self) -> bool:
        """Whether all that was read is settled, and the log knows it."""
        queue = self._queue
        return not (self._in_flight or queue.unsent or queue.settled or queue.settlements or self._waiting)

    # -- attempts

    def _opened(self) -> None:
        """The gate may have opened, or something is to be announced: another partition's worker did it."""
        if self._shut or (self._keeper and self._gate.changes):
            self._woken.set()
        self._pump()

    def _pump(self) -> None:
        """Start every attempt that may start now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._landing:
            return
        queue, gate = self._queue, self._gate
        while queue.ready and not self._stop.is_set():
            time = self._time()
            if self._in_flight + len(self._unconfirmed) + len(self._telling) >= self._limits.max_in_flight:
                return  # what is not yet told would be sent again after a crash: it counts as in flight
            wait = queue.wait(time) or gate.enter()
            if wait > 0:
                if wait != math.inf:
                    self._timer = asyncio.get_running_loop().call_later(wait, self._pump)
                return
            unit = queue.pop(time)
            self._in_flight += 1
            known = self._known.pop((unit.ids, unit.attempts), None) if self._known else None
            if known is None:
                self._send(unit, self._done)
            else:
                asyncio.get_running_loop().call_soon(self._done, unit, known)

    def _done(self, unit: Unit, outcome: Outcome) -> None:
        self._in_flight -= 1
        self._gate.leave(outcome)
        self._unconfirmed[unit.ids, unit.attempts] = outcome
        self._woken.set()
        if self._landing:
            return
        if outcome.result is Result.DELIVERED:
            self._queue.delivered(unit, self._time())
        else:
            self._failed(unit, outcome)
        self._pump()

    def _failed(self, unit: Unit, outcome: Outcome) -> None:
        result, limits = outcome.result, self._limits
        if result is Result.OURS or result is Result.GONE:
            delay = self._gate.wait_for_ours() if result is Result.OURS else 0.0
            self._observe(LaneHeld(self.destination, unit.entries[0].subject, unit.attempts, delay))
            self._queue.retry(unit, unit.attempts, unit.refusals, delay, outcome)
            return
        made = unit.attempts + 1
        refusals = unit.refusals + (1 if result is Result.REFUSED else 0)
        if (made >= limits.max_attempts or refusals >= limits.refusals) and not limits.block:
            for entry in unit.entries:
                self._observe(DeadLettered(self.destination, entry.id, made, outcome.error))
            self._queue.dead(unit, made, outcome, self._time())
            return
        delay = max(limits.schedule.wait(made, self._random), min(outcome.retry_after or 0.0, limits.longest_pause))
        self._observe(LaneHeld(self.destination, unit.entries[0].subject, made, delay))
        self._queue.retry(unit, made, refusals, delay, outcome)

    # -- requests

    def _ask(self) -> None:
        self._asked = True
        self._woken.set()

    async def _requests(self) -> None:
        """Do what somebody asks: enable the destination, try dead letters again."""
        found = await self._lanes.requests(REQUESTS)
        self._asked = False
        self._replays([request.text for request in found if request.replay])
        requests = [request for request in found if not request.replay]
        if not requests:
            return
        if self._keeper and any(request.enables for request in requests):
            self._gate.enable()
        # a letter joins a lane in the log: whatever flows of its subject goes there first
        able = [request for request in requests if not request.letter or self._queue.hold(request.subject)]
        self._admit([], await self._exchange(Claims()))
        # heads that came just now are not followed by what their letters go before
        able = [request for request in able if self._able(request)]
        await self._lanes.again(able, ordered=self._limits.ordered)
        self._due_at = 0.0
        if len(found) >= REQUESTS:
            self._ask()
        elif len(able) < len(requests):
            self._asked = True  # with the next outcome

    def _able(self, request: Request) -> bool:
        """Whether a request may be done now; one that enables is done only when the log knows of it."""
        if request.letter:
            return self._queue.hold(request.subject)
        return not (self._keeper and self._gate.changes)
