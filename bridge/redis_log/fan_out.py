"""The two sides of a fan-out to streams: the log it follows, and the Redis that has the streams and the position.

The position is compared and stored in the same step as the events (`lua/fan_out.lua`), so a batch is there once,
whatever is sent again; the log's consumer group of the destination is moved behind it, for trimming and for readers.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bridge.clock import now, rfc3339
from bridge.errors import Fenced, LogUnavailable, Moved
from bridge.event import Entry
from bridge.fan_out import Addressed, Chunk, Opened, Refused
from bridge.redis_log.commit import own_is_overtaken
from bridge.redis_log.entries import entry_of
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Argument, Link, Script, Server, classify
from bridge.redis_log.scripts import ADVANCE, BURY, FAN_OUT, FAN_OUT_OPEN, FOLLOW_OPEN

MOST = 500
"""Entries of a batch."""
FIRST = 32
"""Entries of the first read, of which each next one is at most the double: no read is too large for its time-out."""
MOST_BYTES = 4 << 20
"""Bytes of a batch's events, the last of which may go over it."""
MAX_DEAD = 1_000_000
"""Dead letters kept per destination and partition; the oldest go first."""


class FollowedLog:
    """One partition of the log as one fan-out follows it (`bridge.fan_out.Followed`), over a link that may be shared.

    `start` is where a new destination begins: "start", "now" or ms since 1970.
    """

    def __init__(
        self, link: Link, keys: Keys, destination: str, *, instance: str, start: str | int,
        listen: Callable[[Callable[[], None]], None],
    ) -> None:  # fmt: skip
        self._link = link
        self._keys = keys
        self._destination = destination
        self._instance = instance
        self._start = {"now": "$", "start": "0"}.get(str(start)) or f"{max(int(start) - 1, 0)}-{2**64 - 1}"
        self._owner = ""
        self._epoch = 0
        self._generation = 0
        self._most = FIRST
        self._confirmed = ""
        self._passed: int | None = None
        """How many entries the log had up to `_confirmed` since its beginning, where that is known."""
        self._next: tuple[str, int | None] = ("", None)
        """The last entry that was read, and how many the log had up to it since its beginning, where that is known."""
        self.listen = listen

    @property
    def begun(self) -> bool:
        """Whether the destination has its place in the log."""
        return self._epoch > 0

    async def open(self, seen: int) -> Opened:
        """Take over the fan-out (`bridge.fan_out.Followed`)."""
        reply = await self._link.script(
            FOLLOW_OPEN, self._keys.destination(self._destination), self._keys.events,
            self._instance, self._epoch, self._destination, self._start, seen,
        )  # fmt: skip
        owner, epoch, begins, confirmed, passed, buried = _accept(reply)
        self._owner, self._epoch, self._generation = owner.decode(), int(epoch), self._link.generation
        self._confirmed, self._passed, self._most = confirmed.decode(), passed, FIRST
        self._next = ("", None)  # what was counted before may have been another copy of the log
        return Opened(self._owner, begins.decode(), self._confirmed, frozenset(buried.decode().split()))

    async def follow(self, position: str) -> Chunk:
        """What comes after `position` (`bridge.fan_out.Followed`)."""
        if position != self._confirmed:
            await self._advance(position)
        end, added, length, entries = await self._read(position)
        if self._passed is None and len(entries) < self._most:
            self._passed = added - len(entries)  # all that follows was read, so what is before it can be counted
        entries = self._fitting(entries)
        if not entries:
            return Chunk(entries, end)
        missing = 0 if self._passed is None else max(0, added - length - self._passed)
        count = None if self._passed is None else self._passed + missing + len(entries)
        self._next = (entries[-1].entry, count)
        return Chunk(entries, end, missing)

    async def bury(self, letters: Sequence[tuple[Entry, str]], buried: Sequence[str]) -> None:
        """Keep dead letters (`bridge.fan_out.Followed`)."""
        fields: list[Argument] = []
        for entry, error in letters:
            fields += (entry.id, entry.type, entry.subject, entry.event, entry.entry, error)
        name = self._destination
        await self._call(
            BURY, self._keys.destination(name), self._keys.dead(name), self._owner, " ".join(buried), MAX_DEAD,
            rfc3339(now()), *fields,
        )  # fmt: skip

    async def _advance(self, position: str) -> None:
        last, count = self._next
        passed = count if position == last else None
        name = self._destination
        await self._call(
            ADVANCE, self._keys.destination(name), self._keys.events, self._owner, name, position,
            "" if passed is None else passed,
        )  # fmt: skip
        self._confirmed, self._passed = position, passed

    async def _read(self, position: str) -> tuple[str, int, int, list[Entry]]:
        """The log's last id, the entries ever added and there now, and the next ones.

        A transaction, not a script: that would copy every entry twice more, and takes three times as long (measured).
        """
        events = self._keys.events
        *queued, read = await self._link.pipeline([
            ("MULTI",), ("XINFO", "STREAM", events), ("XRANGE", events, f"({position}", "+", "COUNT", self._most),
            ("EXEC",),
        ])  # fmt: skip
        for reply in (*queued, *([read] if isinstance(read, Exception) else read)):
            if isinstance(reply, Exception):
                raise classify(reply) from reply
        if self._generation != self._link.generation:
            raise LogUnavailable("CONNECTION", "a new connection: the log may be an older copy")
        info, found = read
        at = dict(zip(info[::2], info[1::2], strict=True))
        entries = [entry_of(*one) for one in found]
        return at[b"last-generated-id"].decode(), at[b"entries-added"], at[b"length"], entries

    def _fitting(self, entries: list[Entry]) -> list[Entry]:
        """As many as a batch may hold; sets how many are read next, by the largest of these."""
        size = largest = 0
        for at, entry in enumerate(entries):
            size += len(entry.event)
            largest = max(largest, len(entry.event))
            if size >= MOST_BYTES:
                entries = entries[: at + 1]
                break
        if entries:
            self._most = max(1, min(MOST, 2 * self._most, MOST_BYTES // (largest + 1)))
        return entries

    async def _call(self, script: Script, *args: Argument) -> list[Any]:
        try:
            return _accept(await self._link.script(script, *args))
        except Fenced as fenced:
            raise own_is_overtaken(fenced, self._instance) from None


class Streams:
    """The streams of one fan-out and its position, at their Redis (`bridge.fan_out.Target`); a link of its own.

    `position` is the key of the position (`position_key`), `most` how many entries a stream keeps at least (None: all),
    `like` a stream such as every event's may be: where the user may not write that one either, all of it waits.
    """

    def __init__(self, server: Server, position: str, *, most: int | None, like: str) -> None:
        self._server = server
        self._link = Link(server, position)
        self._key = position
        self._most = most or 0
        self._like = like
        self._owner = ""

    async def open(self, owner: str, begins: str) -> str:
        """Take the streams over (`bridge.fan_out.Target`)."""
        epoch = owner.rpartition(":")[2]
        (position,) = await self._call(FAN_OUT_OPEN, owner, epoch, begins, rfc3339(now()))
        self._owner = owner
        return str(position.decode())

    async def write(self, after: str, to: str, batch: Sequence[Addressed]) -> Refused | None:
        """Add the events and move the position, in one step (`bridge.fan_out.Target`)."""
        args: list[Argument] = [self._owner, after, to, self._most, self._like, rfc3339(now())]
        for entry, stream in batch:
            args += (entry.entry, stream, entry.id, entry.type, entry.subject, entry.event)
        try:
            outcome = await self._call(FAN_OUT, *args)
        except Fenced as fenced:
            raise own_is_overtaken(fenced, self._owner.rpartition(":")[0]) from None
        return Refused(int(outcome[0]), outcome[1].decode(errors="replace")) if outcome else None

    async def check(self, position: str) -> None:
        """See whether the target still stands there (`bridge.fan_out.Target`)."""
        await self.write(position, position, ())

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    async def _call(self, script: Script, *args: Argument) -> list[Any]:
        try:
            return _accept(await self._link.script(script, self._key, *args))
        except LogUnavailable as error:
            said = str(error).removeprefix(f"{error.code}: ")
            raise LogUnavailable(error.code, f"the target {self._server}: {said}") from error


def position_key(prefix: str, partition: int, destination: str, tag: str = "") -> str:
    """Hash, at the target: owner, epoch, and the id of the last entry that its streams have.

    `tag` is the hash tag of its streams (`Template.tag`), so that on a cluster they are in one slot.
    """
    return f"{prefix}:{{{tag or partition}}}:position:{partition}:{destination}"


def _accept(reply: list[Any]) -> list[Any]:
    status, *rest = reply
    if status == b"MOVED":
        raise Moved(0, rest[0].decode())
    if status == b"FENCED":
        raise Fenced(rest[0].decode())
    if status == b"STOPPED":
        said = rest[1].decode(errors="replace")
        raise LogUnavailable(said.partition(" ")[0], said.partition(" ")[2])
    return rest
