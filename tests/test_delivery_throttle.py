"""How much a destination is asked for at once: rounds and pauses exactly, and whole receivers on a virtual clock."""

import heapq
import math
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from bridge.delivery.health import Health, Rules
from bridge.delivery.lane import Outcome, Result
from bridge.delivery.throttle import START, Throttle

OK = Outcome(Result.DELIVERED, 200)
BUSY = Outcome(Result.THROTTLED, 503)
BEGIN = 1e9
ANSWER = 0.005
"""Seconds until an answer of the receivers here."""

Receiver = Callable[[float], Outcome]


def grown(most: int) -> Throttle:
    """A throttle that has reached `most` in flight and begins a round."""
    throttle = Throttle(3600)
    for _ in range(2 * most):
        if throttle.limit(most) < most or throttle._answers:
            throttle.succeeded()
    assert (throttle.limit(most), throttle._answers) == (most, 0)
    return throttle


def pauses(throttle: Throttle, count: int, now: float) -> list[float]:
    """The pauses, in seconds, after each of so many throttled answers; each comes when the last pause is over."""
    found = []
    for _ in range(count):
        throttle.throttled(now, None)
        found.append(max(0.0, throttle.paused_until - now))
        now += found[-1]
    return found


def play(receiver: Receiver, *, most: int, seconds: float) -> tuple[list[float], list[float]]:
    """When a loop with more to send than it may starts its attempts, and which of them are delivered, from 0 on."""
    health, now, ends = Health(Rules(), Random(7)), BEGIN, list[float]()
    started, delivered = [], []
    while now < BEGIN + seconds:
        while (wait := health.wait(now, len(ends))) == 0.0 and len(ends) < health.limit(most):
            heapq.heappush(ends, now + ANSWER)
            started.append(now - BEGIN)
        assert wait is not None
        now = min(ends[0] if ends else math.inf, now + wait if wait else math.inf)
        if ends and ends[0] <= now:
            heapq.heappop(ends)
            outcome = receiver(now)
            health.note(outcome, now)
            delivered += [now - BEGIN] if outcome is OK else []
    return started, delivered


def rate_limited(per_second: float) -> Receiver:
    """A receiver that takes so many a second, saves up a second of them, and asks for less beyond."""
    tokens, last = per_second, BEGIN

    def answer(now: float) -> Outcome:
        nonlocal tokens, last
        tokens, last = min(per_second, tokens + (now - last) * per_second), now
        if tokens < 1:
            return BUSY
        tokens -= 1
        return OK

    return answer


@pytest.mark.parametrize("most", [1, 2, 8, 32, 100])
def test_stray_503s_cost_little(most: int) -> None:
    """A receiver that answers 503 to 30 % at random gets 60 % or more of the attempts that it would get else."""
    random = Random(most)
    started, _ = play(lambda _now: BUSY if random.random() < 0.3 else OK, most=most, seconds=3)
    assert len(started) >= 0.6 * most * 3 / ANSWER


@pytest.mark.parametrize("most", [1, 8, 32, 1000])
def test_only_503_is_left_alone(most: int) -> None:
    """One that answers only 503 is asked by all that may at first, 20 times more in a minute, then every 30 to 60 s."""
    started, _ = play(lambda _now: BUSY, most=most, seconds=3600)
    assert sum(at < 60 for at in started) <= most + 20
    later = [at for at in started if at >= 60]
    apart = [after - before for before, after in pairwise(later)]
    assert 30 <= min(apart) <= max(apart) <= 60 + ANSWER


@pytest.mark.parametrize("per_second", [20, 100, 1000])
def test_a_receivers_own_rate_is_reached(per_second: float) -> None:
    """A receiver that takes so many a second and answers 503 beyond gets nine tenths of them or more."""
    _, delivered = play(rate_limited(per_second), most=32, seconds=20)
    assert sum(at >= 10 for at in delivered) >= 0.9 * 10 * per_second


def test_it_begins_with_as_many_as_are_allowed() -> None:
    """Only a bad round lets fewer in flight; then one more for as many successes as there are."""
    throttle = Throttle(3600)
    assert START >= 1024, "the most that may be configured"
    assert throttle.limit(32) == 32
    for _ in range(17):
        throttle.throttled(0.0, None)
    assert throttle.limit(32) == 16
    for _ in range(31 + 16):
        throttle.succeeded()
    assert throttle.limit(32) == 17
    assert throttle.limit(5) == 5


def test_answers_of_one_moment_halve_once() -> None:
    """32 throttled answers of the same moment halve the number in flight once, and the next bad round once more."""
    throttle = grown(32)
    for _ in range(32):
        throttle.throttled(0.0, None)
    assert throttle.limit(32) == 16
    for _ in range(32):
        throttle.throttled(0.0, None)
    assert throttle.limit(32) == 8


def test_half_a_round_halves_nothing() -> None:
    """It takes more than half of a round, and rounds don't add up."""
    throttle = grown(32)
    for _ in range(10):
        for at in range(32):
            throttle.throttled(0.0, None) if at % 2 else throttle.succeeded()
    assert throttle.limit(32) == 32
    assert throttle.paused_until < 0


def test_the_number_grows_by_one_a_round() -> None:
    """After a bad round the number in flight grows by one for as many successes as it is."""
    throttle = grown(32)
    for _ in range(17 + 31):
        throttle.throttled(0.0, None)
    found = []
    for _ in range(4):
        for _ in range(throttle.limit(32)):
            throttle.succeeded()
        found.append(throttle.limit(32))
    assert found == [17, 18, 19, 20]


def test_pauses_double_to_thirty_seconds() -> None:
    """One in flight and throttled again and again pauses for 0, 10 ms, 20 ms, 40 ms, ... 30 s; a success ends that."""
    throttle = Throttle(3600)
    throttle.limit(1)
    assert pauses(throttle, 20, 0.0) == pytest.approx([0.0, *(0.01 * 2**at for at in range(12)), *[30.0] * 7], abs=1e-6)
    throttle.succeeded()
    assert pauses(throttle, 3, 1e6) == pytest.approx([0.0, 0.01, 0.02], abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "until"), [(7.0, 107.0), (0.0, 100.0), (-5.0, 100.0), (86_400.0, 3700.0), (math.inf, 3700.0)]
)
def test_retry_after_pauses(asked: float, until: float) -> None:
    """Retry-After of one throttled answer pauses the destination, for an hour at most and no less than nothing."""
    throttle = grown(32)
    throttle.throttled(100.0, asked)
    assert throttle.paused_until == until


def test_a_pause_is_never_shortened() -> None:
    """Neither a shorter Retry-After nor a success ends a pause that runs; a longer one lengthens it."""
    throttle = grown(32)
    found = []
    for now, asked in ((100.0, 50.0), (110.0, 5.0), (120.0, None), (130.0, 60.0)):
        throttle.throttled(now, asked)
        throttle.succeeded()
        found.append(throttle.paused_until)
    assert found == [150.0, 150.0, 150.0, 190.0]
