"""How many attempts at one destination run, and when the next may start, over all partitions. Pure; starts none."""

import math
from collections import deque
from collections.abc import Callable
from random import Random

from bridge.backoff import Rate
from bridge.delivery.health import Change, Health, Rules, Standing, probe_wait
from bridge.delivery.lane import Outcome, Result
from bridge.delivery.schedule import wait_for_ours

SAVE_AFTER = 30.0
"""Seconds after which a changed standing is stored although nothing was announced."""
_PAUSED, _BUSY = 1.0, 0.1
"""Seconds until somebody who goes last asks again, where nothing is sent or all places are taken."""


class Gate:
    """One destination's. Closed until `adopt` has said what was stored. `clock` is the delivery clock, in seconds."""

    def __init__(
        self, rules: Rules, most: int, clock: Callable[[], float], random: Random, *, rate: float | None = None,
        stranger: bool = False,
    ) -> None:  # fmt: skip
        self._rules, self._most, self._clock, self._random = rules, most, clock, random
        self.per_second = rate
        """Attempts started per second at most, if that is not None."""
        self._rate = Rate(rate, burst=0.0) if rate else None
        self._turn: float | None = None
        """When the attempt may start whose place is taken already."""
        self.stranger = stranger
        """The receiver has to allow attempts first (`bridge.handshake`); what starts meanwhile, one at a time, asks."""
        self._ask_at = -math.inf
        self._unwelcome = 0
        """Questions that brought no consent."""
        self._health = Health(rules, random)
        self._open = False
        self._stored = Standing()
        self._saved_at = -math.inf
        self._ours_since: float | None = None
        """When failures of ours began, where there was nothing else since."""
        self._pumps: deque[Callable[[], None]] = deque()
        self.in_flight = 0
        self.changes: deque[Change] = deque()
        """What is to be announced, oldest first; the log is told by one of the partitions."""

    def listen(self, pump: Callable[[], None]) -> None:
        """Call this whenever an attempt may start that could not before."""
        self._pumps.append(pump)

    def adopt(self, stored: bytes) -> None:
        """Begin with what was stored. Later calls change nothing: what is here is newer."""
        if not self._open:
            self._open = True
            self._stored = Standing.decode(stored)
            self._health = Health(self._rules, self._random, self._stored)
            self._pump()

    @property
    def disabled(self) -> bool:
        """True while nothing is sent until somebody enables the destination."""
        return self._health.disabled

    @property
    def limit(self) -> int:
        """How many attempts may be in flight."""
        if not self._open:
            return 0
        limit = self._health.limit(self._most)
        return min(1, limit) if self.stranger else limit

    @property
    def probing(self) -> bool:
        """True while only probes are sent."""
        return self._health.standing.state == "probing"

    def spare(self) -> float:
        """Seconds until it is worth asking again whether somebody who goes last may start an attempt; 0.0: now."""
        if not self._open or self._health.disabled:
            return _PAUSED
        if self.in_flight >= self.limit:
            return _BUSY
        now = self._clock()
        wait = max(self._health.wait(now, self.in_flight) or 0.0, self._ask_at - now if self.stranger else 0.0)
        return max(min(wait, _PAUSED), self._rate.wait(now) if self._rate else 0.0)

    def beside(self) -> None:
        """Somebody who goes last starts an attempt: it counts for the rate alone."""
        if self._rate is not None:
            self._rate.reserve(self._clock())

    def told(self, outcome: Outcome) -> None:
        """Somebody who goes last has heard something of the destination as a whole."""
        changes = self._health.note(outcome, self._clock())
        self.changes.extend(changes)
        if changes:
            self._pump()

    def enter(self) -> float:
        """0.0: an attempt may start, and is counted as in flight; else the seconds until it is worth asking again."""
        if self.in_flight >= self.limit:
            return math.inf
        now = self._clock()
        if self.stranger and self._ask_at > now:
            return self._ask_at - now
        wait = self._health.wait(now, self.in_flight)
        if wait is None:
            return math.inf
        if wait == 0.0 and self._rate is not None:
            if self._turn is None:
                self._turn = now + self._rate.reserve(now)
            wait = max(0.0, self._turn - now)
            if wait == 0.0:
                self._turn = None
        if wait == 0.0:
            self.in_flight += 1
        return wait

    def leave(self, outcome: Outcome) -> None:
        """An attempt has ended."""
        self.in_flight -= 1
        if outcome.result is not Result.OURS:
            self._ours_since = None
        changes = self._health.note(outcome, self._clock())
        if changes:
            self.changes.extend(changes)
        if len(self._pumps) > 1 or changes:
            self._pump()

    def welcome(self, per_second: float | None) -> None:
        """The receiver allows attempts; so many a second at most, where that is not None."""
        self.stranger = False
        if per_second is not None:
            self.per_second, self._rate, self._turn = per_second, Rate(per_second, burst=0.0), None
        self._pump()

    def unwelcome(self, outcome: Outcome) -> None:
        """The receiver allows none: as a failed attempt without an event. It is asked again as a probe would be."""
        self._ask_at = self._clock() + probe_wait(self._rules, self._unwelcome, self._random)
        self._unwelcome += 1
        self.told(outcome)

    def wait_for_ours(self) -> float:
        """Seconds until an attempt is made again that failed for a reason of ours."""
        now = self._clock()
        if self._ours_since is None:
            self._ours_since = now
        return wait_for_ours(now - self._ours_since, self._random)

    def enable(self) -> bool:
        """Begin anew after an operator's command; False where it isn't disabled."""
        change = self._health.enable(self._clock())
        if change is None:
            return False
        self.changes.append(change)
        self._ask_at, self._unwelcome = -math.inf, 0
        self._pump()
        return True

    def unsaved(self) -> Standing | None:
        """A standing that should be stored although there is nothing to announce."""
        if not self._open or self.changes:
            return None
        standing = self._health.standing
        if standing == self._stored or self._clock() - self._saved_at < SAVE_AFTER:
            return None
        return standing

    def saved(self, standing: Standing) -> None:
        """It is stored; announced, if it was the next change."""
        self._stored, self._saved_at = standing, self._clock()
        if self.changes and self.changes[0].standing == standing:
            self.changes.popleft()

    def _pump(self) -> None:
        self._pumps.rotate(1)  # whoever is first may take all the places there are
        for pump in tuple(self._pumps):
            pump()
