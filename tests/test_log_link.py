"""A Redis that refuses, loses an answer or goes away: waited out, shown in readiness, and then everything once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from proxy import Answers, Proxy
from running_log import RESOURCE, Running, batch, ids, running_log, source_hash, store
from servers import RedisServer, free_port
from waiting import wait_until

from bridge.errors import LogUnavailable
from bridge.event import Batch, Parked, State
from bridge.facts import LogBlocked, LogRestored
from bridge.redis_log import Keys, Server
from bridge.redis_log.link import Link
from bridge.redis_log.writer import Writer

KEYS = Keys("bridge", 0)
StartServer = Callable[..., RedisServer]


@asynccontextmanager
async def a_log_with_one_event(url: str, prefix: str = "bridge") -> AsyncIterator[tuple[Running, Writer]]:
    """A log that already holds the event `first`."""
    async with running_log(url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("first", cursor="c0"))
        yield running, writer


def dump(server: RedisServer, keys: Keys = KEYS) -> list[object]:
    """Everything that an append writes."""
    return [
        server.call("XRANGE", keys.events, "-", "+"), server.call("XRANGE", keys.parked, "-", "+"),
        server.call("HGETALL", keys.source("s")), server.call("LRANGE", keys.recent("s"), 0, -1),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """A state in which Redis takes no writes: how it comes, how it goes, and Redis' word for it."""

    code: str
    begin: Callable[[RedisServer], object]
    end: Callable[[RedisServer], object]


def _disk_fails(server: RedisServer) -> None:
    (server.directory / "dump.rdb").mkdir()  # the snapshot's name is taken by a directory
    server.call("CONFIG", "SET", "save", "3600 100000")
    server.call("DEBUG", "SLEEP", "0")
    assert _saved(server) == "err"


def _disk_works(server: RedisServer) -> None:
    (server.directory / "dump.rdb").rmdir()
    assert _saved(server) == "ok"


def _saved(server: RedisServer) -> str:
    try:
        server.call("SAVE")
    except Exception:  # noqa: BLE001  # SAVE says ERR without a reason
        server.call("BGSAVE")
    return str(server.call("INFO", "persistence")["rdb_last_bgsave_status"])


REFUSALS = [
    Refusal(
        "OOM",
        lambda server: server.call("CONFIG", "SET", "maxmemory", "1"),
        lambda server: server.call("CONFIG", "SET", "maxmemory", "0"),
    ),
    Refusal(
        "READONLY",
        lambda server: server.call("REPLICAOF", "127.0.0.1", free_port()),
        lambda server: server.call("REPLICAOF", "NO", "ONE"),
    ),
    Refusal("MISCONF", _disk_fails, _disk_works),
    Refusal(
        "NOREPLICAS",
        lambda server: server.call("CONFIG", "SET", "min-replicas-to-write", "1"),
        lambda server: server.call("CONFIG", "SET", "min-replicas-to-write", "0"),
    ),
    Refusal(
        "NOPERM",
        lambda server: server.call("ACL", "SETUSER", "default", "-xadd"),
        lambda server: server.call("ACL", "SETUSER", "default", "+xadd"),
    ),
    Refusal(
        "WRONGTYPE",
        lambda server: server.call("RENAME", KEYS.recent("s"), KEYS.recent("kept"))
        and server.call("SET", KEYS.recent("s"), "text"),
        lambda server: server.call("RENAME", KEYS.recent("kept"), KEYS.recent("s")),
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
async def test_a_refusal_is_waited_out(start_server: StartServer, flavour: str, refusal: Refusal) -> None:
    """While Redis refuses writes nothing is written and readiness says why; afterwards everything is there once."""
    server = start_server(flavour)
    async with a_log_with_one_event(server.url) as (running, writer):
        refusal.begin(server)
        await writer.add(Batch([*batch("a").records, Parked("broken", b"?")], "c1", State.FAILED, "why"))
        await writer.add(batch("b", cursor="c2", state=State.RUNNING))
        await wait_until(lambda: running.log.blocked == refusal.code, "readiness says why")
        assert ids(server, KEYS) == ["first"]
        assert source_hash(server, KEYS)["cursor"] == "c0"
        assert server.call("XLEN", KEYS.parked) == 0
        refusal.end(server)
        await writer.stored()
        await wait_until(lambda: running.log.blocked is None, "readiness comes back")
        await store(writer, batch("c"))
        assert [fact.code for fact in running.of(LogBlocked)] == [refusal.code], "shown once, not at every attempt"
        assert len(running.of(LogRestored)) == 2, "after the start, and now"
    assert ids(server, KEYS) == ["first", "a", "b", "c"]
    assert server.call("XLEN", KEYS.parked) == 1
    assert source_hash(server, KEYS)["sequence"] == "5"
