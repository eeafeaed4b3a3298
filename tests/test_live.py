"""What each connection does now, and counts, are made of facts alone."""

import math
from collections.abc import Iterable
from typing import get_args

import pytest

from bridge import facts
from bridge.delivery.health import What
from bridge.facts import Fact
from bridge.live import ATTEMPTS, Live, SourceLive

CONNECTED = facts.SourceConnected("s", "c")
AWAY = facts.SourceInterrupted("s", "connection refused", 1.0, progress=False)
PAUSED = facts.SourceInterrupted("s", "the upstream closed the connection", 1.0, progress=True)
REPLACED = facts.SourceInterrupted("s", "the upstream closed the connection", 0.0, progress=True)
FAILED = facts.SourceFailed("s", "401 auth.invalid", 300.0)
STORED = facts.BatchStored("s", 5, 2, 3, 0.002, 900, 0.25)
BROKEN = facts.WorkerRestarted("source s", ValueError("no"), 1.0)


def live(*seen: Fact, times: Iterable[float] = ()) -> Live:
    """What is known after these facts; `times` are those of the clock, in turn."""
    found = Live(iter(times).__next__)
    for fact in seen:
        found(fact)
    return found


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        ((), "connecting", ""),
        ((CONNECTED,), "connected", ""),
        ((CONNECTED, REPLACED), "connected", ""),
        ((CONNECTED, PAUSED), "reconnecting", "the upstream closed the connection"),
        ((AWAY,), "reconnecting", "connection refused"),
        ((AWAY, CONNECTED), "connected", ""),
        ((CONNECTED, FAILED), "failed", "401 auth.invalid"),
        ((FAILED, CONNECTED), "connected", ""),
        ((CONNECTED, facts.SourceEnded("s")), "ended", ""),
        ((facts.SourceEnded("s"), facts.SourceRewound("s", 3)), "connecting", ""),
        ((CONNECTED, facts.SourceFenced("s", "two:9")), "fenced", "two:9 reads it now"),
        ((CONNECTED, BROKEN), "reconnecting", "ValueError: no"),
        ((FAILED, facts.SourceConnected("t", None)), "failed", "401 auth.invalid"),
    ],
)  # fmt: skip
def test_the_state_of_a_source_is_what_befell_it_last(seen: tuple[Fact, ...], state: str, reason: str) -> None:
    """A connection that is replaced at once is none that is missing; others' facts change nothing."""
    found = live(*seen).source("s")
    assert (found.state, found.reason) == (state, reason)


def test_a_source_is_counted() -> None:
    """What was stored, what came twice, what ended; the time and lag are those of the last event, the rest adds up."""
    without_events = facts.BatchStored("s", 0, 1, 0, 0.5, 30, None)
    found = live(
        STORED, facts.BatchStored("s", 1, 0, 0, 0.5, 100, 0.75), without_events, AWAY, REPLACED,
        facts.SourceGap("s", "c", "410", "earliest"), facts.LossPossible("s", "504"), times=[7.0, 9.0],
    )  # fmt: skip
    assert found.source("s") == SourceLive(
        state="reconnecting", reason="connection refused", events=6, bytes=1030, parked=3, duplicates=3, reconnects=2,
        gaps=1, losses=1, last=9.0, lag=0.75, appends=3, append_seconds=1.002,
    )  # fmt: skip
    assert (found.appends.counts, found.appends.total) == ([0, 0, 1, 0, 0, 0, 0, 2, 0, 0], 1.002)


def test_a_destination_is_counted() -> None:
    """Attempts by outcome, what was delivered, given up and missed, and what became of it."""
    changes = [facts.DestinationChanged("d", what, "answered 503", 503, 10, 8) for what in get_args(What)]
    found = live(
        facts.AttemptMade("d", "e", 1, "failed", 500, 0.1, "answered 500"),
        facts.AttemptMade("d", "e", 2, "delivered", 200, 0.1, ""), facts.DeadLettered("d", "e", 2, "answered 500"),
        facts.EntriesMissing("d", 4), *changes, facts.AttemptMade("other", "e", 1, "ours", None, 1.0, ""),
    ).destination("d")  # fmt: skip
    assert (found.attempts, found.delivered, found.outcomes) == (2, 1, {"failed": 1, "delivered": 1})
    assert (found.dead, found.missing, found.fenced) == (1, 4, "")
    assert found.changes == dict.fromkeys(get_args(What), 1)


def test_a_streams_events_are_delivered() -> None:
    """What is added to streams counts as delivered, without attempts; and whoever takes it over is known."""
    found = live(
        facts.FanOutWritten("d", 3), facts.FanOutWritten("d", 4), facts.DestinationFenced("d", "two:9")
    ).destination("d")  # fmt: skip
    assert (found.attempts, found.delivered, found.fenced) == (0, 7, "two:9")


def test_an_attempts_time_is_in_the_first_bucket_that_holds_it() -> None:
    """Each bucket holds its own bound, the last holds what is above all others."""
    times = (0.0, 0.0025, 0.003, 15.0, 61.0)
    found = live(*(facts.AttemptMade("d", "e", 1, "delivered", 200, seconds, "") for seconds in times))
    assert ATTEMPTS[-1] == math.inf
    assert found.destination("d").times.counts == [2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]
    assert found.destination("d").times.total == pytest.approx(76.0055)


def test_the_bridge_is_counted() -> None:
    """What concerns no single source or destination."""
    found = live(
        facts.LogTrimmed(10, 6), facts.LogTrimmed(5, 0), BROKEN, facts.WorkerRestarted("trim", ValueError(), 1.0),
        facts.SpoolFailed("s", "full"), facts.SignalUnsaved("s", 2), facts.ConfigurationReloaded([]),
        facts.ReloadRefused(["sources.s.run: expected a text"]), facts.SourceConnected("s", None),
    )  # fmt: skip
    assert found.totals == {
        "trimmed": 15, "trimmed_unsettled": 6, "worker_restarts": 2, "spool_failures": 1, "signals_unsaved": 2,
        "reloads_done": 1, "reloads_refused": 1,
    }  # fmt: skip


def test_what_is_forgotten_begins_anew() -> None:
    """A name that comes back has no past; asking about one that is not there makes none."""
    found = live(STORED, FAILED, facts.FanOutWritten("s", 3), times=[7.0])
    found.forget("s")
    assert (found.source("s"), found.destination("s").delivered) == (SourceLive(), 3)
    found.forget_destination("s")
    assert (found.sources, found.destination("s").delivered, found.destinations) == ({}, 0, {})


def test_what_is_started_again_keeps_its_counts() -> None:
    """Its state is that of a start, and nobody has taken it over; what was counted stays."""
    found = live(STORED, FAILED, facts.FanOutWritten("d", 3), facts.DestinationFenced("d", "two:9"), times=[7.0])
    found.begin("s")
    found.begin_destination("d")
    assert (found.source("s").state, found.source("s").reason, found.source("s").events) == ("connecting", "", 5)
    assert (found.destination("d").fenced, found.destination("d").delivered) == ("", 3)
