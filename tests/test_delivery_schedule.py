"""When an event is tried again: the standard schedule, lists and exponential ones, and failures of this side."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.delivery.schedule import STANDARD, Schedule, wait_for_ours


class Middle(Random):
    """Chance that always takes the middle."""

    def uniform(self, a: float, b: float) -> float:
        """Half way between both ends."""
        return (a + b) / 2


def waits(schedule: Schedule, attempts: int) -> list[float]:
    """The waits before so many attempts, without jitter."""
    return [schedule.wait(made, Middle()) for made in range(attempts)]


def test_the_standard_schedule() -> None:
    """Ten attempts in 75 h 35 min 5 s, as Standard Webhooks has it; then every 24 h."""
    found = waits(STANDARD, 11)
    assert found == [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, 86_400]
    assert sum(found[:10]) == 75 * 3600 + 35 * 60 + 5


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ([0, 5, 60], [0, 5, 60, 60, 60]),
        ([5, 60], [0, 5, 60, 60, 60]),
        ([3], [0, 3, 3, 3, 3]),
        ([0.0], [0, 0, 0, 0, 0]),
        ([0, 0, 2], [0, 0, 2, 2, 2]),
    ],
)
def test_a_list_of_ones_own(listed: list[float], found: list[float]) -> None:
    """Each attempt has its wait; a first one that isn't 0 is the second attempt's; the last repeats."""
    assert waits(Schedule.listed(listed), 5) == found


def test_exponential() -> None:
    """The first attempt is made at once, then each wait is `factor` times the last, up to the longest."""
    assert waits(Schedule.exponential(2, 3, 50), 6) == [0, 2, 6, 18, 50, 50]
    assert waits(Schedule.exponential(7, 1, 7), 4) == [0, 7, 7, 7]
    assert Schedule.exponential(1, 10, 3600).wait(100_000, Middle()) == 3600, "a million attempts overflow nothing"


@pytest.mark.parametrize("listed", [[], [-1.0], [0, math.inf], [math.nan]])
def test_no_such_list(listed: list[float]) -> None:
    """An empty list, and waits that are none, are refused."""
    with pytest.raises(ValueError, match="at least one wait"):
        Schedule.listed(listed)


@pytest.mark.parametrize("form", [(0, 2, 60), (5, 0.5, 60), (61, 2, 60), (1, 2, math.inf), (math.nan, 2, 60)])
def test_no_such_exponential(form: tuple[float, float, float]) -> None:
    """An exponential schedule neither begins with nothing, nor shrinks, nor grows without end."""
    with pytest.raises(ValueError, match="exponential"):
        Schedule.exponential(*form)


LISTED = st.lists(st.floats(0, 1e6), min_size=1, max_size=20).map(Schedule.listed)
GROWING = st.builds(Schedule.exponential, st.floats(0.001, 10), st.floats(1, 100), st.floats(10, 1e6))


@settings(deadline=None)
@given(LISTED | GROWING | st.just(STANDARD), st.integers(0, 10_000), st.integers())
def test_any_wait_is_within_its_bounds(schedule: Schedule, made: int, seed: int) -> None:
    """Whatever chance says, a wait is within a fifth of the exact one; the first and those of 0 have no jitter."""
    least, most = schedule.bounds(made)
    assert 0 <= least <= schedule.wait(made, Random(seed)) <= most < math.inf
    assert math.isclose(most, least * 1.5, abs_tol=1e-9)
    assert schedule.wait(0, Random(seed)) == 0


def test_jitter_is_spread_evenly() -> None:
    """Waits of events that failed together are spread over the whole of their bounds."""
    random = Random(1)
    least, most = STANDARD.bounds(3)
    tenths = [int((STANDARD.wait(3, random) - least) / (most - least) * 10) for _ in range(10_000)]
    assert min(tenths.count(tenth) for tenth in range(10)) > 900


def test_failures_of_ours_are_waited_for_as_long_again() -> None:
    """While nothing but failures of ours come the waits double from 1 s to 60 s, however many come at once."""
    now, found = 0.0, []
    for _ in range(10):
        found.append({wait_for_ours(now, Middle()) for _ in range(32)}.pop())
        now += found[-1]
    assert found == [1, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(0.8 <= wait_for_ours(-5.0, Random(seed)) <= 1.2 for seed in range(50))
