"""Due times of waiting lanes over restarts, whatever the wall clock does (the clock: test_log_delivery_clock)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from destination import Destination, fill, settle
from servers import RedisServer

from bridge.delivery.lane import Verdict
from bridge.redis_log import Keys, Server
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.feed import Feed
from bridge.redis_log.lanes import RedisLanes
from bridge.redis_log.link import Link

DAY = 86_400.0


class Wall:
    """A wall clock that a test sets."""

    now = 1.8e9

    def __call__(self) -> float:
        """What it shows."""
        return self.now


@asynccontextmanager
async def life(server: RedisServer, prefix: str, wall: Wall) -> AsyncIterator[tuple[Destination, DeliveryClock]]:
    """One life of a destination with this wall clock."""
    keys = Keys(prefix, 0)
    links = [Link(Server(server.url), keys.events) for _ in range(3)]
    clock = DeliveryClock(links[0], keys, wall)
    lanes = RedisLanes(links[0], Feed(links[1], links[2], keys), clock, keys, "crm", instance="one", start="start")
    position, _ = await lanes.open()
    try:
        yield Destination(lanes, position), clock
    finally:
        for link in links:
            await link.close()


@pytest.mark.parametrize("running", [-3 * DAY, 0.0, 3 * DAY], ids=["back", "steady", "forward"])
@pytest.mark.parametrize("away", [0.0, 50.0, 2 * DAY, -2 * DAY], ids=["at once", "50 s", "2 days", "back 2 days"])
async def test_what_waits_is_due_when_it_was_to_be(
    server: RedisServer, prefix: str, running: float, away: float
) -> None:
    """A jump while it runs moves no due time; the time away counts, as far as the wall clock goes forward."""
    wall = Wall()
    (entry,) = fill(server, prefix, [("a", "s")])
    async with life(server, prefix, wall) as (crm, clock):
        await crm.take()
        came = await crm.take(settle("s", entry, Verdict.RETRY, 1, 100.0))
        assert came.next_due == pytest.approx(100, abs=1)
        before = clock.seconds()
        wall.now += running
        assert clock.seconds() - before < 1
        came = await crm.take()
        assert came.next_due == pytest.approx(100, abs=1)
        last = clock.seconds()
        await clock.note()
    wall.now += away
    async with life(server, prefix, wall) as (crm, clock):
        assert clock.seconds() >= last - 0.002, "never goes backwards"
        came = await crm.take()
        if away >= 100:
            assert [head.ids for head in came.heads] == [(entry,)]
        else:
            assert came.heads == []
            assert came.next_due == pytest.approx(100 - max(away, 0.0), abs=1)
    server.call("DEL", Keys(prefix, 0).clock)
