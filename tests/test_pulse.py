"""Which loops are stuck, and which only wait for Redis."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
import virtual_time
from running_log import beside
from servers import free_port

from bridge.delivery.lane import Reader
from bridge.pulse import Pulse
from bridge.redis_log import Keys, Server
from bridge.redis_log.commit import Committer
from bridge.redis_log.feed import Feed
from bridge.redis_log.link import Link


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_a_loop_that_goes_round_is_well() -> None:
    """A loop may take its time, but not longer than its bound; what it says then names it and the time."""
    clock = Clock()
    pulse = Pulse(clock)
    slow, quick = pulse.of("slow", 30.0), pulse.of("quick", 2.0)
    slow()
    for _ in range(10):
        clock.now += 2.0
        quick()
        assert pulse.stuck() == {}

    clock.now += 10.5

    assert pulse.stuck() == {
        "slow": "has made no progress for 30 s, where 30 s are the most",
        "quick": "has made no progress for 10 s, where 2 s are the most",
    }
    quick()
    assert list(pulse.stuck()) == ["slow"]
    slow()
    assert pulse.stuck() == {}


def test_only_what_has_begun_can_be_stuck() -> None:
    """A loop counts from its first round on, whenever that is."""
    clock = Clock()
    pulse = Pulse(clock)
    beat = pulse.of("loop", 1.0)
    clock.now += 100
    assert pulse.stuck() == {}

    beat()
    clock.now += 100
    assert list(pulse.stuck()) == ["loop"]


@pytest.mark.parametrize("loop", ["commit", "feed"])
def test_a_loop_without_redis_goes_round(loop: str) -> None:
    """Where Redis can't be reached for minutes, the committer and the feed try again and are never stuck."""

    async def main() -> None:
        pulse, rounds = Pulse(virtual_time.clock), []
        beat = pulse.of(loop)

        def counted() -> None:
            rounds.append(virtual_time.clock())
            beat()

        async with beside(_loop(loop, counted)):
            await asyncio.sleep(100)
            assert pulse.stuck() == {}
        assert max(later - earlier for earlier, later in pairwise(rounds)) < 5.0
        assert virtual_time.clock() - rounds[-1] < 5.0

    virtual_time.run(main())


def _loop(name: str, beat: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    server, keys = Server(f"redis://127.0.0.1:{free_port()}/0"), Keys("p", 0)
    if name == "commit":
        return Committer(
            server, keys, instance="i", window=10, replicas=0, observe=lambda _: None, appended=lambda: None, beat=beat
        ).run
    feed = Feed(Link(server, keys.events), Link(server, keys.events), keys, beat=beat)
    feed.join(Reader("d", lambda _: True, lambda: None, lambda: None))
    return feed.run
