"""The append, against every real server: one atomic step of events, parked records, cursor, window and owner."""

import asyncio
import json

from running_log import RESOURCE, Running, batch, event, ids, running_log, source_hash, store
from servers import RedisServer

from bridge.event import Batch, Parked, Position, State
from bridge.facts import BatchStored, RecordParked, SourceReset
from bridge.redis_log import Keys, partition_of


def duplicates(running: Running) -> int:
    """How many events were recognised."""
    return sum(fact.duplicates for fact in running.of(BatchStored))


async def test_entry_has_the_four_fields_in_order(server: RedisServer, prefix: str) -> None:
    """An entry of the log is `id`, `type`, `subject`, `event`, in this order; `event` is the whole CloudEvent."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("e1", cursor="c1", data=b'{"b": 1,  "a":[2]}'))
    ((_, fields),) = server.call("XRANGE", Keys(prefix, 0).events, "-", "+")
    assert list(fields) == ["id", "type", "subject", "event"]
    assert (fields["id"], fields["type"], fields["subject"]) == ("e1", "ai.bctrl.run.step", "run-1")
    assert '"data":{"b": 1,  "a":[2]}' in fields["event"], "the data is verbatim"
    cloud_event = json.loads(fields["event"])
    assert cloud_event["specversion"] == "1.0"
    assert cloud_event["source"] == RESOURCE
    assert cloud_event["partitionkey"] == cloud_event["subject"] == "run-1"
    assert cloud_event["sequence"] == f"{1:020d}"
    assert cloud_event["recordedtime"].endswith("Z")


async def test_events_are_numbered_per_source_over_batches_and_restarts(server: RedisServer, prefix: str) -> None:
    """A source's events have the numbers 1, 2, 3, ... in upstream order, also after a restart, whatever others do."""
    async with running_log(server.url, prefix) as running:
        writer, other = await running.log.open("s", RESOURCE), await running.log.open("other", RESOURCE)
        await store(writer, batch("a", "b"))
        await store(other, batch("x"))
        await store(writer, batch("c"))
    async with running_log(server.url, prefix, instance="two") as running:
        await store(await running.log.open("s", RESOURCE), batch("d"))
    entries = [fields for _, fields in server.call("XRANGE", Keys(prefix, 0).events, "-", "+")]
    numbers = [(fields["id"], int(json.loads(fields["event"])["sequence"])) for fields in entries]
    assert numbers == [("a", 1), ("b", 2), ("x", 1), ("c", 3), ("d", 4)]


async def test_source_hash_holds_position_owner_and_state(server: RedisServer, prefix: str) -> None:
    """Cursor, sequence, state, owner, epoch and resource of a source lie in its hash, stored with its events."""
    async with running_log(server.url, prefix, instance="host-1") as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("a", "b", cursor="c2"), batch(state=State.FAILED, reason="401"))
        stored = source_hash(server, Keys(prefix, 0))
        assert stored.pop("time").endswith("Z")
        assert stored == {
            "cursor": "c2", "sequence": "2", "state": "failed", "reason": "401", "owner": "host-1:1", "epoch": "1",
            "resource": RESOURCE, "scope": "",
        }  # fmt: skip
        assert writer.position == Position(2, "c2", State.FAILED, "401")
    async with running_log(server.url, prefix) as running:
        assert (await running.log.open("s", RESOURCE)).position == Position(2, "c2", State.FAILED, "401")


async def test_null_cursor_never_replaces_a_stored_one(server: RedisServer, prefix: str) -> None:
    """A batch without a cursor leaves the stored cursor as it is, in memory and in the log."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("a", cursor="c1"), batch("b", cursor=None))
        await asyncio.gather(writer.add(batch("c", cursor="c3")), writer.add(batch("d", cursor=None)))
        await writer.stored()
        assert writer.position.cursor == "c3"
    assert source_hash(server, Keys(prefix, 0))["cursor"] == "c3"


async def test_cursor_alone_is_stored(server: RedisServer, prefix: str) -> None:
    """A page without events still moves the cursor, and nothing else."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("a", cursor="c1"), batch(cursor="c2"))
    stored = source_hash(server, Keys(prefix, 0))
    assert (stored["cursor"], stored["sequence"]) == ("c2", "1")
    assert ids(server, Keys(prefix, 0)) == ["a"]


async def test_ended_is_for_good(server: RedisServer, prefix: str) -> None:
    """A source that has ended is found ended after a restart."""
    async with running_log(server.url, prefix) as running:
        await store(await running.log.open("s", RESOURCE), batch("end", cursor="c", state=State.ENDED))
    async with running_log(server.url, prefix) as running:
        assert (await running.log.open("s", RESOURCE)).position.state is State.ENDED


async def test_replayed_events_are_recognised(server: RedisServer, prefix: str) -> None:
    """An event id in the window is not appended again: within a batch, in the next one, and after a restart."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        assert await writer.add(batch("a", "b", "a")) == 2
        await writer.stored()
        assert await writer.add(batch("b", "c")) == 1
        await writer.stored()
        assert duplicates(running) == 2
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        assert await writer.add(batch("a", "b", "c", "d", cursor="c4")) == 1
        await writer.stored()
        assert duplicates(running) == 3
    assert ids(server, Keys(prefix, 0)) == ["a", "b", "c", "d"]
    assert source_hash(server, Keys(prefix, 0))["sequence"] == "4"


async def test_ids_with_line_breaks_are_recognised_after_a_restart(server: RedisServer, prefix: str) -> None:
    """An id is recognised whatever characters it has, those that separate ids in the window among them."""
    odd = ["a\nb", "", " ", "ä\r\n", "x" * 5000]
    async with running_log(server.url, prefix) as running:
        await store(await running.log.open("s", RESOURCE), batch(*odd))
    async with running_log(server.url, prefix) as running:
        await store(await running.log.open("s", RESOURCE), batch(*odd, "b"))
    assert ids(server, Keys(prefix, 0)) == [*odd, "b"]


async def test_window_is_bounded_and_the_same_after_a_restart(server: RedisServer, prefix: str) -> None:
    """The window keeps at least the last `window` ids and at most one append more; older ids are forgotten."""
    keys = Keys(prefix, 0)
    async with running_log(server.url, prefix, window=10) as running:
        writer = await running.log.open("s", RESOURCE)
        for at in range(0, 60, 3):
            await store(writer, batch(*(f"e{number}" for number in range(at, at + 3))))
        kept = [id_ for chunk in server.call("LRANGE", keys.recent("s"), 0, -1) for id_ in chunk.split("\n")]
        assert kept == [f"e{number}" for number in range(48, 60)]
        assert await writer.add(batch("e48", "e59")) == 0
        assert await writer.add(batch("e47")) == 1
        await writer.stored()
    async with running_log(server.url, prefix, window=10) as running:
        writer = await running.log.open("s", RESOURCE)
        assert await writer.add(batch("e47", "e51", "e59")) == 0
        assert await writer.add(batch("e46")) == 1


async def test_parked_records_lie_beside_the_events(server: RedisServer, prefix: str) -> None:
    """An unreadable record is kept with its bytes, counted in the sequence, and a replayed one is kept once."""
    keys, raw = Keys(prefix, 0), b"\xff\x00 not json"
    page = Batch([event("a"), Parked("not JSON", raw, key="line 7"), event("b")], "c3")
    async with running_log(server.url, prefix) as running:
        await store(await running.log.open("s", RESOURCE), page)
        assert [fact.reason for fact in running.of(RecordParked)] == ["not JSON"]
    async with running_log(server.url, prefix) as running:
        await store(await running.log.open("s", RESOURCE), page, Batch([Parked("no id", b"{}")]))
    assert ids(server, keys) == ["a", "b"]
    (_, first), (_, second) = server.call("XRANGE", keys.parked, "-", "+")
    assert {name: value.encode(errors="surrogateescape") for name, value in first.items()} == {
        "source": b"s", "reason": b"not JSON", "raw": raw, "cursor": b"c3"
    }  # fmt: skip
    assert second["raw"] == "{}"
    assert source_hash(server, keys)["sequence"] == "4"


async def test_another_resource_starts_without_cursor(server: RedisServer, prefix: str) -> None:
    """A source id that now names another resource starts there from its beginning; the sequence goes on."""
    async with running_log(server.url, prefix) as running:
        await store(await running.log.open("s", RESOURCE), batch("a", cursor="c1", state=State.ENDED))
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", "https://api.example/runs/2")
        assert writer.position == Position(1, None, State.RUNNING)
        assert running.of(SourceReset) == [SourceReset("s", "https://api.example/runs/2")]


async def test_armed_wait_is_known_after_a_restart(server: RedisServer, prefix: str) -> None:
    """Whether a consuming wait was under way is stored, and changes nothing else."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("a", cursor="c"))
        await writer.arm(armed=True)
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        assert writer.position == Position(1, "c", armed=True)
        await writer.arm(armed=False)
    async with running_log(server.url, prefix) as running:
        assert not (await running.log.open("s", RESOURCE)).position.armed


async def test_sources_are_spread_over_partitions(server: RedisServer, prefix: str) -> None:
    """A source belongs to the partition of its id's CRC-32, and all its keys lie there."""
    names = [f"s{number}" for number in range(8)]
    async with running_log(server.url, prefix, partitions=3) as running:
        for name in names:
            await store(await running.log.open(name, RESOURCE), batch(f"e-{name}", cursor="c"))
    for partition in range(3):
        expected = [name for name in names if partition_of(name, 3) == partition]
        keys = Keys(prefix, partition)
        assert ids(server, keys) == [f"e-{name}" for name in expected]
        assert [name for name in names if source_hash(server, keys, name)] == expected
    assert partition_of("123456789", 1000) == 0xCBF43926 % 1000, "the check value of CRC-32: the same everywhere"
