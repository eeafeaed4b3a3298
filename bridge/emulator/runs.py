"""Holds the runs and their events. Knows no HTTP.

A run's events are made up by its script, appended from outside, or both; each has an index that never changes, so
that a cursor always means the same place. What is made up is never stored; what is appended is, up to `keep` events
(of `keep` bodies that the control surface bounds at 16 MiB each).
"""

import json
import math
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from bridge.emulator.browser_run import FIXED_START, BrowserRun, RunScript
from bridge.emulator.event_ids import EventIds
from bridge.emulator.older_bodies import SPACE, completed, runtime_of
from bridge.emulator.pulse import Pulse
from bridge.emulator.wire import Event, Traits, encode, rfc3339

RunStatus = Literal["active", "stopped", "failed"]
Failure = Mapping[str, str]
NOT_COUNTED = ("files", "spans", "invocations", "toolCalls")
ENDLESS = sys.maxsize  # the head of a run that makes events as fast as it is read, for ever


class Run:
    """One run: its script, what was appended, and whether it has ended. Times are seconds since 1970."""

    def __init__(self, id_: str, script: RunScript | None, keep: int) -> None:
        self.id = id_
        self.code = EventIds(id_, script.seed if script else 0).prefix.removeprefix(
            "evt_"
        )  # in all ids made of this run
        self.changed = Pulse()
        # Both clocks are read at once: events are sent by the one and dated by the other.
        self._clock_start = time.monotonic()
        self.created = time.time() if script is None or script.keeps_clock else FIXED_START
        self._keep = keep
        self._script = script
        self._story = BrowserRun(id_, script, self.created) if script else None
        self._ids = EventIds(id_, script.seed if script else 0)
        self._stopped_at: int | None = None if script else 0  # so many events of the story there are at most
        self._appended: dict[int, Event] = {}
        self._appended_count = 0
        self._appended_at: list[int] = []  # the indexes of what was appended to a story, ascending
        self._index_by_id: dict[str, int] = {}
        self._ended_at = 0.0
        self._late = 0
        self.replayed_to = self.repeated_to = (
            0  # the furthest cursors at which a wait went back, or gave an event twice
        )
        self.read_to = 0  # the furthest index that a client has come to
        self._end: tuple[RunStatus, str, Failure | None] | None = None

    # -- how far the run has come

    def head(self) -> int:
        """How many events there are; ENDLESS where the client's speed decides."""
        told = self._told()
        return ENDLESS if told == ENDLESS else told + self._appended_count

    def oldest(self) -> int:
        """The index of the oldest event still kept. A story told at the client's speed forgets nothing."""
        if self._script and not self._script.rate and not self._appended_count:
            return 0
        return max(0, self.head() - self._keep)

    def next_due(self) -> float | None:
        """Seconds until the story goes on; None where it doesn't by itself."""
        script, told = self._script, self._told()
        if not script or not script.rate or self._stopped_at is not None or told == script.events:
            return None
        return max(0.0, self._clock_start + told / script.rate - time.monotonic())

    @property
    def paced(self) -> bool:
        """Whether the clock tells the story; False also where there is none."""
        return bool(self._script and self._script.rate)

    @property
    def read_as_made(self) -> bool:
        """Whether the story is told as fast as it is read."""
        return bool(self._script and not self._script.rate)

    def due(self, index: int) -> float:
        """When the clock tells a paced story's event at an index, in seconds of the monotonic clock."""
        rate = self._script.rate if self._script else 0.0
        return self._clock_start + (index - bisect_left(self._appended_at, index)) / rate if rate else math.inf

    def begin(self, clock: float, now: float) -> None:
        """Takes this moment (monotonic, and since 1970) for its start."""
        self._clock_start = clock
        if self._script is None or self._script.keeps_clock:
            self.created = now
            if self._story:
                self._story.begin(now)

    def skip(self, seconds: float) -> None:
        """Takes a paced story so much further on; tells nobody."""
        if self.paced and seconds > 0 and self._stopped_at is None:
            self._clock_start -= seconds
            if self._story and self._script and self._script.keeps_clock:
                self.created -= seconds
                self._story.begin(self.created)

    def _told(self) -> int:
        """How many events of the story have been told."""
        if self._stopped_at is not None or not self._script:
            return self._stopped_at or 0
        most = ENDLESS if self._script.events is None else self._script.events
        if not self._script.rate:
            return most
        elapsed = time.monotonic() - self._clock_start
        return min(most, math.floor(elapsed * self._script.rate) + 1)

    # -- reading

    def position(self, cursor: str) -> int | None:
        """The index after the event with this id, or None where the run never had it or has forgotten it.

        An id of this run that lies ahead proves that an earlier life of the emulator had come so far: the story is
        taken up there.
        """
        index = self.index_of(cursor)
        return None if index is None else self._after(index)

    def wait_position(self, cursor: str) -> int | None:
        """The same for a cursor of the event wait, which stands before an event."""
        index = self._ids.index_of_cursor(cursor)
        return None if index is None else self._after(index - 1)

    def wait_cursor(self, position: int) -> str:
        """The event wait's cursor for a position."""
        return self._ids.cursor(position)

    def _after(self, index: int) -> int | None:
        if index + 1 < self.oldest():
            return None
        self._catch_up(index + 1)
        return index + 1 if index < self.head() else None

    def index_of(self, id_: str) -> int | None:
        """The index of the event with this id, which may lie ahead; None for an id that was not made here."""
        return self._index_by_id.get(id_, self._ids.index_of(id_))

    def made_id(self, index: int) -> str:
        """The id that is made of an index; an event that came with an id of its own is found by it too."""
        return self._ids.at(index)

    def behind(self, count: int) -> float:
        """Seconds until a paced run has so many events."""
        rate = self._script.rate if self._script else 0.0
        return max(0, count - self.head()) / rate if rate else 0.0

    def number(self, index: int) -> int | None:
        """Which event of the story stands at an index; None for one that was appended."""
        return None if index in self._appended or not self._story else index - bisect_left(self._appended_at, index)

    @property
    def story(self) -> BrowserRun | None:
        """The story, where there is one."""
        return self._story

    def event(self, index: int) -> Event:
        """The event at an index; KeyError where it is not kept."""
        if (appended := self._appended.get(index)) is not None:
            return appended
        story, number = self._place(index)
        return story.event(number, index)

    def traits(self, index: int) -> Traits:
        """What filters see of the event at an index; cheaper than the event."""
        if (appended := self._appended.get(index)) is not None:
            return appended.traits
        story, number = self._place(index)
        return story.traits(number)

    def _place(self, index: int) -> tuple[BrowserRun, int]:
        """The story, and the number in it of the event at an index: what was appended before does not count."""
        number = index - bisect_left(self._appended_at, index)
        if self._story is None or not 0 <= number < self._told():
            raise KeyError(f"run {self.id} holds no event {index}")
        return self._story, number

    def story_alone(self) -> BrowserRun | None:
        """The story, where nothing was appended and its frames may be taken as they are."""
        return None if self._appended_count else self._story

    # -- writing

    def append(self, event: Mapping[str, object] | bytes) -> Event:
        """Adds an event after all there are.

        An event with an `id` goes out exactly as given (bytes: byte for byte); one without is completed (see
        `older_bodies`). ValueError: the run is over, endless, or the bytes are no JSON object.
        """
        index = self._next_index()
        fields = event if isinstance(event, Mapping) else json.loads(event)
        if not isinstance(fields, dict):
            raise ValueError("an event is a JSON object")  # noqa: TRY004 - the text of a request, not a type of ours
        id_ = fields.get("id")
        if isinstance(id_, str):
            body = event if isinstance(event, bytes) else encode(fields)
            return self._add(Event(index, id_, Traits.of(fields), body, given=True))
        return self._add_made(index, fields)

    def append_raw(self, frame: bytes) -> Event:
        """Adds bytes that go out on streams as they are, in place of a frame; lists don't show them."""
        index = self._next_index()
        return self._add(Event(index, self._ids.at(index), Traits(), b"{}", frame))

    def append_late(self, count: int) -> None:
        """Sees to it that so many events have been added since the run ended, as if they had been committed late."""
        while self.status != "active" and self._late < count:
            self._late += 1
            data = {"late": self._late}
            self._add_made(self.head(), {"type": "artifact.created", "category": "file", "data": data})

    def end(self, status: RunStatus = "stopped", failure: Failure | None = None) -> None:
        """Ends the run after what it has; a second end changes nothing."""
        if self.status == "active":
            told = self._told()
            self._stopped_at = self.read_to if told == ENDLESS else told
            self._ended_at = time.time()
            self._end = (status, rfc3339(self._ended_at), failure)
            self.changed.fire()

    def _next_index(self) -> int:
        if self.status != "active":
            raise ValueError(f"run {self.id} has ended: no event can follow")
        if self.head() == ENDLESS:
            raise ValueError(f"run {self.id} makes events as fast as it is read: no event can follow the last")
        if self._story and self._appended_count >= self._keep:
            raise ValueError(f"run {self.id} has a script and {self._keep} appended events: no room for another")
        return self.head()

    def _add_made(self, index: int, given: Mapping[str, object]) -> Event:
        id_ = self._ids.at(index)
        fields = completed(given, id_, self.id, rfc3339(time.time()))
        return self._add(Event(index, id_, Traits.of(fields), encode(fields)))

    def _add(self, event: Event) -> Event:
        self._appended[event.index] = event
        self._appended_count += 1
        self._index_by_id[event.id] = event.index
        if self._story:
            self._appended_at.append(event.index)
        elif len(self._appended) > self._keep:
            oldest = self._appended.pop(next(iter(self._appended)))
            if self._index_by_id.get(oldest.id) == oldest.index:
                del self._index_by_id[oldest.id]
        self.changed.fire()
        return event

    def _catch_up(self, count: int) -> None:
        if (behind := self.behind(count)) and self._stopped_at is None:
            self.skip(behind)
            self.changed.fire()

    # -- what is said of the run

    @property
    def status(self) -> RunStatus:
        """As documented for runs of mid 2026."""
        if self._end:
            return self._end[0]
        return "stopped" if self._finished() else "active"

    def ended(self) -> dict[str, object]:
        """The data of the `run.ended` frame."""
        status, finished_at, failure = self._ending()
        return {"runId": self.id, "status": status, "finishedAt": finished_at, "failure": failure}

    def describe(self) -> dict[str, object]:
        """The run as `GET /v1/runs/{id}` shows it."""
        status, finished_at, failure = self._ending()
        head = self.head()
        return {
            "id": self.id,
            "status": status,
            "runtimeId": runtime_of(self.id),
            "runtimeType": "browser",
            "spaceId": SPACE,
            "createdAt": rfc3339(self.created),
            "startedAt": rfc3339(self.created),
            "finishedAt": finished_at,
            "durationSeconds": self._duration(),
            "failure": failure,
            "recording": {"enabled": False},
            # Of all that can be counted there are only events here.
            "counts": {"events": 0 if head == ENDLESS else head, **dict.fromkeys(NOT_COUNTED, 0)},
            "eventCount": None if head == ENDLESS else head,
        }

    def _duration(self) -> float | None:
        """Seconds from the start to the end; None while it is active."""
        if self._end:
            return round(max(0.0, self._ended_at - self.created), 3)
        if not (self._script and self._finished()):
            return None
        last = max(0, self._told() - 1)
        return round(last / (self._script.rate or 1000), 3)

    def _finished(self) -> bool:
        script = self._script
        return bool(script and script.ends and script.events is not None and self._told() == script.events)

    def _ending(self) -> tuple[RunStatus, str | None, Failure | None]:
        if self._end:
            return self._end
        if self._story and self._finished():
            return "stopped", self._story.time(max(0, self._told() - 1)), None
        return "active", None, None


class Runs:
    """All runs by id; at most `most` of them."""

    def __init__(self, *, keep: int, on_demand: RunScript | None = None, most: int = 10_000) -> None:
        self._runs: dict[str, Run] = {}
        self._keep = keep
        self._on_demand = on_demand
        self._most = most
        self.watch: Callable[[Run], None] | None = None  # told of each new run, and of each change of one

    def __iter__(self) -> Iterator[Run]:
        return iter(tuple(self._runs.values()))

    def forget_all(self) -> None:
        """Forgets every run; who follows one is told nothing."""
        self._runs.clear()

    def create(self, id_: str, script: RunScript | None = None) -> Run:
        """A new run; without a script it has the events that are appended and nothing else.

        ValueError: there is one of this id, or there are too many runs.
        """
        if id_ in self._runs:
            raise ValueError(f"run {id_} is there already")
        if len(self._runs) >= self._most:
            raise ValueError(f"{self._most} runs are there already: no room for {id_}")
        run = self._runs[id_] = Run(id_, script, self._keep)
        run.changed.also = lambda: self._tell(run)
        self._tell(run)
        return run

    def begin_together(self) -> None:
        """Lets all runs start at this moment, so that their events interleave in each start of the emulator alike."""
        clock, now = time.monotonic(), time.time()
        for run in self:
            run.begin(clock, now)

    def _tell(self, run: Run) -> None:
        if self.watch is not None:
            self.watch(run)

    def find(self, id_: str) -> Run | None:
        """The run a client asks for; made on the spot where unknown runs are welcome."""
        run = self._runs.get(id_)
        if run is None and self._on_demand is not None and len(self._runs) < self._most:
            return self.create(id_, self._on_demand)
        return run

    def get(self, id_: str) -> Run:
        """The run of this id; KeyError names it where there is none."""
        if (run := self._runs.get(id_)) is None:
            raise KeyError(f"no run {id_}")
        return run

    def append(self, run: str, event: Mapping[str, object] | bytes) -> Event:
        """Adds an event to a run; see `Run.append`."""
        return self.get(run).append(event)

    def end(self, run: str, status: RunStatus = "stopped", failure: Failure | None = None) -> None:
        """Ends a run; see `Run.end`."""
        self.get(run).end(status, failure)
