"""A look at the log agrees with what Redis' own commands say, whatever server that is."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from running_log import Upstream, batch, event, reading, running_log, script_calls, store
from servers import RedisServer

from bridge import facts
from bridge.delivery.health import Standing
from bridge.errors import LogUnavailable
from bridge.event import Batch, Parked, State
from bridge.redis_log import Keys, Overviews, Server, partition_of
from bridge.redis_log.commit import lag_of
from bridge.redis_log.overview import DestinationLook, Look, PartitionLook, SourceLook


@pytest.fixture
async def overviews(server: RedisServer, prefix: str) -> AsyncIterator[Overviews]:
    """Of a log with two partitions."""
    found = Overviews(Server(server.url), [Keys(prefix, 0), Keys(prefix, 1)])
    yield found
    await found.close()


@pytest.fixture
def valkey(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A server, where one is as good as the other."""
    return shared_servers["valkey"]


def put(server: RedisServer, keys: Keys, *ages: float) -> list[str]:
    """Entries so many seconds old, oldest first; their ids."""
    now = int(server.call("TIME")[0]) * 1000
    return [server.call("XADD", keys.events, f"{now - int(age * 1000)}-1", "event", "{}") for age in ages]


async def test_a_log_without_anything(overviews: Overviews) -> None:
    """Nothing is there yet, and that is said, not raised."""
    look = await overviews.look(["s"], ["d"])
    assert look.log == (PartitionLook(0, 0, "0-0", 0),) * 2
    assert look.sources == {"s": SourceLook()}
    assert look.destinations == {"d": DestinationLook(Standing(), None, ("", ""), 0, 0, 0, None, 0, None)}


async def test_a_look_at_sources_says_what_redis_has(server: RedisServer, prefix: str, overviews: Overviews) -> None:
    """Sequence, cursor, state, reason and time of each, from its own partition; and how much there is in the log."""
    names = [f"s{number}" for number in range(1, 600)]
    async with running_log(server.url, prefix, partitions=2) as running:
        first, second = [await running.log.open(id_, "r") for id_ in names[:2]]
        await store(first, batch("e1", "e2", cursor="c2"), Batch([Parked("no JSON", b"{")], "c3"))
        await store(second, batch("e3", state=State.FAILED, reason="401 auth.invalid"))
    look = await overviews.look(names, [])
    at = {id_: Keys(prefix, partition_of(id_, 2)) for id_ in names}
    for id_ in names:
        stored = server.call("HGETALL", at[id_].source(id_))
        assert look.sources[id_] == SourceLook(
            int(stored.get("sequence", 0)), stored.get("cursor"), stored.get("state", ""), stored.get("reason", ""),
            stored.get("time", ""),
        )  # fmt: skip
    assert (look.sources["s1"].sequence, look.sources["s2"].reason) == (3, "401 auth.invalid")
    for partition, keys in zip(look.log, (Keys(prefix, 0), Keys(prefix, 1)), strict=True):
        entries, parked = server.call("XLEN", keys.events), server.call("XLEN", keys.parked)
        assert (partition.entries, partition.added, partition.parked) == (entries, entries, parked)
    assert sum(partition.entries for partition in look.log) == 3


async def test_a_look_at_destinations_says_what_redis_has(
    server: RedisServer, prefix: str, overviews: Overviews
) -> None:
    """State, position, what is behind, taken up, waiting and dead, over all partitions: as Redis' own commands say."""
    client: Any = server.client()
    both = [Keys(prefix, 0), Keys(prefix, 1)]
    standing = Standing("probing", time.time() - 60, None, 0, "answered 503")
    for keys in both:
        put(server, keys, *range(50, 0, -1))
        for name, read in (("crm", 7), ("idle", 50)):
            client.xgroup_create(keys.events, name, id="0")
            found = client.xreadgroup(name, "c", {keys.events: ">"}, count=read)
            client.xack(keys.events, name, *(id_ for id_, _ in found[0][1][: 50 if name == "idle" else 3]))
        client.hset(keys.held("crm"), mapping={"run-1": "1-1 1 0 503 x", "run-2": "2-1 1 0 503 x"})
        client.zadd(keys.due("crm"), {"run-1": (time.time() + 30) * 1000, "run-2": (time.time() + 90) * 1000})
        client.xadd(keys.dead("crm"), {"id": "e"})
    client.hset(both[0].destination("crm"), "standing", standing.encode())
    look = (await overviews.look([], ["new", "crm", "idle"])).destinations

    groups = [{group["name"]: group for group in client.xinfo_groups(keys.events)} for keys in both]
    for name in ("crm", "idle"):
        own = [found[name] for found in groups]
        assert look[name].lag == sum(group["lag"] for group in own)
        assert look[name].in_flight == sum(group["pending"] for group in own)
        assert look[name].positions == tuple(group["last-delivered-id"] for group in own)
        assert look[name].lanes == sum(client.hlen(keys.held(name)) for keys in both)
        assert look[name].dead == sum(client.xlen(keys.dead(name)) for keys in both)
    crm = look["crm"]
    assert (crm.lag, crm.in_flight, crm.lanes, crm.dead, crm.standing) == (86, 8, 4, 2, standing)
    assert crm.since == pytest.approx(60, abs=5)
    assert crm.next_due == pytest.approx(30, abs=5)
    assert (look["idle"].lag, look["idle"].in_flight, look["idle"].oldest) == (0, 0, None)
    assert list(look) == ["new", "crm", "idle"]
    assert look["new"] == DestinationLook(Standing(), None, ("", ""), 0, 0, 0, None, 0, None)


@pytest.mark.parametrize(
    ("done", "waiting", "oldest"),
    [
        ((0, 0), None, 90), ((1, 0), None, 90), ((2, 1), None, 60), ((3, 3), None, None), ((3, 3), 75, 75),
        ((3, 2), 10, 30),
    ],
)  # fmt: skip
async def test_the_oldest_entry_is_the_first_unsettled_one(
    valkey: RedisServer, prefix: str, done: tuple[int, int], waiting: int | None, oldest: int | None
) -> None:
    """Not looked at, in flight or waiting in a lane: the age of whichever came first; None where nothing is left."""
    client: Any = valkey.client()
    keys = Keys(prefix, 0)
    ids = put(valkey, keys, 90, 60, 30)
    client.xgroup_create(keys.events, "d", id="0")
    read, acknowledged = done
    if read:
        client.xreadgroup("d", "c", {keys.events: ">"}, count=read)
    if acknowledged:
        client.xack(keys.events, "d", *ids[:acknowledged])
    if waiting:
        client.hset(keys.held("d"), "run-1", "1-1 1 0 503 x")
        client.zadd(keys.oldest("d"), {"run-1": int(valkey.call("TIME")[0]) * 1000 - waiting * 1000})
    overviews = Overviews(Server(valkey.url), [keys])
    found = (await overviews.look([], ["d"])).destinations["d"].oldest
    await overviews.close()
    assert found == (None if oldest is None else pytest.approx(oldest, abs=5))


async def test_what_is_gone_is_seen_by_its_dead_letters(valkey: RedisServer, prefix: str) -> None:
    """A group that nobody configured is a destination that is gone, if it has dead letters; others are not ours."""
    client: Any = valkey.client()
    keys = [Keys(prefix, 0), Keys(prefix, 1)]
    put(valkey, keys[1], 5)
    for name in ("old", "crm", "somebody-else"):
        client.xgroup_create(keys[1].events, name, id="0")
    for name in ("old", "crm"):
        client.xadd(keys[1].dead(name), {"id": "e"})
    overviews = Overviews(Server(valkey.url), keys)
    look = await overviews.look([], ["crm"])
    await overviews.close()
    assert list(look.destinations) == ["crm", "old"]
    assert (look.destinations["old"].dead, look.destinations["old"].lag) == (1, 1)


async def test_recent_looks_are_shared(valkey: RedisServer, prefix: str) -> None:
    """Within a second Redis is asked once, unless it is about others."""
    overviews = Overviews(Server(valkey.url), [Keys(prefix, 0)])
    valkey.call("CONFIG", "RESETSTAT")
    looks = [await overviews.recent(["s"], ["d"]) for _ in range(3)]
    assert script_calls(valkey) == 1
    assert looks[0] is looks[2]
    assert "t" in (await overviews.recent(["s", "t"], ["d"])).sources
    await overviews.close()


async def test_a_look_at_thousands_is_quick(valkey: RedisServer, prefix: str) -> None:
    """2,000 sources and 1,000 destinations that wait cost less than 150 ms of this process."""
    client, keys = valkey.client().pipeline(transaction=False), Keys(prefix, 0)
    sources, destinations = [f"s{number}" for number in range(2000)], [f"d{number}" for number in range(1000)]
    put(valkey, keys, 9, 8)
    for id_ in sources:
        client.hset(keys.source(id_), mapping={"sequence": 7, "cursor": "c", "state": "running", "time": "t"})
    for name in destinations:
        client.xgroup_create(keys.events, name, id="0")
        client.hset(keys.held(name), "run-1", "1-1 1 0 503 x")
        client.zadd(keys.due(name), {"run-1": 1000})
    client.execute()
    overviews, costs = Overviews(Server(valkey.url), [keys]), []
    for _ in range(3):
        before = time.process_time()
        look = await overviews.look(sources, destinations)
        costs.append(time.process_time() - before)
    await overviews.close()
    assert (len(look.sources), look.destinations["d999"].lag, look.sources["s1999"].sequence) == (2000, 2, 7)
    assert min(costs) < 0.15


async def test_a_look_is_of_one_moment(valkey: RedisServer, prefix: str) -> None:
    """While events flow, what the sources have numbered is what the log has, in every look."""
    overviews = Overviews(Server(valkey.url), [Keys(prefix, 0)])
    names = [f"s{number}" for number in range(5)]
    upstreams = [Upstream(name) for name in names]
    looks: list[Look] = []
    async with running_log(valkey.url, prefix) as running, reading(running, *upstreams):
        while not looks or looks[-1].log[0].added < 2000:
            for upstream in upstreams:
                upstream.grow(7 if upstream.length < 400 else 0)
            looks.append(await overviews.look(names, []))
    await overviews.close()
    for one in looks:
        assert sum(source.sequence for source in one.sources.values()) == one.log[0].entries
    assert len({one.log[0].entries for one in looks}) > 5


@pytest.mark.parametrize(
    ("time", "lag"),
    [
        ("2026-11-21T12:00:00.000Z", 5.0), ("2026-11-21T14:00:00.5+02:00", 4.5),
        (datetime(2026, 11, 21, 12, tzinfo=UTC), 5.0), ("2026-11-21T12:00:09Z", 0.0),
        ("2026-11-21T12:00:00", None), ("yesterday", None),
    ],
)  # fmt: skip
def test_the_lag_is_from_the_events_own_time_to_its_receipt(time: str | datetime, lag: float | None) -> None:
    """In any form; at least 0, because the clocks are two; not known where that time can't be read."""
    assert lag_of((time, datetime(2026, 11, 21, 12, 0, 5, tzinfo=UTC))) == lag


async def test_a_commit_tells_its_bytes_and_the_newest_events_lag(valkey: RedisServer, prefix: str) -> None:
    """Bytes as stored, parked records among them; the lag of the last new event, not of one that came twice."""
    young = event("e2")
    young.time = datetime.now(UTC) - timedelta(seconds=60)
    async with running_log(valkey.url, prefix) as running:
        writer = await running.log.open("s", "r")
        await store(writer, Batch([event("e1"), young, Parked("no JSON", b"{12345"), event("e1")]), batch("e1"))
        await store(writer, Batch([Parked("no JSON", b"{")]))
        first, last = running.of(facts.BatchStored)
    stored = [fields["event"] for _, fields in valkey.call("XRANGE", Keys(prefix, 0).events, "-", "+")]
    assert (first.size, last.size) == (sum(len(one) for one in stored) + 6, 1)
    assert first.lag == pytest.approx(60, abs=5)
    assert last.lag is None


async def test_a_look_at_a_redis_that_is_away() -> None:
    """It is said with Redis' word for it, not shown as nothing."""
    with pytest.raises(LogUnavailable, match="CONNECTION"):
        await Overviews(Server("redis://127.0.0.1:1"), [Keys("p", 0)]).look(["s"], [])
