"""Group commit and its bounds: how batches share round trips, when the reading waits, what interrupts it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from proxy import Answers, Proxy
from running_log import RESOURCE, batch, beside, event, ids, running_log, script_calls, source_hash, store
from servers import RedisServer, free_port
from waiting import wait_until

from bridge.errors import Fenced, Moved
from bridge.event import Batch
from bridge.facts import BatchStored, LogBlocked, LogRestored
from bridge.redis_log import Keys
from bridge.redis_log.commit import MAX_ROUND
from bridge.redis_log.writer import MAX_BYTES, MAX_MEMORY, MAX_RECORDS, Writer


async def test_idle_means_at_once(server: RedisServer, prefix: str) -> None:
    """An event is in the log without waiting for others: each of these is an append of its own."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, *(batch(f"e{number}") for number in range(20)))
        assert [fact.events for fact in running.of(BatchStored)] == [1] * 20


async def test_a_batch_in_flight_collects_the_rest(server: RedisServer, prefix: str) -> None:
    """While an append has no answer, everything else is collected and goes with the next one."""
    keys = Keys(prefix, 0)
    async with Proxy(server) as proxy, running_log(proxy.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("first", cursor="c"))
        server.call("CONFIG", "RESETSTAT")
        proxy.answers = Answers.HOLD
        await writer.add(batch("e0", cursor="c0"))
        await wait_until(lambda: ids(server, keys) == ["first", "e0"], "the first one's append")
        for number in range(1, 101):
            await writer.add(batch(f"e{number}", cursor=f"c{number}"))
        assert len(ids(server, keys)) == 2, "nothing else is sent while an answer is missing"
        proxy.answers = Answers.PASS
        await writer.stored()
        assert script_calls(server) == 2
        assert [fact.events for fact in running.of(BatchStored)] == [1, 1, 100]
    assert ids(server, keys) == ["first", *(f"e{number}" for number in range(101))]
    assert source_hash(server, keys)["cursor"] == "c100"


async def test_batches_of_several_sources_share_a_round_trip(server: RedisServer, prefix: str) -> None:
    """What several sources have at the same moment is sent together, before any answer; each has its own."""
    keys = Keys(prefix, 0)
    async with Proxy(server) as proxy, running_log(proxy.url, prefix) as running:
        writers = [await running.log.open(f"s{number}", RESOURCE) for number in range(10)]
        await store(writers[0], batch("first"))
        moved = writers[3]
        server.call("HSET", keys.source("s3"), "sequence", "7")
        proxy.answers = Answers.HOLD
        for number, writer in enumerate(writers):
            await writer.add(batch(f"e{number}"))
        await wait_until(lambda: len(ids(server, keys)) == 10, "all but the refused one, without one answer")
        proxy.answers = Answers.PASS
        for writer in writers:
            if writer is not moved:
                await writer.stored()
        with pytest.raises(Moved):
            await moved.stored()
        assert len(running.of(BatchStored)) == 10


async def test_a_script_the_server_forgot_is_sent_again(server: RedisServer, prefix: str) -> None:
    """After SCRIPT FLUSH the append goes on as if nothing had been, once."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        for number in range(5):
            server.call("SCRIPT", "FLUSH")
            await store(writer, batch(f"e{number}"))
        assert not running.of(LogBlocked)
    assert ids(server, Keys(prefix, 0)) == [f"e{number}" for number in range(5)]


@pytest.mark.parametrize(("page", "pages"), [(1, MAX_RECORDS), (MAX_RECORDS * 2, 1)])
async def test_reading_waits_when_too_many_records_wait(
    server: RedisServer, prefix: str, page: int, pages: int
) -> None:
    """A writer that has collected MAX_RECORDS records takes no more until Redis has taken those before."""
    async with Proxy(server) as proxy, running_log(proxy.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("first"))
        proxy.answers = Answers.HOLD
        await writer.add(batch("in flight"))
        await wait_until(lambda: writer.sealed, "the first batch is under way")
        for number in range(pages):
            assert not writer.full
            await writer.add(batch(*(f"{number}-{at}" for at in range(page))))
        assert writer.full
        async with beside(lambda: writer.add(batch("waits"))) as (waiting,):
            await asyncio.sleep(0)
            assert not waiting.done()
            proxy.answers = Answers.PASS
            assert await waiting == 1
        await writer.stored()
    found = ids(server, Keys(prefix, 0))
    assert len(found) == len(set(found)) == page * pages + 3
    assert found[-1] == "waits"


async def test_reading_waits_when_too_many_bytes_wait(server: RedisServer, prefix: str) -> None:
    """While Redis is away, a partition's writers hold MAX_MEMORY together, and beyond it at most one page each."""
    page = batch_of_bytes(MAX_BYTES // 16)
    async with Proxy(server) as proxy, running_log(proxy.url, prefix) as running:
        writers = [await running.log.open(f"s{number}", RESOURCE) for number in range(72)]
        await store(writers[0], page(0))
        proxy.answers = Answers.HOLD
        await writers[0].add(page(1))
        await wait_until(lambda: writers[0].sealed, "the first batch is under way")
        for writer in writers:
            while not writer.full:
                await writer.add(page(writer.position.sequence))
        held = writers[0]._home
        most = MAX_BYTES * len(writers)
        assert MAX_MEMORY <= held.memory <= MAX_MEMORY + len(writers) * (MAX_BYTES // 16 + 1024) < most
        proxy.answers = Answers.PASS
        for writer in writers:
            await writer.stored()
        assert held.memory == 0
        rounds: Counter[float] = Counter()
        for fact in running.of(BatchStored):
            rounds[fact.seconds] += fact.events  # those of one round trip took the same time
        most = MAX_ROUND + MAX_BYTES
        assert max(rounds.values()) * MAX_BYTES // 16 <= most, "a slow link could not carry it all at once"
        assert server.call("XLEN", Keys(prefix, 0).events) == sum(writer.position.sequence for writer in writers)


def batch_of_bytes(size: int) -> Callable[[int], Batch]:
    """Makes pages of one event of some `size` bytes."""
    data = b'"' + b"x" * (size - 2) + b'"'
    return lambda number: batch(f"e{number}", data=data)


async def test_guard_interrupts_when_the_log_has_moved(server: RedisServer, prefix: str) -> None:
    """Whatever is done under `guard` ends as soon as the log is found to stand elsewhere."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        server.call("HSET", Keys(prefix, 0).source("s"), "sequence", "7")
        with pytest.raises(Moved):
            await _wait_guarded(writer)
        with pytest.raises(Moved):
            async with writer.guard():
                pytest.fail("entered although the log had moved")
        await writer.reload()
        async with writer.guard():
            await store(writer, batch("a"))


async def _wait_guarded(writer: Writer) -> None:
    async with writer.guard():
        await writer.add(batch("a"))
        await asyncio.Event().wait()


async def test_guard_lets_time_outs_of_its_body_pass(server: RedisServer, prefix: str) -> None:
    """A time-out inside the guard stays a time-out."""
    async with running_log(server.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        with pytest.raises(TimeoutError, match="mine"):
            async with writer.guard():
                raise TimeoutError("mine")
        await store(writer, batch("a"))


async def test_a_slow_end_under_guard_survives_a_second_refusal(server: RedisServer, prefix: str) -> None:
    """While what was interrupted is still ending, a new connection that finds the log moved again hurts nobody."""
    keys = Keys(prefix, 0)
    async with Proxy(server) as proxy, running_log(proxy.url, prefix) as running:
        writer = await running.log.open("s", RESOURCE)
        server.call("HSET", keys.source("s"), "sequence", "7")
        closing, closed = asyncio.Event(), asyncio.Event()

        async def guarded() -> None:
            async with writer.guard():
                await writer.add(batch("a"))
                try:
                    await asyncio.Event().wait()
                finally:
                    closing.set()
                    await closed.wait()

        async with beside(lambda: _refused(guarded)) as (task,):
            await wait_until(closing.is_set, "the guard interrupts")
            other = await running.log.open("other", RESOURCE)
            proxy.cut()
            await store(other, batch("b"))
            await store(other, batch("c"))
            closed.set()
            await task
        await writer.reload()
        await store(writer, batch("a"))
    assert ids(server, keys) == ["b", "c", "a"]


async def _refused(guarded: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(Moved):
        await guarded()


async def test_a_writer_that_was_refused_takes_no_part(server: RedisServer, prefix: str) -> None:
    """A fenced writer's rest is dropped; drained() does not wait for it, and others go on."""
    async with running_log(server.url, prefix) as running, running_log(server.url, prefix, instance="two") as newer:
        old, other = await running.log.open("s", RESOURCE), await running.log.open("other", RESOURCE)
        await store(other, batch("a"))
        await newer.log.open("s", RESOURCE)
        await old.add(batch("a"))
        with pytest.raises(Fenced):
            await old.stored()
        await other.add(Batch([event("b")]))
        await running.log.drained()
    assert ids(server, Keys(prefix, 0)) == ["a", "b"]


async def test_acknowledged_means_on_a_replica_where_that_is_asked_for(
    start_server: Callable[..., RedisServer], flavour: str
) -> None:
    """With min_replicas_acked a batch counts as stored only when a replica has it: a frozen one stops the log."""
    main = start_server(flavour, port=free_port(), repl_diskless_sync_delay="0")
    replica = start_server(flavour, port=free_port(), replicaof=f"127.0.0.1 {main.port}")
    keys = Keys("bridge", 0)
    await wait_until(lambda: replica.call("ROLE")[3] == "connected", "the replica follows", 20.0)
    async with running_log(main.url, "bridge", replicas=1) as running:
        writer = await running.log.open("s", RESOURCE)
        await store(writer, batch("a", cursor="c1"))
        assert ids(replica, keys) == ["a"]
        replica.pause()
        await writer.add(batch("b", cursor="c2"))
        await wait_until(lambda: running.log.blocked == "NOREPLICAS", "the log waits for the replica")
        assert writer.dirty
        replica.resume()
        await writer.stored()
        assert ids(replica, keys) == ids(main, keys) == ["a", "b"]
        assert [fact.code for fact in running.of(LogBlocked)] == ["NOREPLICAS"]
        await wait_until(lambda: running.log.blocked is None, "readiness comes back")
        assert running.of(LogRestored)
