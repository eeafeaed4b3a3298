"""The dead letters of all destinations as an operator sees them: looks, asks for another try, drops. Delivers nothing.

Letters come in pages without their events, so that any number of them can be gone through. A letter that is tried again
stays where it is, with a mark in the destination's hash, until it is settled.
"""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from bridge.redis_log.keys import Keys
from bridge.redis_log.lanes import ENABLE
from bridge.redis_log.link import Argument, Link, Reply, classify
from bridge.redis_log.partitions import Partitions
from bridge.redis_log.scripts import ASK, DROP, LETTERS

PAGE = 500
"""Letters of one round trip, to look at or to act on."""
FIRST, LAST = "-", "+"
"""The ends of a stream, as a page begins and ends."""
_NUMBER = re.compile(r"\d{1,9}").fullmatch


@dataclass(frozen=True, slots=True)
class Place:
    """Where a letter lies: its destination, the partition and its id in the stream there."""

    destination: str
    partition: int
    letter: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its event. `event` is that event's id, `entry` where it lies or lay in the log."""

    place: Place
    event: str
    type: str
    subject: str
    entry: str
    attempts: int
    status: int | None
    """The last answer's; None where there was none."""
    error: str
    time: str
    """When it was given up, RFC 3339."""
    retrying: bool
    """It has been asked for, and nothing has come of it yet."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of asking for letters or dropping them: `retrying` were left, being tried again; `gone` were gone."""

    done: int = 0
    retrying: int = 0
    gone: int = 0

    def __add__(self, other: "Done") -> "Done":
        return Done(self.done + other.done, self.retrying + other.retrying, self.gone + other.gone)


class DeadLetters(Partitions):
    """All partitions' letters, over connections of its own. Every coroutine raises LogUnavailable."""

    async def known(self, configured: Iterable[str]) -> list[str]:
        """The destinations there are: those configured, and others that the log has groups and letters of."""
        found = dict.fromkeys(configured)
        for keys, link in self._both():
            (groups,) = await link.pipeline([("XINFO", "GROUPS", keys.events)])
            names = [] if isinstance(groups, Exception) else [_fields(group)[b"name"] for group in groups]
            others = [text for name in names if (text := name.decode(errors="replace")) not in found]
            there = await link.pipeline([("EXISTS", keys.dead(name)) for name in others])
            found |= dict.fromkeys(name for name, exists in zip(others, there, strict=True) if exists)
        return list(found)

    async def exists(self, destination: str) -> bool:
        """Whether the log knows anything of such a destination, though nothing else names it."""
        for keys, link in self._both():
            if await link.call("EXISTS", keys.dead(destination), keys.destination(destination)):
                return True
        return False

    async def count(self, destination: str) -> int:
        """How many letters there are."""
        return sum([await link.call("XLEN", keys.dead(destination)) for keys, link in self._both()])

    async def pages(
        self, destination: str, partition: int, begin: str = FIRST, end: str = LAST, *, backwards: bool = False
    ) -> AsyncIterator[list[Letter]]:
        """Letters from `begin` to `end` (ids, FIRST or LAST), oldest first unless `backwards`; at most PAGE each."""
        keys, link = self._keys[partition], self._links[partition]
        while True:
            command, first, last = ("XREVRANGE", end, begin) if backwards else ("XRANGE", begin, end)
            found = await link.script(
                LETTERS, keys.destination(destination), keys.dead(destination), command, first, last, PAGE
            )
            letters = [_letter(destination, partition, one) for one in found]
            if letters:
                yield letters
            if len(letters) < PAGE:
                return
            following = f"({letters[-1].place.letter}"
            begin, end = (begin, following) if backwards else (following, end)

    async def whole(self, place: Place) -> dict[str, bytes]:
        """All fields of a letter as they are stored; none where it is gone."""
        keys, link = self._keys[place.partition], self._links[place.partition]
        found = await link.call("XRANGE", keys.dead(place.destination), place.letter, place.letter)
        return {name.decode(errors="replace"): value for name, value in _fields(found[0][1]).items()} if found else {}

    async def retry(self, places: Sequence[Place]) -> Done:
        """Ask for letters of one destination and partition to be tried again, in this order; at most PAGE.

        Whoever delivers does so within a second or two, or at its next start.
        """
        keys, link, name = *self._of(places[0]), places[0].destination
        return Done(*await link.script(
            ASK, keys.destination(name), keys.dead(name), keys.requests(name), keys.requests(), name, *_ids(places)
        ))  # fmt: skip

    async def drop(self, places: Sequence[Place], *, force: bool = False) -> Done:
        """Remove letters of one destination and partition for good, at most PAGE; `force`: also those tried again."""
        keys, link, name = *self._of(places[0]), places[0].destination
        return Done(*await link.script(DROP, keys.destination(name), keys.dead(name), int(force), *_ids(places)))

    async def waiting(self, places: Sequence[Place]) -> list[Place]:
        """Those of some letters of one destination and partition, at most PAGE, that are still tried again."""
        keys, link = self._of(places[0])
        marks = [f"again:{place.letter}" for place in places]
        found = await link.call("HMGET", keys.destination(places[0].destination), *marks)
        return [place for place, mark in zip(places, found, strict=True) if mark is not None]

    async def newest(self, destination: str, partition: int) -> str:
        """The id of the last letter there was; "0-0" before the first."""
        keys, link = self._keys[partition], self._links[partition]
        (stream,) = await link.pipeline([("XINFO", "STREAM", keys.dead(destination))])
        if isinstance(stream, Exception):
            return "0-0"
        return bytes(_fields(stream)[b"last-generated-id"]).decode()

    async def enable(self, destination: str) -> None:
        """Ask for a disabled destination to be delivered to again; asked twice it is done once."""
        keys, link = self._keys[0], self._links[0]
        commands: list[Sequence[Argument]] = [
            ("MULTI",), ("LREM", keys.requests(destination), 0, ENABLE), ("RPUSH", keys.requests(destination), ENABLE),
            ("SADD", keys.requests(), destination), ("EXEC",),
        ]  # fmt: skip
        for reply in await link.pipeline(commands):
            if isinstance(reply, Exception):
                raise classify(reply) from reply

    def _of(self, place: Place) -> tuple[Keys, Link]:
        return self._keys[place.partition], self._links[place.partition]


def _ids(places: Iterable[Place]) -> list[str]:
    return [place.letter for place in places]


def _fields(flat: list[Reply]) -> dict[bytes, Reply]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _letter(destination: str, partition: int, found: list[bytes]) -> Letter:
    id_, mark, event, type_, subject, entry, attempts, status, error, time = (
        part.decode(errors="replace") for part in found
    )
    return Letter(
        Place(destination, partition, id_), event, type_, subject, entry,
        int(attempts) if _NUMBER(attempts) else 0, int(status) if _NUMBER(status) else None, error, time, bool(mark),
    )  # fmt: skip
