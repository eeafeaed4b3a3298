"""What one destination has in memory of the log, and what goes out next. Pure; sends nothing and asks nobody.

A lane flows while all of it is in memory, and waits in the log once its first unit has failed, or takes long while the
memory is full. `settled` and `settlements` collect what the log is to be told; `told` hands them over.
"""

from collections import deque
from collections.abc import Collection, Iterable

from bridge.delivery.lane import Head, Limits, Outcome, Settlement, Together, Unit, Verdict
from bridge.event import Entry

LANE = 8
"""Requests' worth of entries in memory, not in flight, for each that may be in flight."""
LEAST = 256
"""Such entries at least, however little goes out at once."""
SLOW = 0.1
"""Seconds that a unit may be in flight before what is behind it makes room for others, if there is none."""
MOST_BYTES = 32 << 20
"""Bytes of events in memory, not in flight, beyond which nothing more is read."""

_NOTHING: deque[Entry] = deque(maxlen=0)


class _Flow:
    """One subject all of whose entries are in memory: the unit that is in flight or ready, and those behind it.

    Where lanes go out in batches, `unit` is None until the subject's first is in one.
    """

    __slots__ = ("behind", "unit")

    def __init__(self, unit: Unit | None) -> None:
        self.unit = unit
        self.behind: deque[Entry] = _NOTHING


class Queue:
    """One destination's in one partition. Times are seconds of any clock that does not jump."""

    def __init__(self, limits: Limits) -> None:
        together = limits.together
        self._together = together or Together()
        self._batches = together is not None
        self._ordered = limits.ordered
        self._most = max(LEAST, limits.max_in_flight * LANE, 4 * self._together.events)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._flows: dict[str, _Flow] = {}
        self._ready: deque[Unit] = deque()
        self._loose: deque[Entry] = deque()
        """First entries of lanes, for the next batch."""
        self._loose_since = 0.0
        self._loose_events = self._loose_bytes = 0
        """How much the next batch could hold: those, and the entries behind them."""
        self.held: dict[str, deque[Entry]] = {}
        """Lanes that wait in the log and whose first unit is in memory -> entries that come behind it."""
        self._away: set[str] = set()
        """The subjects of those units."""
        self._joining: dict[str, list[tuple[str, str]]] = {}
        """Subjects of lanes that the log is about to hear of -> entries that wait behind."""
        self.unsent = 0
        """Entries in memory that are not in flight."""
        self._relieved = 0.0
        """When lanes were last looked at for slow ones."""
        self._bytes = 0
        """Of those entries."""
        self.settled: list[str] = []
        self.settlements: list[Settlement] = []

    @property
    def room(self) -> int:
        """How many more entries may be read."""
        return max(0, self._most - self.unsent) if self._bytes < MOST_BYTES else 0

    @property
    def ready(self) -> int:
        """How many units could go out now, if all were allowed to; a batch that fills counts."""
        return len(self._ready) + (1 if self._loose else 0)

    def told(self) -> tuple[list[str], list[Settlement]]:
        """What the log is to be told by the next exchange."""
        found = self.settled, self.settlements
        self.settled, self.settlements = [], []
        self._joining.clear()
        return found

    # -- what comes in

    def add(self, entry: Entry, now: float) -> None:
        """Take an entry that flows. Raises LookupError where the log has forgotten that its lane waits."""
        flow = None
        if self._ordered:
            subject = entry.subject
            if self._joining and (joining := self._joining.get(subject)) is not None:
                joining.append((subject, entry.entry))
                return
            if self._away and subject in self._away:
                raise LookupError(subject)
            flow = self._flows.get(subject)
        self.unsent += 1
        self._bytes += len(entry.event)
        if flow is None:
            self._first(entry, now)
            return
        if flow.behind is _NOTHING:
            flow.behind = deque()
        flow.behind.append(entry)
        if flow.unit is None:
            self._loose_events += 1
            self._loose_bytes += len(entry.event)

    def relieve(self, now: float) -> None:
        """If memory is full, have lanes whose first unit takes long wait in the log, so that others are read."""
        if self.room or now < self._relieved + SLOW / 2:
            return
        self._relieved = now
        slow = [
            flow.unit for flow in self._flows.values() if flow.behind and flow.unit and flow.unit.since < now - SLOW
        ]
        for unit in dict.fromkeys(slow):
            self._hold(unit)

    def add_head(self, head: Head) -> None:
        """Take the first unit of a waiting lane; one that the log has lost is settled at once."""
        if not head.entries:
            self.settlements.append(Settlement(head.lane, head.ids, Verdict.DONE))
            return
        self.held[head.lane] = deque(head.following)
        self._away.update([entry.subject for entry in head.entries])
        self._line_up(Unit(head.entries, head.attempts, head.refusals, head.lane, head.ids))

    def _first(self, entry: Entry, now: float) -> None:
        if self._batches:
            if self._ordered:
                self._flows[entry.subject] = _Flow(None)
            self._loosen((entry,), now)
            return
        unit = Unit((entry,))
        if self._ordered:
            self._flows[entry.subject] = _Flow(unit)
        self._ready.append(unit)

    def _line_up(self, unit: Unit) -> None:
        self._ready.append(unit)
        self.unsent += len(unit.entries)
        self._bytes += _size(unit.entries)

    def _loosen(self, entries: Collection[Entry], now: float) -> None:
        """The first of these may go into the next batch, and so may the others behind it."""
        if not self._loose:
            self._loose_since = now
        self._loose.append(next(iter(entries)))
        self._loose_events += len(entries)
        self._loose_bytes += _size(entries)

    # -- what goes out

    def pop(self, now: float) -> Unit:
        """The next unit, which there has to be (`wait`)."""
        unit = self._ready.popleft() if self._ready else self._batch(now)
        unit.since = now
        entries = unit.entries
        self.unsent -= len(entries)
        self._bytes -= len(entries[0].event) if len(entries) == 1 else _size(entries)
        return unit

    def wait(self, now: float) -> float:
        """Seconds until the next unit may go out, since a batch may fill; infinity where there is none."""
        if self._ready:
            return 0.0
        if not self._loose:
            return float("inf")
        together = self._together
        if self._loose_events >= together.events or self._loose_bytes >= together.bytes:
            return 0.0
        return max(0.0, self._loose_since + together.wait - now)

    def _batch(self, now: float) -> Unit:
        most, room, picked = self._together.events, self._together.bytes, list[Entry]()
        while self._loose and len(picked) < most and (not picked or len(self._loose[0].event) <= room):
            entry = self._loose.popleft()
            behind = self._flows[entry.subject].behind if self._ordered else _NOTHING
            while True:
                picked.append(entry)
                room -= len(entry.event)
                if not behind or len(picked) >= most or len(behind[0].event) > room:
                    break
                entry = behind.popleft()
            # what is left of this subject comes after this batch
            self._loose_events -= len(behind)
            self._loose_bytes -= _size(behind)
        if self._ordered:
            picked.sort(key=_place)
        unit = Unit(tuple(picked))
        self._loose_events -= len(picked)
        self._loose_bytes -= _size(picked)
        self._loose_since = now
        for entry in picked if self._ordered else ():
            self._flows[entry.subject].unit = unit
        return unit

    # -- what came of it

    def delivered(self, unit: Unit, now: float) -> None:
        """It is settled; what comes behind it is ready."""
        if unit.lane is not None:
            self._done(unit, unit.lane)
            return
        self.settled += unit.ids
        self._advance(unit, now)

    def dead(self, unit: Unit, attempts: int, outcome: Outcome, now: float) -> None:
        """It is given up and kept; what comes behind it is ready."""
        dead = Settlement(self._name(unit), unit.ids, Verdict.DEAD, attempts, outcome=outcome, dead=unit.entries)
        self.settlements.append(dead)
        if unit.lane is not None:
            self._leave(unit, unit.lane)
        else:
            self._advance(unit, now)

    def retry(self, unit: Unit, attempts: int, refusals: int, delay: float, outcome: Outcome) -> None:
        """It waits in the log, and what comes behind it."""
        if unit.lane is not None:
            self._leave(unit, unit.lane)
            name, behind = unit.lane, list[tuple[str, str]]()
        else:
            name, behind = self._name(unit), self._away_from_memory(unit)
        self.settlements.append(
            Settlement(name, unit.ids, Verdict.RETRY, attempts, refusals, delay, outcome, behind=behind)
        )  # fmt: skip

    def hold(self, subject: str) -> bool:
        """Have a subject wait in the log from now on, but for what is in flight; False where that can't be yet."""
        flow = self._flows.get(subject)
        if flow is None:
            self.held.get(subject, _NOTHING).clear()  # what was to follow: the log may put something before it
            return True
        if flow.unit is None:
            return False
        self._hold(flow.unit)
        return True

    def _name(self, unit: Unit) -> str:
        if unit.lane is not None:
            return unit.lane
        first = unit.entries[0]
        return first.subject if self._ordered and not self._batches else first.entry

    def _done(self, unit: Unit, lane: str) -> None:
        """A waiting lane's first was delivered: go on with the next, if it is in memory."""
        following = self.held[lane]
        self.settlements.append(Settlement(lane, unit.ids, Verdict.DONE))
        if following:
            self._line_up(Unit((following.popleft(),), lane=lane))
        else:
            self._leave(unit, lane)

    def _leave(self, unit: Unit, lane: str) -> None:
        """A waiting lane's first is no longer in memory; what comes next is the log's to say."""
        del self.held[lane]
        self._away.difference_update([entry.subject for entry in unit.entries])

    def _advance(self, unit: Unit, now: float) -> None:
        if not self._ordered:
            return
        if self._batches:
            for subject in dict.fromkeys([entry.subject for entry in unit.entries]):
                self._loosened(subject, now)
            return
        subject = unit.entries[0].subject
        flow = self._flows[subject]
        if flow.behind:
            flow.unit = Unit((flow.behind.popleft(),))
            self._ready.append(flow.unit)
        else:
            del self._flows[subject]

    def _loosened(self, subject: str, now: float) -> None:
        flow = self._flows[subject]
        flow.unit = None
        if flow.behind:
            self._loosen(flow.behind, now)
            flow.behind.popleft()
        else:
            del self._flows[subject]

    def _hold(self, unit: Unit) -> None:
        """Have what is behind a unit in flight wait in the log from now on."""
        unit.lane, behind = self._name(unit), self._away_from_memory(unit)
        self.held[unit.lane] = deque()
        if self._ordered:
            self._away.update([entry.subject for entry in unit.entries])
        self.settlements.append(Settlement(unit.lane, unit.ids, Verdict.HOLD, behind=behind))

    def _away_from_memory(self, unit: Unit) -> list[tuple[str, str]]:
        """Move the lanes of a unit to the log: what is behind it, with whatever still arrives in this round."""
        subjects = list(dict.fromkeys([entry.subject for entry in unit.entries])) if self._ordered else []
        entries = [entry for subject in subjects for entry in self._flows.pop(subject).behind]
        if len(subjects) > 1:
            entries.sort(key=_place)
        self.unsent -= len(entries)
        self._bytes -= _size(entries)
        members = [(subject, "") for subject in subjects] if self._batches else []
        behind = [*members, *[(entry.subject, entry.entry) for entry in entries]]
        self._joining.update(dict.fromkeys(subjects, behind))
        return behind


def _place(entry: Entry) -> tuple[int, int]:
    """Where an entry lies in the log."""
    milliseconds, _, number = entry.entry.partition("-")
    return int(milliseconds), int(number)


def _size(entries: Iterable[Entry]) -> int:
    return sum([len(entry.event) for entry in entries])
