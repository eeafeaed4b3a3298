"""When the next attempt of a replay may start: after its destination's live delivery, and at its own pace. Pure.

Its failures say nothing of the destination as a whole: they slow the replay alone. Only where the destination is
probed and the live delivery has nothing to probe it with does an attempt of the replay stand for a probe.
"""

from collections.abc import Callable
from random import Random

from bridge.delivery.gate import Gate
from bridge.delivery.health import Rules
from bridge.delivery.lane import Outcome, Result

MOST = 4
"""Attempts of a replay in flight at once, besides those of the live delivery."""
LIVE_FIRST = 1.0
"""Seconds that a probe is left to the live delivery."""


class ReplayGate(Gate):
    """One replay's, over all partitions. `rate` in requests a second, evenly; `live` is its destination's gate."""

    def __init__(self, live: Gate, rate: float, most: int, clock: Callable[[], float], random: Random) -> None:
        super().__init__(Rules(disable_after=None), min(most, MOST), clock, random)
        self._live = live
        self._apart = 1.0 / rate
        self._next = 0.0
        """When the next attempt may start."""
        self._left_since: float | None = None
        """Since when the live delivery could probe, and has not."""
        self._probes = False
        """The attempt in flight is the destination's probe."""
        self.adopt(b"")

    def enter(self) -> float:
        """0.0: an attempt may start, and is counted as in flight; else the seconds until it is worth asking again."""
        now, live = self._clock(), self._live
        wait, probing = live.spare(), live.probing
        if wait or not probing:
            self._left_since = None
        elif self._left_since is None:
            self._left_since = now
        wait = wait or max(0.0, self._next - now)
        if wait:
            return wait
        if self._left_since is not None and now - self._left_since < LIVE_FIRST:
            return LIVE_FIRST
        wait = super().enter()
        if wait:
            return wait
        self._next = max(self._next + self._apart, now)  # one that started a little late costs no place
        if probing:
            self._probes = live.enter() == 0.0
        else:
            live.beside()
        return 0.0

    def leave(self, outcome: Outcome) -> None:
        """An attempt has ended."""
        gone = outcome.result is Result.GONE
        if self._probes:
            self._probes = False
            self._live.leave(outcome)
        elif gone:
            self._live.told(outcome)
        # whether the destination is disabled is the live gate's to say, and to enable
        super().leave(Outcome(Result.OURS) if gone else outcome)
        self.changes.clear()
