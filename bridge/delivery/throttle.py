"""How much one destination is asked for at once, and when it is left alone. Pure; knows no events and no attempts.

Answers are looked at in rounds: as many as may be in flight. A round of which more than half was throttled is a bad
one. Counting rounds instead of answers makes 32 answers of the same moment one sign and not 32, and lets a receiver
that turns away a third at random go at full speed, while one that turns away most of what it gets is soon asked alone.
"""

START = 1024
"""In flight at first: as many as any destination may be allowed, so that only a bad round slows one."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 30.0
_DOUBLINGS = 12
"""0.01 s doubled so often is more than the longest pause."""


class Throttle:
    """One destination's. `limit` is in attempts, `paused_until` a time; both change only by what is told here."""

    __slots__ = (
        "_answers",
        "_bad_rounds",
        "_cap",
        "_grown",
        "_limit",
        "_most",
        "_throttled",
        "paused_until",
    )

    def __init__(self, retry_after_cap: float) -> None:
        self._cap = retry_after_cap
        self.paused_until = float("-inf")
        self._limit = self._most = START
        self._grown = 0
        """Successes since the limit has grown."""
        self._answers = self._throttled = 0
        """Of the present round. Below 0 behind a bad one: what can have been in flight then belongs to no round."""
        self._bad_rounds = 0
        """In sequence, the last of them the last round."""

    def limit(self, most: int) -> int:
        """How many attempts may be in flight, of `most` that the destination is allowed."""
        self._most = most
        self._limit = min(self._limit, most)
        return self._limit

    def succeeded(self) -> None:
        """An answer was a success: the limit grows by one for as many of them as it is."""
        self._answers += 1
        if self._answers <= 0:
            return
        if self._limit < self._most:
            self._grown += 1
            if self._grown >= self._limit:
                self._limit += 1
                self._grown = 0
        if self._answers >= self._limit:
            self._answers = self._throttled = self._bad_rounds = 0

    def throttled(self, now: float, retry_after: float | None) -> None:
        """An answer asked for less. A bad round halves the limit, and pauses by itself where no time was asked for."""
        if retry_after is not None:
            self._pause(now + min(self._cap, max(0.0, retry_after)))
        self._answers += 1
        if self._answers <= 0:
            return
        self._throttled += 1
        if 2 * self._throttled > self._limit:
            self._bad_rounds += 1
            self._answers, self._throttled, self._grown = 1 - self._limit, 0, 0
            self._limit = max(1, self._limit // 2)
            if retry_after is None and self._bad_rounds > 1:
                self._pause(now + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._bad_rounds - 2, _DOUBLINGS)))
        elif self._answers >= self._limit:
            self._answers = self._throttled = self._bad_rounds = 0

    def _pause(self, until: float) -> None:
        self.paused_until = max(self.paused_until, until)
