"""What `runbridge replay` does at the log: counts a range, asks for it, follows it, lists, cancels. Sends nothing."""

import contextlib
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

from bridge.cli.at_log import end_usage
from bridge.cli.dead_work import progress
from bridge.cli.event_line import printable
from bridge.cli.tail import start_after
from bridge.clock import now, rfc3339
from bridge.delivery.health import Standing as Health
from bridge.destinations import filter_of
from bridge.event import Entry
from bridge.redis_log import Asked, Listed, ReplayRequests
from bridge.redis_log.replays import MOST, before, place
from bridge.settings import Settings
from bridge.stop import nap
from bridge.wiring import keys_of, server_of

EX_NOTHING = 1
LOOK = 0.3
"""Seconds between looks at a replay."""
SOON = 3.0
"""Seconds within which a bridge that runs has taken a replay up."""
_END = f"{2**64 - 1}-{2**64 - 1}"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be replayed: entries after one id up to another, of which `wants` says which."""

    destination: str
    after: str
    last: str
    types: tuple[str, ...]
    subjects: tuple[str, ...]
    rate: float
    wants: Callable[[Entry], bool]


def span(start: str, end: str, time: datetime) -> tuple[str, str]:
    """The ids after which and up to which a range goes. Raises ValueError for what is no place or no range."""
    first, last = _ids("--from", start, time)[0], _ids("--to", end, time)[1]
    if place(first) > place(last):
        raise ValueError(f"--from {start} is after --to {end}")
    return before(first), last


def _ids(option: str, text: str, time: datetime) -> tuple[str, str]:
    """The first and the last id that a text stands for."""
    if text == "now":
        return f"{int(time.timestamp() * 1000)}-0", _END
    try:
        after = start_after(text, time)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if after == text and "-" in text:
        return text, text
    milliseconds = int(text) if after == text else place(after)[0] + (text != "start")
    return f"{milliseconds}-0", f"{milliseconds}-{2**64 - 1}"


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[ReplayRequests]:
    """The replays of a configuration's log."""
    requests = ReplayRequests(server_of(settings), keys_of(settings))
    try:
        yield requests
    finally:
        await requests.close()


@dataclass(slots=True)
class Left:
    """A replay in one partition that is being looked at, and how much of it is left."""

    replay: Listed
    wants: Callable[[Entry], bool]
    unread: int = -1
    """Wanted entries after `at`; -1 before they were counted."""
    at: str = ""
    taken_up: bool = False

    async def look(self, requests: ReplayRequests) -> int | None:
        """How many events are not settled; None once the replay is off the list."""
        standing = await requests.standing(self.replay)
        if standing is None:
            return None
        asked = self.replay.asked
        self.taken_up = standing.taken_up
        if self.unread < 0:
            # what is behind the position may be trimmed by now: what lies before it is counted
            self.unread = await self._count(requests, standing.position, asked.last)
        else:
            self.unread -= await self._count(requests, self.at, standing.position)
        self.at = standing.position
        return max(0, min(asked.events, self.unread + standing.waiting))

    async def _count(self, requests: ReplayRequests, after: str, last: str) -> int:
        last = min(last, self.replay.asked.last, key=place)
        after = max(after, self.replay.asked.after, key=place)
        return sum([sum(map(self.wants, page)) async for page in requests.entries(self.replay.partition, after, last)])


@dataclass(slots=True)
class Asking:
    """One request for a replay, from the counting to its end. `id` is "" before it is asked for."""

    settings: Settings
    wish: Wish
    as_json: bool
    id: str = ""
    entries: int = 0
    """Entries in the range, wanted or not."""
    _asked: list[Asked | None] = field(default_factory=list)
    """By partition; None where nothing of it is wanted."""
    _begins: str = _END
    """The first entry there is in the log."""
    _ends: str = "0-0"

    async def run(self, *, dry_run: bool, follow: bool) -> int:
        """The exit code."""
        async with opened(self.settings) as requests:
            await self._look(requests, secrets.token_hex(4))
            events = sum(asked.events for asked in self._asked if asked)
            if dry_run:
                text = f"{events} of {self.entries} entries would be sent to {self.wish.destination} again"
                self._print(text, events=events, entries=self.entries)
            if not events:
                return self._nothing()
            if dry_run:
                return 0
            found = await self._ask(requests)
            self._print(
                f"replay {self.id}: {events} of {self.entries} entries to {self.wish.destination}, "
                f"at most {self.wish.rate:g} a second",
                id=self.id, events=events, entries=self.entries,
            )  # fmt: skip
            return await self._follow(requests, found, events) if follow else 0

    async def _look(self, requests: ReplayRequests, id_: str) -> None:
        wish, time = self.wish, rfc3339(now())
        with progress("looking", 0) as advance:
            for partition in requests.partitions:
                ends = await requests.ends(partition)
                self._asked.append(None)
                if ends is None:
                    continue
                self._begins, self._ends = min(self._begins, ends[0], key=place), max(self._ends, ends[1], key=place)
                last, wanted = min(wish.last, ends[1], key=place), 0
                async for page in requests.entries(partition, wish.after, last):
                    self.entries += len(page)
                    wanted += sum(map(wish.wants, page))
                    advance(len(page))
                if wanted:
                    self._asked[-1] = Asked(
                        id_, wish.after, last, wish.rate, wish.types, wish.subjects, wanted, time
                    )  # fmt: skip

    async def _ask(self, requests: ReplayRequests) -> list[Left]:
        found = []
        for partition, asked in enumerate(self._asked):
            if asked is None:
                continue
            if not await requests.ask(self.wish.destination, partition, asked):
                end_usage("replay", f"{MOST} replays to {self.wish.destination} are asked for already; see --list")
            self.id = asked.id
            found.append(Left(Listed(self.wish.destination, partition, asked.text(), asked), self.wish.wants))
        return found

    async def _follow(self, requests: ReplayRequests, found: list[Left], events: int) -> int:
        began, left, done = monotonic(), list(found), 0
        for one in found:
            one.unread, one.at = one.replay.asked.events, one.replay.asked.after
        said = ""
        with progress(f"replay {self.id}", events) as advance:
            while left:
                looks = [(one, await one.look(requests)) for one in left]
                left = [one for one, count in looks if count is not None]
                settled = events - sum(count or 0 for _, count in looks)
                advance(max(0, settled - done))
                done = max(done, settled)
                hint = await self._hint(requests, left, monotonic() - began)
                if hint and hint != said:
                    print(f"runbridge replay: {hint}", file=sys.stderr, flush=True)
                said = hint
                if left:
                    await nap(LOOK)
        outcomes = {await requests.outcome(one.replay) for one in found}
        outcome = "cancelled" if "cancelled" in outcomes else "done" if "done" in outcomes else "ended"
        self._print(f"replay {self.id} is {outcome}".replace("is ended", "has ended"), id=self.id, outcome=outcome)
        return 0

    async def _hint(self, requests: ReplayRequests, left: list[Left], lasted: float) -> str:
        """Why nothing happens, where that is so."""
        name = self.wish.destination
        if left and lasted > SOON and not any(one.taken_up for one in left):
            ahead = [one for one in await requests.listed() if one.destination == name and one.asked.id != self.id]
            if ahead:
                return f"{self.id} waits for another replay to {name}; see --list"
            return f"no bridge has taken {self.id} up; it is done when one runs with this destination"
        state = Health.decode(await requests.health(name)) if left else Health()
        if state.state == "active":
            return ""
        return f"{name} is {state.state} ({printable(state.reason)}): the replay waits until it is well"

    def _nothing(self) -> int:
        if self.entries:
            reason = f"none of the {self.entries} entries there is wanted"
        elif self._begins == _END:
            reason = "the log is empty"
        elif place(self._ends) <= place(self.wish.after):
            reason = f"nothing has come since: the newest entry is of {_time(self._ends)}"
        else:
            reason = f"the log has no entries there, only from {_time(self._begins)} to {_time(self._ends)}"
            if place(self.wish.last) < place(self._begins):
                reason += "; what is older has been trimmed"
        print(f"runbridge replay: {reason}", file=sys.stderr)
        return EX_NOTHING

    def _print(self, text: str, **fields: str | int) -> None:
        print(
            json.dumps({"destination": self.wish.destination, **fields}) if self.as_json else text, flush=True
        )  # fmt: skip


async def show(settings: Settings, *, as_json: bool) -> int:
    """Print the replays that are not done; the exit code."""
    async with opened(settings) as requests:
        for id_, found in _by_id(await requests.listed()).items():
            asked, name = found[0].asked, found[0].destination
            left, taken_up = await _left(settings, requests, found)
            events = sum(one.asked.events for one in found)
            state = "under way" if taken_up else "waiting"
            if as_json:
                print(json.dumps({
                    "id": id_, "destination": name, "state": state, "events": events, "left": left, "rate": asked.rate,
                    "types": asked.types, "subjects": asked.subjects, "time": asked.time,
                }))  # fmt: skip
                continue
            sent = "destination not configured" if left is None else f"{events - left} of {events}"
            only = " ".join([*(f"--type {glob}" for glob in asked.types), *(f"--subject {s}" for s in asked.subjects)])
            print(printable(f"{id_}  {name}  {state}  {sent}  {asked.rate:g}/s  {asked.time}  {only}").rstrip())
    return 0


async def cancel(settings: Settings, id_: str, *, as_json: bool) -> int:
    """End a replay; the exit code."""
    async with opened(settings) as requests:
        found = _by_id(await requests.listed()).get(id_, [])
        ended = [await requests.cancel(one, note=one.destination in settings.destinations) for one in found]
    if not any(ended):
        print(f"runbridge replay: no replay {id_!r} is under way or waiting; see --list", file=sys.stderr)
        return EX_NOTHING
    print(json.dumps({"id": id_, "outcome": "cancelled"}) if as_json else f"replay {id_} is cancelled")
    return 0


async def _left(settings: Settings, requests: ReplayRequests, found: list[Listed]) -> tuple[int | None, bool]:
    """How many events of a replay are not settled, where its destination is known, and whether it has begun."""
    destination = settings.destinations.get(found[0].destination)
    if destination is None:
        return None, False
    wants = filter_of(destination)
    total, begun = 0, False
    for one in found:
        more = one.asked.wanted()
        left = Left(one, lambda entry, more=more: more(entry) and wants(entry))  # type: ignore[misc]  # a default
        total += await left.look(requests) or 0
        begun |= left.taken_up
    return total, begun


def _by_id(listed: Iterable[Listed]) -> dict[str, list[Listed]]:
    found: dict[str, list[Listed]] = {}
    for one in listed:
        found.setdefault(one.asked.id, []).append(one)
    return found


def _time(id_: str) -> str:
    return rfc3339(datetime.fromtimestamp(place(id_)[0] / 1000, UTC))
