"""What is in every event of a delivery measurement: its lane, its number and when it was sent; and what became of it.

A mark is a text in the event's data, `"mark":"<lane> <number> <monotonic ns>"`: one clock for all processes of a
machine. Numbers rise within a lane, and no two events of a lane have the same one. Pure.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

FIND: Callable[..., list[bytes]] = re.compile(rb'"mark":"([^"]*)"').findall
"""All marks of a request, be it one event or a batch."""
WARM_UP = 500
"""Events whose delays are left out: the connections and the first calls."""


def mark(lane: str, number: int, sent: int = 0) -> str:
    """The mark of one event. `sent` in nanoseconds of `time.monotonic_ns`."""
    return f"{lane} {number:012d} {sent:020d}"


class Receipt(NamedTuple):
    """One event as it was seen somewhere. Times in nanoseconds."""

    lane: str
    number: int
    sent: int
    seen: int


def receipt(text: str, seen: int) -> Receipt:
    """The receipt of a mark seen at `seen`."""
    lane, number, sent = text.split(" ")
    return Receipt(lane, int(number), int(sent), seen)


@dataclass(frozen=True)
class Tally:
    """How complete a list of receipts is: counts of events."""

    count: int
    missing: int
    doubled: int
    disordered: int
    """Events that came for the first time after one of their lane that has a higher number."""

    def fault(self, *, ordered: bool = True) -> str:
        """What is wrong with it, or ""."""
        disordered = self.disordered if ordered else 0
        found = {"missing": self.missing, "doubled": self.doubled, "out of order": disordered}
        return ", ".join(f"{many} {what}" for what, many in found.items() if many)


def tally(receipts: Iterable[Receipt], expected: int) -> Tally:
    """Compare what came, in its order, with the number of events there were."""
    seen: set[tuple[str, int]] = set()
    highest: dict[str, int] = {}
    doubled = disordered = 0
    for lane, number, _, _ in receipts:
        if (lane, number) in seen:
            doubled += 1
            continue
        seen.add((lane, number))
        if highest.get(lane, -1) > number:
            disordered += 1
        else:
            highest[lane] = number
    return Tally(len(seen) + doubled, expected - len(seen), doubled, disordered)


@dataclass(frozen=True)
class Delays:
    """Milliseconds."""

    p50: float
    p99: float
    most: float
    count: int

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f}, p99 {self.p99:.2f}, most {self.most:.1f} ms"


def delays(values: Sequence[float]) -> Delays:
    """Of values in milliseconds."""
    ordered = sorted(values)
    return Delays(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1], len(ordered))


@dataclass(frozen=True)
class Spread:
    """Milliseconds, of too few values for a p99."""

    p50: float
    p95: float
    most: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f}, p95 {self.p95:.1f}, most {self.most:.1f} ms"


def spread(values: Sequence[float]) -> Spread:
    """Of values in milliseconds."""
    ordered = sorted(values)
    return Spread(ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100], ordered[-1])


def since_sent(receipts: Sequence[Receipt]) -> list[float]:
    """Milliseconds from the sending of each event to its receipt, the warm-up left out."""
    return [(seen - sent) / 1e6 for _, _, sent, seen in receipts[WARM_UP:]]


def between(earlier: Iterable[Receipt], later: Sequence[Receipt]) -> list[float]:
    """Milliseconds from where each event was seen earlier to where it was seen later, the warm-up left out."""
    start = {(lane, number): seen for lane, number, _, seen in earlier}
    return [(seen - start[lane, number]) / 1e6 for lane, number, _, seen in later[WARM_UP:]]
