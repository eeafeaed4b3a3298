"""Holds operations and invocations: pieces of work that go through their statuses by the clock or by hand. No HTTP.

A script goes: queued, dispatching, running with the steps 1 to n, each for `seconds`, and then its ending. Its clock
starts when it is first asked for, so that whoever comes sees all of it.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from bridge.emulator.pulse import Pulse

Ending = Literal["succeeded", "failed", "cancelled", "timed_out"]
Status = Literal["queued", "dispatching", "running", "cancelling", "succeeded", "failed", "cancelled", "timed_out"]
TERMINAL = frozenset(get_args(Ending))
WAITING = ("queued", "dispatching")
QUIET_SLOTS = len(WAITING)  # before the first step
MAX_STEPS = 10_000
MAX_WORKS = 10_000
BY_HAND = ("status", "step", "totalSteps", "message", "error", "result")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkScript:
    """How an operation or invocation goes.

    steps: how many there are, at most 10,000.
    seconds: how long it is queued, dispatching, in each step, and cancelling; 0: it is at its end at once.
    ending: succeeded (with a result), failed (with an error and a result), cancelled or timed_out (with an error).
    """

    steps: int = 5
    seconds: float = 1.0
    ending: Ending = "succeeded"

    def __post_init__(self) -> None:
        """Refuses what has no meaning: ValueError naming the option."""
        if not 1 <= self.steps <= MAX_STEPS:
            raise ValueError(f"steps = {self.steps}: must be from 1 to {MAX_STEPS}")
        if not self.seconds >= 0:
            raise ValueError(f"seconds = {self.seconds}: must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A piece of work at one moment; times are seconds since 1970."""

    id: str
    number: int
    status: Status
    step: int
    steps: int
    created: float
    now: float
    started: float | None
    finished: float | None
    cancel_requested: float | None
    said: Mapping[str, object]  # message, error and result, where they were set by hand

    @property
    def terminal(self) -> bool:
        """Whether nothing follows."""
        return self.status in TERMINAL


class Work:
    """One operation or invocation; without a script it stays as it is until it is set."""

    def __init__(self, id_: str, number: int, script: WorkScript | None) -> None:
        self.id = id_
        self.changed = Pulse()
        self._number = number
        self._script = script  # None too once it has been set by hand
        self._wall = time.time() - time.monotonic()
        self._created = time.monotonic()
        self._begun: float | None = None  # when it was first asked for; this and the rest are of the monotonic clock
        self._cancelled: float | None = None
        self._started: float | None = None
        self._finished: float | None = None
        self._status: Status = "queued"
        self._step = 0
        self._steps = script.steps if script else WorkScript().steps
        self._said: dict[str, object] = {}

    def look(self, *, begin: bool = True) -> Snapshot:
        """How it stands now; the first look begins a script, unless it is told not to."""
        now = time.monotonic()
        if begin and self._begun is None:
            self._begun = now
        self._go_on(now)
        return Snapshot(
            id=self.id,
            number=self._number,
            status=self._status,
            step=self._step,
            steps=self._steps,
            created=self._wall + self._created,
            now=self._wall + now,
            started=self._at(self._started),
            finished=self._at(self._finished),
            cancel_requested=self._at(self._cancelled),
            said=self._said,
        )

    def next_due(self) -> float | None:
        """Seconds until the script goes on; None where it doesn't by itself."""
        script, now = self._script, time.monotonic()
        self._go_on(now)
        if not script or not script.seconds or self._begun is None or self._status in TERMINAL:
            return None
        since = self._begun if self._cancelled is None else self._cancelled
        return script.seconds - (now - since) % script.seconds

    def set(self, changes: Mapping[str, object]) -> Snapshot:
        """Sets status, step, totalSteps, message, error or result; from then on it goes by hand alone. ValueError."""
        if unknown := sorted(set(changes) - set(BY_HAND)):
            raise ValueError(f"{unknown[0]}: unknown; there are {', '.join(BY_HAND)}")
        status = _status(changes.get("status"))
        step, steps = _count(changes, "step"), _count(changes, "totalSteps")
        self._go_on(time.monotonic())
        self._script = None
        self._step = self._step if step is None else step
        self._steps = max(self._step, self._steps if steps is None else steps)
        self._become(status or ("running" if step and self._status in WAITING else self._status), time.monotonic())
        self._said |= {name: changes[name] for name in ("message", "error", "result") if name in changes}
        self.changed.fire()
        return self.look()

    def cancel(self) -> Snapshot:
        """Asks it to stop: a script has stopped after `seconds`, what goes by hand is "cancelling" until it is set."""
        if not self.look().terminal and self._cancelled is None:
            self._cancelled = time.monotonic()
            self._become("cancelling", self._cancelled)
            self.changed.fire()
        return self.look()

    def _go_on(self, now: float) -> None:
        """Takes the script to where the clock has it."""
        script = self._script
        if script is None or self._begun is None or self._status in TERMINAL:
            return
        if self._cancelled is not None:
            if now >= self._cancelled + script.seconds:
                self._become("cancelled", self._cancelled + script.seconds)
            return
        slot = math.floor((now - self._begun) / script.seconds) if script.seconds else QUIET_SLOTS + script.steps
        self._step = max(0, min(script.steps, slot - QUIET_SLOTS + 1))
        if slot >= QUIET_SLOTS:
            self._become("running", self._begun + QUIET_SLOTS * script.seconds)
        elif slot:
            self._become("dispatching", now)
        if slot >= QUIET_SLOTS + script.steps:
            self._become(script.ending, self._begun + (QUIET_SLOTS + script.steps) * script.seconds)

    def _become(self, status: Status, at: float) -> None:
        self._status = status
        if status not in WAITING and self._started is None:
            self._started = at
        self._finished = (self._finished or at) if status in TERMINAL else None

    def _at(self, moment: float | None) -> float | None:
        return None if moment is None else self._wall + moment


class Works:
    """All operations, or all invocations, by id; at most 10,000."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._works: dict[str, Work] = {}

    def __iter__(self) -> Iterator[Work]:
        return iter(tuple(self._works.values()))

    def create(self, id_: str, script: WorkScript | None = None) -> Work:
        """A new one; without a script it goes by hand. ValueError: there is one of this id, or there are too many."""
        if id_ in self._works:
            raise ValueError(f"{self._noun} {id_} is there already")
        if len(self._works) >= MAX_WORKS:
            raise ValueError(f"{MAX_WORKS} {self._noun}s are there already: no room for {id_}")
        work = self._works[id_] = Work(id_, len(self._works) + 1, script)
        return work

    def find(self, id_: str) -> Work | None:
        """The one of this id."""
        return self._works.get(id_)

    def get(self, id_: str) -> Work:
        """The one of this id; KeyError names it where there is none."""
        if (work := self._works.get(id_)) is None:
            raise KeyError(f"no {self._noun} {id_}")
        return work

    def set(self, id_: str, **changes: object) -> Snapshot:
        """Sets one by hand; see `Work.set`."""
        return self.get(id_).set(changes)

    def forget_all(self) -> None:
        """Forgets every one; who waits for one is told nothing."""
        self._works.clear()


def _status(value: object) -> Status | None:
    for status in get_args(Status):
        if status == value:
            return cast("Status", status)
    if value is not None:
        raise ValueError(f"status: must be one of {', '.join(get_args(Status))}")
    return None


def _count(changes: Mapping[str, object], name: str) -> int | None:
    value = changes.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_STEPS:
        raise ValueError(f"{name}: must be a whole number from 0 to {MAX_STEPS}")
    return value
