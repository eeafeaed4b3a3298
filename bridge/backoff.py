"""How long to wait before trying again. Pure: no I/O, no clock; randomness and time are handed in."""

from collections import deque
from collections.abc import Iterator
from random import Random

STABLE = 30.0
"""Seconds that a connection has to stand for, so that its end says nothing bad about the upstream."""
RETRY_AFTER_CAP = 300.0
"""Seconds: no upstream may silence a source for longer by its Retry-After (CONTRACT F.6)."""


def delays(random: Random, *, first: float = 1.0, longest: float = 30.0) -> Iterator[float]:
    """Endless delays in seconds with full jitter: between `first` and a ceiling that doubles up to `longest`.

    The floor keeps an upstream that answers instantly and wrongly from becoming a hot loop.
    """
    ceiling = first * 2
    while True:
        yield random.uniform(first, min(ceiling, longest))
        ceiling = min(ceiling * 2, longest)


class Budget:
    """How many immediate reconnections are allowed: `count` in `window` seconds, then one every `pace` seconds."""

    def __init__(self, count: int = 30, window: float = 60.0, pace: float = 1.0) -> None:
        self._spent: deque[float] = deque(maxlen=count)
        self._window = window
        self._pace = pace

    def spend(self, now: float) -> float:
        """The seconds to wait before reconnecting at monotonic time `now`."""
        free = len(self._spent) < (self._spent.maxlen or 0) or now - self._spent[0] >= self._window
        if not free:
            return self._pace
        self._spent.append(now)
        return 0.0


class Pace:
    """The waits between one source's connections: at once after progress, else backoff.

    One object per source; `after_progress` and `after_failure` return seconds.
    """

    def __init__(self, random: Random, *, first: float = 1.0, longest: float = 30.0) -> None:
        self._random = random
        self._first = first
        self._longest = longest
        self._budget = Budget()
        self._delays = self._fresh()

    def _fresh(self) -> Iterator[float]:
        return delays(self._random, first=self._first, longest=self._longest)

    def reset(self) -> None:
        """All is well: the next failure is a first one again."""
        self._delays = self._fresh()

    def after_progress(self, now: float, floor: float = 0.0) -> float:
        """The connection brought new events before it ended: reset the backoff, reconnect within the budget.

        `floor`, the stream's `retry`, is the least wait.
        """
        self.reset()
        return max(self._budget.spend(now), min(floor, self._longest))

    def after_failure(self, retry_after: float | None = None, floor: float = 0.0, stood: float = 0.0) -> float:
        """The connection brought nothing. `floor`, the stream's `retry`, only lengthens the backoff.

        After one that `stood` for STABLE seconds it is a first failure again.

        A `retry_after` of more than nothing takes its place: capped, and no shorter than the first delay.
        """
        if stood >= STABLE:
            self.reset()
        delay = max(next(self._delays), min(floor, self._longest))
        if retry_after is None or retry_after <= 0:
            return delay
        return max(self._first, min(retry_after, RETRY_AFTER_CAP)) + self._random.uniform(0, min(1.0, retry_after / 10))


class Rate:
    """How many requests go out in a second: `per_second` on average, and `burst` seconds' worth after a quiet time."""

    def __init__(self, per_second: float, burst: float = 1.0) -> None:
        self._burst = burst
        self._interval = 1.0 / per_second
        self._next = 0.0

    def wait(self, now: float) -> float:
        """The seconds until the next place comes; it is left for others."""
        return max(0.0, self._next - now)

    def reserve(self, now: float) -> float:
        """Take the next place; the seconds from monotonic time `now` until it comes."""
        place = max(self._next, now - self._burst)
        self._next = place + self._interval
        return max(0.0, place - now)
