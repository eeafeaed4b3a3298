"""Holds the pace of a replay, by a clock in the test's hands: its rate, the destination's, and live events first."""

from dataclasses import dataclass, field
from random import Random

import pytest

from bridge.delivery.gate import Gate
from bridge.delivery.health import Rules, Standing
from bridge.delivery.lane import Outcome, Result
from bridge.delivery.replay_gate import MOST, ReplayGate

DELIVERED, FAILED, GONE = Outcome(Result.DELIVERED, 204), Outcome(Result.FAILED, 503), Outcome(Result.GONE, 410)


@dataclass
class Both:
    """A destination's gate and that of one replay, at a time that the test says."""

    limit: float | None = None
    rate: float = 1000.0
    most: int = 32
    standing: bytes = b""
    time: float = 1000.0
    live: Gate = field(init=False)
    replay: ReplayGate = field(init=False)

    def __post_init__(self) -> None:
        self.live = Gate(Rules(), self.most, lambda: self.time, Random(1), rate=self.limit)
        self.live.adopt(self.standing)
        self.replay = ReplayGate(self.live, self.rate, self.most, lambda: self.time, Random(1))

    def started(self, seconds: float, *, live: bool) -> tuple[int, int]:
        """How many attempts of both start and end in so many seconds; with `live`, there is always a live event."""
        counts = [0, 0]
        for _ in range(int(seconds * 1000)):
            self.time += 0.001
            for at, gate in enumerate((self.live, self.replay)):
                if (at == 1 or live) and gate.enter() == 0.0:
                    gate.leave(DELIVERED)
                    counts[at] += 1
        return counts[0], counts[1]


def test_goes_at_its_rate_without_bursts() -> None:
    """As many a second as it was asked for, and no more after a while in which nothing went."""
    both = Both(rate=50.0)
    both.time += 100.0
    live, replay = both.started(2.0, live=True)
    assert live == 2000
    assert replay == pytest.approx(100, abs=1)


def test_takes_what_is_left_of_the_destinations_rate() -> None:
    """With the live delivery at rest it may have all of rate_limit; while live events wait it gets nothing."""
    both = Both(limit=10.0)
    both.started(5.0, live=False)
    assert both.started(10.0, live=False)[1] == pytest.approx(100, abs=1)
    both.started(1.0, live=True)
    live, replay = both.started(10.0, live=True)
    assert live == pytest.approx(100, abs=1)
    assert replay == 0


def test_has_few_in_flight_and_none_where_live_ones_take_all() -> None:
    """At most four beside the live ones, fewer where max_in_flight is less, and none while those take every place."""
    for most, expected in ((32, MOST), (2, 2)):
        both = Both(most=most)
        for _ in range(10):
            both.replay.enter()
            both.time += 1.0
        assert both.replay.in_flight == expected
        assert both.live.in_flight == 0
    both = Both(most=2)
    assert [both.live.enter(), both.live.enter()] == [0.0, 0.0]
    assert both.replay.enter() > 0


def test_leaves_probes_to_the_live_delivery_for_a_second() -> None:
    """While the destination is probed it waits; where nothing live asks, its attempt is the probe and counts so."""
    both = Both(standing=Standing("probing", 900.0, 900.0).encode())
    assert both.replay.enter() > 0
    both.time += 1.0
    assert both.replay.enter() == 0.0
    assert both.live.in_flight == 1
    assert both.replay.enter() > 0
    both.replay.leave(DELIVERED)
    assert not both.live.probing
    assert [change.what for change in both.live.changes] == ["recovered"]


def test_its_failures_are_its_own_but_for_410() -> None:
    """A hundred failures do not have the destination probed; 410 disables it, and enabled it goes on."""
    both = Both()
    for _ in range(100):
        both.time += 61.0
        if both.replay.enter() == 0.0:
            both.replay.leave(FAILED)
    assert not both.live.changes
    both.time += 100.0
    assert both.replay.enter() == 0.0
    both.replay.leave(GONE)
    assert both.live.disabled
    both.time += 100.0
    assert both.replay.enter() > 0
    both.live.enable()
    assert both.replay.enter() == 0.0
