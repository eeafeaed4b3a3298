"""How long to wait before trying again, exactly: randomness and time are handed in."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.backoff import RETRY_AFTER_CAP, Budget, Pace, Rate, delays


class Highest(Random):
    """Chance that always takes the upper end."""

    def uniform(self, a: float, b: float) -> float:
        """The upper end."""
        return b


class Lowest(Random):
    """Chance that always takes the lower end."""

    def uniform(self, a: float, b: float) -> float:
        """The lower end."""
        return a


def test_ceiling_doubles_to_the_longest() -> None:
    """The ceiling is twice the floor at first and doubles up to the longest; the floor stays."""
    assert list(islice(delays(Highest()), 7)) == [2, 4, 8, 16, 30, 30, 30]
    assert list(islice(delays(Lowest()), 7)) == [1] * 7
    assert list(islice(delays(Highest(), first=0.05, longest=2.0), 7)) == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


@settings(deadline=None)
@given(st.integers())
def test_delays_stay_within_bounds(seed: int) -> None:
    """Whatever chance says, a delay lies between one and thirty seconds and below its ceiling."""
    found = list(islice(delays(Random(seed)), 100))
    assert all(1 <= delay <= min(2 ** (at + 1), 30) for at, delay in enumerate(found))


def test_jitter_is_full() -> None:
    """Delays at the longest ceiling are spread evenly over the whole range."""
    found = list(islice(delays(Random(1)), 10_000))[10:]
    tenths = [sum(1 + 2.9 * at <= delay < 1 + 2.9 * (at + 1) for delay in found) for at in range(10)]
    assert min(tenths) > 0.9 * len(found) / 10


def test_budget_is_thirty_in_a_minute_then_one_a_second() -> None:
    """Thirty reconnections in a minute are free; each further one costs a second until the first are a minute old."""
    budget, now, waits = Budget(), 1000.0, []
    while now < 1000.0 + 119.5:
        waits.append(budget.spend(now))
        now += waits[-1]
    first = waits.index(1.0)
    assert first == 30
    assert waits[30:90] == [1.0] * 60, "no more is free before the minute is over"
    assert waits[90:120] == [0.0] * 30, "then thirty are free again"
    assert set(waits[120:]) == {1.0}


def test_budget_slides() -> None:
    """What was spent a minute ago is free again, one by one."""
    budget = Budget()
    assert [budget.spend(2.0 * at) for at in range(30)] == [0.0] * 30
    assert budget.spend(59.9) == 1.0
    assert [budget.spend(60.0), budget.spend(60.0), budget.spend(62.0)] == [0.0, 1.0, 0.0]


def test_slow_progress_never_costs_the_budget() -> None:
    """A connection that is replaced every two seconds or less often is always replaced at once."""
    budget = Budget()
    assert {budget.spend(2.0 * at) for at in range(1000)} == {0.0}


def test_progress_resets_the_backoff() -> None:
    """After a connection that brought new events, the next failure is a first one again."""
    pace = Pace(Highest())
    assert [pace.after_failure() for _ in range(4)] == [2, 4, 8, 16]
    assert pace.after_progress(now=0.0) == 0.0
    assert [pace.after_failure(), pace.after_failure()] == [2, 4]
    pace.reset()
    assert pace.after_failure() == 2


def test_budget_outlives_the_backoff() -> None:
    """Failures in between give no reconnection back."""
    pace = Pace(Lowest())
    for _ in range(30):
        assert pace.after_progress(now=5.0) == 0.0
        pace.after_failure()
    assert pace.after_progress(now=6.0) == 1.0


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [(3.0, 3.0, 3.3), (100.0, 100.0, 101.0), (300.0, 300.0, 301.0), (86_400.0, 300.0, 301.0), (0.01, 1.0, 1.1)],
)
def test_retry_after_is_honoured_and_capped(asked: float, least: float, most: float) -> None:
    """Retry-After decides instead of the backoff: never less than asked, than a second, nor more than the cap."""
    for chance in (Lowest(), Highest(), Random(7)):
        assert least <= Pace(chance).after_failure(asked) <= most
    assert RETRY_AFTER_CAP == 300.0


@pytest.mark.parametrize("absent", [None, 0.0, -5.0])
def test_no_retry_after_is_the_own_backoff(absent: float | None) -> None:
    """Retry-After absent or zero leaves the backoff as it is (CONTRACT F.6)."""
    pace = Pace(Highest())
    assert [pace.after_failure(absent) for _ in range(5)] == [2, 4, 8, 16, 30]


def test_the_streams_retry_only_lengthens() -> None:
    """The `retry` of a stream is the least wait after a failure, and itself at most the longest delay."""
    assert [Pace(Lowest()).after_failure(floor=floor) for floor in (0.0, 0.5, 7.0, 3600.0)] == [1, 1, 7, 30]
    assert Pace(Highest()).after_failure(floor=1.5) == 2


def test_rate_is_a_second_at_once_then_evenly() -> None:
    """After a quiet second that second's requests may go at once; all others take their place in the line."""
    rate = Rate(8)  # an eighth is exact
    first = [rate.reserve(1000.0) for _ in range(25)]
    assert first[:9] == [0.0] * 9, "those of the second that is over, and the one that is due"
    assert first[9:] == [at / 8 for at in range(1, 17)]
    assert [rate.reserve(1002.0), rate.reserve(1002.0)] == [0.125, 0.25]
    assert [rate.reserve(1100.0) for _ in range(10)] == [0.0] * 9 + [0.125], "a long pause saves up no more"


@settings(deadline=None)
@given(st.floats(0.5, 5000), st.lists(st.floats(0, 5), min_size=2, max_size=60))
def test_rate_holds_over_any_time(per_second: float, pauses: list[float]) -> None:
    """However requests come, any stretch of time has no more than its share, a second's share and one."""
    rate, now, goes = Rate(per_second), 0.0, []
    for pause in pauses:
        now += pause
        goes.append(now + rate.reserve(now))
    assert goes == sorted(goes)
    for at, start in enumerate(goes):
        for count, end in enumerate(goes[at:], 1):
            assert count <= (end - start + 1) * per_second + 1 + 1e-6
