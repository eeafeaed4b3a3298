"""Having a source go on from elsewhere, at the log: what the script changes, whom it moves, when it does nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from running_log import RESOURCE, Upstream, batch, ids, reading, running_log, source_hash, store
from servers import RedisServer
from waiting import wait_until

from bridge.errors import Fenced, Moved
from bridge.event import Position, State
from bridge.facts import SourceEnded, SourceRewound
from bridge.redis_log import Cursors, Keys, Server


@pytest.fixture
def log_server(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """One kind of server: what the script needs of one, every kind has in the tests of the other scripts."""
    return shared_servers["valkey"]


@asynccontextmanager
async def cursors_of(server: RedisServer, prefix: str) -> AsyncIterator[Cursors]:
    """Closed at the end."""
    cursors = Cursors(Server(server.url), [Keys(prefix, 0)])
    try:
        yield cursors
    finally:
        await cursors.close()


async def test_whoever_runs_the_source_is_moved(log_server: RedisServer, prefix: str) -> None:
    """Nothing of the old place is stored any more; its writer reads the new one, under a new name and without a gap.

    A batch of one record too, which a sequence changed by one would have passed off as stored.
    """
    keys = Keys(prefix, 0)
    async with running_log(log_server.url, prefix) as running, cursors_of(log_server, prefix) as cursors:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("a", "b", cursor="c2", state=State.ENDED))
        log_server.call("HSET", keys.source("s"), "bookmark", '{"page":""}')
        shown = await cursors.look("s")
        assert (shown.cursor, shown.sequence, shown.state, shown.bookmark) == ("c2", 2, "ended", '{"page":""}')
        assert await cursors.set(shown, "c1", resource=RESOURCE)
        with pytest.raises(Moved):
            await store(writer, batch("c", cursor="c3"))
        await writer.reload()
        assert writer.position == Position(2, "c1")
        assert writer.owner == "one:2"
        await store(writer, batch("b", "c", cursor="c3"))
    assert ids(log_server, keys) == ["a", "b", "c"]
    assert source_hash(log_server, keys)["cursor"] == "c3"


async def test_an_idle_source_is_moved_though_others_are_busy(log_server: RedisServer, prefix: str) -> None:
    """A source that has ended goes on within the looks at idle writers, while another one always has something."""
    ended, busy = Upstream("s"), Upstream("busy")
    ended.grow(2, ended=True)
    async with (
        running_log(log_server.url, prefix) as running,
        cursors_of(log_server, prefix) as cursors,
        reading(running, ended, busy),
    ):
        await wait_until(lambda: running.of(SourceEnded), "the source's end")
        shown = await cursors.look("s")
        assert await cursors.set(shown, "1", resource=RESOURCE, again=True)

        def moved() -> bool:
            busy.grow(1)
            return any(fact.source == "s" for fact in running.of(SourceRewound))

        await wait_until(moved, "the ended source to be moved", 4.0)
        await wait_until(lambda: len(running.of(SourceEnded)) == 2, "its end once more")
    assert [id_ for id_ in ids(log_server, Keys(prefix, 0)) if id_.startswith("s-")] == ["s-1", "s-2", "s-2"]


@pytest.mark.parametrize("again", [False, True])
async def test_what_the_log_has_is_not_doubled_unless_asked_for(
    log_server: RedisServer, prefix: str, again: bool
) -> None:
    """The window of known ids stays, and goes with `again`."""
    keys = Keys(prefix, 0)
    async with running_log(log_server.url, prefix) as running, cursors_of(log_server, prefix) as cursors:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("a", "b", cursor="c2"))
        assert await cursors.set(await cursors.look("s"), None, resource=RESOURCE, again=again)
        await writer.reload()
        assert writer.position == Position(2, None)
        await store(writer, batch("a", "b", "c", cursor="c3"))
    assert ids(log_server, keys) == ["a", "b", *(["a", "b"] if again else []), "c"]


@pytest.mark.parametrize("other", [{"owner": "x"}, {"epoch": "9"}, {"resource": "x"}])
async def test_nothing_is_done_where_it_is_not_as_it_was_shown(
    log_server: RedisServer, prefix: str, other: dict[str, Any]
) -> None:
    """Another owner, epoch or resource than was shown: the script leaves everything as it is."""
    keys = Keys(prefix, 0)
    async with running_log(log_server.url, prefix) as running, cursors_of(log_server, prefix) as cursors:
        await store(await running.log.open("s", RESOURCE), batch("a", cursor="c1"))
        shown = await cursors.look("s")
        before = source_hash(log_server, keys)
        assert not await cursors.set(replace(shown, **other), "c0", resource=RESOURCE, again=True)
        assert source_hash(log_server, keys) == before
        assert log_server.call("LRANGE", keys.recent("s"), 0, -1) == ["a"]
        assert await cursors.set(shown, "c0", resource=RESOURCE)


async def test_an_older_owner_stays_fenced(log_server: RedisServer, prefix: str) -> None:
    """However often a cursor is set, a bridge that was superseded before can't take the source back."""
    async with (
        running_log(log_server.url, prefix) as running,
        running_log(log_server.url, prefix, instance="two") as newer,
        cursors_of(log_server, prefix) as cursors,
    ):
        old = await running.log.open("s", RESOURCE)
        await newer.log.open("s", RESOURCE)
        for cursor in ("c1", "c2"):
            assert await cursors.set(await cursors.look("s"), cursor, resource=RESOURCE)
        with pytest.raises(Fenced):
            await store(old, batch("a", cursor="c9"))
        with pytest.raises(Fenced):
            await old.reload()
        assert (await cursors.look("s")).cursor == "c2"


async def test_a_source_that_never_ran_begins_there(log_server: RedisServer, prefix: str) -> None:
    """A cursor may be there before its source; whatever the source's filters are, it is meant for them."""
    async with running_log(log_server.url, prefix) as running, cursors_of(log_server, prefix) as cursors:
        shown = await cursors.look("s")
        assert not shown.known
        assert await cursors.set(shown, "c7", resource=RESOURCE)
        assert not await cursors.set(shown, "c8", resource=RESOURCE), "it is known by now"
        writer = await running.log.open("s", RESOURCE, "filters")
        assert writer.position == Position(0, "c7")
