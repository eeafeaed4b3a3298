"""The log's end, read once for all: who is woken by what, what a rest costs, and a log that changes under the feed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from running_log import beside
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.lane import Reader
from bridge.event import Entry
from bridge.redis_log import Keys, Server
from bridge.redis_log.feed import KEPT, KEPT_BYTES, LARGE, Feed
from bridge.redis_log.link import Link


@dataclass
class Watcher:
    """A reader that takes what it wants of the log, as a destination does."""

    name: str
    type: str = ""
    """The only type it wants; "" wants all, "-" nothing."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    looked: int = 0
    """How often it was asked whether it wants a type."""

    def wants(self, type_: str) -> bool:
        """Whether it may want this type."""
        self.looked += 1
        return self.type in ("", type_)

    def ask(self) -> None:
        """Somebody has a request."""
        self.asked += 1

    def reader(self) -> Reader:
        """As the feed knows it."""
        return Reader(self.name, self.wants, self.woken.set, self.ask)


@asynccontextmanager
async def feeding(server: RedisServer, prefix: str, *, run: bool = True) -> AsyncIterator[Feed]:
    """A feed with its loop."""
    keys = Keys(prefix, 0)
    link, blocking = (Link(Server(server.url), keys.events) for _ in range(2))
    feed = Feed(link, blocking, keys)
    try:
        async with beside(*([feed.run] if run else [])):
            yield feed
    finally:
        await link.close()
        await blocking.close()


def put(server: RedisServer, prefix: str, *types: str, event: bytes = b"{}") -> list[str]:
    """One entry of each type; their ids."""
    pipeline = server.client().pipeline(transaction=False)
    for type_ in types:
        pipeline.xadd(Keys(prefix, 0).events, {"id": "e", "type": type_, "subject": "s", "event": event})
    return list(pipeline.execute())


async def all_after(feed: Feed, position: str, count: int = 1000) -> list[Entry]:
    """Everything behind this position."""
    found = list[Entry]()
    while some := await feed.after(found[-1].entry if found else position, count):
        assert len(some) <= count
        found += some
    return found


def ids(entries: list[Entry]) -> list[str]:
    """Their ids in the stream."""
    return [entry.entry for entry in entries]


def calls(server: RedisServer) -> dict[str, int]:
    """How often each command was run."""
    stats = server.call("INFO", "commandstats")
    return {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}


async def test_readers_at_different_positions_read_the_whole_log(server: RedisServer, prefix: str) -> None:
    """Each gets every entry behind its own position once, in order, however many are asked for at once."""
    entries = put(server, prefix, *["t"] * 2000)
    async with feeding(server, prefix, run=False) as feed:
        places = [0, 1, 700, 1999, 2000]
        found = await asyncio.gather(
            *(all_after(feed, entries[at - 1] if at else "0-0", 1 + 97 * at % 900) for at in places)
        )
        assert [ids(one) for one in found] == [entries[at:] for at in places]


async def test_a_reader_is_woken_before_the_entry_it_wants(server: RedisServer, prefix: str) -> None:
    """It goes on from the entry before the wanted one; who wants nothing rests on and has moved past it."""
    (first,) = put(server, prefix, "no")
    async with feeding(server, prefix) as feed:
        one, none = Watcher("one", "yes"), Watcher("none", "-")
        readers = {watcher.name: watcher.reader() for watcher in (one, none)}
        for reader in readers.values():
            feed.join(reader)
            await all_after(feed, "0-0")
            assert feed.rest(reader, first)
        unwanted = put(server, prefix, "no", "no", "maybe")
        await wait_until(lambda: feed.has(unwanted[1]), "they have come")
        assert not one.woken.is_set()
        wanted = put(server, prefix, "yes", "no")
        await asyncio.wait_for(one.woken.wait(), 1.0)
        assert readers["one"].position == unwanted[2]
        assert not readers["one"].resting
        assert readers["one"].passed == 3
        await wait_until(lambda: feed.has(wanted[0]), "what came behind it")
        assert ids(await all_after(feed, unwanted[2])) == wanted
        assert not none.woken.is_set()
        feed.rouse(readers["none"])
        assert readers["none"].position == wanted[1]
        assert readers["none"].passed == 5


async def test_nobody_sleeps_through_an_entry(shared_servers: dict[str, RedisServer], prefix: str) -> None:
    """Whatever moment an entry comes at, while its reader comes to rest or long after, it is noticed at once."""
    server, waits = shared_servers["valkey"], list[float]()
    put(server, prefix, "t")
    async with feeding(server, prefix) as feed:
        watcher = Watcher("one")
        reader, position = watcher.reader(), "0-0"
        feed.join(reader)
        for pause in (*(0.0001 * number for number in range(100)), 1.2, 1.9):
            # the pause is what is tested: the entry comes so long after the reader has come to rest
            adding = asyncio.get_running_loop().call_later(pause, lambda: put(server, prefix, "t"))
            started = time.monotonic()
            while True:
                watcher.woken.clear()
                found = await feed.after(position, 10)
                position = found[-1].entry if found else position
                if found and time.monotonic() - started >= pause and adding.when() <= asyncio.get_running_loop().time():
                    break
                if feed.rest(reader, position):
                    await asyncio.wait_for(watcher.woken.wait(), 5.0)
                    feed.rouse(reader)
            waits.append(time.monotonic() - started - pause)
    assert max(waits) < 0.5, "never for as long as one look lasts"


async def test_a_rest_costs_no_command_but_the_feeds_own(start_server: Callable[..., RedisServer], prefix: str) -> None:
    """A thousand that rest cost two commands a second together, and one question a type, whatever comes."""
    server = start_server("valkey")
    (last,) = put(server, prefix, "t")
    async with feeding(server, prefix) as feed:
        watchers = [Watcher(f"d{number}", "-") for number in range(1000)]
        readers = [watcher.reader() for watcher in watchers]
        for reader in readers:
            feed.join(reader)
        for reader in readers:
            while not feed.rest(reader, last):
                assert await feed.after(last, 100) == []
        server.call("CONFIG", "RESETSTAT")
        for _ in range(20):
            last = put(server, prefix, "a", "b", "c")[-1]
            await wait_until(partial(feed.rest, reader, last), "it has come")
        for one in readers[:9]:
            feed.rouse(one)
            assert await feed.after(last, 10) == [], "somebody waits for what comes: nobody else has to ask"
            assert feed.rest(one, last)
        run = calls(server)
        assert {name for name in run if name in {"xrange", "evalsha", "eval", "xrevrange", "xinfo|groups"}} == set()
        assert run["xread"] <= 62
        assert run.get("smembers", 0) <= 3
        assert [watcher.looked for watcher in watchers] == [3] * 1000
        assert not any(watcher.woken.is_set() for watcher in watchers[:-1])
        for reader in readers:
            feed.rouse(reader)
        assert {reader.position for reader in readers} == {last}


@pytest.mark.parametrize(("count", "size"), [(3, LARGE + 1), (9, 3 << 20), (2, KEPT_BYTES + 1)])
async def test_events_larger_than_the_bounds_pass(
    shared_servers: dict[str, RedisServer], prefix: str, count: int, size: int
) -> None:
    """However large the events are, each comes, once, to somebody at the end and to somebody behind."""
    server = shared_servers["valkey"]
    entries = [put(server, prefix, "t", event=b"x" * size)[0] for _ in range(count)]
    async with feeding(server, prefix, run=False) as feed:
        for start in (0, 1, 0):
            assert ids(await all_after(feed, entries[start - 1] if start else "0-0", 4)) == entries[start:]
        assert await feed.after(entries[-1], 10) == []
        assert await feed.after(entries[-1], 10) == []
        assert feed._bytes <= max(KEPT_BYTES, 2 * size)


async def test_who_reads_while_the_oldest_are_dropped_loses_nothing(server: RedisServer, prefix: str) -> None:
    """More comes than is kept while a slow one is in the midst of it and another rests: all of it, in order."""
    entries = put(server, prefix, *["t"] * 100)
    async with feeding(server, prefix) as feed:
        quiet = Watcher("quiet", "-").reader()
        feed.join(quiet)
        await all_after(feed, "0-0")
        assert feed.rest(quiet, entries[-1])
        slow = list(await feed.after("0-0", 50))
        for _ in range(KEPT // 1000 + 2):
            entries += put(server, prefix, *["t"] * 1000)
            await wait_until(partial(feed.has, entries[-2]), "they have come")
            slow += await feed.after(slow[-1].entry, 70)
        slow += await all_after(feed, slow[-1].entry)
        assert ids(slow) == entries
        assert len(feed._kept) <= KEPT
        assert len(feed._place) == len(feed._kept) + 1
        feed.rouse(quiet)
        assert (quiet.position, quiet.passed) == (entries[-1], len(entries) - 100)


async def test_one_far_behind_reads_all_and_disturbs_nobody(server: RedisServer, prefix: str) -> None:
    """It reads the log by itself until it comes to the end; those at the end are woken by what is new only."""
    entries = put(server, prefix, *["t"] * 6000)
    async with feeding(server, prefix) as feed:
        end, behind = Watcher("end"), Watcher("behind")
        reader = end.reader()
        feed.join(reader)
        feed.join(behind.reader())
        while not feed.rest(reader, entries[-1]):
            await feed.after(entries[-1], 10)
        assert ids(await all_after(feed, "0-0", 700)) == entries
        assert not end.woken.is_set()
        new = put(server, prefix, "t")
        await asyncio.wait_for(end.woken.wait(), 1.0)
        assert ids(await feed.after(reader.position, 10)) == ids(await feed.after(entries[-1], 10)) == new


@pytest.mark.parametrize("emptied", ["XTRIM", "DEL", "FLUSHALL"])
async def test_a_log_that_is_emptied_under_it_goes_on(server: RedisServer, prefix: str, emptied: str) -> None:
    """Whoever rested or was behind gets what comes then; nothing that is gone is told of once that is in doubt."""
    entries, key = put(server, prefix, *["t"] * 50), Keys(prefix, 0).events
    async with feeding(server, prefix) as feed:
        watcher = Watcher("one")
        reader = watcher.reader()
        feed.join(reader)
        while not feed.rest(reader, entries[-1]):
            await feed.after(entries[-1], 10)
        command: dict[str, list[str]] = {"XTRIM": [key, "MAXLEN", "0"], "DEL": [key], "FLUSHALL": []}
        server.call(emptied, *command[emptied])
        feed.doubt()
        assert watcher.woken.is_set()
        assert reader.position == entries[-1]
        new = put(server, prefix, "t", "t")
        for position in (entries[-1], entries[10], new[0], entries[3]):
            assert ids(await all_after(feed, position, 10)) == [id_ for id_ in new if id_ != position]


async def test_an_entry_deleted_where_somebody_rests_is_no_harm(server: RedisServer, prefix: str) -> None:
    """The last entry is deleted, and one far behind comes to the end: who rested there is roused and misses nothing."""
    entries = put(server, prefix, *["t"] * 600)
    async with feeding(server, prefix, run=False) as feed:
        watcher = Watcher("one")
        reader = watcher.reader()
        feed.join(reader)
        while not feed.rest(reader, entries[-1]):
            await feed.after(entries[-1], 10)
        server.call("XDEL", Keys(prefix, 0).events, entries[-1])
        assert ids(await all_after(feed, entries[0])) == entries[1:-1]
        assert watcher.woken.is_set()
        new = put(server, prefix, "t")
        assert ids(await all_after(feed, reader.position)) == new


async def test_requests_reach_the_one_they_are_for(server: RedisServer, prefix: str) -> None:
    """A destination with a request is told within a look, again and again until it is done; the others aren't."""
    async with feeding(server, prefix) as feed:
        one, other = Watcher("one"), Watcher("other")
        for watcher in (one, other):
            feed.join(watcher.reader())
        server.call("SADD", Keys(prefix, 0).requests(), "one", "stranger")
        await wait_until(lambda: one.asked >= 2, "it is told", 4.0)
        assert other.asked == 0
        server.call("DEL", Keys(prefix, 0).requests())


async def test_readers_that_come_and_go_are_asked_anew(server: RedisServer, prefix: str) -> None:
    """One that leaves is never woken again, and one that joins is asked about types that are known already."""
    (last,) = put(server, prefix, "t")
    async with feeding(server, prefix) as feed:
        gone, new = Watcher("gone"), Watcher("new", "b")
        for watcher in (gone, Watcher("quiet", "-")):
            reader = watcher.reader()
            feed.join(reader)
            while not feed.rest(reader, last):
                await feed.after(last, 10)
            if watcher is gone:
                feed.leave(reader)
        (last,) = put(server, prefix, "b")
        await wait_until(lambda: feed._end == last, "it has come")
        reader = new.reader()
        feed.join(reader)
        assert feed.rest(reader, last)
        put(server, prefix, "b")
        await asyncio.wait_for(new.woken.wait(), 1.0)
        assert reader.position == last
        assert not gone.woken.is_set()
