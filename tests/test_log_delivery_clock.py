"""Holds the clock of due times to its promise: it goes on over restarts, and no jump of the wall clock moves it."""

import asyncio

import pytest
from servers import RedisServer

from bridge.redis_log import Keys, Server
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.link import Link

NOON = 1_795_300_000.0
DAY = 86_400.0


class Wall:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> float:
        """What it shows."""
        return self.time


@pytest.fixture
def server(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A shared Valkey."""
    return shared_servers["valkey"]


async def test_a_jump_while_it_runs_moves_nothing(server: RedisServer, prefix: str) -> None:
    """A day forwards or backwards: it follows the event loop's time; at its first start it begins with the wall."""
    keys, wall, loop = Keys(prefix, 0), Wall(), asyncio.get_running_loop()
    link = Link(Server(server.url), keys.events)
    clock = DeliveryClock(link, keys, wall)
    try:
        await clock.start()
        ahead = clock.seconds() - loop.time()
        assert NOON <= clock.seconds() < NOON + 5
        for jump in (DAY, -2 * DAY):
            wall.time += jump
            await clock.note()
            assert clock.seconds() - loop.time() == pytest.approx(ahead, abs=0.01)
    finally:
        await link.close()


@pytest.mark.parametrize(("away", "counted"), [(60.0, 60.0), (DAY, DAY), (0.0, 0.0), (-DAY, 0.0)])
async def test_a_restart_goes_on(server: RedisServer, prefix: str, away: float, counted: float) -> None:
    """By the wall clock's difference since it was noted, however wrong that was; backwards counts as nothing."""
    keys, wall = Keys(prefix, 0), Wall()
    link = Link(Server(server.url), keys.events)
    before, after = DeliveryClock(link, keys, wall), DeliveryClock(link, keys, wall)
    try:
        await before.start()
        wall.time += 7 * DAY  # set while it ran: of no interest to the next one either
        await before.note()
        stood = before.seconds()
        wall.time += away
        await after.start()
        assert after.seconds() == pytest.approx(stood + counted, abs=1)
    finally:
        await link.close()
