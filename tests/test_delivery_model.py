"""The queue against a slow, obvious log: any order of reading, sending, outcomes, holds and answers of the log."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.delivery.lane import Head, Limits, Outcome, Result, Settlement, Together, Unit, Verdict
from bridge.delivery.queue import MOST_BYTES, Queue
from bridge.event import Entry

FAILED = Outcome(Result.FAILED, 503)
MODES = {
    "single": Limits(max_in_flight=3),
    "unordered": Limits(max_in_flight=3, ordered=False),
    "batches": Limits(max_in_flight=3, together=Together(4, 50, 2.0)),
    "unordered batches": Limits(max_in_flight=3, ordered=False, together=Together(4, 50, 2.0)),
}
SUBJECTS = st.sampled_from(["", "a", "b"])


@dataclass
class Lane:
    """A lane that waits."""

    first: tuple[str, ...]
    rest: list[str]
    subjects: set[str] = field(default_factory=set)


class Log:
    """What the scripts do, as plainly as it can be said."""

    def __init__(self, *, batches: bool, most: Together) -> None:
        self.batches, self.most = batches, most
        self.entries: dict[str, Entry] = {}
        self.lanes: dict[str, Lane] = {}
        self.over: list[str] = []
        """Settled ids, in the order that the log heard of them."""

    def lane_of(self, entry: Entry) -> str | None:
        """The lane that this entry's subject waits in."""
        if not self.batches:
            return entry.subject if entry.subject in self.lanes else None
        return next((name for name, lane in self.lanes.items() if entry.subject in lane.subjects), None)

    def settle(self, settlement: Settlement) -> None:
        """What came of a lane's first entries."""
        lane, ids = self.lanes.get(settlement.lane), list(settlement.ids)
        ends = settlement.verdict in (Verdict.DONE, Verdict.DEAD)
        if lane is None:
            assert settlement.verdict is not Verdict.DONE, "what flows is settled by an acknowledgement"
            if not ends:
                rest = [id_ for _, id_ in settlement.behind if id_]
                assert all(self.batches or subject == settlement.lane for subject, _ in settlement.behind)
                members = {subject for subject, id_ in settlement.behind if not id_}
                assert {self.entries[id_].subject for id_ in rest} <= (members if self.batches else {settlement.lane})
                self.lanes[settlement.lane] = Lane(settlement.ids, rest, members)
        else:
            assert lane.first == settlement.ids, "about the first of the lane"
            assert not settlement.behind
        if not ends:
            return
        self.over += ids
        if lane is not None and lane.rest:
            events = 1
            while events < min(self.most.events, len(lane.rest)):
                if sum(len(self.entries[id_].event) for id_ in lane.rest[: events + 1]) > self.most.bytes:
                    break
                events += 1
            lane.first, lane.rest = tuple(lane.rest[:events]), lane.rest[events:]
        elif lane is not None:
            del self.lanes[settlement.lane]

    def head(self, name: str, *, following: int = 0) -> Head:
        """A lane's first, and some behind it."""
        lane = self.lanes[name]
        behind = [] if self.batches else lane.rest[:following]
        found = [tuple(self.entries[id_] for id_ in ids) for ids in (lane.first, behind)]
        return Head(name, lane.first, 0, 0, found[0], found[1])


class Laws(RuleBasedStateMachine):
    """A loop that reads, sends and tells the log, in any order that it may."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.number = 0
        self.out: list[Unit] = []
        self.claiming: list[Entry] = []
        """Entries of an exchange whose answer has not come."""
        self.heads: list[Head] = []
        self.exchanging = False
        self.sent: dict[str, list[str]] = {}
        """Subject -> ids in the order they first went out."""

    @initialize(mode=st.sampled_from(sorted(MODES)))
    def begin(self, mode: str) -> None:
        """One kind of destination."""
        self.limits = MODES[mode]
        together = self.limits.together
        self.queue = Queue(self.limits)
        self.most = together or Together(1, 1 << 30)
        self.log = Log(batches=together is not None, most=self.most)

    @precondition(lambda self: not self.exchanging)
    @rule(subjects=st.lists(st.tuples(SUBJECTS, st.integers(1, 60)), max_size=12), take=st.booleans(), data=st.data())
    def exchange(self, subjects: list[tuple[str, int]], take: bool, data: st.DataObject) -> None:
        """Tell the log what came of it, claim what is new, ask for heads: the answer comes later."""
        self._exchange(subjects)
        free = [name for name in self.log.lanes if name not in self.queue.held] if take else []
        self.heads = [self.log.head(name, following=data.draw(st.integers(0, 3))) for name in free[:4]]

    def _exchange(self, subjects: Iterable[tuple[str, int]]) -> None:
        self._tell()
        for subject, size in list(subjects)[: self.queue.room]:
            self.number += 1
            entry = Entry(f"{1 + self.number // 7}-{self.number % 7}", f"e{self.number}", "t", subject, b"x" * size)
            self.log.entries[entry.entry] = entry
            name = self.log.lane_of(entry) if self.limits.ordered else None
            if name is None:
                self.claiming.append(entry)
            else:
                self.log.lanes[name].rest.append(entry.entry)
        self.exchanging = True

    @precondition(lambda self: self.exchanging)
    @rule()
    def answer(self) -> None:
        """The log's answer comes."""
        for entry in self.claiming:
            self.queue.add(entry, self.now)
        for head in self.heads:
            self.queue.add_head(head)
        self.claiming, self.heads, self.exchanging = [], [], False

    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        """Send what may go out now."""
        for _ in range(count):
            if len(self.out) < self.limits.max_in_flight and self.queue.ready and self.queue.wait(self.now) == 0.0:
                self._out(self.queue.pop(self.now))

    def _out(self, unit: Unit) -> None:
        assert 1 <= len(unit.entries) <= self.most.events
        assert len(unit.entries) == 1 or sum(len(entry.event) for entry in unit.entries) <= self.most.bytes
        if self.limits.ordered:
            subjects = {entry.subject for entry in unit.entries}
            out = {entry.subject for other in self.out for entry in other.entries}
            assert not subjects & out, "two units of one subject out at once"
            places = [entry for entry in unit.entries if not entry.entry.startswith("0-")]
            assert places == sorted(places, key=_place)
        for entry in unit.entries:
            sent = self.sent.setdefault(entry.subject, [])
            if entry.entry not in sent and not entry.entry.startswith("0-"):
                sent.append(entry.entry)
        self.out.append(unit)

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 2), how=st.sampled_from(["delivered", "delivered", "retry", "dead"]))
    def end(self, which: int, how: str) -> None:
        """An attempt ends."""
        unit = self.out.pop(which % len(self.out))
        if how == "delivered":
            self.queue.delivered(unit, self.now)
        elif how == "dead":
            self.queue.dead(unit, 3, FAILED, self.now)
        else:
            self.queue.retry(unit, unit.attempts + 1, 0, 0.0, FAILED)

    @precondition(lambda self: not self.exchanging)
    @rule(subject=SUBJECTS)
    def again(self, subject: str) -> None:
        """Something is put before what waits of a subject: what flows of it goes to the log first."""
        if not self.queue.hold(subject):
            return
        assert subject not in self.queue._flows
        self._tell()
        name = (
            subject
            if not self.log.batches
            else next((n for n, one in self.log.lanes.items() if subject in one.subjects), "")
        )
        if self.limits.ordered and name in self.log.lanes:
            self.number += 1
            letter = Entry(f"0-{self.number}", f"d{self.number}", "t", subject, b"x")
            self.log.entries[letter.entry] = letter
            self.log.lanes[name].rest.insert(0, letter.entry)

    def _tell(self) -> None:
        settled, settlements = self.queue.told()
        for settlement in settlements:
            self.log.settle(settlement)
        self.log.over += settled

    @precondition(lambda self: self.out and not self.exchanging)
    @rule(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=3))
    def fail_meanwhile(self, sizes: list[int]) -> None:
        """An attempt fails while more of its subjects is on its way."""
        unit = self.out.pop()
        self._exchange([(entry.subject, size) for entry in unit.entries for size in sizes])
        self.queue.retry(unit, unit.attempts + 1, 0, 0.0, FAILED)
        self.answer()

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.2, 3.0]))
    def later(self, seconds: float) -> None:
        """Time goes by, and slow lanes make room where there is none."""
        self.now += seconds
        self.queue.relieve(self.now)

    @invariant()
    def holds(self) -> None:
        """Every entry is in one place, counters are what can be counted, and what has gone out went in order."""
        queue = self.queue
        in_lanes = [id_ for lane in self.log.lanes.values() for id_ in (*lane.first, *lane.rest)]
        flowing = [entry.entry for entry in _flowing(queue)]
        flying = [id_ for unit in self.out if unit.lane is None for id_ in unit.ids]
        moving = _moving(queue.settlements, set(self.log.lanes))
        places = Counter([*in_lanes, *flowing, *flying, *self.log.over, *queue.settled, *moving])
        places.update(entry.entry for entry in self.claiming)
        assert places == Counter(list(self.log.entries))
        unsent = [
            *_flowing(queue),
            *(entry for unit in queue._ready if unit.lane is not None for entry in unit.entries),
        ]
        assert queue.unsent == len(unsent)
        assert queue._bytes == sum(len(entry.event) for entry in unsent)
        assert queue.room == (max(0, queue._most - len(unsent)) if queue._bytes < MOST_BYTES else 0)
        loose = _loose(queue)
        assert (queue._loose_events, queue._loose_bytes) == (len(loose), sum(len(entry.event) for entry in loose))
        assert queue._loose_since <= self.now
        if self.limits.ordered:
            assert all(sent == sorted(sent, key=_number) for sent in self.sent.values())
            held = {
                entry.subject for unit in (*self.out, *queue._ready) if unit.lane is not None for entry in unit.entries
            }
            assert queue._away == held
        assert queue.unsent <= queue._most + 4 * self.most.events

    def teardown(self) -> None:
        """Once all goes well everything is settled, and nothing is left in memory."""
        if not hasattr(self, "log"):
            return
        for _ in range(2 * len(self.log.entries) + 10):
            if self.exchanging:
                self.answer()
            self.now += 3.0
            while self.queue.ready:
                self._out(self.queue.pop(self.now))
                self.holds()
            for unit in self.out:
                self.queue.delivered(unit, self.now)
            self.out = []
            self._tell()
            free = [name for name in self.log.lanes if name not in self.queue.held]
            self.heads, self.exchanging = [self.log.head(name, following=2) for name in free], True
        assert sorted(self.log.over) == sorted(self.log.entries)
        queue = self.queue
        left = (queue._flows, queue._ready, queue._loose, queue.held, queue._away, queue._joining, queue.settlements)
        assert not any(left)
        assert (queue.unsent, queue._bytes, queue._loose_events, queue._loose_bytes) == (0, 0, 0, 0)


def _number(id_: str) -> tuple[int, ...]:
    return tuple(int(part) for part in id_.split("-"))


def _place(entry: Entry) -> tuple[int, ...]:
    return _number(entry.entry)


def _loose(queue: Queue) -> list[Entry]:
    """What the next batch may hold, had it room."""
    found = list(queue._loose)
    return found + [entry for flow in queue._flows.values() if flow.unit is None for entry in flow.behind]


def _flowing(queue: Queue) -> list[Entry]:
    """What is in memory only, and not in flight."""
    ready = [entry for unit in queue._ready if unit.lane is None for entry in unit.entries]
    behind = [entry for flow in queue._flows.values() for entry in flow.behind]
    return [*ready, *queue._loose, *behind]


def _moving(settlements: Iterable[Settlement], waiting: set[str]) -> list[str]:
    """Entries that the log is about to hear of, and does not have in a lane yet: each counts once."""
    found, waiting = list[str](), set(waiting)
    for settlement in settlements:
        if settlement.lane in waiting:
            continue  # the log has it
        found += [id_ for _, id_ in settlement.behind if id_]
        found += settlement.ids
        if settlement.verdict in (Verdict.RETRY, Verdict.HOLD):
            waiting.add(settlement.lane)
    return found


TestLaws = Laws.TestCase
TestLaws.settings = settings(deadline=None, max_examples=100, stateful_step_count=50)
