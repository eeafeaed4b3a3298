"""`/v1/events`: single entries of the log, and the log as Server-Sent Events that can be resumed. Changes nothing.

A position is the id of the last entry seen in each partition, in order, with commas between.
"""

import asyncio
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.delivery.filter import Filter, FilterError
from bridge.errors import LogUnavailable, Problem
from bridge.event import Entry
from bridge.http_api.operation import ENTRY, STREAM, Call, Operation, Says, place_of
from bridge.http_api.problem import Refused, details, of_unavailable
from bridge.http_api.readers import Readers
from bridge.http_api.sampled import Sampled
from bridge.http_api.served import Served, answer
from bridge.http_api.stream import EventStream, frame
from bridge.redis_log.replays import place
from bridge.redis_log.tail import Page

LONGEST = 5.0
"""Seconds that the log may take to answer for one event."""
IDLE = 0.1
"""Seconds between looks for more, shared by all followers."""
AWAY = 1.0
"""Seconds between looks at a log that can't be read."""
_STREAM = """Server-Sent Events: `data` is a whole CloudEvent, `event` its type, `id` the position after it.

`gap` says that events may be missing, `problem` that the log can't be read now."""
CLOUDEVENT = "application/cloudevents+json"

_POSITION = rf"{ENTRY}(,{ENTRY}){{0,63}}"
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
Globs = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=8)]


class Follow(Struct, frozen=True, kw_only=True):
    """Where to begin, and which events."""

    from_: Annotated[str, Meta(pattern=rf"^(start|now|{TIME})$")] = msgspec.field(name="from", default="now")
    """`start` of the log, `now`, or a time (RFC 3339)."""
    after: Annotated[str, Meta(pattern=rf"^{_POSITION}$")] | UnsetType = UNSET
    """Go on after this position, an `id` of this stream; goes before `from`, and `Last-Event-ID` before both."""
    type: Globs = msgspec.field(default_factory=list)
    """Only events whose type matches one of these globs, such as `ai.bctrl.run.*`."""
    subject: Globs = msgspec.field(default_factory=list)
    """Only events whose subject matches one of these."""
    source: Globs = msgspec.field(default_factory=list)
    """Only events whose `source` matches one of these, such as `*/runs/0b0c`."""


class Gap(Struct, frozen=True):
    """Events between `after` and `first` may be missing: they are in the log no more, or never were."""

    partition: int
    after: str
    first: str
    reason: str


@dataclass(slots=True)
class Place:
    """How far one follower is in one partition."""

    partition: int
    id: str
    resumed: bool = False
    """Nothing was read since a client gave this position."""
    number: int | None = None
    """How many entries there ever were up to here; None where that isn't known yet."""

    def take(self, page: Page) -> Gap | None:
        """Go on to the end of a page that was asked from here; what may be missing between."""
        gap = self._gap(page)
        ahead = gap is not None and not page.entries and place(self.id) > place(page.last)
        before = page.trimmed if page.entries and page.entries[0].entry == page.first else self.number
        self.number = None if before is None else before + len(page.entries)
        if page.entries or ahead:
            self.id = page.entries[-1].entry if page.entries else page.last
        if self.id == page.last:
            self.number = page.added
        self.resumed = False
        return gap

    def _gap(self, page: Page) -> Gap | None:
        here, known = place(self.id), self.resumed or self.number is not None
        if known and here > place(page.last):
            reason = "the log ends before this position: it was put back, or this is another log's"
        elif self.number is not None and page.trimmed > self.number:
            reason = "entries were trimmed before they were read"
        elif self.resumed and not page.known and here < place(page.first) and self.id != "0-0":
            reason = "the entry of this position was trimmed, and perhaps others after it"
        else:
            return None
        return Gap(self.partition, self.id, page.first, reason)


@dataclass(slots=True)
class Follower:
    """One client's way through the log."""

    readers: Readers
    stream: EventStream
    wants: Filter
    places: list[Place]
    ends: Sampled[list[str]]
    _failing: bool = field(default=False)

    @property
    def position(self) -> str:
        """Of all partitions."""
        return ",".join(each.id for each in self.places)

    async def run(self) -> None:
        """Until the client is gone or the server stops."""
        while not self.stream.ended:
            try:
                if not await self._round():
                    await self._idle()
                self._failing = False
            except LogUnavailable as error:
                if not self._failing:
                    await self.stream.write(frame(details(of_unavailable(error)), event="problem"))
                self._failing = True
                await self.stream.pause(AWAY)
                await self.stream.beat(self.position)

    async def _round(self) -> bool:
        """One page of each partition; whether there was anything."""
        met = False
        for each in self.places:
            page = await self.readers.tail.after(each.partition, each.id)
            met = met or bool(page.entries)
            gap = each.take(page)
            if gap is not None:
                await self.stream.write(frame(msgspec.json.encode(gap), event="gap", id_=self.position))
            await self._show(each, page.entries)
        return met

    async def _show(self, at: Place, entries: list[Entry]) -> None:
        end = at.id
        for entry in filter(self.wants, entries):
            at.id = entry.entry  # for the position that goes with it
            await self.stream.write(frame(entry.event, event=entry.type, id_=self.position))
            if self.stream.ended:
                return
        at.id = end

    async def _idle(self) -> None:
        """Until the log has more, or something is to be said."""
        await self.stream.pause(IDLE)
        await self.stream.beat(self.position)
        while not self.stream.ended and [each.id for each in self.places] == await self.ends():
            await self.stream.pause(IDLE)
            await self.stream.beat(self.position)


class Events:
    """The handlers."""

    def __init__(self, served: Served) -> None:
        self._readers = served.readers
        self._stop = served.stop
        self._ends = Sampled(self._look, IDLE)

    def operations(self) -> list[Operation]:
        """The table of these."""
        stream = Says(200, _STREAM, None, STREAM)
        whole = Says(200, "The CloudEvent, byte for byte as it lies in the log.", {"type": "object"}, CLOUDEVENT)
        return [
            Operation("GET", "/v1/events", "followEvents", "Follow the log", self._follow, [stream], query=Follow,
                      follows=True, tag="events"),
            Operation("GET", "/v1/events/{entry}", "getEvent", "One event of the log", self._one, [whole],
                      refuses=(404, 503), tag="events"),
        ]  # fmt: skip

    async def _one(self, call: Call) -> web.StreamResponse:
        partition, id_ = place_of(call.path["entry"])
        try:
            async with asyncio.timeout(LONGEST):
                entry = await self._readers.events.entry(partition, id_)
        except TimeoutError as error:
            raise of_unavailable(error) from None
        if entry is None:
            raise Refused(404, "the log has no such entry, or not any more")
        return answer(entry.event, content_type=f"{CLOUDEVENT}; charset=utf-8")

    async def _follow(self, call: Call) -> web.StreamResponse:
        asked: Follow = call.query
        try:
            wants = Filter(asked.type, asked.subject, asked.source)
        except FilterError as error:
            raise Refused(400, str(error)) from None
        places = await self._places(call.request.headers.get("Last-Event-ID") or asked.after or "", asked.from_)
        stream = EventStream(call.request, self._stop)
        response = await stream.open()
        await Follower(self._readers, stream, wants, places, self._ends).run()
        return response

    async def _places(self, after: str, start: str) -> list[Place]:
        """Where to begin in each partition. Raises Refused, and LogUnavailable."""
        if after:
            ids = after.split(",")
            if not re.fullmatch(_POSITION, after, re.ASCII):
                raise _wrong("expected an id of this stream")
            if len(ids) != len(self._readers.tail.partitions):
                count = len(self._readers.tail.partitions)
                raise _wrong(f"this is a position in {len(ids)} partitions; the log has {count}")
            return [
                Place(partition, f"{place(id_)[0]}-{place(id_)[1]}", resumed=True) for partition, id_ in enumerate(ids)
            ]
        if start == "now":
            pages = [await self._readers.tail.after(each, "0-0", 0) for each in self._readers.tail.partitions]
            return [Place(at, page.last, number=page.added) for at, page in enumerate(pages)]
        id_ = "0-0" if start == "start" else _before(start)
        return [Place(each, id_) for each in self._readers.tail.partitions]

    async def _look(self) -> list[str]:
        pages = [await self._readers.tail.after(each, "0-0", 0) for each in self._readers.tail.partitions]
        return [page.last for page in pages]


def _before(time: str) -> str:
    """The last id that the millisecond before a time can have."""
    try:
        moment = datetime.fromisoformat(time).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(400, "the query can't be used", (Problem("from", "is no time that there is"),)) from None
    before = int(moment.timestamp() * 1000) - 1
    return f"{before}-{10**19 - 1}" if before >= 0 else "0-0"


def _wrong(words: str) -> Refused:
    return Refused(400, f"the position can't be used: {words}", (Problem("after", words),))
