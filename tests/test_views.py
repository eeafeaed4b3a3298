"""The overview is made of what is configured, what Redis has and what the process knows."""

from typing import Any

import pytest

from bridge import facts
from bridge.delivery.health import Standing
from bridge.live import Live
from bridge.overview import DestinationView, Overview, SourceView
from bridge.redis_log import Look
from bridge.redis_log.overview import DestinationLook, PartitionLook, SourceLook
from bridge.views import Listed, Rates, Views

DEFINED = Listed(id="d", kind="webhook")


def look(at: float = 100.0, *, added: int = 0, sequence: int = 0, lag: int | None = 0, **keys: Any) -> Look:
    """At the source `s` and the destination `d`."""
    destination = DestinationLook(**{
        "standing": Standing(), "since": None, "positions": ("1-1",), "lag": lag, "in_flight": 0, "lanes": 0,
        "next_due": None, "dead": 0, "oldest": None, **keys,
    })  # fmt: skip
    stored = SourceLook(sequence, "c", "failed", "401", "2026-11-22T08:00:00.000Z")
    return Look((PartitionLook(added, added, f"{added}-0", 0),), {"s": stored}, {"d": destination}, at)


def overview(seen: Look, live: Live | None = None, rates: Rates | None = None, **kinds: list[Listed]) -> Overview:
    """Made of one look, by default at a source and a destination that are nothing special."""
    listed = {"sources": [], "destinations": [], **kinds}
    return Views("redis://there", rates or Rates(), live).overview(
        listed["sources"], listed["destinations"], seen, bridge=None, time="now", now=seen.at
    )


def source(live: Live | None, **keys: Any) -> SourceView:
    """The view of `s`, defined with these keys."""
    (view,) = overview(look(), live, sources=[Listed(id="s", kind="sse", **keys)], destinations=[DEFINED]).sources
    return view


def destination(live: Live | None, standing: Standing, **keys: Any) -> DestinationView:
    """The view of `d`, defined with these keys."""
    seen = look(standing=standing, since=5.0)
    (view,) = overview(seen, live, destinations=[Listed(id="d", kind="webhook", **keys)]).destinations
    return view


def heard(*seen: facts.Fact, clock: float = 99.0) -> Live:
    """A process that these befell."""
    found = Live(lambda: clock)
    for fact in seen:
        found(fact)
    return found


FENCED = heard(facts.SourceFenced("s", "two:1"), facts.DestinationFenced("d", "two:1"))


@pytest.mark.parametrize(
    ("live", "keys", "state", "reason"),
    [
        (None, {}, "failed", "401"),
        (Live(), {}, "connecting", ""),
        (FENCED, {}, "fenced", "two:1 reads it now"),
        (FENCED, {"paused": True}, "paused", ""),
        (FENCED, {"paused": True, "unusable": "no such account"}, "unusable", "no such account"),
        (None, {"paused": True}, "paused", ""),
    ],
)  # fmt: skip
def test_the_state_of_a_source(live: Live | None, keys: dict[str, Any], state: str, reason: str) -> None:
    """What can't run or is paused comes before what goes on; without a bridge it is what is stored."""
    view = source(live, **keys)
    assert (view.state, view.reason) == (state, reason)


@pytest.mark.parametrize(
    ("live", "keys", "state", "reason", "since"),
    [
        (None, {}, "probing", "answered 503", 5.0),
        (Live(), {}, "probing", "answered 503", 5.0),
        (FENCED, {}, "fenced", "two:1 delivers to it now", None),
        (FENCED, {"paused": True}, "paused", "", None),
        (FENCED, {"paused": True, "unusable": "no secret"}, "unusable", "no secret", None),
    ],
)  # fmt: skip
def test_the_state_of_a_destination(
    live: Live | None, keys: dict[str, Any], state: str, reason: str, since: float | None
) -> None:
    """As for sources; what is stored is its standing."""
    view = destination(live, Standing("probing", 1.0, 1.0, 0, "answered 503"), **keys)
    assert (view.state, view.reason, view.since_seconds) == (state, reason, since)


def test_a_view_has_what_redis_and_the_process_know() -> None:
    """Counts since the start beside those of Redis; ages are as of now."""
    live = heard(
        facts.SourceConnected("s", "c"), facts.BatchStored("s", 5, 2, 3, 0.002, 900, 0.25),
        facts.AttemptMade("d", "e", 1, "delivered", 200, 0.1, ""),
        facts.AttemptMade("d", "f", 1, "failed", 500, 0.1, ""),
    )  # fmt: skip
    view = source(live, account="bctrl", resource="https://api.example/runs/1", defined="added")
    assert view == SourceView(
        id="s", kind="sse", account="bctrl", resource="https://api.example/runs/1", defined="added",
        state="connected", cursor="c", time="2026-11-22T08:00:00.000Z", last_event_age_seconds=1.0, lag_seconds=0.25,
        events=5, bytes=900, parked=2, duplicates=3,
    )  # fmt: skip
    seen = look(lag=4, in_flight=3, lanes=2, dead=1, oldest=9.0, next_due=-1.0)
    (there,) = overview(seen, live, destinations=[Listed(id="d", kind="stream", url="redis://x")]).destinations
    assert there == DestinationView(
        id="d", kind="stream", url="redis://x", state="active", behind=4, in_flight=3, waiting=2, dead=1,
        oldest_seconds=9.0, next_due_seconds=-1.0, delivered=1, attempts=2,
    )  # fmt: skip


def test_rates_are_taken_over_the_last_ten_seconds() -> None:
    """None of a single look, nor of two within a second; nothing of what is older; a log put back grows by nothing."""
    rates, found = Rates(), []
    for at, added in ((0.0, 0), (0.5, 50), (1.0, 100), (2.0, 300), (30.0, 900), (35.0, 1400), (36.0, 200)):
        seen = look(at, added=added, sequence=2 * added, lag=added // 2)
        found.append(
            overview(seen, rates=rates, sources=[Listed(id="s", kind="sse")], destinations=[DEFINED])
        )  # fmt: skip
    assert [one.log[0].rate for one in found] == [0, 0, 100, 150, 0, 100, 0]
    assert [one.sources[0].rate for one in found] == [0, 0, 200, 300, 0, 200, 0]
    assert [one.destinations[0].rate for one in found] == [0, 0, 50, 75, 0, 50, 0]


def test_what_is_not_configured_is_gone() -> None:
    """It comes last, with what the log has of it and nothing else, whatever the process did for it."""
    seen = look(lag=4, dead=2, oldest=9.0)
    (there,) = overview(seen, heard(facts.FanOutWritten("d", 3))).destinations
    assert there == DestinationView(
        id="d", kind="gone", state="active", reason="no longer configured", behind=4, dead=2, oldest_seconds=9.0
    )  # fmt: skip
