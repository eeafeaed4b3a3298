"""When an event is tried again at a destination. Pure: no clock; attempts and chance are handed in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Self

JITTER = 0.2
"""Share by which a wait is shortened or lengthened, evenly spread, so that what failed together comes back apart."""
_MINUTE, _HOUR = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Seconds to wait before each attempt, beginning with the first; behind the last each is `factor` times longer.

    `waits` begins with 0 and is not empty; no wait is longer than `longest`. Made by `listed` or `exponential`.
    """

    waits: tuple[float, ...]
    factor: float = 1.0
    longest: float = math.inf

    @classmethod
    def listed(cls, waits: Sequence[float]) -> Self:
        """The waits before each attempt; the last repeats.

        Where the first isn't 0 it is taken for the second attempt's. ValueError for an empty list, or a wait that is
        negative or no number.
        """
        if not waits or not all(0 <= wait < math.inf for wait in waits):
            raise ValueError("a schedule needs at least one wait, each of 0 s or more")
        return cls(tuple(map(float, waits if waits[0] == 0 else (0, *waits))))

    @classmethod
    def exponential(cls, first: float, factor: float, longest: float) -> Self:
        """`first` seconds before the second attempt, then `factor` times the last wait, up to `longest`.

        ValueError unless 0 < first <= longest and factor >= 1.
        """
        if not (0 < first <= longest < math.inf and 1 <= factor < math.inf):
            raise ValueError("an exponential schedule needs 0 < first <= longest and a factor of 1 or more")
        return cls((0.0, float(first)), float(factor), float(longest))

    def wait(self, attempts_made: int, random: Random) -> float:
        """Seconds to wait after that many attempts, with jitter. A wait of 0 stays 0."""
        return self._exact(attempts_made) * random.uniform(1 - JITTER, 1 + JITTER)

    def bounds(self, attempts_made: int) -> tuple[float, float]:
        """The shortest and the longest that `wait` can say after that many attempts, in seconds."""
        exact = self._exact(attempts_made)
        return exact * (1 - JITTER), exact * (1 + JITTER)

    def _exact(self, attempts_made: int) -> float:
        beyond = attempts_made - len(self.waits) + 1
        if beyond <= 0:
            return self.waits[attempts_made]
        try:
            return min(self.waits[-1] * self.factor**beyond, self.longest)
        except OverflowError:
            return self.longest


STANDARD = Schedule.listed(
    (0, 5, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR)
)
"""Ten attempts in 75 h 35 min 5 s (the example of Standard Webhooks 1.0.0)."""

SHORTEST_OURS, LONGEST_OURS = 1.0, 60.0
"""Seconds between attempts while this side fails."""


def wait_for_ours(lasted: float, random: Random) -> float:
    """Seconds to wait after a failure of ours, where such failures have been all there was for `lasted` seconds.

    As long again as it has lasted: 1 s, 1 s, 2 s, 4 s, ... 60 s, with jitter. So it doubles however many attempts fail
    at the same moment, and what is to be remembered is one time a destination, not a count an event.
    """
    return min(max(SHORTEST_OURS, lasted), LONGEST_OURS) * random.uniform(1 - JITTER, 1 + JITTER)
