"""A Redis that refuses, loses an answer or goes away: waited out, shown in readiness, and then everything once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from proxy import Answers, Proxy
from redis.exceptions import ResponseError
from running_log import RESOURCE, Running, batch, ids, running_log, source_hash, store
from servers import RedisServer, free_port
from waiting import wait_blocking, wait_until

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


def everything(server: RedisServer) -> list[object]:
    """All that an append writes."""
    return [
        server.call("XRANGE", KEYS.events, "-", "+"), server.call("XRANGE", KEYS.parked, "-", "+"),
        server.call("HGETALL", KEYS.source("s")), server.call("LRANGE", KEYS.recent("s"), 0, -1),
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
    _snapshot(server, "err")


def _disk_works(server: RedisServer) -> None:
    (server.directory / "dump.rdb").rmdir()
    _snapshot(server, "ok")
    server.call("CONFIG", "SET", "save", "")


def _snapshot(server: RedisServer, outcome: str) -> None:
    server.call("BGSAVE")
    wait_blocking(
        lambda: server.call("INFO", "persistence")["rdb_last_bgsave_status"] == outcome, f"a snapshot ends {outcome}"
    )


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
        lambda server: (
            server.call("RENAME", KEYS.recent("s"), KEYS.recent("kept"))
            and server.call("SET", KEYS.recent("s"), "text")
        ),
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
        assert len(running.of(LogRestored)) == 1
    assert ids(server, KEYS) == ["first", "a", "b", "c"]
    assert server.call("XLEN", KEYS.parked) == 1
    assert source_hash(server, KEYS)["sequence"] == "5"


@pytest.mark.parametrize("flavour", ["valkey"])
async def test_only_a_write_shows_that_writes_are_taken_again(start_server: StartServer, flavour: str) -> None:
    """A server that answers, but refuses writes, stays unready while nobody writes; the next write says it is over."""
    server = start_server(flavour)
    async with a_log_with_one_event(server.url) as (running, writer):
        server.call("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(LogUnavailable):
            await writer.arm(armed=True)
        server.call("CONFIG", "RESETSTAT")
        await wait_until(lambda: "cmdstat_ping" in server.call("INFO", "commandstats"), "the server answers a PING")
        await wait_until(lambda: "cmdstat_hmget" in server.call("INFO", "commandstats"), "and what follows it")
        assert running.log.blocked == "OOM"
        server.call("CONFIG", "SET", "maxmemory", "0")
        await writer.arm(armed=True)
        assert running.log.blocked is None


PERMISSIONS = ["xadd", "hset", "rpush", "lpop", "hmget", "type", "evalsha"]
KEYS_WRITTEN = [KEYS.events, KEYS.parked, KEYS.source("s"), KEYS.recent("s")]


async def test_a_user_without_one_permission_leaves_nothing_half_written(
    start_server: StartServer, flavour: str
) -> None:
    """Where one command or one key of the append is denied, nothing at all is written; granted, everything once."""
    server = start_server(flavour)
    server.call("ACL", "SETUSER", "bridge", "on", ">geheim", "~bridge:*", "+@all")
    denials = [(f"-{command}", f"+{command}") for command in PERMISSIONS]
    for denied in KEYS_WRITTEN:
        others = [f"~{key}" for key in KEYS_WRITTEN if key != denied]
        denials.append((" ".join(["resetkeys", *others]), "~bridge:*"))
    path = urlsplit(server.url).path
    async with running_log(f"unix://bridge@{path}", "bridge", password="geheim", window=1) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("first"), batch("second"))
        for number, (deny, allow) in enumerate(denials):
            server.call("ACL", "SETUSER", "bridge", *deny.split())
            before = everything(server)
            await writer.add(Batch([*batch(f"e{number}").records, Parked("broken", b"?")], f"c{number}"))
            await wait_until(lambda: running.log.blocked in ("NOPERM", "ERR"), f"refused by {deny}")
            assert everything(server) == before, deny
            server.call("ACL", "SETUSER", "bridge", *allow.split())
            await writer.stored()
    assert ids(server, KEYS) == ["first", "second", *(f"e{number}" for number in range(len(denials)))]
    assert server.call("XLEN", KEYS.parked) == len(denials)


async def test_one_source_of_the_wrong_type_stops_no_other(server: RedisServer, prefix: str) -> None:
    """A key that holds something else stops its own source only."""
    keys = Keys(prefix, 0)
    async with a_log_with_one_event(server.url, prefix) as (running, writer):
        other = await running.log.open("other", RESOURCE)
        server.call("RENAME", keys.recent("s"), keys.recent("kept"))
        server.call("SET", keys.recent("s"), "text")
        await writer.add(batch("a"))
        for number in range(3):
            await store(other, batch(f"o{number}"))
        assert running.log.blocked == "WRONGTYPE"
        server.call("RENAME", keys.recent("kept"), keys.recent("s"))
        await writer.stored()
    assert ids(server, keys) == ["first", "o0", "o1", "o2", "a"]


async def test_a_loading_server_is_waited_for(start_server: StartServer, flavour: str) -> None:
    """A server that still reads its files is LOADING, not empty: the log goes on where it stood."""
    server = start_server(
        flavour, save="3600 100000", key_load_delay="8000", loading_process_events_interval_bytes="1024"
    )
    async with a_log_with_one_event(server.url) as (running, writer):
        for number in range(50):
            await running.log.open(f"s{number}", "x" * 1000)
        server.stop()
        server.start(ready=False)
        await writer.add(batch("a"))
        await wait_until(lambda: running.log.blocked == "LOADING", "readiness says why")
        await writer.stored()
        await store(writer, batch("b"))
    assert ids(server, KEYS) == ["first", "a", "b"]


def busy(server: RedisServer) -> bool:
    """True while a script holds the server."""
    try:
        return not server.call("PING")
    except ResponseError as error:
        return str(error).startswith("BUSY")


async def test_a_busy_server_is_waited_for(start_server: StartServer, flavour: str) -> None:
    """While another client's script holds the server, the log waits, and then appends once."""
    server = start_server(flavour, busy_reply_threshold="20")
    async with a_log_with_one_event(server.url) as (running, writer):
        _, endless = await asyncio.open_unix_connection(urlsplit(server.url).path)
        endless.write(b"EVAL 'while true do end' 0\r\n")
        await wait_until(lambda: busy(server), "the endless script runs")
        await writer.add(batch("a"))
        await wait_until(lambda: running.log.blocked == "BUSY", "readiness says why")
        server.call("SCRIPT", "KILL")
        await writer.stored()
        endless.close()
        await endless.wait_closed()
    assert ids(server, KEYS) == ["first", "a"]


async def test_a_server_that_is_killed_is_waited_for(start_server: StartServer, flavour: str) -> None:
    """After kill -9 of a Redis that keeps what it says nothing is lost, and nothing is there twice."""
    server = start_server(flavour, appendonly="yes", appendfsync="always")
    async with a_log_with_one_event(server.url) as (running, writer):
        for number in range(3):
            server.kill()
            await writer.add(batch(f"a{number}"))
            await wait_until(lambda: running.log.blocked == "CONNECTION", "readiness says why")
            server.start()
            await writer.stored()
            await store(writer, batch(f"b{number}"))
    assert ids(server, KEYS) == ["first", "a0", "b0", "a1", "b1", "a2", "b2"]


async def test_opening_waits_for_redis(start_server: StartServer, flavour: str) -> None:
    """A log may be opened before its Redis is there; readiness says what is missing."""
    server = start_server(flavour)
    server.stop()
    async with running_log(server.url, "bridge") as running:
        opening = asyncio.ensure_future(running.log.open("s", RESOURCE))
        await wait_until(lambda: running.log.blocked == "CONNECTION", "readiness says why")
        server.start()
        await store(await opening, batch("a"))
    assert ids(server, KEYS) == ["a"]


async def test_a_wrong_password_is_waited_out_and_never_shown(start_server: StartServer, flavour: str) -> None:
    """A refused password is Redis' own word in readiness; the password is in no message."""
    server = start_server(flavour)
    server.call("ACL", "SETUSER", "bridge", "on", ">other", "~*", "+@all")
    url = f"unix://bridge@{urlsplit(server.url).path}"
    async with running_log(url, "bridge", password="geheim") as running:
        opening = asyncio.ensure_future(running.log.open("s", RESOURCE))
        await wait_until(lambda: running.of(LogBlocked), "readiness says why")
        assert "password" in running.of(LogBlocked)[0].reason
        server.call("ACL", "SETUSER", "bridge", ">geheim")
        await store(await opening, batch("a"))
    assert "geheim" not in repr(running.facts)
    assert "geheim" not in repr(Server(url, "geheim")) + str(Server("redis://u:geheim@h:1/0"))


# -- answers that never come


async def test_a_lost_answer_appends_once(server: RedisServer, prefix: str) -> None:
    """The connection breaks before an append's answer: the same batch is sent again, recognised, and there once."""
    await _lose_an_answer(server, prefix, Proxy.cut)


async def test_an_answer_that_never_comes_appends_once(shared_servers: dict[str, RedisServer], prefix: str) -> None:
    """As above, where the connection stays open and silent: the time-out ends the wait."""
    await _lose_an_answer(shared_servers["valkey"], prefix, lambda _: None)


async def _lose_an_answer(server: RedisServer, prefix: str, then: Callable[[Proxy], None]) -> None:
    keys = Keys(prefix, 0)
    async with Proxy(server) as proxy, a_log_with_one_event(proxy.url, prefix) as (running, writer):
        proxy.answers = Answers.SWALLOW
        await writer.add(Batch([*batch("a", "b").records, Parked("broken", b"?")], "c1"))
        await wait_until(lambda: ids(server, keys) == ["first", "a", "b"], "the server has it")
        await writer.add(batch("c", cursor="c2"))
        then(proxy)
        await wait_until(lambda: running.log.blocked == "CONNECTION", "the answer is missed")
        proxy.answers = Answers.PASS
        await writer.stored()
        await store(writer, batch("d", cursor="c3"))
    assert ids(server, keys) == ["first", "a", "b", "c", "d"]
    assert server.call("XLEN", keys.parked) == 1
    stored = source_hash(server, keys)
    assert (stored["sequence"], stored["cursor"]) == ("6", "c3")
    assert server.call("LRANGE", keys.recent("s"), 0, -1) == ["first", "a\nb", "c", "d"]


async def test_many_lost_answers_of_many_sources_append_once(server: RedisServer, prefix: str) -> None:
    """Answers lost again and again, with several sources in one round trip: everything once and in order."""
    keys = Keys(prefix, 0)
    async with Proxy(server) as proxy, running_log(proxy.url, prefix) as running:
        writers = [await running.log.open(f"s{number}", RESOURCE) for number in range(3)]
        for turn in range(5):
            proxy.answers = Answers.SWALLOW if turn % 2 else Answers.HOLD
            for writer in writers:
                for number in range(10):
                    await writer.add(batch(f"{writer.source}-{turn}{number}", cursor=f"{turn}{number}"))
            await wait_until(partial(_has, server, keys, f"s0-{turn}0"), "the server has a batch")
            proxy.cut()
            proxy.answers = Answers.PASS
            for writer in writers:
                await writer.stored()
    found = ids(server, keys)
    for source in ("s0", "s1", "s2"):
        expected = [f"{source}-{number:02d}" for number in range(50)]
        assert [id_ for id_ in found if id_.startswith(source)] == expected
        assert source_hash(server, keys, source)["cursor"] == "49"


def _has(server: RedisServer, keys: Keys, id_: str) -> bool:
    return id_ in ids(server, keys)


async def test_slow_answers_are_no_failures(server: RedisServer, prefix: str) -> None:
    """A Redis far away is slow, not broken."""
    async with Proxy(server) as proxy, a_log_with_one_event(proxy.url, prefix) as (running, writer):
        proxy.delay = 0.1
        await store(writer, batch("a"), batch("b"))
        assert not running.of(LogBlocked)
    assert ids(server, Keys(prefix, 0)) == ["first", "a", "b"]


async def test_nothing_is_sent_twice_by_the_link(server: RedisServer, prefix: str) -> None:
    """The link itself repeats nothing: a command whose answer is lost has been run once, and the caller hears of it."""
    counter = Keys(prefix, 0).source("s")
    async with Proxy(server) as proxy:
        link = Link(Server(proxy.url), counter)
        await link.call("HINCRBY", counter, "sequence", 1)
        proxy.answers = Answers.SWALLOW
        lost = asyncio.ensure_future(link.call("HINCRBY", counter, "sequence", 1))
        await wait_until(lambda: server.call("HGET", counter, "sequence") == "2", "the server has run it")
        proxy.cut()
        with pytest.raises(LogUnavailable) as error:
            await lost
        assert error.value.code == "CONNECTION"
        proxy.answers = Answers.PASS
        assert await link.call("HGET", counter, "sequence") == b"2"
        assert link.generation == 2
        await link.close()


@pytest.mark.parametrize("flavour", ["valkey"])
async def test_an_idle_log_notices_an_older_copy_by_itself(
    start_server: StartServer, flavour: str, tmp_path: Path
) -> None:
    """Without one write: a source that waits hears within seconds that Redis has forgotten something."""
    server = start_server(flavour, appendonly="yes", appendfsync="always")
    async with a_log_with_one_event(server.url) as (_, writer):
        server.save_files(tmp_path / "copy")
        await store(writer, batch("a"))
        server.kill()
        server.put_back_files(tmp_path / "copy")
        server.start()
        assert ids(server, KEYS) == ["first"]
        await wait_until(lambda: writer._error, "it is told", 10.0)
