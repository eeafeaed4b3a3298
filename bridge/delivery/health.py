"""Whether a destination is well: breaker, throttle and disabling as one state machine. Pure; sends and stores nothing.

Times are seconds of a clock that is handed in, never jumps and outlives the process. Only the `Standing` is stored;
the window of the breaker and the throttle begin anew with each start.

    active   -> probing     70 % of at least 10 attempts of the last 5 minutes failed
    probing  -> active      a probe was delivered ("recovered"; also said of an active one that was warned of)
    either   -> disabled    410, or nothing but failure for `disable_after`, of which a warning was given before
    disabled -> active      by an operator's command ("enabled")
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Literal, Self

import msgspec

from bridge.delivery.lane import Outcome, Result
from bridge.delivery.throttle import Throttle
from bridge.delivery.window import Window

_DELIVERED, _FAILED, _THROTTLED, _GONE = Result.DELIVERED, Result.FAILED, Result.THROTTLED, Result.GONE
_REASON = 200
"""Characters of a reason that are kept."""
_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Rules:
    """When a destination is probed and disabled. Times in seconds; `disable_after` None: never."""

    disable_after: float | None = 432_000.0
    warnings: tuple[float, ...] = (0.5, 0.7, 0.9)
    """Shares of `disable_after` at which a warning is given; ascending."""
    window: float = 300.0
    least: int = 10
    share: float = 0.7
    first_probe: float = 1.0
    longest_probe: float = 60.0
    retry_after_cap: float = 3600.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is stored of a destination's health; a fresh one is active and has never failed."""

    state: Literal["active", "probing", "disabled"] = "active"
    since: float = 0.0
    """When this state began."""
    failing_since: float | None = None
    """The first failure after the last success."""
    warned: int = 0
    """How many of the warnings are passed."""
    reason: str = ""
    """Why it is probed or disabled."""

    def encode(self) -> bytes:
        """The text for a field in Redis: JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, stored: bytes | None) -> Self:
        """What was stored; a fresh one where that is nothing, damaged or unknown. Never raises."""
        try:
            return msgspec.json.decode(stored or b"{}", type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return cls()


What = Literal["probing", "recovered", "failing", "disabled", "enabled"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a destination, for the event `dev.runbridge.destination.<what>`, a metric and a line."""

    what: What
    standing: Standing
    """As it is from now on."""
    since: float
    """When it began: the failing; for "recovered" and "enabled" what has ended."""
    attempts: int
    """Delivered and failed ones of the last window, of which `failures` failed."""
    failures: int
    reason: str
    """The last failure; "" for "recovered" and "enabled"."""
    status: int | None
    """The last answer's status, if there was an answer."""

    @property
    def share(self) -> float:
        """Failures by attempts, 0 to 1."""
        return self.failures / self.attempts if self.attempts else 0.0


class Health:
    """One destination's. Whoever starts attempts asks `limit` and `wait` first and tells every outcome by `note`.

    Probes are told from what was in flight when the breaker opened: none of it closes the breaker again, nor lengthens
    the waits, because it says nothing new; and the first probe waits until it has ended.
    """

    def __init__(self, rules: Rules, random: Random, standing: Standing = Standing()) -> None:
        self._rules, self._random = rules, random
        self._window = Window(rules.window)
        self._throttle = Throttle(rules.retry_after_cap)
        self._probes = 0
        """Failed ones in sequence."""
        self._next_probe = -math.inf
        self._probe_out = False
        """A probe was allowed, and nothing has come of it yet."""
        self._adopt(standing)

    @property
    def standing(self) -> Standing:
        """What is to be stored. Changes without a `Change` only in `failing_since` and `warned`."""
        return Standing(self._state, self._since, self._failing_since, self._warned, self._reason)

    @property
    def disabled(self) -> bool:
        """True until an operator enables it."""
        return self._state == "disabled"

    def _adopt(self, standing: Standing) -> None:
        self._state, self._since, self._reason = standing.state, standing.since, standing.reason
        self._failing_since, self._warned = standing.failing_since, standing.warned

    def limit(self, most: int) -> int:
        """How many attempts may be in flight now, of `most` that the destination is allowed; 0 while disabled."""
        if self._state == "active":
            return self._throttle.limit(most)
        return 0 if self._state == "disabled" else 1

    def wait(self, now: float, in_flight: int) -> float | None:
        """Seconds until one more attempt may start; 0.0: now, which is to be asked right before it starts.

        None while disabled; infinity while a probe has to wait for what is in flight.
        """
        until = self._throttle.paused_until
        if self._state != "active":
            if self._state == "disabled":
                return None
            if in_flight:
                return math.inf
            until = max(until, self._next_probe)
            self._probe_out = until <= now
        return until - now if until > now else 0.0

    def note(self, outcome: Outcome, now: float) -> tuple[Change, ...]:
        """Take an attempt's outcome; what has changed by it, in sequence. Mostly nothing."""
        result = outcome.result
        if result is _DELIVERED and self._state != "disabled":
            window = self._window
            if now >= window.ends:
                window.turn(now)
            window.attempts += 1
            self._throttle.succeeded()
            if self._failing_since is None and self._state == "active":
                return ()
            return self._succeeded(now)
        if self._state == "disabled":
            return ()
        if result is _FAILED or result is _THROTTLED:
            return self._failed(outcome, now)
        if result is _GONE:
            return (self._disabled(outcome, now),)
        if self._probe_out:
            self._await_probe(now)
        return ()

    def enable(self, now: float) -> Change | None:
        """Begin anew after an operator's command; None where it isn't disabled."""
        if self._state != "disabled":
            return None
        self._throttle = Throttle(self._rules.retry_after_cap)
        return self._begin_anew("enabled", self._since, now)

    def _succeeded(self, now: float) -> tuple[Change, ...]:
        warned, failing_since = self._warned, self._failing_since
        self._failing_since, self._warned = None, 0
        if self._probe_out:
            return (self._begin_anew("recovered", self._since, now),)
        if warned and failing_since is not None and self._state == "active":
            return (self._begin_anew("recovered", failing_since, now),)
        return ()

    def _failed(self, outcome: Outcome, now: float) -> tuple[Change, ...]:
        window = self._window
        if now >= window.ends:
            window.turn(now)
        window.attempts += 1
        window.failures += 1
        if outcome.result is _THROTTLED:
            self._throttle.throttled(now, outcome.retry_after)
        if self._failing_since is None:
            self._failing_since = now
        changes = self._lasting(outcome, now)
        if self._state == "active":
            if window.attempts >= self._rules.least and window.failures >= self._rules.share * window.attempts:
                changes += (self._probing(outcome, now),)
        elif self._probe_out:
            self._probes += 1
            self._await_probe(now)
        return changes

    def _lasting(self, outcome: Outcome, now: float) -> tuple[Change, ...]:
        """A warning, or the end, where nothing but failure has lasted so long. No end comes without a warning."""
        after = self._rules.disable_after
        if after is None or self._failing_since is None:
            return ()
        lasted = now - self._failing_since
        if lasted >= after and self._warned:
            return (self._disabled(outcome, now),)
        passed = sum(lasted >= share * after for share in self._rules.warnings)
        if passed <= self._warned:
            return ()
        self._warned = passed
        return (self._change("failing", self._failing_since, outcome),)

    def _probing(self, outcome: Outcome, now: float) -> Change:
        self._state, self._since, self._reason = "probing", now, _reason(outcome)
        self._probes = 0
        self._await_probe(now)
        return self._change("probing", now if self._failing_since is None else self._failing_since, outcome)

    def _await_probe(self, now: float) -> None:
        self._probe_out = False
        self._next_probe = now + probe_wait(self._rules, self._probes, self._random)

    def _disabled(self, outcome: Outcome, now: float) -> Change:
        since = now if self._failing_since is None else self._failing_since
        self._state, self._since, self._reason, self._probe_out = "disabled", now, _reason(outcome), False
        return self._change("disabled", since, outcome)

    def _begin_anew(self, what: What, since: float, now: float) -> Change:
        self._adopt(Standing(since=now))
        self._probe_out = False
        change = self._change(what, since, None)
        self._window.clear()
        return change

    def _change(self, what: What, since: float, outcome: Outcome | None) -> Change:
        window = self._window
        reason, status = (_reason(outcome), outcome.status) if outcome else ("", None)
        return Change(what, self.standing, since, window.attempts, window.failures, reason, status)


def probe_wait(rules: Rules, failed: int, random: Random) -> float:
    """Seconds until the next probe: 1 s, 2 s, 4 s, ... 60 s by how many failed in sequence, up to a fifth sooner."""
    wait = min(rules.first_probe * 2.0 ** min(failed, _DOUBLINGS), rules.longest_probe)
    return wait * random.uniform(0.8, 1.0)


def _reason(outcome: Outcome) -> str:
    return " ".join((outcome.error or f"answered {outcome.status}").split())[:_REASON]
