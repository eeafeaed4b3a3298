"""Makes up the events of a realistic browser run. Pure: event n of a run and seed is always the same bytes.

An event is put together from a template of its place in the story, so that making one costs about a
microsecond and a benchmark is not a benchmark of its upstream.
"""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bridge.emulator.event_ids import EventIds
from bridge.emulator.story import VISIT, Fields, Visit, lifecycle
from bridge.emulator.vocabulary import source_of
from bridge.emulator.wire import Event, Traits, encode, rfc3339

VISITS = 10  # different visits before the story repeats with other ids and times
FIXED_START = 1_782_388_800.0  # 2026-06-25T12:00:00Z, the day of the vendor's example
MAX_PAYLOAD = 1 << 20
MAX_RATE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScript:
    """How a made-up run goes.

    rate: events a second, at most 1,000,000; 0: as fast as the client reads.
    events: how many in all; None: for ever.
    ends: whether the run ends after the last one (`run.ended`) or stays open in silence.
    payload: `data` is padded to at least this many bytes of JSON (at most 1 MiB).
    seed: another seed, another run (and other event ids).
    times: "now": event times are the clock's; "fixed": they count from 2026-06-25, so that the bytes are the same
        after a restart too; "auto": now where there is a rate, fixed where there is none.
    """

    rate: float = 4.0
    events: int | None = None
    ends: bool = True
    payload: int = 0
    seed: int = 0
    times: Literal["auto", "fixed", "now"] = "auto"

    def __post_init__(self) -> None:
        """Refuses what has no meaning: ValueError naming the option."""
        for name, value in (("rate", self.rate), ("events", self.events or 0), ("payload", self.payload)):
            if value < 0:
                raise ValueError(f"{name} = {value}: must not be negative")
        if not self.rate <= MAX_RATE:
            raise ValueError(f"rate = {self.rate}: at most {MAX_RATE}; 0 is as fast as the client reads")
        if self.payload > MAX_PAYLOAD:
            raise ValueError(f"payload = {self.payload}: at most {MAX_PAYLOAD}; the fault huge_at makes larger frames")

    @property
    def keeps_clock(self) -> bool:
        """Whether event times are those of the clock."""
        return self.times == "now" or (self.times == "auto" and self.rate > 0)


@dataclass(frozen=True, slots=True)
class _Template:
    traits: Traits
    rest: bytes  # the JSON after id and time
    frame: bytes  # the whole frame with holes for id, id, time and time


class BrowserRun:
    """The events of one run; `start` is the time of event 0 in seconds since 1970."""

    def __init__(self, run: str, script: RunScript, start: float) -> None:
        self.script = script
        self._ids = EventIds(run, script.seed)
        self.begin(start)
        self._step_ms = 1000 / script.rate if script.rate else 1.0
        self._first, self._last, self._cycle = _templates(run, script)
        self._last_number = script.events - 1 if script.events and script.ends else -1
        self._text_of = _millisecond_clock()

    def begin(self, start: float) -> None:
        """Sets the time of event 0."""
        self._start_ms = round(start * 1000)

    @property
    def frame_bytes(self) -> int:
        """The size of a usual frame, for those who size their writes by it."""
        return len(self._cycle[0].frame)

    def time(self, number: int) -> str:
        """The RFC 3339 time of event `number`."""
        return self._time(number).decode()

    def traits(self, number: int) -> Traits:
        """What filters see of event `number`, without making it."""
        return self._template(number).traits

    def event(self, number: int, index: int) -> Event:
        """Event `number` of the story, which stands at `index` in its run (the id is made of the index)."""
        template = self._template(number)
        id_ = self._ids.at(index)
        time = self._time(number)
        body = b'{"id":"%b","time":"%b","timestamp":"%b",%b' % (id_.encode(), time, time, template.rest)
        return Event(index, id_, template.traits, body)

    def frames(self, start: int, stop: int) -> bytes:
        """The frames of the events from `start` up to `stop`, joined; number and index are the same here."""
        prefix, time, template = self._ids.prefix.encode(), self._time, self._template
        made: list[bytes] = []
        for number in range(start, stop):
            id_ = b"%b%012d" % (prefix, number)
            at = time(number)
            made.append(template(number).frame % (id_, id_, at, at))
        return b"".join(made)

    def _template(self, number: int) -> _Template:
        if number == self._last_number:
            return self._last
        return self._cycle[(number - 1) % len(self._cycle)] if number else self._first

    def _time(self, number: int) -> bytes:
        return self._text_of(self._start_ms + int(number * self._step_ms))


def _millisecond_clock() -> Callable[[int], bytes]:
    """Writes milliseconds since 1970 as RFC 3339; the text of the last second is kept, most events share it."""
    held, text = -1, b""

    def text_of(ms: int) -> bytes:
        nonlocal held, text
        seconds, rest = divmod(ms, 1000)
        if seconds != held:
            held, text = seconds, rfc3339(seconds).encode()[: len("2026-06-25T12:00:00")]
        return b"%b.%03dZ" % (text, rest)

    return text_of


def _templates(run: str, script: RunScript) -> tuple[_Template, _Template, tuple[_Template, ...]]:
    chance = random.Random(f"{script.seed}:{run}")
    # Templates are held in memory: one visit has to do where they are large.
    visits = [_visit(number, chance) for number in range(VISITS if script.payload <= 16_384 else 1)]
    scenes = [scene(visit, chance) for visit in visits for scene in VISIT]
    first, last, *cycle = (
        _template(run, fields, script.payload, chance)
        for fields in (lifecycle(visits[0], "started"), lifecycle(visits[0], "stopped"), *scenes)
    )
    return first, last, tuple(cycle)


def _visit(number: int, chance: random.Random) -> Visit:
    def unique() -> str:
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))

    return Visit(
        page=f"page_{chance.randrange(16**6):06x}",
        context=f"ctx_{chance.randrange(16**4):04x}",
        connection=unique(),
        command=f"cmd_{chance.randrange(16**8):08x}",
        artifact=unique(),
        site=chance.choice(("https://shop.example", "https://booking.example", "https://portal.example")),
        path=chance.choice(("/checkout", "/orders?sort=date&page=2", "/account/invoices", "/suche?q=caf%C3%A9")),
        number=number,
    )


def _template(run: str, fields: Fields, payload: int, chance: random.Random) -> _Template:
    data = dict(fields["data"]) if isinstance(fields["data"], dict) else {}
    missing = payload - len(encode(data))
    if missing > 0:
        data["padding"] = f"{chance.getrandbits(4 * missing):0{missing}x}"
    whole = {"pageId": None, "spanId": None, "source": source_of(fields["category"])} | fields
    rest = encode({**whole, "runId": run, "data": data})[1:]
    holes = b'event: run.event\nid: %b\ndata: {"id":"%b","time":"%b","timestamp":"%b",' + rest.replace(b"%", b"%%")
    return _Template(Traits.of(whole), rest, holes + b"\n\n")
