"""Retention: by age never what a destination has not settled; by count whatever it takes, and that is said."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from destination import destination, fill, settle
from running_log import RESOURCE, Running, batch, ids, running_log, store
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.lane import Verdict
from bridge.facts import LogTrimmed
from bridge.redis_log import Keys, partition_of

NOTHING_KEPT = 0.0
"""Seconds: every entry is too old."""
FOR_EVER = 1e6


def trimming(
    server: RedisServer, prefix: str, *, retention: float = NOTHING_KEPT, **options: Any
) -> AbstractAsyncContextManager[Running]:
    """A log with a retention."""
    return running_log(server.url, prefix, retention=retention, **options)


def known(running: Running, *names: str) -> None:
    """These destinations are configured."""
    running.log.destinations |= set(names)


async def test_a_log_without_destinations_is_trimmed_by_age(server: RedisServer, prefix: str) -> None:
    """Entries older than the retention go; younger ones stay."""
    now = int(server.call("TIME")[0])
    for age in (7200, 3700, 3500, 0):
        server.call("XADD", Keys(prefix, 0).events, f"{(now - age) * 1000}-1", "id", str(age))
    async with trimming(server, prefix, retention=3600.0) as running:
        assert await running.log.trim(0) == (2, 0)
    assert ids(server, Keys(prefix, 0)) == ["3500", "0"]


async def test_what_a_resting_destination_has_not_settled_stays(server: RedisServer, prefix: str) -> None:
    """A paused destination is spared like one that runs, until it is no more."""
    fill(server, prefix, [(f"e{number}", "s") for number in range(3)])
    async with trimming(server, prefix) as running, destination(server, prefix):
        running.log.keep(["crm"])
        assert await running.log.trim(0) == (0, 0)
        running.log.keep([])
        assert await running.log.trim(0) == (3, 0)


async def test_nothing_unsettled_is_trimmed_by_age(server: RedisServer, prefix: str) -> None:
    """Unread, read but unsettled, and waiting entries stay, however old, and everything after the oldest of them."""
    entries = fill(server, prefix, [(f"e{number}", f"s{number}") for number in range(10)])
    async with trimming(server, prefix) as running, destination(server, prefix) as crm:
        known(running, "crm")
        assert await running.log.trim(0) == (0, 0), "unread"
        await crm.take(want=6)
        assert await running.log.trim(0) == (0, 0), "read"
        await crm.take(settled=[entries[0], entries[1], entries[3]], want=0)
        assert await running.log.trim(0) == (2, 0), "two settled ones, up to the first that is not"
        retry = settle("s2", entries[2], Verdict.RETRY, 1, 0.0)
        await crm.take(retry, settled=[entries[4], entries[5]], want=0, heads=0)
        assert await running.log.trim(0) == (0, 0), "waiting for its next attempt"
        await crm.take(settle("s2", entries[2], Verdict.DONE), want=0, heads=0)
        assert await running.log.trim(0) == (4, 0)
        assert ids(server, Keys(prefix, 0)) == ["e6", "e7", "e8", "e9"], "unread"
        await crm.take()
        await crm.take(settled=entries[6:])
        assert await running.log.trim(0) == (4, 0)


async def test_the_lanes_behind_a_waiting_entry_are_kept(server: RedisServer, prefix: str) -> None:
    """Entries that wait behind another one are kept too, and the oldest waiting subject decides."""
    entries = fill(server, prefix, [("a", "s"), ("x", "other"), ("b", "s"), ("y", "other"), ("c", "s")])
    async with trimming(server, prefix) as running, destination(server, prefix) as crm:
        known(running, "crm")
        await crm.take()
        held = settle("s", entries[0], Verdict.RETRY, 1, 60.0, waiting=[entries[2], entries[4]])
        other = settle("other", entries[1], Verdict.HOLD, waiting=[entries[3]])
        await crm.take(held, other, want=0, heads=0)
        assert await running.log.trim(0) == (0, 0)
        await crm.take(settle("s", entries[0], Verdict.DONE), want=0, heads=0)
        await running.log.trim(0)
        assert set(ids(server, Keys(prefix, 0))) >= {"x", "b", "y", "c"}
        for entry in (entries[1], entries[3]):
            await crm.take(settle("other", entry, Verdict.DONE), want=0, heads=0)
        await running.log.trim(0)
        assert set(ids(server, Keys(prefix, 0))) >= {"b", "c"}
        for entry in (entries[2], entries[4]):
            await crm.take(settle("s", entry, Verdict.DONE), want=0, heads=0)
        await running.log.trim(0)
        assert ids(server, Keys(prefix, 0)) == []


async def test_the_slowest_destination_decides(server: RedisServer, prefix: str) -> None:
    """What one destination has settled stays for the other; a group of somebody else decides nothing."""
    entries = fill(server, prefix, [("a", "s"), ("b", "s")])
    server.call("XGROUP", "CREATE", Keys(prefix, 0).events, "somebody", "0")
    async with (
        trimming(server, prefix) as running,
        destination(server, prefix) as crm,
        destination(server, prefix, name="erp") as erp,
    ):
        known(running, "crm", "erp")
        await crm.take()
        await crm.take(settled=entries)
        assert await running.log.trim(0) == (0, 0)
        await erp.take()
        await erp.take(settled=entries[:1])
        assert await running.log.trim(0) == (1, 0)
        await erp.take(settled=entries[1:])
        assert await running.log.trim(0) == (1, 0)


async def test_a_destination_without_a_group_keeps_everything(server: RedisServer, prefix: str) -> None:
    """A configured destination that has not begun yet has settled nothing: age removes nothing, the count does."""
    fill(server, prefix, [(f"e{number}", "s") for number in range(10)])
    async with trimming(server, prefix, max_entries=10) as running:
        known(running, "crm")
        assert await running.log.trim(0) == (0, 0)
    async with trimming(server, prefix, max_entries=4) as running:
        known(running, "crm")
        assert await running.log.trim(0) == (6, 6)
    assert ids(server, Keys(prefix, 0)) == ["e6", "e7", "e8", "e9"]


@pytest.mark.parametrize(("settled", "unsettled"), [(0, 2500), (1000, 1500), (2500, 0), (3500, 0)])
async def test_the_count_is_kept_and_what_it_costs_is_counted(
    server: RedisServer, prefix: str, settled: int, unsettled: int
) -> None:
    """Over `max_entries` the oldest go exactly, in steps; how many of them were unsettled is told."""
    entries = fill(server, prefix, ((f"e{number}", f"s{number}") for number in range(3500)))
    async with trimming(server, prefix, retention=FOR_EVER, max_entries=1000) as running:
        known(running, "crm")
        async with destination(server, prefix) as crm:
            await crm.take(want=3500)
            await crm.take(settled=entries[:settled], want=0)
            assert await running.log.trim(0) == (2500, unsettled)
            assert ids(server, Keys(prefix, 0)) == [f"e{number}" for number in range(2500, 3500)]
            assert await running.log.trim(0) == (0, 0)


async def test_trimming_runs_by_itself_and_says_so(shared_servers: dict[str, RedisServer], prefix: str) -> None:
    """The log's own loop trims every partition and reports what it cost."""
    server = shared_servers["valkey"]
    names = [next(f"s{at}" for at in range(100) if partition_of(f"s{at}", 2) == partition) for partition in range(2)]
    async with running_log(server.url, prefix, trim=True, max_entries=5, partitions=2) as running:
        running.log.lanes("crm", "start")
        for name in names:
            await store(await running.log.open(name, RESOURCE), batch(*(f"{name}-{at}" for at in range(8))))
        await wait_until(lambda: len(running.of(LogTrimmed)) == 2, "both partitions", 20.0)
        assert running.of(LogTrimmed) == [LogTrimmed(3, 3)] * 2
    assert ids(server, Keys(prefix, 0)) == [f"{names[0]}-{at}" for at in range(3, 8)]


async def test_a_log_that_is_not_there_yet_is_not_trimmed(server: RedisServer, prefix: str) -> None:
    """Without a first entry there is nothing to do, and no key is made."""
    async with trimming(server, prefix) as running:
        known(running, "crm")
        assert await running.log.trim(0) == (0, 0)
    assert not server.call("EXISTS", Keys(prefix, 0).events)
