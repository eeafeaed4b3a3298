"""Whether the loops of the bridge make progress. Pure: it keeps times, makes no tasks and ends nothing.

A loop that waits for Redis, or tries again and again, goes round and is well. One that hangs inside a single call is
not, and only a restart helps it.
"""

from collections.abc import Callable

LONGEST = 30.0
"""Seconds that a round may take: more than every wait and time-out within one, added up."""


class Pulse:
    """Knows when each loop was last seen, by a clock in seconds that never goes back."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._longest: dict[str, float] = {}
        self._seen: dict[str, float] = {}

    def of(self, name: str, longest: float = LONGEST) -> Callable[[], None]:
        """What this loop calls once a round, which may take up to `longest` seconds.

        It is expected from its first call on: what has not begun yet isn't stuck.
        """
        self._longest[name] = longest
        seen, time = self._seen, self._time

        def beat() -> None:
            seen[name] = time()

        return beat

    def stuck(self) -> dict[str, str]:
        """Name -> since when, in words, of each loop whose round takes longer than it may; empty while all is well."""
        now = self._time()
        silent = {name: now - seen for name, seen in self._seen.items()}
        return {
            name: f"has made no progress for {seconds:.0f} s, where {self._longest[name]:g} s are the most"
            for name, seconds in silent.items()
            if seconds > self._longest[name]
        }
