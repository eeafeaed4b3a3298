"""Whether a destination is well: the breaker, the disabling, what is stored of it, and what it tells."""

import math
import timeit
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.delivery.health import Change, Health, Rules, Standing
from bridge.delivery.lane import Outcome, Result
from bridge.delivery.outcome import NO_ANSWER, NOT_SENT, TABLE
from bridge.delivery.window import BUCKETS, Window

OK = Outcome(Result.DELIVERED, 204)
BAD = Outcome(Result.FAILED, None, "connection refused")
BUSY = Outcome(Result.THROTTLED, 503)
NO = Outcome(Result.REFUSED, 400)
GONE = Outcome(Result.GONE, 410)
OURS = Outcome(Result.OURS, None, "no file descriptors left")
DAY = 86_400.0
BEGIN = 1e9


def healthy(rules: Rules | None = None, standing: Standing | None = None) -> Health:
    """A destination's health with standard rules."""
    return Health(rules or Rules(), Random(3), standing or Standing())


def noted(health: Health, outcomes: list[Outcome], now: float = BEGIN) -> list[Change]:
    """What so many outcomes of one moment change."""
    return [change for outcome in outcomes for change in health.note(outcome, now)]


def probing(now: float = BEGIN) -> Health:
    """A destination whose breaker has just opened."""
    health = healthy()
    assert [change.what for change in noted(health, [BAD] * 10, now)] == ["probing"]
    return health


def probe(health: Health, outcome: Outcome, now: float) -> tuple[float, tuple[Change, ...]]:
    """Waits for the next probe and notes what came of it: when it was, and what it changed."""
    wait = health.wait(now, 0)
    assert wait is not None
    assert health.wait(now + wait, 0) == 0.0
    return now + wait, health.note(outcome, now + wait)


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ([BAD] * 9, False),
        ([BAD] * 10, True),
        ([BUSY] * 10, True),
        ([OK] * 3 + [BAD] * 7, True),
        ([OK] * 4 + [BAD] * 9, False),
        ([OK] * 4 + [BAD] * 5 + [BUSY] * 5, True),
        ([NO] * 50 + [BAD] * 9, False),
        ([NO] * 50 + [BAD] * 10, True),
        ([OURS] * 50 + [BAD] * 9, False),
        ([NO] * 100, False),
        ([OURS] * 100, False),
    ],
)
def test_the_breaker_opens_at_seventy_per_cent(outcomes: list[Outcome], *, opens: bool) -> None:
    """70 % of at least 10 attempts have to fail; refusals and failures of ours are not among them."""
    health = healthy()
    changes = noted(health, outcomes)
    assert [change.what for change in changes] == ["probing"] * opens
    assert health.limit(32) == (1 if opens else 32)


def test_what_the_change_tells() -> None:
    """The change tells how many failed of how many, since when, and the last failure."""
    health = healthy()
    noted(health, [OK] * 3, BEGIN)
    noted(health, [BAD] * 6, BEGIN + 10)
    [change] = health.note(BUSY, BEGIN + 20)
    assert (change.attempts, change.failures, change.share) == (10, 7, 0.7)
    assert (change.since, change.reason, change.status) == (BEGIN + 10, "answered 503", 503)
    assert change.standing == health.standing
    assert health.standing == Standing("probing", BEGIN + 20, BEGIN + 10, 0, "answered 503")


def test_the_window_is_five_minutes() -> None:
    """Attempts count for the bucket of 30 s they were made in and the nine after it, however long nothing happens."""
    now = math.floor(BEGIN / 30) * 30.0
    for later, opens in ((0, True), (299, True), (300, False), (10_000, False)):
        health = healthy()
        noted(health, [BAD] * 9, now)
        assert bool(noted(health, [BAD], now + later)) is opens


def test_a_window_counts_what_is_in_it() -> None:
    """Attempts and failures are exactly those of the last ten buckets, and no more than ten are kept."""
    random, window, made, now = Random(5), Window(300.0), list[tuple[int, bool]](), 0.0
    for _ in range(800):
        now += random.choice((0.0, 1.0, 20.0, 31.0)) if random.random() < 0.99 else 400.0
        if now >= window.ends:
            window.turn(now)
        failed = random.random() < 0.5
        window.attempts += 1
        window.failures += failed
        made.append((int(now // 30), failed))
        inside = [bad for bucket, bad in made if bucket > now // 30 - BUCKETS]
        assert (window.attempts, window.failures) == (len(inside), sum(inside))
        assert len(window._past) <= BUCKETS


def test_probes_are_a_second_apart_then_more() -> None:
    """One probe at a time, 1 s, 2 s, 4 s, ... 60 s apart, each up to a fifth sooner; a delivered one closes."""
    health, now, found = probing(), BEGIN, [BEGIN]
    for _ in range(9):
        now, changes = probe(health, BAD, now)
        assert changes == ()
        found.append(now)
    waits = [after - before for before, after in pairwise(found)]
    for wait, longest in zip(waits, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=True):
        assert 0.8 * longest <= wait <= longest
    assert len(set(waits[6:])) == 3, "with jitter"
    now, [change] = probe(health, OK, now)
    assert (change.what, change.since, change.standing) == ("recovered", BEGIN, Standing("active", now))
    assert health.wait(now, 5) == 0.0
    assert noted(health, [BAD] * 9, now) == [], "the window begins anew"


def test_a_probe_is_alone() -> None:
    """While anything is in flight no probe starts, however long that takes."""
    health = probing()
    assert health.wait(BEGIN + 1000, 1) == math.inf
    assert health.wait(BEGIN + 1000, 0) == 0.0
    assert health.wait(BEGIN + 1001, 1) == math.inf


def test_what_was_in_flight_says_nothing_new() -> None:
    """Outcomes of what was in flight when the breaker opened neither close it nor lengthen its waits."""
    health = probing()
    assert noted(health, [OK, BAD, BUSY, OK, NO] * 6) == []
    assert health.standing.state == "probing"
    now, _ = probe(health, BAD, BEGIN)
    assert now <= BEGIN + 1
    assert probe(health, BAD, now)[0] - now <= 2


def test_a_refused_probe_changes_nothing() -> None:
    """A probe that is refused, or fails by us, neither closes the breaker nor lengthens its waits."""
    health, now = probing(), BEGIN
    for outcome in (NO, OURS, NO, NO, NO):
        before = now
        now, changes = probe(health, outcome, now)
        assert changes == ()
        assert 0.8 <= now - before <= 1
    assert [change.what for change in probe(health, OK, now)[1]] == ["recovered"]


def test_throttled_probes_respect_retry_after() -> None:
    """Retry-After holds back probes too."""
    health = probing()
    now, _ = probe(health, Outcome(Result.THROTTLED, 429, "", 900.0), BEGIN)
    assert health.wait(now, 0) == 900.0


def test_nothing_but_failure_disables() -> None:
    """After five days of nothing but failure it is disabled, after one warning each at 50, 70 and 90 % of them."""
    health, now, told = healthy(), BEGIN, list[tuple[str, float]]()
    while health.standing.state != "disabled" and now < BEGIN + 10 * DAY:
        now += max(20.0, health.wait(now, 0) or 0.0)
        assert health.wait(now, 0) == 0.0
        told += [(change.what, round((now - BEGIN) / DAY, 1)) for change in health.note(BAD, now)]
    assert told == [("probing", 0.0), ("failing", 2.5), ("failing", 3.5), ("failing", 4.5), ("disabled", 5.0)]
    assert health.wait(now + 100 * DAY, 0) is None
    assert health.limit(32) == 0
    assert noted(health, [OK, BAD, GONE, BUSY, NO, OURS], now) == []


@pytest.mark.parametrize(("between", "disabled"), [(NO, True), (OURS, True), (OK, False)])
def test_only_a_success_ends_the_failing(between: Outcome, *, disabled: bool) -> None:
    """Refusals and failures of ours neither end the time of failing nor begin one; a success does, and the warnings."""
    health = healthy()
    assert noted(health, [between]) == []
    assert health.standing.failing_since is None
    noted(health, [BAD], BEGIN + 1)
    assert [change.what for change in noted(health, [BAD], BEGIN + 3 * DAY)] == ["failing"]
    noted(health, [between], BEGIN + 4 * DAY)
    changes = noted(health, [BAD], BEGIN + 6 * DAY)
    assert [change.what for change in changes] == (["disabled"] if disabled else [])
    assert health.standing.warned == (1 if disabled else 0)


def test_any_success_ends_the_failing() -> None:
    """A success ends the time of failing also before a warning, and while probed where it is no probe."""
    health, found = healthy(), []
    for outcomes in ([BAD, OK], [BAD] * 10, [OK]):
        noted(health, outcomes)
        found.append((health.standing.state, health.standing.failing_since))
    assert found == [("active", None), ("probing", BEGIN), ("probing", None)]


def test_a_warning_is_taken_back() -> None:
    """The success after a warning says that the destination has recovered, whether it was probed or not."""
    health = healthy()
    assert [change.what for change in noted(health, [BAD], BEGIN) + noted(health, [BAD], BEGIN + 3 * DAY)] == [
        "failing"
    ]
    [change] = noted(health, [OK, OK], BEGIN + 4 * DAY)
    assert (change.what, change.since, change.standing) == ("recovered", BEGIN, Standing("active", BEGIN + 4 * DAY))


def test_no_end_without_a_warning() -> None:
    """Two failures with a quiet week between them disable nothing: one warning comes first."""
    health = healthy()
    changes = noted(health, [BAD], BEGIN) + noted(health, [BAD] * 2, BEGIN + 7 * DAY)
    assert [(change.what, change.standing.warned) for change in changes] == [("failing", 3), ("disabled", 3)]


def test_never_disabled_where_that_is_off() -> None:
    """With `disable_after` None nothing is ever disabled by failing, nor warned of."""
    health = healthy(Rules(disable_after=None))
    assert [change.what for day in range(1000) for change in noted(health, [BAD] * 10, BEGIN + day * DAY)] == [
        "probing"
    ]


@pytest.mark.parametrize("result", Result)
def test_it_counts_what_the_table_counts(result: Result) -> None:
    """The breaker counts, and the throttle slows for, what the rows of the table say."""
    health = healthy()
    noted(health, [Outcome(result, 200, "", 5.0)])
    row = next(row for row in (*TABLE, NO_ANSWER, NOT_SENT) if row.result is result)
    assert (health._window.attempts == 1) is row.counts
    assert (health._throttle.paused_until > 0) is row.slows


@pytest.mark.parametrize("before", [[], [BAD], [BAD] * 10], ids=len)
def test_gone_disables_at_once(before: list[Outcome]) -> None:
    """410 disables in any state, and says so once."""
    health = healthy()
    noted(health, before)
    [change] = noted(health, [GONE, GONE, BAD, OK], BEGIN + 5)
    assert (change.what, change.status, change.reason) == ("disabled", 410, "answered 410")
    assert health.wait(BEGIN + 6, 0) is None


def test_enabling_begins_anew() -> None:
    """An operator's command ends the disabling, with all that went before; elsewhere it does nothing."""
    health = healthy()
    assert health.enable(BEGIN) is None
    noted(health, [Outcome(Result.THROTTLED, 503, "", 3600.0)] + [BAD] * 8 + [GONE])
    change = health.enable(BEGIN + 60)
    assert change is not None
    assert (change.what, change.since, change.standing) == ("enabled", BEGIN, Standing("active", BEGIN + 60))
    assert health.wait(BEGIN + 60, 0) == 0.0
    assert noted(health, [BAD] * 9, BEGIN + 60) == []


def test_a_restart_goes_on() -> None:
    """Probing stays probing with a probe within a second, disabled stays disabled, the time of failing counts on."""
    health = healthy()
    noted(health, [BAD], BEGIN)
    noted(health, [BAD] * 10, BEGIN + 3 * DAY)
    again = healthy(standing=Standing.decode(health.standing.encode()))
    assert again.standing == health.standing
    assert again.limit(32) == 1
    now, changes = probe(again, BAD, BEGIN + 6 * DAY)
    assert now <= BEGIN + 6 * DAY + 1
    assert [change.what for change in changes] == ["disabled"]
    assert healthy(standing=again.standing).wait(now + DAY, 0) is None


@pytest.mark.parametrize(
    "stored",
    [
        None, b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"state":"asleep"}', b'{"state":"disabled","since":null}',
        b'{"warned":"3"}', b'{"failing_since":1e999}', b'{"reason":7}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_damaged_standings_are_fresh(stored: bytes | None) -> None:
    """What can't be read is a fresh, active standing; fields of a newer version are left out."""
    assert Standing.decode(stored) == Standing()


@settings(deadline=None)
@given(st.binary())
def test_no_stored_bytes_raise(stored: bytes) -> None:
    """Any bytes are a standing."""
    assert Standing.decode(stored).state in {"active", "probing", "disabled"}


def test_reasons_are_short_lines() -> None:
    """What is stored and told of a failure is one line of at most 200 characters."""
    [change] = noted(healthy(), [Outcome(Result.GONE, 410, "so\n sorry " * 1000)])
    assert len(change.reason) == len(change.standing.reason) == 200
    assert change.reason.startswith("so sorry so sorry")


def test_success_costs_next_to_nothing() -> None:
    """Noting a success takes some 0.2 µs, and certainly less than 5 µs on a busy machine."""
    health = healthy()
    assert min(timeit.repeat(lambda: health.note(OK, BEGIN), number=10_000, repeat=5)) < 0.05
