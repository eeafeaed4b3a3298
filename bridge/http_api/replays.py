"""Replays: a range of the log sent to a webhook again, asked for, listed, cancelled. Sends nothing itself."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from bridge.clock import now, rfc3339
from bridge.delivery.filter import Filter, FilterError
from bridge.errors import Problem
from bridge.http_api.dead import ManyGlobs
from bridge.http_api.defined import SECTIONS, view_of
from bridge.http_api.events import TIME
from bridge.http_api.operation import ENTRY, Body, Call, Operation, Says
from bridge.http_api.problem import Refused
from bridge.http_api.served import Served, answer, nothing
from bridge.ports import Definition
from bridge.redis_log import Asked, Listed
from bridge.redis_log.replays import MOST, before, place

COUNTING = 60.0
"""Seconds for counting what is in the range."""
_END = f"{2**64 - 1}-{2**64 - 1}"
Where = Annotated[str, Meta(pattern=rf"^(start|now|{ENTRY}|{TIME})$")]


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be sent again: from one place of the log up to another, both with what lies there."""

    from_: Where = msgspec.field(name="from")
    """`start`, a time (RFC 3339), or an entry's id."""
    to: Where = "now"
    types: ManyGlobs = msgspec.field(default_factory=list)
    """Only of these types (globs), besides what the destination wants."""
    subjects: ManyGlobs = msgspec.field(default_factory=list)
    """Only of these subjects (globs)."""
    rate: Annotated[float, Meta(ge=0.001, le=10_000)] = 50.0
    """Requests a second, at most, over all partitions."""


class Replay(Struct, frozen=True, kw_only=True):
    """A replay that is not done yet; its requests carry its id as `Runbridge-Replay`."""

    id: str
    destination: str
    state: Literal["waiting", "under way"]
    events: int
    """How many there were when it was asked for."""
    unsettled: int
    """Of those taken up, how many are not settled."""
    rate: float
    types: list[str]
    subjects: list[str]
    time: str
    """When it was asked for."""


class ReplaysOf(Struct, frozen=True):
    """A destination's replays that are not done."""

    replays: list[Replay]


class Replays:
    """The handlers."""

    def __init__(self, served: Served) -> None:
        self._requests = served.readers.replays
        self._steering = served.steering

    def operations(self) -> list[Operation]:
        """The table of these."""
        all_ = "/v1/destinations/{id}/replays"
        return [
            Operation("GET", all_, "listReplays", "Replays to a destination that are not done", self._list,
                [Says(200, "All.", ReplaysOf)], refuses=(404, 503), tag="replays"),
            Operation("POST", all_, "addReplay", "Send a range of the log to a webhook again", self._add,
                [Says(201, "It begins within a second or two.", Replay)], body=Body(Wish), refuses=(404, 409, 503),
                tag="replays"),
            Operation("DELETE", f"{all_}/{{replay}}", "cancelReplay", "End a replay; what was sent stays sent",
                self._cancel, [Says(204, "It is ended.")], refuses=(404, 503), tag="replays"),
        ]  # fmt: skip

    async def _list(self, call: Call) -> web.StreamResponse:
        name = call.path["id"]
        found: dict[str, list[Listed]] = {}
        for one in await self._requests.listed():
            if one.destination == name:
                found.setdefault(one.asked.id, []).append(one)
        if not found and await view_of(self._steering, SECTIONS[1], name) is None:
            raise Refused(404, f"there is no destination {name!r}")
        return answer(ReplaysOf([await self._shown(those) for those in found.values()]))

    async def _add(self, call: Call) -> web.StreamResponse:
        name, wish = call.path["id"], call.body
        first, last = _span(wish)
        wants = await self._wanted(name, wish)
        try:
            async with asyncio.timeout(COUNTING):
                counts = [await self._count(at, first, last, wants) for at in self._requests.partitions]
        except TimeoutError:
            raise Refused(503, f"the range can't be counted within {COUNTING:g} s: ask for parts of it") from None
        if not any(counts):
            raise Refused(409, "the log has nothing there that this destination wants")
        return answer(await self._ask(name, wish, first, last, counts), 201)

    async def _ask(self, name: str, wish: Wish, first: str, last: str, counts: Sequence[int]) -> Replay:
        id_, time = secrets.token_hex(4), rfc3339(now())
        types, subjects = tuple(wish.types), tuple(wish.subjects)
        asked: list[Listed] = []
        for partition, count in enumerate(counts):
            if not count:
                continue
            one = Asked(id_, first, last, wish.rate, types, subjects, count, time)
            if not await self._requests.ask(name, partition, one):
                for each in asked:
                    await self._requests.cancel(each, note=True)
                raise Refused(409, f"{MOST} replays to {name} are asked for already")
            asked.append(Listed(name, partition, one.text(), one))
        return await self._shown(asked)

    async def _count(self, partition: int, first: str, last: str, wants: list[Filter]) -> int:
        ends = await self._requests.ends(partition)
        if ends is None:
            return 0
        last = min(last, ends[1], key=place)
        count = 0
        async for page in self._requests.entries(partition, first, last):
            count += sum(all(each(entry) for each in wants) for entry in page)
        return count

    async def _wanted(self, name: str, wish: Wish) -> list[Filter]:
        """What is sent: what both the destination and the wish want. Raises Refused."""
        found = [each for each in await self._steering.definitions("destinations") if each.id == name]
        if not found:
            raise Refused(404, f"there is no destination {name!r}")
        url = found[0].spec.get("url")
        if not isinstance(url, str) or not url.startswith("http"):
            raise Refused(409, f"{name} is a stream in Redis, which has each event exactly once: read it again instead")
        try:
            return [Filter(wish.types, wish.subjects), _filter(found[0])]
        except FilterError as error:
            raise Refused(422, str(error)) from None

    async def _cancel(self, call: Call) -> web.StreamResponse:
        name, id_ = call.path["id"], call.path["replay"]
        those = [one for one in await self._requests.listed() if (one.destination, one.asked.id) == (name, id_)]
        configured = any(each.id == name for each in await self._steering.definitions("destinations"))
        ended = [await self._requests.cancel(one, note=configured) for one in those]
        if not any(ended):
            raise Refused(404, f"no replay {id_} to {name} is under way or waiting")
        return nothing()

    async def _shown(self, those: Sequence[Listed]) -> Replay:
        standings = [standing for one in those if (standing := await self._requests.standing(one)) is not None]
        asked = those[0].asked
        return Replay(
            id=asked.id, destination=those[0].destination,
            state="under way" if any(each.taken_up for each in standings) else "waiting",
            events=sum(one.asked.events for one in those), unsettled=sum(each.waiting for each in standings),
            rate=asked.rate, types=list(asked.types), subjects=list(asked.subjects), time=asked.time,
        )  # fmt: skip


def _filter(found: Definition) -> Filter:
    spec: dict[str, Any] = found.spec
    return Filter(
        spec.get("types", ()), spec.get("subjects", ()), spec.get("sources", ()), spec.get("filter", "")
    )  # fmt: skip


def _span(wish: Wish) -> tuple[str, str]:
    """The ids after which and up to which the range goes. Raises Refused."""
    first, last = _ids("from", wish.from_)[0], _ids("to", wish.to)[1]
    if place(first) > place(last):
        raise Refused(422, "the range can't be used", (Problem("to", "is before from"),))
    return before(first), last


def _ids(key: str, text: str) -> tuple[str, str]:
    """The first and the last id that a place of the log stands for."""
    if text == "start":
        return "0-0", "0-0"
    if text == "now":
        return f"{int(now().timestamp() * 1000)}-0", _END
    if "T" not in text:
        return text, text
    try:
        milliseconds = max(0, int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000))
    except (ValueError, OverflowError):
        raise Refused(422, "the range can't be used", (Problem(key, "is no time that there is"),)) from None
    return f"{milliseconds}-0", f"{milliseconds}-{2**64 - 1}"
