"""The laws of a destination's health, whatever is sent, answered, stored and commanded in whichever order."""

import math
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.delivery.health import Change, Health, Rules, Standing
from bridge.delivery.lane import Outcome, Result
from bridge.delivery.window import BUCKETS

OK = Outcome(Result.DELIVERED, 204)
BAD = Outcome(Result.FAILED, None, "connection refused")
BUSY = Outcome(Result.THROTTLED, 503)
NO = Outcome(Result.REFUSED, 400)
GONE = Outcome(Result.GONE, 410)
OURS = Outcome(Result.OURS, None, "no file descriptors left")
BEGIN = 1e9
QUICK = Rules(disable_after=2000.0)
NEXT = {
    "active": {"probing": "probing", "disabled": "disabled", "failing": "active", "recovered": "active"},
    "probing": {"recovered": "active", "disabled": "disabled", "failing": "probing"},
    "disabled": {"enabled": "active"},
}
"""By state: what may happen, and the state behind it."""


class Laws(RuleBasedStateMachine):
    """A loop that starts attempts as it is allowed to, a receiver with any answers, restarts and commands."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.health = Health(QUICK, Random(1))
        self.in_flight = self.probes = 0
        self.state = "active"

    def _took(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            assert change.what in NEXT[self.state], f"{change.what} while {self.state}"
            self.state = NEXT[self.state][change.what]
            assert change.standing.state == self.state
            assert 0 <= change.failures <= change.attempts
            assert change.since <= self.now
        if changes:
            assert changes[-1].standing == self.health.standing

    @rule(count=st.integers(1, 40))
    def start(self, count: int) -> None:
        """Start attempts, as many as are allowed."""
        for _ in range(count):
            if self.health.wait(self.now, self.in_flight) == 0.0 and self.in_flight < self.health.limit(32):
                self.in_flight += 1
                self.probes += self.state == "probing"

    @precondition(lambda self: self.in_flight)
    @rule(outcome=st.sampled_from([OK, BAD, BAD, BAD, BUSY, BUSY, NO, OURS]), count=st.integers(1, 12))
    def finish(self, outcome: Outcome, count: int) -> None:
        """Some attempts end alike."""
        for _ in range(min(count, self.in_flight)):
            self.in_flight -= 1
            self.probes = 0
            self._took(self.health.note(outcome, self.now))

    @precondition(lambda self: self.in_flight)
    @rule(asked=st.none() | st.floats(-1, 1e5))
    def end(self, asked: float | None) -> None:
        """One attempt is throttled with any Retry-After, or the destination is gone."""
        self.in_flight -= 1
        self.probes = 0
        self._took(self.health.note(GONE if asked is None else Outcome(Result.THROTTLED, 429, "", asked), self.now))

    @rule(seconds=st.floats(0, 5) | st.floats(0, 4000))
    def later(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @rule()
    def restart(self) -> None:
        """The process ends, with what is in flight, and begins again from what is stored."""
        self.health = Health(QUICK, Random(2), Standing.decode(self.health.standing.encode()))
        self.in_flight = self.probes = 0

    @rule()
    def enable(self) -> None:
        """An operator's command."""
        change = self.health.enable(self.now)
        assert (change is None) is (self.state != "disabled")
        self._took((change,) if change else ())

    @invariant()
    def holds(self) -> None:
        """No two probes at once, nothing while disabled, bounded waits and memory, a standing that can be stored."""
        health, wait = self.health, self.health.wait(self.now, self.in_flight)
        assert health.standing.state == self.state
        assert Standing.decode(health.standing.encode()) == health.standing
        assert self.probes <= 1
        assert (wait is None) is (self.state == "disabled")
        assert wait is None or 0 <= wait <= 3600 or (wait == math.inf and self.state == "probing" and self.in_flight)
        assert health.limit(32) in {"disabled": {0}, "probing": {1}}.get(self.state, range(1, 33))
        assert len(health._window._past) <= BUCKETS


TestLaws = Laws.TestCase
TestLaws.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
