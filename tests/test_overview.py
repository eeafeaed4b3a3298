"""The overview agrees with what Redis has, whatever server that is, and is made of configuration, look and process."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from running_log import batch, running_log, script_calls, store
from servers import RedisServer

from bridge import facts
from bridge.delivery.health import Standing
from bridge.errors import LogUnavailable
from bridge.event import Batch, Parked, State
from bridge.live import Live
from bridge.overview import DestinationView, Overview, SourceView
from bridge.redis_log import Keys, Look, Overviews, Server, partition_of
from bridge.redis_log.overview import DestinationLook, PartitionLook, SourceLook
from bridge.views import Listed, Rates, Views

NOTHING = DestinationLook(Standing(), None, ("",), 0, 0, 0, None, 0, None)


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
    view = overview(look, destinations=[Listed(id="crm", kind="webhook")]).destinations
    assert [(one.id, one.kind, one.dead) for one in view] == [("crm", "webhook", 1), ("old", "gone", 1)]


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


async def test_a_look_at_a_redis_that_is_away() -> None:
    """It is said with Redis' word for it, not shown as nothing."""
    with pytest.raises(LogUnavailable, match="CONNECTION"):
        await Overviews(Server("redis://127.0.0.1:1"), [Keys("p", 0)]).look(["s"], [])


# -- what is made of it


def look(at: float = 100.0, *, added: int = 0, sequence: int = 0, lag: int | None = 0, **keys: Any) -> Look:
    """At the source `s` and the destination `d`."""
    destination = DestinationLook(**{
        "standing": Standing(), "since": None, "positions": ("1-1",), "lag": lag, "in_flight": 0, "lanes": 0,
        "next_due": None, "dead": 0, "oldest": None, **keys,
    })  # fmt: skip
    stored = SourceLook(sequence, "c", "failed", "401", "2026-11-22T08:00:00.000Z")
    return Look((PartitionLook(added, added, f"{added}-0", 0),), {"s": stored}, {"d": destination}, at)


def overview(seen: Look, live: Live | None = None, rates: Rates | None = None, **kinds: list[Listed]) -> Overview:
    """Made of one look, by default at a source and a destination that are nothing special."""
    listed = {"sources": [], "destinations": [], **kinds}
    return Views("redis://there", rates or Rates(), live).overview(
        listed["sources"], listed["destinations"], seen, bridge=None, time="now", now=seen.at
    )


def source(live: Live | None, **keys: Any) -> SourceView:
    """The view of `s`, defined with these keys."""
    (view,) = overview(look(), live, sources=[Listed(id="s", kind="sse", **keys)], destinations=[DEFINED]).sources
    return view


def destination(live: Live | None, standing: Standing = NOTHING.standing, **keys: Any) -> DestinationView:
    """The view of `d`, defined with these keys."""
    seen = look(standing=standing, since=5.0)
    (view,) = overview(seen, live, destinations=[Listed(id="d", kind="webhook", **keys)]).destinations
    return view


DEFINED = Listed(id="d", kind="webhook")


def heard(*seen: facts.Fact, clock: float = 99.0) -> Live:
    """A process that these befell."""
    found = Live(lambda: clock)
    for fact in seen:
        found(fact)
    return found


FENCED = heard(facts.SourceFenced("s", "two:1"), facts.DestinationFenced("d", "two:1"))


@pytest.mark.parametrize(
    ("live", "keys", "state", "reason"),
    [
        (None, {}, "failed", "401"),
        (Live(), {}, "connecting", ""),
        (FENCED, {}, "fenced", "two:1 reads it now"),
        (FENCED, {"paused": True}, "paused", ""),
        (FENCED, {"paused": True, "unusable": "no such account"}, "unusable", "no such account"),
        (None, {"paused": True}, "paused", ""),
    ],
)  # fmt: skip
def test_the_state_of_a_source(live: Live | None, keys: dict[str, Any], state: str, reason: str) -> None:
    """What can't run or is paused comes before what goes on; without a bridge it is what is stored."""
    view = source(live, **keys)
    assert (view.state, view.reason) == (state, reason)


@pytest.mark.parametrize(
    ("live", "keys", "state", "reason", "since"),
    [
        (None, {}, "probing", "answered 503", 5.0),
        (Live(), {}, "probing", "answered 503", 5.0),
        (FENCED, {}, "fenced", "two:1 delivers to it now", None),
        (FENCED, {"paused": True}, "paused", "", None),
        (FENCED, {"paused": True, "unusable": "no secret"}, "unusable", "no secret", None),
    ],
)  # fmt: skip
def test_the_state_of_a_destination(
    live: Live | None, keys: dict[str, Any], state: str, reason: str, since: float | None
) -> None:
    """As for sources; what is stored is its standing."""
    view = destination(live, Standing("probing", 1.0, 1.0, 0, "answered 503"), **keys)
    assert (view.state, view.reason, view.since_seconds) == (state, reason, since)


def test_a_view_has_what_redis_and_the_process_know() -> None:
    """Counts since the start beside those of Redis; ages are as of now."""
    live = heard(
        facts.SourceConnected("s", "c"), facts.BatchStored("s", 5, 2, 3, 0.002, 900, 0.25),
        facts.AttemptMade("d", "e", 1, "delivered", 200, 0.1, ""),
        facts.AttemptMade("d", "f", 1, "failed", 500, 0.1, ""),
    )  # fmt: skip
    view = source(live, account="bctrl", resource="https://api.example/runs/1", defined="added")
    assert view == SourceView(
        id="s", kind="sse", account="bctrl", resource="https://api.example/runs/1", defined="added",
        state="connected", cursor="c", time="2026-11-22T08:00:00.000Z", last_event_age_seconds=1.0, lag_seconds=0.25,
        events=5, bytes=900, parked=2, duplicates=3,
    )  # fmt: skip
    seen = look(lag=4, in_flight=3, lanes=2, dead=1, oldest=9.0, next_due=-1.0)
    (there,) = overview(seen, live, destinations=[Listed(id="d", kind="stream", url="redis://x")]).destinations
    assert there == DestinationView(
        id="d", kind="stream", url="redis://x", state="active", behind=4, in_flight=3, waiting=2, dead=1,
        oldest_seconds=9.0, next_due_seconds=-1.0, delivered=1, attempts=2,
    )  # fmt: skip


def test_rates_are_taken_over_the_last_ten_seconds() -> None:
    """None of a single look, nor of two within a second; nothing of what is older; a log put back grows by nothing."""
    rates, found = Rates(), []
    for at, added in ((0.0, 0), (0.5, 50), (1.0, 100), (2.0, 300), (30.0, 900), (35.0, 1400), (36.0, 200)):
        seen = look(at, added=added, sequence=2 * added, lag=added // 2)
        found.append(
            overview(seen, rates=rates, sources=[Listed(id="s", kind="sse")], destinations=[DEFINED])
        )  # fmt: skip
    assert [one.log[0].rate for one in found] == [0, 0, 100, 150, 0, 100, 0]
    assert [one.sources[0].rate for one in found] == [0, 0, 200, 300, 0, 200, 0]
    assert [one.destinations[0].rate for one in found] == [0, 0, 50, 75, 0, 50, 0]
