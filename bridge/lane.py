"""The values of delivery: what came of an attempt, what a lane's head is, what an exchange with the log says.

A lane is one subject at one destination: its entries go one after another. No I/O, no clock.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from bridge.event import Entry


@dataclass(frozen=True, slots=True)
class Delivered:
    """A 2xx answer; or, with `status` None, an entry that this destination doesn't want."""

    status: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """No 2xx answer: `status` is None where there was no answer. `retry_after` in seconds, if the receiver said so."""

    status: int | None
    error: str
    retry_after: float | None = None
    counts: bool = True
    """False where the failure is our own, which uses up no attempt."""


Outcome = Delivered | Failed


class Verdict(StrEnum):
    """What the log does with a lane's first entry."""

    HOLD = "hold"
    """It is in flight; the entries behind it wait in the log from now on."""
    RETRY = "retry"
    """It is tried again later; the entries behind it wait in the log."""
    DONE = "done"
    """It is settled; the next one of its waiting lane comes up."""
    DEAD = "dead"
    """It is given up and kept among the dead letters; the next one comes up."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first unsettled entry of a waiting lane; `entry` is None where the log no longer has it."""

    subject: str
    id: str
    attempts: int
    entry: Entry | None
    following: tuple[Entry, ...] = ()
    """Some entries behind it, to be sent after it without asking again; each is settled on its own."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of a lane's first entry, where that is more than an acknowledgement. `delay` in seconds."""

    subject: str
    id: str
    verdict: Verdict
    attempts: int = 0
    delay: float = 0.0
    status: int | None = None
    error: str = ""
    entry: Entry | None = None
    """The whole entry, for a dead letter."""
    waiting: list[str] = field(default_factory=list)
    """Ids of the entries behind it that were in memory."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An exchange's answer: new entries, due heads, seconds until the next is due, how many entries are gone.

    `read` counts all entries looked at, those too that went on to the lanes that wait in the log.
    """

    entries: list[Entry]
    heads: list[Head]
    next_due: float | None
    missing: int
    read: int
    last: str
    """The id of the last entry looked at, "" if there was none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard a destination is worked, and when an event is given up there."""

    max_in_flight: int = 32
    max_attempts: int = 10
    schedule: tuple[float, ...] = ()
    """Seconds between attempts; the last one repeats. Empty: 1 s, four times more each time, at most 12 h."""

    def delay(self, attempts: int, random: Random) -> float:
        """Seconds to wait after the `attempts`-th failure, with a jitter of 20 % either way."""
        steps = self.schedule
        seconds = steps[min(attempts, len(steps)) - 1] if steps else min(4.0 ** (attempts - 1), 43_200.0)
        return seconds * random.uniform(0.8, 1.2)
