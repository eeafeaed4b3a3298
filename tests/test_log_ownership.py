"""Who may append after what: the sequence compare, the owner fence, and a Redis that comes back from an older copy.

The negative controls take a guard out of the script's text: without it, the wrong must happen.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from running_log import RESOURCE, Upstream, batch, ids, reading, running_log, source_hash, store
from servers import RedisServer
from waiting import wait_until

from bridge.errors import Fenced, Moved
from bridge.event import Position, State
from bridge.facts import SourceEnded, SourceFenced, SourceRewound
from bridge.redis_log import Keys, Server
from bridge.redis_log.link import Link, Script
from bridge.redis_log.scripts import APPEND


async def test_a_difference_of_the_sequence_writes_nothing(server: RedisServer, prefix: str) -> None:
    """Where the stored sequence is not the one a batch continues from, nothing is written and Moved is raised."""
    keys = Keys(prefix, 0)
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("a", cursor="c1"))
        server.call("HSET", keys.source("s"), "sequence", "7", "cursor", "c7")
        before = source_hash(server, keys)
        with pytest.raises(Moved) as moved:
            await store(writer, batch("b", cursor="c2", state=State.ENDED))
        assert moved.value.sequence == 7
        assert source_hash(server, keys) == before
        assert ids(server, keys) == ["a"]
        assert server.call("LRANGE", keys.recent("s"), 0, -1) == ["a"]
        with pytest.raises(Moved):
            await writer.add(batch("c"))
        await writer.reload()
        assert writer.position == Position(7, "c7")
        await store(writer, batch("b", cursor="c8"))
    assert ids(server, keys) == ["a", "b"]
    assert source_hash(server, keys)["sequence"] == "8"


async def test_moved_also_guards_the_mark_of_a_wait(server: RedisServer, prefix: str) -> None:
    """A consuming wait is not armed by a writer that the log has left behind."""
    keys = Keys(prefix, 0)
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        server.call("HSET", keys.source("s"), "sequence", "7")
        with pytest.raises(Moved):
            await writer.arm(armed=True)
        await writer.reload()
        async with running_log(server.url, prefix, instance="two") as newer:
            await newer.log.open("s", RESOURCE)
            with pytest.raises(Fenced):
                await writer.arm(armed=True)
    assert "armed" not in source_hash(server, keys)


async def test_the_newer_owner_goes_on_and_the_older_one_is_refused(server: RedisServer, prefix: str) -> None:
    """Opening a source takes it over; the owner before it writes nothing any more and can't take it back."""
    keys = Keys(prefix, 0)
    async with running_log(server.url, prefix) as running, running_log(server.url, prefix, instance="two") as newer:
        old = await running.log.open("s", RESOURCE)
        await store(old, batch("a", cursor="c1"))
        new = await newer.log.open("s", RESOURCE)
        assert new.position == Position(1, "c1")
        with pytest.raises(Fenced) as fenced:
            await store(old, batch("b", cursor="c2"))
        assert fenced.value.owner == "two:2"
        assert ids(server, keys) == ["a"]
        with pytest.raises(Fenced):
            await old.reload()
        await store(new, batch("b", cursor="c2"))
    assert ids(server, keys) == ["a", "b"]
    assert source_hash(server, keys)["owner"] == "two:2"


async def test_who_meets_its_own_name_is_not_fenced(server: RedisServer, prefix: str) -> None:
    """No two processes share a name, so a newer owner of that name is this one: it reads its place again."""
    async with running_log(server.url, prefix) as running, running_log(server.url, prefix) as late:
        writer = await running.log.open("s", RESOURCE)
        await late.log.open("s", RESOURCE)
        with pytest.raises(Moved):
            await store(writer, batch("a"))
        await writer.reload()
        await store(writer, batch("a"))
    assert ids(server, Keys(prefix, 0)) == ["a"]


async def test_ingest_stops_where_somebody_newer_owns_the_source(server: RedisServer, prefix: str) -> None:
    """The loop of a fenced source ends; the newer owner's loop brings every event once."""
    upstream = Upstream("s")
    async with running_log(server.url, prefix) as old, running_log(server.url, prefix, instance="two") as new:
        async with reading(old, upstream) as (task,):
            upstream.grow(20)
            await wait_until(lambda: len(ids(server, Keys(prefix, 0))) == 20, "the first twenty")
            async with reading(new, upstream):
                await wait_until(lambda: source_hash(server, Keys(prefix, 0))["owner"] == "two:2", "taken over")
                upstream.grow(20)
                await wait_until(task.done, "the old loop ends")
                await wait_until(lambda: len(ids(server, Keys(prefix, 0))) == 40, "all forty")
        assert old.of(SourceFenced) == [SourceFenced("s", "two:2")]
    assert ids(server, Keys(prefix, 0)) == upstream.ids


async def test_everything_forgotten_by_an_older_copy_is_fetched_again_once(
    start_server: Callable[..., RedisServer], flavour: str, tmp_path: Path
) -> None:
    """Redis killed and put back to an older copy of its files: busy, idle and ended sources append the rest once."""
    server = start_server(flavour, appendonly="yes", appendfsync="always")
    keys = Keys("bridge", 0)
    busy, idle, ended = sources = [Upstream(name) for name in ("busy", "idle", "ended")]

    def complete() -> bool:
        return server.running and len(ids(server, keys)) == sum(source.length for source in sources)

    async with running_log(server.url, "bridge") as running, reading(running, *sources):
        for source in sources:
            source.grow(30)
        await wait_until(complete, "the first ninety")
        server.save_files(tmp_path / "copy")
        busy.grow(30)
        idle.grow(10)
        ended.grow(5, ended=True)
        await wait_until(lambda: complete() and running.of(SourceEnded), "what the copy doesn't have")
        server.kill()
        busy.grow(30)
        server.put_back_files(tmp_path / "copy")
        server.start()
        assert len(ids(server, keys)) == 90, "the older copy is in place"
        await wait_until(complete, "everything again")
        busy.grow(30)
        await wait_until(complete, "and what is new")
        found = ids(server, keys)
        for source in sources:
            assert [id_ for id_ in found if id_.startswith(source.id)] == source.ids
            assert source_hash(server, keys, source.id)["cursor"] == str(source.length)
        assert {fact.source for fact in running.of(SourceRewound)} >= {"idle", "ended"}
        assert source_hash(server, keys, "ended")["state"] == "ended"


async def test_an_emptied_redis_is_filled_again(server: RedisServer, prefix: str) -> None:
    """A Redis that was emptied under a live connection gets everything that the upstream still has, once."""
    upstream = Upstream("s")
    async with running_log(server.url, prefix) as running, reading(running, upstream):
        upstream.grow(30)
        await wait_until(lambda: len(ids(server, Keys(prefix, 0))) == 30, "the first thirty")
        server.call("FLUSHALL")
        upstream.grow(1)
        await wait_until(lambda: len(ids(server, Keys(prefix, 0))) == 31, "everything again")
    assert ids(server, Keys(prefix, 0)) == upstream.ids


# -- the guards themselves, and what happens without them


@pytest.mark.parametrize(("guards", "copies"), [("compare", 1), ("", 2)])
async def test_the_compare_stops_a_batch_sent_again(server: RedisServer, prefix: str, guards: str, copies: int) -> None:
    """A batch sent again after a lost answer is refused by the compare; without the compare it is there twice."""
    keys = Keys(prefix, 0)
    server.call("HSET", keys.source("s"), "owner", "one:1", "epoch", 1)
    async with link_to(server, keys) as link:
        script = APPEND if guards else without("compare")
        first = await link.script(script, *append(keys, "one:1", after=0, id_="a"))
        again = await link.script(script, *append(keys, "one:1", after=0, id_="a"))
    assert first == [b"OK"]
    assert again == ([b"MOVED", b"1", b"c"] if guards else [b"OK"])
    assert ids(server, keys) == ["a"] * copies


@pytest.mark.parametrize(("guards", "written"), [("fence", []), ("", ["a"])])
async def test_the_fence_stops_an_older_owner_before_the_newer_has_written(
    server: RedisServer, prefix: str, guards: str, written: list[str]
) -> None:
    """An owner that was taken over is refused even where the sequence still fits; without the fence it writes."""
    keys = Keys(prefix, 0)
    server.call("HSET", keys.source("s"), "owner", "two:2", "epoch", 2)
    async with link_to(server, keys) as link:
        script = APPEND if guards else without("fence")
        answer = await link.script(script, *append(keys, "one:1", after=0, id_="a"))
    assert answer == ([b"FENCED", b"two:2"] if guards else [b"OK"])
    assert ids(server, keys) == written


def without(guard: str) -> Script:
    """The append without one of its guards."""
    text = re.sub(rf"-- guard: {guard}\n.*?-- end guard\n", "", APPEND.text, flags=re.DOTALL)
    assert text.count("-- guard") == APPEND.text.count("-- guard") - 1
    return Script(text, "0" * 40, APPEND.keys)


def append(keys: Keys, owner: str, *, after: int, id_: str) -> list[str | int]:
    """The arguments of an append of one event, as the script's head describes them."""
    return [
        keys.events, keys.parked, keys.source("s"), keys.recent("s"), after, owner, owner.rpartition(":")[2],
        after + 1, 1, "c", "", "", "2026-11-21T12:00:00.000Z", 0, id_, 100, 0, "", 1, id_, "type", "subject", "{}",
    ]  # fmt: skip


@asynccontextmanager
async def link_to(server: RedisServer, keys: Keys) -> AsyncIterator[Link]:
    """A connection of its own."""
    link = Link(Server(server.url), keys.events)
    try:
        yield link
    finally:
        await link.close()
