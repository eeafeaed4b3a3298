"""Replays as an operator sees them: what is in a range of the log, asking for it again, progress, cancelling.

Sends nothing to anybody: that is done by a bridge that runs (`bridge.replay`), which reads the requests.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import msgspec

from bridge.clock import now, rfc3339
from bridge.delivery.filter import Filter
from bridge.event import Entry
from bridge.redis_log.commit import accept
from bridge.redis_log.entries import entry_of
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Command, Link, classify
from bridge.redis_log.partitions import Partitions
from bridge.redis_log.scripts import ASK_REPLAY, CLOSE_REPLAY

MOST = 16
"""Replays of one destination that may be asked for at once."""
PAGE = 500
"""Entries, or waiting lanes, of one round trip."""
REPLAY, CANCEL = "replay ", "cancel "
"""What requests begin with: for a replay, and the note for a running bridge that one was cancelled."""
_LAST_NUMBER = 2**64 - 1

Id = Annotated[str, msgspec.Meta(pattern=r"^\d{1,20}-\d{1,20}$")]
Globs = Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)]


class Asked(msgspec.Struct, frozen=True):
    """A replay in one partition: entries after the id `after`, up to and with the id `last`.

    Of those, what the destination wants and matches one of the `types` and one of the `subjects` (globs; all where
    empty), at most `rate` requests a second. `events` is how many there were when it was asked for, at the time `time`.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-z]{1,32}$")]
    after: Id
    last: Id
    rate: Annotated[float, msgspec.Meta(gt=0, le=10_000)]
    types: Globs = ()
    subjects: Globs = ()
    events: int = 0
    time: str = ""

    def name(self, destination: str) -> str:
        """What it is called in the log. No destination's name holds a tilde."""
        return f"{destination}~{self.id}"

    def wanted(self) -> Filter:
        """What is wanted of the range, besides what the destination wants. Raises FilterError."""
        return Filter(self.types, self.subjects)

    def text(self) -> str:
        """The request."""
        return REPLAY + msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> Self | None:
        """A request; None for one that is something else. Never raises."""
        try:
            return msgspec.json.decode(text.removeprefix(REPLAY), type=cls) if text.startswith(REPLAY) else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class Listed:
    """A replay that was asked for and is not done yet, in one partition."""

    destination: str
    partition: int
    text: str
    asked: Asked


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a replay is in one partition: `waiting` entries up to `position` are not settled yet."""

    position: str
    waiting: int
    taken_up: bool
    """A bridge has begun with it."""


def place(id_: str) -> tuple[int, int]:
    """Where an id of the log lies."""
    milliseconds, _, number = id_.partition("-")
    return int(milliseconds), int(number)


def before(id_: str) -> str:
    """The id right before this one; the first there is for itself."""
    milliseconds, number = place(id_)
    if number:
        return f"{milliseconds}-{number - 1}"
    return f"{milliseconds - 1}-{_LAST_NUMBER}" if milliseconds else "0-0"


def closing(
    keys: Keys, destination: str, asked: Asked, text: str, outcome: str, *, owner: str = "", note: bool = False
) -> Command:  # fmt: skip
    """The arguments of `lua/close_replay.lua`."""
    name = asked.name(destination)
    return (
        keys.events, keys.destination(name), keys.held(name), keys.due(name), keys.oldest(name), keys.lanes_of(name),
        keys.requests(destination), keys.requests(), keys.destination(destination),
        owner, name, keys.lane(name), destination, text, asked.last, f"{asked.id} {outcome} {rfc3339(now())}",
        CANCEL + asked.id, "1" if note else "",
    )  # fmt: skip


def unlisting(keys: Keys, destination: str, text: str) -> Command:
    """The arguments of `lua/close_replay.lua` for a request that is no replay."""
    nothing = keys.destination("~")
    return (
        keys.events, *(nothing,) * 5, keys.requests(destination), keys.requests(), keys.destination(destination),
        "", "", keys.lane("~"), destination, text, "", "", text, "",
    )  # fmt: skip


class ReplayRequests(Partitions):
    """All partitions, over connections of its own. Every coroutine raises LogUnavailable."""

    async def ends(self, partition: int) -> tuple[str, str] | None:
        """The ids of the first and the last entry there are; None for an empty log."""
        events = self._keys[partition].events
        replies = await self._links[partition].pipeline(
            [(command, events, *ends, "COUNT", 1) for command, ends in (("XRANGE", "-+"), ("XREVRANGE", "+-"))]
        )
        first, last = (_checked(reply) for reply in replies)
        return (first[0][0].decode(), last[0][0].decode()) if first and last else None

    async def entries(self, partition: int, after: str, last: str) -> AsyncIterator[list[Entry]]:
        """The entries after one id up to and with another, in pages."""
        while place(after) < place(last):
            found = await self._links[partition].call(
                "XRANGE", self._keys[partition].events, f"({after}", last, "COUNT", PAGE
            )
            if not found:
                return
            yield [entry_of(id_, fields) for id_, fields in found]
            after = found[-1][0].decode()

    async def ask(self, destination: str, partition: int, asked: Asked) -> bool:
        """Ask for a replay; False where MOST are asked for already. A running bridge begins within a second or two."""
        keys = self._keys[partition]
        return bool(await self._links[partition].script(
            ASK_REPLAY, keys.events, keys.requests(destination), keys.requests(), destination, asked.name(destination),
            asked.after, asked.text(), MOST,
        ))  # fmt: skip

    async def listed(self) -> list[Listed]:
        """All that were asked for and are not done, of destinations that are configured no more among them."""
        found = []
        for partition, (keys, link) in enumerate(self._both()):
            for name in sorted(await link.call("SMEMBERS", keys.requests())):
                destination = name.decode(errors="replace")
                for text in await link.call("LRANGE", keys.requests(destination), 0, -1):
                    decoded = text.decode(errors="replace")
                    asked = Asked.read(decoded)
                    if asked is not None:
                        found.append(Listed(destination, partition, decoded, asked))
        return found

    async def standing(self, replay: Listed) -> Standing | None:
        """How far it is; None once it is off the list."""
        keys, link, name = self._of(replay)
        listed, groups, held, owned = await link.pipeline([
            ("LPOS", keys.requests(replay.destination), replay.text), ("XINFO", "GROUPS", keys.events),
            ("HGETALL", keys.held(name)), ("EXISTS", keys.destination(name)),
        ])  # fmt: skip
        if _checked(listed) is None:
            return None
        for flat in _checked(groups):
            group = dict(zip(flat[::2], flat[1::2], strict=True))
            if group[b"name"].decode(errors="replace") == name:
                waiting = group[b"pending"] + await self._waiting(link, keys.lane(name), _checked(held))
                return Standing(group[b"last-delivered-id"].decode(), waiting, bool(owned))
        return Standing(replay.asked.after, 0, taken_up=False)

    async def outcome(self, replay: Listed) -> str:
        """How it ended, "done" or "cancelled"; "" where another one has ended since."""
        keys, link, _ = self._of(replay)
        noted = await link.call("HGET", keys.destination(replay.destination), "replayed")
        id_, _, rest = (noted or b"").decode(errors="replace").partition(" ")
        return rest.partition(" ")[0] if id_ == replay.asked.id else ""

    async def health(self, destination: str) -> bytes:
        """What is stored of the destination as a whole (`bridge.delivery.health.Standing`)."""
        return await self._links[0].call("HGET", self._keys[0].destination(destination), "standing") or b""

    async def cancel(self, replay: Listed, *, note: bool) -> bool:
        """End it here and now, with all its keys; False if it was done. `note`: a running bridge is told."""
        keys, link, _ = self._of(replay)
        (said,) = accept(
            await link.script(
                CLOSE_REPLAY, *closing(keys, replay.destination, replay.asked, replay.text, "cancelled", note=note)
            )
        )
        return bool(said == b"DONE")

    async def _waiting(self, link: Link, lane: str, held: Sequence[bytes]) -> int:
        waiting = 0
        for at in range(0, len(held), 2 * PAGE):
            names, values = held[at : at + 2 * PAGE : 2], held[at + 1 : at + 2 * PAGE : 2]
            lengths = await link.pipeline([("LLEN", lane.encode() + name) for name in names])
            waiting += sum(_checked(length) for length in lengths)
            waiting += sum(value.partition(b" ")[0].count(b",") + 1 for value in values)
        return waiting

    def _of(self, replay: Listed) -> tuple[Keys, Link, str]:
        keys, link = self._keys[replay.partition], self._links[replay.partition]
        return keys, link, replay.asked.name(replay.destination)


def _checked(reply: Any) -> Any:  # noqa: ANN401  # whatever Redis answers
    if isinstance(reply, Exception):
        raise classify(reply) from reply
    return reply
