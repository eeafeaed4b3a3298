"""`/v1/live`: what the status page shows, as Server-Sent Events. Looks only while somebody follows; changes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from bridge.clock import rfc3339
from bridge.errors import LogUnavailable
from bridge.http_api.operation import STREAM, Call, Operation, Says
from bridge.http_api.problem import details, of_unavailable
from bridge.http_api.sampled import Sampled
from bridge.http_api.served import Served
from bridge.http_api.stream import EventStream, frame
from bridge.overview import Overview
from bridge.redis_log.replays import place

EVERY = 0.5
"""Seconds between looks at the log's end."""
MOST = 10
"""Events that are told of after one look: the newest."""
OVERVIEW = 1.0
"""Seconds between overviews, while something changes."""
LONGEST = 10.0
"""Seconds between overviews in any case."""


class Fresh(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A new entry of the log; `time` is when it was added. `skipped` others before it are not told of."""

    entry: str
    id: str
    type: str
    subject: str
    time: str
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """The end of one partition: how many entries there ever were, and the newest of them, oldest first."""

    added: int
    newest: Sequence[tuple[str, Fresh]]


@dataclass(slots=True)
class Told:
    """What one client was told."""

    added: list[int] = field(default_factory=list)
    """By partition."""
    overview: bytes = b""
    """Without what changes by itself."""
    at: float = 0.0
    failing: bool = False

    def fresh(self, ends: Sequence[End]) -> list[Fresh]:
        """What is new since the last look, at most MOST of it; nothing at the first."""
        if len(self.added) != len(ends):
            self.added = [end.added for end in ends]
            return []
        news = [max(0, end.added - before) for end, before in zip(ends, self.added, strict=True)]
        self.added = [end.added for end in ends]
        shown = [
            one for end, new in zip(ends, news, strict=True) for one in end.newest[max(0, len(end.newest) - new) :]
        ]
        latest = [one for _, one in sorted(shown, key=lambda found: place(found[0]))][-MOST:]
        if latest and sum(news) > len(latest):
            latest[0] = replace(latest[0], skipped=sum(news) - len(latest))
        return latest


class Live:
    """The handler, and the two looks that all who follow share."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._overview = Sampled(served.steering.overview, OVERVIEW)
        self._ends = Sampled(self._look, EVERY)

    def operations(self) -> list[Operation]:
        """The table of this."""
        says = Says(200, "Server-Sent Events: `overview` (as /v1/status), `entry` for each new event, `problem`.", None,
            STREAM)  # fmt: skip
        return [Operation("GET", "/v1/live", "followOverview", "Follow how everything stands", self._follow, [says],
            follows=True, tag="bridge")]  # fmt: skip

    async def _follow(self, call: Call) -> web.StreamResponse:
        stream, told = EventStream(call.request, self._served.stop), Told()
        response = await stream.open()
        while not stream.ended:
            try:
                await self._tell(stream, told)
                told.failing = False
            except LogUnavailable as error:
                if not told.failing:
                    await stream.write(frame(details(of_unavailable(error)), event="problem"))
                told.failing = True
            await stream.beat()
            await stream.pause(EVERY)
        return response

    async def _tell(self, stream: EventStream, told: Told) -> None:
        overview, now = await self._overview(), asyncio.get_running_loop().time()
        steady = msgspec.json.encode(_steady(overview))
        if steady != told.overview or now - told.at >= LONGEST:
            told.overview, told.at = steady, now
            await stream.write(frame(msgspec.json.encode(overview), event="overview"))
        for each in told.fresh(await self._ends()):
            await stream.write(frame(msgspec.json.encode(each), event="entry"))

    async def _look(self) -> list[End]:
        ends, tail = [], self._served.readers.recent
        for partition in tail.partitions:
            page = await tail.newest(partition, "0-0", MOST)
            newest = [
                (one.entry, Fresh(entry=f"{partition}-{one.entry}", id=one.id, type=one.type, subject=one.subject,
                    time=_time(one.entry)))
                for one in reversed(page.entries)
            ]  # fmt: skip
            ends.append(End(page.added, newest))
        return ends


def _steady(overview: Overview) -> Overview:
    """Without the times and ages, which change while nothing happens."""
    bridge = overview.bridge and replace(overview.bridge, uptime_seconds=0.0)
    sources = [replace(each, last_event_age_seconds=None) for each in overview.sources]
    destinations = [
        replace(each, since_seconds=None, oldest_seconds=None, next_due_seconds=None) for each in overview.destinations
    ]
    return replace(overview, time="", bridge=bridge, sources=sources, destinations=destinations)


def _time(entry: str) -> str:
    try:
        return rfc3339(datetime.fromtimestamp(place(entry)[0] / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return ""
