"""Dead letters: pages of them, one as a whole, another try, removal. Delivers nothing itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.delivery.filter import MAX_GLOB
from bridge.delivery.globs import any_of
from bridge.http_api.defined import SECTIONS, view_of
from bridge.http_api.events import Globs
from bridge.http_api.operation import PARTS, Body, Call, Operation, Says, place_of
from bridge.http_api.problem import Refused
from bridge.http_api.served import Served, answer, nothing
from bridge.redis_log.dead_letters import FIRST, LAST, PAGE, Done, Letter, Place
from bridge.redis_log.replays import before, place

LOOKED_AT = 20 * PAGE
"""Letters of a partition that one page of a list looks through at most."""
RETRIED = 100_000
"""Letters that one request can ask for; some 75 bytes are held of each."""
Key = tuple[int, int, int]
"""Where a letter lies among those of all partitions."""

ManyGlobs = Annotated[list[Annotated[str, Meta(min_length=1, max_length=MAX_GLOB)]], Meta(max_length=100)]
LetterId = Annotated[str, Meta(pattern=PARTS["letter"].pattern)]


class DeadLetter(Struct, frozen=True, kw_only=True):
    """An event that a destination was given up on for."""

    id: str
    """`<partition>-<milliseconds>-<number>`."""
    destination: str
    event: str
    """The event's id."""
    type: str
    subject: str
    entry: str
    """Where the event lies or lay in the log, in the form of `/v1/events/<entry>`."""
    attempts: int
    last_status: int | None
    """The last answer's; null where there was none."""
    last_error: str
    time: str
    """When it was given up, RFC 3339."""
    retrying: bool
    """It has been asked for, and nothing has come of it yet."""


class WholeLetter(DeadLetter, kw_only=True, frozen=True):
    """A dead letter with its event and the beginning of the last answer."""

    cloudevent: Any
    """The whole CloudEvent; a text where it is no JSON."""
    last_answer: str | None


class DeadLettersPage(Struct, frozen=True, kw_only=True):
    """Some dead letters, the newest first."""

    letters: list[DeadLetter]
    next: str | None
    """What `after` is to be for the next page; null at the end. A page may have fewer than `limit`, and go on."""
    total: int
    """How many this destination has in all, whatever the filter."""


class Choice(Struct, frozen=True, kw_only=True):
    """Which letters, and how many."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    after: LetterId | UnsetType = UNSET
    """Only those that are older than this letter, which may be gone."""
    type: Globs = msgspec.field(default_factory=list)
    """Only of events whose type matches one of these globs."""
    subject: Globs = msgspec.field(default_factory=list)
    """Only of events whose subject matches one of these globs."""


class Chosen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which letters are tried again: all that match everything that is given; all where nothing is."""

    ids: Annotated[list[LetterId], Meta(max_length=500)] = msgspec.field(default_factory=list)
    types: ManyGlobs = msgspec.field(default_factory=list)
    """Globs; one has to match."""
    subjects: ManyGlobs = msgspec.field(default_factory=list)
    statuses: Annotated[list[Annotated[int, Meta(ge=0, le=999)]], Meta(max_length=100)] = msgspec.field(
        default_factory=list
    )
    """Last statuses; 0 for no answer."""


class Asked(Struct, frozen=True, kw_only=True):
    """What came of asking for letters: a running bridge takes them up within some two seconds."""

    asked: int
    """Asked for with this request."""
    retrying: int
    """Were being tried again already."""
    more: bool = False
    """There are more of them than one request takes: ask again."""


class Drop(Struct, frozen=True, kw_only=True):
    """How to remove."""

    force: Literal["true", "false"] = "false"
    """Also one that is being tried again."""


@dataclass(slots=True)
class Scan:
    """What was found in one partition, newest first, and where the looking stopped before its end."""

    found: list[Letter]
    stopped: Key | None = None


class Dead:
    """The handlers."""

    def __init__(self, served: Served) -> None:
        self._letters = served.readers.dead
        self._steering = served.steering

    def operations(self) -> list[Operation]:
        """The table of these."""
        all_, one = "/v1/destinations/{id}/dead", "/v1/destinations/{id}/dead/{letter}"
        asked = Says(202, "They are asked for.", Asked)
        tag = "dead letters"
        return [
            Operation("GET", all_, "listDeadLetters", "Dead letters of a destination, the newest first", self._list,
                [Says(200, "A page.", DeadLettersPage)], query=Choice, refuses=(404, 503), tag=tag),
            Operation("POST", f"{all_}/retry", "retryDeadLetters", "Try dead letters again, all or some", self._retry,
                [asked], body=Body(Chosen, required=False), refuses=(404, 409, 503), tag=tag),
            Operation("GET", one, "getDeadLetter", "A dead letter with its event", self._get,
                [Says(200, "The letter.", WholeLetter)], refuses=(404, 503), tag=tag),
            Operation("DELETE", one, "dropDeadLetter", "Remove a dead letter for good", self._drop,
                [Says(204, "It is gone.")], query=Drop, refuses=(404, 409, 503), tag=tag),
            Operation("POST", f"{one}/retry", "retryDeadLetter", "Try a dead letter again", self._retry_one, [asked],
                refuses=(404, 409, 503), tag=tag),
        ]  # fmt: skip

    async def _list(self, call: Call) -> web.StreamResponse:
        choice: Choice = call.query
        name = call.path["id"]
        await self._known(name)
        after = key_of(choice.after) if choice.after else None
        scans = [await self._scan(name, partition, choice, after) for partition in self._letters.partitions]
        floor = max((scan.stopped for scan in scans if scan.stopped), default=None)
        found = sorted((letter for scan in scans for letter in scan.found), key=_key, reverse=True)
        if floor is not None:
            found = [letter for letter in found if _key(letter) >= floor]
        shown, following = found[: choice.limit], floor
        if len(found) > choice.limit:
            following = _key(shown[-1])
        next_ = None if following is None else f"{following[2]}-{following[0]}-{following[1]}"
        return answer(
            DeadLettersPage(letters=[_shown(each) for each in shown], next=next_, total=await self._letters.count(name))
        )

    async def _scan(self, name: str, partition: int, choice: Choice, after: Key | None) -> Scan:
        """The newest of one partition that are wanted, one more than a page shows."""
        type_, subject = (any_of(globs) if globs else None for globs in (choice.type, choice.subject))
        end = LAST
        if after is not None:  # at the same moment, the higher partition counts as newer
            id_ = f"{after[0]}-{after[1]}"
            end = id_ if partition < after[2] else before(id_)
        scan, looked = Scan([]), 0
        async for page in self._letters.pages(name, partition, FIRST, end, backwards=True):
            scan.found += (
                one for one in page if (not type_ or type_(one.type)) and (not subject or subject(one.subject))
            )
            looked += len(page)
            if len(page) == PAGE and (len(scan.found) > choice.limit or looked >= LOOKED_AT):
                scan.stopped = _key(page[-1])
                break
        return scan

    async def _get(self, call: Call) -> web.StreamResponse:
        at = self._place(call)
        async for page in self._letters.pages(at.destination, at.partition, at.letter, at.letter):
            fields = await self._letters.whole(at)
            if fields:
                letter = _shown(page[0])
                last = fields.get("last_answer")
                return answer(
                    WholeLetter(
                        **{name: getattr(letter, name) for name in letter.__struct_fields__},
                        cloudevent=_event(fields.get("event", b"")),
                        last_answer=None if last is None else last.decode(errors="replace"),
                    )
                )
        raise _missing(call)

    async def _drop(self, call: Call) -> web.StreamResponse:
        done = await self._letters.drop([self._place(call)], force=call.query.force == "true")
        if done.retrying:
            raise Refused(409, "this letter is being tried again; say force=true to remove it nevertheless")
        if not done.done:
            raise _missing(call)
        return nothing()

    async def _retry_one(self, call: Call) -> web.StreamResponse:
        at = self._place(call)
        await self._known(at.destination, delivered=True)
        done = await self._letters.retry([at])
        if done.gone:
            raise _missing(call)
        return answer(Asked(asked=done.done, retrying=done.retrying), 202)

    async def _retry(self, call: Call) -> web.StreamResponse:
        """All that are wanted, in the order of the log, so that each subject's come in order."""
        chosen: Chosen = call.body
        name, total, more = call.path["id"], Done(), False
        await self._known(name, delivered=True)
        for partition in self._letters.partitions:
            orders: list[tuple[int, int, str]] = []
            async for letter in self._wanted(name, partition, chosen):
                if len(orders) == RETRIED:
                    more = True
                    break
                orders.append((*_order(letter.entry), letter.place.letter))
            places = [Place(name, partition, id_) for _, _, id_ in sorted(orders)]
            for at in range(0, len(places), PAGE):
                total += await self._letters.retry(places[at : at + PAGE])
        return answer(Asked(asked=total.done, retrying=total.retrying, more=more), 202)

    async def _wanted(self, name: str, partition: int, chosen: Chosen) -> AsyncIterator[Letter]:
        type_, subject = (any_of(globs) if globs else None for globs in (chosen.types, chosen.subjects))
        ids, statuses = frozenset(chosen.ids), frozenset(chosen.statuses)
        async for page in self._letters.pages(name, partition):
            for one in page:
                if (
                    (not ids or _id(one) in ids)
                    and (not type_ or type_(one.type))
                    and (not subject or subject(one.subject))
                    and (not statuses or (one.status or 0) in statuses)
                ):
                    yield one

    async def _known(self, name: str, *, delivered: bool = False) -> None:
        """Raises Refused where there is no such destination, or, `delivered`, nobody tries its letters again."""
        view = await view_of(self._steering, SECTIONS[1], name)
        kind = getattr(view, "kind", "gone")
        if view is None and not await self._letters.exists(name):
            raise Refused(404, f"there is no destination {name!r}")
        if delivered and kind == "stream":
            raise Refused(409, f"{name} is a stream in Redis, whose letters can't be tried again: look, or remove them")
        if delivered and kind == "gone":
            raise Refused(409, f"{name} is no longer configured, so nobody delivers to it: add it again first")

    def _place(self, call: Call) -> Place:
        """Raises Refused where the log has no such partition."""
        partition, letter = place_of(call.path["letter"])
        if partition not in self._letters.partitions:
            raise _missing(call)
        return Place(call.path["id"], partition, letter)


def key_of(id_: str) -> Key:
    """A letter's place among those of all partitions."""
    partition, letter = place_of(id_)
    return (*place(letter), partition)


def _key(letter: Letter) -> Key:
    return (*place(letter.place.letter), letter.place.partition)


def _id(letter: Letter) -> str:
    return f"{letter.place.partition}-{letter.place.letter}"


def _shown(letter: Letter) -> DeadLetter:
    return DeadLetter(
        id=_id(letter), destination=letter.place.destination, event=letter.event, type=letter.type,
        subject=letter.subject, entry=f"{letter.place.partition}-{letter.entry}" if letter.entry else "",
        attempts=letter.attempts, last_status=letter.status, last_error=letter.error, time=letter.time,
        retrying=letter.retrying,
    )  # fmt: skip


def _event(raw: bytes) -> object:
    """As it is stored where it is JSON, a text otherwise."""
    try:
        msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return raw.decode(errors="replace")
    return msgspec.Raw(raw)


def _order(entry: str) -> tuple[int, int]:
    first, _, second = entry.partition("-")
    return (int(first), int(second)) if first.isdecimal() and second.isdecimal() else (0, 0)


def _missing(call: Call) -> Refused:
    return Refused(404, f"{call.path['id']} has no dead letter {call.path['letter']}, or not any more")
