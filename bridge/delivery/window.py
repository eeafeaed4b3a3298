"""How many attempts were made and failed of late, in bounded memory. Pure; refuses to say what that means."""

import math

BUCKETS = 10


class Window:
    """Attempts and failures of the last ten buckets of time, of which the present one is the last."""

    __slots__ = ("_length", "_past", "_present", "attempts", "ends", "failures")

    def __init__(self, seconds: float) -> None:
        self._length = seconds / BUCKETS
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._past: list[tuple[int, int, int]] = []
        """The buckets before the present one that count: number, attempts, failures."""
        self._present = 0
        self.attempts = self.failures = 0
        self.ends = -math.inf
        """When the present bucket does."""

    def turn(self, now: float) -> None:
        """Begin the bucket of `now`, and forget those that are too old."""
        attempts = self.attempts - sum(bucket[1] for bucket in self._past)
        failures = self.failures - sum(bucket[2] for bucket in self._past)
        self._past.append((self._present, attempts, failures))
        self._present = math.floor(now / self._length)
        self._past = [bucket for bucket in self._past if bucket[0] > self._present - BUCKETS]
        self.attempts = sum(bucket[1] for bucket in self._past)
        self.failures = sum(bucket[2] for bucket in self._past)
        self.ends = (self._present + 1) * self._length
