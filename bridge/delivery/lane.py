"""The values of delivery: what goes out in one request, what came of it, and what an exchange with the log says.

A lane is what goes one after another at a destination: one subject's events, or whatever was tried with them in one
batch. No I/O, no clock.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from bridge.delivery.schedule import STANDARD, Schedule
from bridge.event import Entry


class Result(StrEnum):
    """What an attempt came to, as far as delivery treats it differently (`bridge.delivery.outcome.TABLE`)."""

    DELIVERED = "delivered"
    """The receiver has it: a 2xx answer."""
    FAILED = "failed"
    """Not delivered; the destination may be in trouble. Tried again by the schedule."""
    THROTTLED = "throttled"
    """As failed, and the destination asks for less: all of it is slowed down."""
    REFUSED = "refused"
    """The receiver wants no such event; says nothing about the destination as a whole."""
    GONE = "gone"
    """The destination is no more: it is disabled."""
    OURS = "ours"
    """A failure of this side, which uses up no attempt."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt. `status` is None where there was no answer; `retry_after` in seconds, if said."""

    result: Result
    status: int | None = None
    error: str = ""
    retry_after: float | None = None
    answer: bytes = b""
    """The beginning of the answer's body, at most `bridge.post.MAX_ANSWER` bytes, kept for the dead letter."""


class Unit(msgspec.Struct, eq=False):  # made three times as fast as a dataclass
    """What goes out in one request: one event, or a batch of them in the order of the log."""

    entries: tuple[Entry, ...]
    attempts: int = 0
    """Attempts that this unit has used up before."""
    refusals: int = 0
    """How many of them the receiver refused."""
    lane: str | None = None
    """The lane it is the head of in the log, where it waits there, which may be called ""; None for one that flows."""
    named: tuple[str, ...] = ()
    """What the log knows it by, where that is more than its entries: some may be gone."""

    since: float = math.inf
    """When it went out, by the event loop's time; infinity before."""

    @property
    def ids(self) -> tuple[str, ...]:
        """What it is known by in the log: its entries' ids."""
        return self.named or tuple([entry.entry for entry in self.entries])


class Verdict(StrEnum):
    """What the log does with a lane's first entries."""

    HOLD = "hold"
    """They are in flight; the entries behind them wait in the log from now on."""
    RETRY = "retry"
    """They are tried again later; the entries behind them wait in the log."""
    DONE = "done"
    """They are settled; the next ones of the waiting lane come up."""
    DEAD = "dead"
    """They are given up and kept among the dead letters; the next ones come up."""


@dataclass(slots=True)
class Settlement:
    """What came of a lane's first entries, where that is more than an acknowledgement. `delay` in seconds."""

    lane: str
    ids: tuple[str, ...]
    verdict: Verdict
    attempts: int = 0
    refusals: int = 0
    delay: float = 0.0
    outcome: Outcome | None = None
    dead: tuple[Entry, ...] = ()
    """The whole entries, for dead letters."""
    behind: list[tuple[str, str]] = field(default_factory=list)
    """Where the lane is made by this: subject and id of each entry that was in memory behind them, in the log's order;
    first, with "" for an id, the subjects that belong to it from now on."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first unsettled entries of a waiting lane, which go out together, without those that the log has lost."""

    lane: str
    ids: tuple[str, ...]
    attempts: int
    refusals: int
    entries: tuple[Entry, ...]
    following: tuple[Entry, ...] = ()
    """Some entries behind it, to be sent after it without asking again; each is settled on its own."""

    @property
    def missing(self) -> int:
        """How many of its ids are entries of the log; a dead letter that is gone was dropped on purpose."""
        return sum(not id_.startswith("d") for id_ in self.ids)


@dataclass(frozen=True, slots=True)
class Taken:
    """An exchange's answer: due heads, seconds until the next is due, how many lanes wait, how many entries are gone.

    `joined` are the places, in the list of claims, of entries that joined a waiting lane.
    """

    heads: list[Head]
    next_due: float | None
    waiting: int
    missing: int
    joined: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Claims:
    """What an exchange claims: the entries wanted of all up to `position`, which is "" where nothing was read."""

    entries: list[Entry] = field(default_factory=list)
    position: str = ""
    passed: int | None = 0
    """How many entries lie between the last position and this one; None where that isn't known."""


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks of a destination: to be enabled, a replay, or with `letter` another try of a dead letter."""

    text: str
    """As it is stored, until it is done."""
    letter: str = ""
    subject: str = ""

    @property
    def enables(self) -> bool:
        """Whether the destination is to be enabled; what is neither this nor anything known is passed over."""
        return self.text == "enable"

    @property
    def replay(self) -> bool:
        """Whether it is about a replay (`bridge.replay`), which takes it off the list itself."""
        return self.text.startswith(("replay ", "cancel "))


@dataclass(eq=False, slots=True)
class Reader:
    """A destination that reads the log, and where it was when it was woken."""

    destination: str
    wants: Callable[[str], bool]
    """Whether it may want entries of this type."""
    wake: Callable[[], None]
    asked: Callable[[], None]
    """Called where somebody has a request for it."""
    position: str = ""
    passed: int = 0
    """How many entries it looked at while it rested, up to there."""
    resting: bool = False
    rested: int = 0
    """The number of the entry that it rests behind, as the feed counts."""


@dataclass(frozen=True, slots=True)
class Together:
    """How much goes out in one request: one event, or a batch. `wait` in seconds, for a batch to fill."""

    events: int = 1
    bytes: int = 1 << 20
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard a destination is worked, and when an event is given up there."""

    max_in_flight: int = 32
    max_attempts: int = 10
    schedule: Schedule = STANDARD
    refusals: int = 3
    """Tries of an event that the receiver refuses."""
    longest_pause: float = 3600.0
    """Seconds that a receiver may ask to wait at most, by its Retry-After."""
    block: bool = False
    """What is exhausted is tried on for ever, at the schedule's last wait, and its subject waits."""
    ordered: bool = True
    """Events of one subject go one after another."""
    together: Together | None = None
    """Batches, where the form is one."""
