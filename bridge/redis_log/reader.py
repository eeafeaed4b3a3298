"""Reads the log as any service may: from a point on, waiting for more. Refuses to write."""

from collections.abc import Sequence

from bridge.errors import LogUnavailable
from bridge.event import Entry
from bridge.redis_log.entries import entry_of
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Link, Server

BLOCK_MS = 1000
"""How long one read waits for more: less than the socket time-out, so that it is never taken for a dead server."""


class Reader:
    """Follows one partition of the log, from `after` on ("0": all of it, "$": only what is new)."""

    def __init__(self, server: Server, keys: Keys, after: str) -> None:
        self._link = Link(server, keys.events)
        self._keys = keys
        self._after = after

    async def open(self) -> None:
        """Connect, and make the end of this moment of "$". Raises LogUnavailable."""
        newest = await self._link.call("XREVRANGE", self._keys.events, "+", "-", "COUNT", 1)
        if self._after == "$":
            self._after = newest[0][0].decode() if newest else "0-0"

    async def read(self, count: int = 500) -> list[Entry]:
        """The next entries, at most `count`; none if none came within a second. Raises LogUnavailable."""
        if self._after == "$":
            await self.open()
        reply = await self._link.call(
            "XREAD", "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS", self._keys.events, self._after
        )
        entries = [entry_of(id_, fields) for id_, fields in reply[0][1]] if reply else []
        if entries:
            self._after = entries[-1].entry
        return entries

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()


class Lookup:
    """Single entries by their ids, over a connection of its own for each partition."""

    def __init__(self, server: Server, keys: Sequence[Keys]) -> None:
        self._links = [(Link(server, one.events), one.events) for one in keys]

    async def entry(self, partition: int, id_: str) -> Entry | None:
        """The entry, or None where the log has none of this id, any more or at all. Raises LogUnavailable."""
        if not 0 <= partition < len(self._links):
            return None
        link, events = self._links[partition]
        found = await link.call("XRANGE", events, id_, id_)
        return entry_of(*found[0]) if found else None

    async def close(self) -> None:
        """Close the connections."""
        for link, _ in self._links:
            await link.close()


async def ping(server: Server, keys: Keys) -> str:
    """The server's version, after showing that it runs scripts over the log's keys. Raises LogUnavailable."""
    link = Link(server, keys.events)
    try:
        info = await link.call("INFO", "server")
        fields = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        version = str(fields.get("valkey_version") or fields.get("redis_version", "?"))
        if int((fields.get("redis_version") or "0").split(".")[0]) < 7:
            raise LogUnavailable("VERSION", f"this server is {version}; runbridge needs Redis 7.0 or Valkey 7.2")
        probe = "return redis.acl_check_cmd('XADD', KEYS[1], '*', 'id', '') and 1 or 0"
        if not await link.call("EVAL", probe, 1, keys.events):
            raise LogUnavailable("NOPERM", f"this user may not write {keys.events}")
        return version
    finally:
        await link.close()
