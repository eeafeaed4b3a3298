"""What was added or paused while running, and the commands that came through Redis. Judges none of it.

All of it is in partition 0, and changes in one step with the command's leaving its stream and its answer in the log.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bridge.event import Entry
from bridge.redis_log.commit import accept
from bridge.redis_log.keys import Keys, partition_of
from bridge.redis_log.link import Argument, Link, Server, classify
from bridge.redis_log.partitions import Partitions
from bridge.redis_log.scripts import DEFINE, FORGET_DESTINATION

BLOCK_MS = 3000
"""How long a read waits for a command; below the time-out of an answer."""
MOST = 16
"""Commands of one read."""


class Version(NamedTuple):
    """Which definitions: a number that only grows, and a mark that nobody else makes."""

    revision: int = 0
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """The definitions by field (`sources <id>`, `destinations <id>`, `paused sources <id>`, ...), and their version."""

    version: Version
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Received:
    """A command as it lies in its stream; of `doubled` fields there is more than one, of which the last is kept."""

    entry: str
    fields: Mapping[str, str]
    doubled: tuple[str, ...] = ()


class Definitions(Partitions):
    """Over connections of its own. Every coroutine raises LogUnavailable."""

    def __init__(self, server: Server, keys: Sequence[Keys]) -> None:
        super().__init__(server, keys)
        self._first, self._link = keys[0], self._links[0]
        self._blocking = Link(server, self._first.events)
        """Where commands are waited for; nothing else waits behind that."""
        self._generation = 0
        self._after = "0"

    async def close(self) -> None:
        """Close the connections."""
        await super().close()
        await self._blocking.close()

    async def load(self) -> Stored:
        """All that is stored."""
        flat = await self._link.call("HGETALL", self._first.definitions)
        fields = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
        return Stored(Version(int(fields.pop("revision", "0")), fields.pop("mark", "")), fields)

    async def version(self) -> Version:
        """Of what is stored now."""
        revision, mark = await self._link.call("HMGET", self._first.definitions, "revision", "mark")
        return Version(int(revision or 0), (mark or b"").decode())

    async def store(
        self, after: Version, changes: Mapping[str, str], *, above: int = 0, command: str = "",
        answer: Entry | None = None,
    ) -> tuple[Version, bool]:  # fmt: skip
        """Change fields ("" removes one), continuing from `after`; the version after it, its revision above `above`.

        `command` is the entry that is done with this, `answer` what goes into the log. False where the command is
        gone: it was done already, and this changes nothing. Raises Moved where somebody else has changed something.
        """
        args: list[Argument] = [
            after.revision, after.mark, secrets.token_hex(8), max(above, after.revision), command, len(changes)
        ]  # fmt: skip
        for name, value in changes.items():
            args += (name, value)
        if answer is not None:
            args += (answer.id, answer.type, answer.subject, answer.event)
        reply = await self._link.script(
            DEFINE, self._first.definitions, self._first.commands, self._first.events, *args
        )
        revision, mark = reply[1:] if reply[0] == b"GONE" else accept(reply)
        return Version(int(revision), mark.decode()), reply[0] == b"OK"

    async def commands(self) -> list[Received]:
        """The next commands, in their order; waits for one for some seconds. Each stays until it is stored as done."""
        if self._generation != self._blocking.generation:
            self._after = "0"  # a new connection may lead to another copy: what is there was not done
        reply = await self._blocking.call(
            "XREAD", "COUNT", MOST, "BLOCK", BLOCK_MS, "STREAMS", self._first.commands, self._after
        )  # fmt: skip
        if self._generation != self._blocking.generation:
            self._generation, self._after = self._blocking.generation, "0"
            return []  # and read from the beginning
        found = [_received(*one) for one in reply[0][1]] if reply else []
        if found:
            self._after = found[-1].entry
        return found

    def again(self) -> None:
        """Read the commands from the first one on: something came in between."""
        self._after = "0"

    async def idle(self, destination: str) -> bool:
        """Whether it has looked at all there is, and nothing waits there."""
        for keys, link in self._both():
            held, groups = await link.pipeline([("HLEN", keys.held(destination)), ("XINFO", "GROUPS", keys.events)])
            if isinstance(held, Exception):
                raise classify(held) from held
            if isinstance(groups, Exception):  # there is no such stream yet
                groups = ()
            named = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in groups)
            group = next((one for one in named if one[b"name"] == destination.encode()), {b"pending": 0, b"lag": 0})
            if held or group[b"pending"] or group[b"lag"] != 0:
                return False
        return True

    async def forget_source(self, source: str) -> None:
        """Its cursor and all that is remembered of it."""
        partition = partition_of(source, len(self._keys))
        keys = self._keys[partition]
        await self._links[partition].call("DEL", keys.source(source), keys.recent(source))

    async def forget_destination(self, destination: str) -> None:
        """Its place in the log and what waits there, and its replays'; its dead letters stay."""
        for keys, link in self._both():
            (groups,) = await link.pipeline([("XINFO", "GROUPS", keys.events)])
            names = [] if isinstance(groups, Exception) else [_named(flat) for flat in groups]
            for name in (destination, *(name for name in names if name.startswith(f"{destination}~"))):
                await link.script(
                    FORGET_DESTINATION, keys.events, keys.destination(name), keys.held(name), keys.due(name),
                    keys.oldest(name), keys.lanes_of(name), keys.requests(name), keys.requests(), name,
                    keys.lane(name),
                )  # fmt: skip


def _named(flat: list[Any]) -> str:
    """The name of a group, in an answer of XINFO GROUPS."""
    found: bytes = dict(zip(flat[::2], flat[1::2], strict=True))[b"name"]
    return found.decode(errors="replace")


def _received(entry: bytes, flat: list[bytes]) -> Received:
    texts = [part.decode(errors="replace") for part in flat]
    names = texts[::2]
    doubled = tuple(sorted({name for name in names if names.count(name) > 1})) if len(set(names)) < len(names) else ()
    return Received(entry.decode(), dict(zip(names, texts[1::2], strict=True)), doubled)
