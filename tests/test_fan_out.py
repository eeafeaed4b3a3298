"""The fan-out to streams: what goes where, in which order, and what is no stream's to take; on every real server."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
from fanning import NAME, by_stream, dead, fanning, group, put, spread, streams
from running_log import RESOURCE, batch, running_log, store
from servers import FLAVOURS, RedisServer, free_port
from waiting import wait_until

from bridge.event import Entry
from bridge.facts import DeadLettered, DeliveryBlocked, EntriesMissing, FanOutWritten
from bridge.observe import Observer
from bridge.redis_log import Keys
from bridge.redis_log.fan_out import MOST, MOST_BYTES


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, RedisServer]]:
    """A target of each kind."""
    with TemporaryDirectory(prefix="target-") as directory:
        servers = {flavour: RedisServer(flavour, Path(directory) / flavour).start() for flavour in FLAVOURS}
        yield servers
        for server in servers.values():
            server.stop()


@pytest.fixture
def target(targets: dict[str, RedisServer], flavour: str) -> RedisServer:
    """An empty target, another server than the log's."""
    targets[flavour].call("FLUSHALL")
    return targets[flavour]


@pytest.fixture
def valkey(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A server for logs, where one kind is enough."""
    return shared_servers["valkey"]


@pytest.fixture
def there(targets: dict[str, RedisServer]) -> RedisServer:
    """An empty target, where one kind is enough."""
    targets["valkey"].call("FLUSHALL")
    return targets["valkey"]


async def settled(server: RedisServer, prefix: str, entry: str) -> None:
    """Wait until the log knows that the target has everything up to this entry."""
    await wait_until(lambda: group(server, prefix).get("last-delivered-id") == entry, f"settled up to {entry}")


async def test_each_event_once_in_its_stream(server: RedisServer, target: RedisServer, prefix: str) -> None:
    """50 subjects, more than a batch: every stream has its subject's events once, with the log's fields and order."""
    events = spread(MOST * 2 + 100, 50)
    entries = put(server, prefix, events)
    async with fanning(server.url, target.url, prefix) as life:
        await settled(server, prefix, entries[-1])
        more = put(server, prefix, spread(100, 50, first=len(events)))
        life.wake()
        await settled(server, prefix, more[-1])
        assert sum(fact.events for fact in life.of(FanOutWritten)) == len(events) + 100
        assert not life.of(DeliveryBlocked)
    assert streams(target) == by_stream(events + spread(100, 50, first=len(events)))
    first = target.call("XRANGE", "runs:s0", "-", "+", "COUNT", 1)[0][1]
    assert list(first.items()) == [
        ("id", "e0"), ("type", "t"), ("subject", "s0"), ("event", '{"id":"e0","source":"s-e0"}'),
    ]  # fmt: skip
    assert target.call("HGET", f"{prefix}:{{0}}:position:0:{NAME}", "position") == more[-1]
    assert (group(server, prefix)["entries-read"], group(server, prefix)["lag"]) == (len(events) + 100, 0)
    assert group(server, prefix)["pending"] == 0


async def test_the_log_and_the_streams_may_share_a_server(there: RedisServer, prefix: str) -> None:
    """A target that is the log's own server works the same; what the log appends is copied at once, without a look."""
    async with running_log(there.url, prefix) as running, fanning(there.url, there.url, prefix) as life:
        await wait_until(lambda: group(there, prefix), "it follows")
        life.listeners.clear()
        running.log._listeners[NAME] = [life.loop._woken.set]
        writer = await running.log.open("s", RESOURCE)
        seconds = []
        for number in range(20):
            started = time.perf_counter()
            await store(writer, batch(f"e{number}"))
            while there.client().xlen("runs:run-1") <= number:  # a look as often as can be
                await asyncio.sleep(0)
            seconds.append(time.perf_counter() - started)
        assert sorted(seconds)[10] < 0.05
    assert streams(there) == {"runs:run-1": [f"e{number}" for number in range(20)]}


async def test_only_what_is_wanted_is_copied(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """What isn't wanted is in no stream and is passed by for good."""
    entries = put(valkey, prefix, spread(30, 3)) + put(valkey, prefix, [("x", "s0")] * 20)
    async with fanning(valkey.url, there.url, prefix, wants=lambda entry: entry.subject == "s1"):
        await settled(valkey, prefix, entries[-1])
    assert streams(there) == {"runs:s1": [f"e{number}" for number in range(1, 30, 3)]}


@pytest.mark.parametrize(
    ("template", "stream"),
    [("all", "all"), ("{type}/{subject}", "t/s0"), ("by:{source}:{partition}", "by:s-e0:0"), ("{{x}}{type}", "{x}t")],
)  # fmt: skip
async def test_streams_by_template(
    valkey: RedisServer, there: RedisServer, prefix: str, template: str, stream: str
) -> None:
    """An event's stream is what the template makes of it; with a hash tag the position is in the same slot."""
    (entry,) = put(valkey, prefix, [("e0", "s0")])
    async with fanning(valkey.url, there.url, prefix, template):
        await settled(valkey, prefix, entry)
    tag = "x" if "{{" in template else "0"
    assert set(there.call("KEYS", "*")) == {stream, f"{prefix}:{{{tag}}}:position:0:{NAME}"}


@pytest.mark.parametrize("start", ["start", "now", "time"])
async def test_where_a_new_destination_begins(valkey: RedisServer, there: RedisServer, prefix: str, start: str) -> None:
    """At the log's start, at its end, or at the first entry of a moment; a later life goes on where the first was."""
    keys, moment = Keys(prefix, 0), 1_800_000_000_000
    for number in range(-2, 3):
        valkey.call("XADD", keys.events, f"{moment + number}-0", "id", f"e{number}", "type", "t", "subject", "s")
    async with fanning(valkey.url, there.url, prefix, start=moment if start == "time" else start):
        await settled(valkey, prefix, f"{moment + 2}-0")
    (entry,) = put(valkey, prefix, [("new", "s")])
    async with fanning(valkey.url, there.url, prefix, start=start if start != "time" else moment):
        await settled(valkey, prefix, entry)
        if start != "time":
            assert group(valkey, prefix)["lag"] == 0
    old = {"start": ["e-2", "e-1", "e0", "e1", "e2"], "now": [], "time": ["e0", "e1", "e2"]}
    assert streams(there) == {"runs:s": [*old[start], "new"]}


async def test_streams_are_bounded(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """With `max_entries` a stream is trimmed, roughly, to its newest."""
    entries = put(valkey, prefix, spread(2000, 2))
    async with fanning(valkey.url, there.url, prefix, most=100):
        await settled(valkey, prefix, entries[-1])
    for found in streams(there).values():
        assert 100 <= len(found) <= 300
        assert found[-1] in {"e1998", "e1999"}


async def test_a_stream_that_takes_nothing_holds_up_no_other(
    server: RedisServer, target: RedisServer, prefix: str
) -> None:
    """What belongs under somebody's keys of other types goes to the dead letters; all else goes on in order."""
    target.call("SET", "runs:s1", "x")
    target.call("RPUSH", "runs:s2", "x")
    events = spread(40, 4)
    entries = put(server, prefix, [*events[:20], ("own", "o"), *events[20:]])
    async with fanning(server.url, target.url, prefix) as life:
        await settled(server, prefix, entries[-1])
        facts = life.of(DeadLettered)
        assert sum(fact.events for fact in life.of(FanOutWritten)) == 21
    closed = [(id_, subject) for id_, subject in events if subject in {"s1", "s2"}]
    expected = by_stream([*events[:20], ("own", "o"), *events[20:]])
    assert streams(target) == {key: found for key, found in expected.items() if key not in {"runs:s1", "runs:s2"}}
    letters = dead(server, prefix)
    assert sorted((letter["id"], letter["subject"]) for letter in letters) == sorted(closed)
    assert len(facts) == len(closed)
    first = next(letter for letter in letters if letter["id"] == "e1")
    assert list(first) == ["id", "type", "subject", "event", "entry", "attempts", "last_status", "last_error", "time"]
    assert (first["entry"], first["attempts"]) == (entries[1], "1")
    assert first["last_error"].startswith("WRONGTYPE")
    assert "runs:s1" in first["last_error"]


async def test_the_logs_own_keys_are_no_streams(there: RedisServer, prefix: str) -> None:
    """An upstream that names its run like a key of the log writes nothing there: a dead letter says so."""
    keys = Keys(prefix, 0)
    entries = put(there, prefix, [("a", keys.events), ("b", keys.source("s")), ("c", "fine")])
    async with fanning(there.url, there.url, prefix, "{subject}"):
        await settled(there, prefix, entries[-1])
    assert there.call("XLEN", keys.events) == 3
    assert streams(there, "fine") == {"fine": ["c"]}
    assert [letter["id"] for letter in dead(there, prefix)] == ["a", "b"]


async def test_one_forbidden_stream_and_all_of_them(server: RedisServer, target: RedisServer, prefix: str) -> None:
    """A user who may not write one stream loses that one's events to the dead letters; one who may write none waits."""
    target.call("ACL", "SETUSER", prefix, "on", "nopass", "+@all", f"~{prefix}:*", "~other:*")
    url = f"unix://{prefix}:any@{urlsplit(target.url).path}"
    entries = put(server, prefix, spread(10, 2))
    async with fanning(server.url, url, prefix) as life:
        blocked = await wait_until(lambda: life.of(DeliveryBlocked), "it waits")
        assert blocked[0].code == "NOPERM"
        assert "runs:s0" in blocked[0].reason
        assert prefix not in blocked[0].reason.partition("unix")[2].partition(" ")[0]
        assert not dead(server, prefix)
        target.call("ACL", "SETUSER", prefix, "~runs:none", "~runs:s1")
        await settled(server, prefix, entries[-1])
        assert len(life.of(DeliveryBlocked)) == 1
    target.call("ACL", "DELUSER", prefix)
    assert streams(target) == {"runs:s1": ["e1", "e3", "e5", "e7", "e9"]}
    assert [letter["id"] for letter in dead(server, prefix)] == ["e0", "e2", "e4", "e6", "e8"]
    assert {letter["last_error"] for letter in dead(server, prefix)} == {"NOPERM this user may not run XADD on runs:s0"}


async def test_a_target_without_memory_is_waited_out(
    start_server: Callable[..., RedisServer], server: RedisServer, flavour: str, prefix: str
) -> None:
    """OOM and READONLY lose and bury nothing: each is said once, and it goes on by itself."""
    full = start_server(flavour)
    try:
        async with fanning(server.url, full.url, prefix) as life:
            await wait_until(lambda: group(server, prefix), "it follows")
            full.call("CONFIG", "SET", "maxmemory", "1")
            entries = put(server, prefix, spread(10, 2))
            life.wake()
            await wait_until(lambda: life.of(DeliveryBlocked), "it waits")
            full.call("CONFIG", "SET", "maxmemory", "0")
            await settled(server, prefix, entries[-1])
            full.call("REPLICAOF", "127.0.0.1", "1")
            entries = put(server, prefix, spread(10, 2, first=10))
            life.wake()
            await wait_until(lambda: len(life.of(DeliveryBlocked)) == 2, "it waits again")
            full.call("REPLICAOF", "NO", "ONE")
            await settled(server, prefix, entries[-1])
            assert [fact.code for fact in life.of(DeliveryBlocked)] == ["OOM", "READONLY"]
        assert streams(full) == by_stream(spread(20, 2))
        assert not dead(server, prefix)
    finally:
        full.call("FLUSHALL")


async def test_entries_trimmed_before_their_time_are_counted(
    valkey: RedisServer, there: RedisServer, prefix: str
) -> None:
    """What was trimmed before it was copied is said, with its number; what is left is copied once."""
    entries = put(valkey, prefix, spread(10, 1))
    async with fanning(valkey.url, there.url, prefix):
        await settled(valkey, prefix, entries[-1])
    more = put(valkey, prefix, spread(20, 1, first=10))
    valkey.call("XTRIM", Keys(prefix, 0).events, "MINID", more[5])
    async with fanning(valkey.url, there.url, prefix) as life:
        await settled(valkey, prefix, more[-1])
        assert life.of(EntriesMissing) == [EntriesMissing(NAME, 5)]
    assert streams(there)["runs:s0"] == [f"e{number}" for number in [*range(10), *range(15, 30)]]
    assert group(valkey, prefix)["lag"] == 0


async def test_a_batch_is_bounded_in_bytes(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """Large events go in small batches: 4 MiB and one event more at most."""
    body = "x" * 300_000
    for number in range(60):
        entry = valkey.call(
            "XADD", Keys(prefix, 0).events, "*", "id", f"e{number}", "type", "t", "subject", "s", "event", body
        )
    async with fanning(valkey.url, there.url, prefix) as life:
        await settled(valkey, prefix, entry)
        assert max(fact.events for fact in life.of(FanOutWritten)) == MOST_BYTES // len(body) + 1
        assert group(valkey, prefix)["entries-read"] == 60
    assert streams(there) == {"runs:s": [f"e{number}" for number in range(60)]}


async def test_a_cluster_as_target(start_server: Callable[..., RedisServer], valkey: RedisServer, prefix: str) -> None:
    """With a hash tag a batch is in one slot, wherever that is; without one it waits, and nothing is buried."""
    node = start_server(
        "valkey", port=free_port(), cluster_enabled="yes", cluster_require_full_coverage="no"
    )  # fmt: skip
    try:
        node.call("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)  # half of them: those of the tag 0, not all of the others
        await wait_until(lambda: node.call("CLUSTER INFO")["cluster_state"] == "ok", "it is up")
        url = node.url.replace("redis://", "redis+cluster://")
        entries = put(valkey, prefix, spread(50, 50))
        async with fanning(valkey.url, url, prefix, "{{0}}:runs:{subject}"):
            await settled(valkey, prefix, entries[-1])
        assert streams(node, "{0}:*") == dict(sorted(by_stream(spread(50, 50), "{0}:runs:").items()))
        more = put(valkey, prefix, spread(50, 50, first=50))
        async with fanning(valkey.url, url, prefix) as life:
            (blocked,) = await wait_until(lambda: life.of(DeliveryBlocked), "it waits")
            assert "non local key" in blocked.reason
        assert not dead(valkey, prefix)
        assert group(valkey, prefix)["last-delivered-id"] < more[-1]
    finally:
        node.call("FLUSHALL")


async def test_nothing_uncopied_is_trimmed_by_age(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """The log keeps what the target doesn't have, however old, and lets go of the rest."""
    async with running_log(valkey.url, prefix, retention=0.0) as running:
        running.log.destinations.add(NAME)
        entries = put(valkey, prefix, spread(10, 2))
        assert await running.log.trim(0) == (0, 0)
        async with fanning(valkey.url, there.url, prefix):
            await settled(valkey, prefix, entries[-1])
        put(valkey, prefix, spread(3, 1))
        assert await running.log.trim(0) == (10, 0)


def test_what_is_written_is_counted() -> None:
    """The metric has the events of each destination."""
    observe = Observer()
    observe(FanOutWritten(NAME, 3))
    observe(FanOutWritten(NAME, 4))
    assert observe.live.destination(NAME).delivered == 7


async def test_a_stop_ends_it_with_the_log_told(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """After the stop the loop ends at once, and the next life begins where it was."""
    entries = put(valkey, prefix, spread(10, 1))
    async with fanning(valkey.url, there.url, prefix) as life:
        await settled(valkey, prefix, entries[-1])
        life.stop.set()
        task = life.task
        assert task is not None
        await wait_until(task.done, "the loop ends", 0.9)
    seen: list[Entry] = []
    more = put(valkey, prefix, spread(1, 1, first=10))
    async with fanning(valkey.url, there.url, prefix, wants=lambda entry: not seen.append(entry)):  # type: ignore[func-returns-value]  # notes what is asked
        await settled(valkey, prefix, more[-1])
    assert [entry.id for entry in seen] == ["e10"]
