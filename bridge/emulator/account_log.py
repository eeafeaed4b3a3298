"""Puts the events of all runs, and those of none, into the one order in which the account commits them.

An event that is appended is committed at once; one that the clock tells when somebody asks, all runs' in the order
in which they were due; those of a run that is told as fast as it is read (rate 0) a block at a time, when a reader
has come to the end of what is committed. What is made up is not stored: a place here is a run and an index in it.
Runs that are there from the start give the same order again after a restart that remembers nothing.
"""

import heapq
import json
import time
from array import array
from bisect import bisect_left
from collections.abc import Mapping

from bridge.emulator import today_event
from bridge.emulator.pulse import Pulse
from bridge.emulator.runs import ENDLESS, Run, Runs
from bridge.emulator.today_query import Wanted
from bridge.emulator.wire import Event, encode, rfc3339

BLOCK = 256  # events of each run without a rate that are committed at a time


class _Track:
    """The committed events of one run: `positions[n]` is the place of event `first + n` in the account's order."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.first = 0
        self.positions = array("q")
        self.due = 0.0  # what the heap has for it

    @property
    def next(self) -> int:
        return self.first + len(self.positions)


class AccountLog:
    """The account's order. A position is a place in it, counted from 0; places from `oldest` up to `head` are kept."""

    def __init__(self, runs: Runs, keep: int) -> None:
        self.changed = Pulse()
        self._own = Run(f"account {time.time_ns()}", None, keep)  # the events of no run; their ids never come again
        self._keep = keep
        self._base = 0
        self._entries = array("I")  # of each place from `_base` on, the number of its track
        self._tracks: list[_Track] = []
        self._numbers: dict[int, int] = {}
        self._due: list[tuple[float, int]] = []
        self._read_as_made: list[int] = []  # the numbers of the tracks that no clock tells
        for run in (self._own, *runs):
            self._watch(run)
        runs.watch = self._watch

    # -- what is committed

    @property
    def head(self) -> int:
        """How many events have been committed."""
        return self._base + len(self._entries)

    @property
    def oldest(self) -> int:
        """The first place that is kept."""
        return max(self._base, self.head - self._keep)

    def at(self, position: int) -> tuple[Run, int]:
        """The run, and the index in it, of the event at a place; see `is_own`."""
        track = self._tracks[self._entries[position - self._base]]
        return track.run, track.first + bisect_left(track.positions, position)

    def event(self, run: Run, index: int) -> today_event.Fields:
        """The Event at an index of a run, or of the events of no run."""
        if run is not self._own:
            return today_event.of_run(run, index)
        fields: today_event.Fields = json.loads(run.event(index).body)
        return fields

    def wanted(self, position: int, wanted: Wanted) -> today_event.Fields | None:
        """The Event at a place; None where it is not wanted, no longer kept, or no Event but a raw frame."""
        if position < self.oldest:
            return None
        run, index = self.at(position)
        if run.event(index).raw is not None or not (run is self._own or wanted.takes_run(run.id)):
            return None
        event = self.event(run, index)
        passes = wanted.takes(event) and (run is not self._own or wanted.takes_run(str(event.get("runId"))))
        return event if passes else None

    def is_own(self, run: Run) -> bool:
        """Whether this is not a run, but holds the events of none."""
        return run is self._own

    def next_due(self) -> float | None:
        """Seconds until a clock tells another event; None where none will."""
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def find(self, id_: str) -> tuple[Run, int] | None:
        """The run and index of an event, committed or about to be; None where there is none or it is forgotten."""
        for track in self._tracks:
            index = track.run.index_of(id_)
            if index is not None and track.run.oldest() <= index < track.run.head():
                return track.run, index
        return None

    def position(self, id_: str) -> int | None:
        """The place after the event with this id; None where it was never there or is forgotten.

        An id that lies ahead proves that an earlier life of the emulator had come so far: all clocks are put there.
        """
        self.catch_up()
        for track in self._tracks:
            index = track.run.index_of(id_)
            if index is None or not track.first <= index < track.next + self._keep:
                continue
            self._go_ahead(track, index)
            if track.first <= index < track.next and track.positions[index - track.first] + 1 >= self.oldest:
                return track.positions[index - track.first] + 1
        return None

    # -- committing

    def append(self, event: Mapping[str, object] | bytes) -> Event:
        """Commits an Event that belongs to no run of the emulator; what it lacks is completed, the rest stays.

        ValueError: the bytes are no JSON object.
        """
        given = event if isinstance(event, Mapping) else json.loads(event)
        if not isinstance(given, dict):
            raise ValueError("an event is a JSON object")  # noqa: TRY004 - the text of a request, not a type of ours
        seq = self._own.head() + 1
        fields = today_event.of_account(given, f"evt_{self._own.code}{seq - 1:012d}", seq, rfc3339(time.time()))
        return self._own.append(encode(fields))

    def append_raw(self, frame: bytes) -> Event:
        """Commits bytes that go out on streams as they are, in place of a frame."""
        return self._own.append_raw(frame)

    def catch_up(self) -> None:
        """Commits what the clocks have told by now."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            due, number = heapq.heappop(self._due)
            track = self._tracks[number]
            if due == track.due:
                if track.next < track.run.head():
                    self._commit(track, number, track.next + 1)
                self._expect(track, number)
        self._trim()

    def draw(self) -> bool:
        """Commits a block of each run that is told as it is read; False where there is none with anything left."""
        before = self.head
        for number in self._read_as_made:
            track = self._tracks[number]
            self._commit(track, number, min(track.run.head(), track.next + BLOCK))
        self._trim()
        return self.head > before

    def draw_whole(self) -> None:
        """Commits the runs of a known length, and one block of those without an end; so a list can show them."""
        told = [self._tracks[number] for number in self._read_as_made]
        while self.draw() and any(track.next < track.run.head() < ENDLESS for track in told):
            pass

    def _watch(self, run: Run) -> None:
        number = self._numbers.get(id(run))
        if number is None:
            number = self._numbers[id(run)] = len(self._tracks)
            self._tracks.append(_Track(run))
            if run.read_as_made:
                self._read_as_made.append(number)
            run.changed.also = run.changed.also or (lambda: self._watch(run))
        track = self._tracks[number]
        if not run.read_as_made:
            self.catch_up()
            self._commit(track, number, run.head())
            self._trim()
        self._expect(track, number)
        self.changed.fire()

    def _commit(self, track: _Track, number: int, stop: int) -> None:
        start = max(track.next, track.run.oldest(), stop - self._keep)
        if start > track.next:  # more than is kept has come at once: what was before is forgotten
            if track.positions:
                self._forget(self.head)
            track.first = start
        if stop > start:
            head = self.head
            track.positions.extend(range(head, head + stop - start))
            self._entries.extend([number] * (stop - start))
            track.run.read_to = max(track.run.read_to, stop)

    def _expect(self, track: _Track, number: int) -> None:
        """Has the heap wake at the track's next event, if its clock will tell one."""
        if track.run.paced and (track.next < track.run.head() or track.run.next_due() is not None):
            track.due = track.run.due(track.next)
            heapq.heappush(self._due, (track.due, number))

    def _go_ahead(self, track: _Track, index: int) -> None:
        if (behind := track.run.behind(index + 1)) and track.run.status == "active":
            for each in self._tracks:
                each.run.skip(behind)
            self._due.clear()
            for number, each in enumerate(self._tracks):
                self._expect(each, number)
            self.catch_up()
            for each in self._tracks:
                each.run.changed.fire()
        while track.run.read_as_made and track.next <= index and self.draw():
            pass

    def _trim(self) -> None:
        """Forgets what is older than is kept, in large pieces."""
        if len(self._entries) > self._keep + max(1024, self._keep // 8):
            self._forget(self.oldest)

    def _forget(self, base: int) -> None:
        del self._entries[: base - self._base]
        self._base = base
        for track in self._tracks:
            count = bisect_left(track.positions, base)
            del track.positions[:count]
            track.first += count
