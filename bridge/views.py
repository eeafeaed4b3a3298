"""Makes the overview of a bridge from what is configured, what Redis has and what the process knows. Does no I/O."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bridge.live import DestinationLive, Live, SourceLive
from bridge.overview import BridgeView, Defined, DestinationView, LogView, Overview, SourceView
from bridge.redis_log.overview import DestinationLook, Look, SourceLook

SPAN = 10.0
"""Seconds over which a rate is taken, at most."""
LEAST = 1.0
"""Seconds between two looks of which a rate is taken."""

Counted = tuple[Literal["source", "destination", "log"], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A source or destination as it is defined; what doesn't apply is empty."""

    id: str
    kind: str
    """A source's kind; of a destination `webhook` or `stream`."""
    account: str = ""
    resource: str = ""
    """The CloudEvents `source` of what a source brings."""
    url: str = ""
    """Without user, password and query."""
    defined: Defined = "file"
    paused: bool = False
    unusable: str = ""
    """Why it can't be run, in words; "" where it can."""


class Rates:
    """What is counted grows so much a second: between two looks, the older one at most some ten seconds old."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Mapping[Counted, int]]] = deque()
        self._last: tuple[float, Mapping[Counted, int]] = 0.0, {}

    def note(self, counts: Mapping[Counted, int], now: float) -> None:
        """What a look counted at this moment, in monotonic seconds."""
        self._last = now, counts
        while self._looks and now - self._looks[0][0] > SPAN + LEAST:
            self._looks.popleft()
        if not self._looks or now - self._looks[-1][0] >= LEAST:
            self._looks.append(self._last)

    def __call__(self, counted: Counted) -> float:
        """A second; 0 until there are two looks that have it, and where a count went down."""
        now, counts = self._last
        then, before = self._looks[0] if self._looks else self._last
        if now - then < LEAST or counted not in counts or counted not in before:
            return 0.0
        return max(0.0, (counts[counted] - before[counted]) / (now - then))


def counts_of(look: Look, live: Live | None = None) -> dict[Counted, int]:
    """What a look says of which the rates are shown; of destinations what was delivered, where that is known."""
    found: dict[Counted, int] = {("source", id_): source.sequence for id_, source in look.sources.items()}
    found |= {("log", str(at)): partition.added for at, partition in enumerate(look.log)}
    if live is not None:
        return found | {("destination", name): live.destination(name).delivered for name in look.destinations}
    added = sum(partition.added for partition in look.log)
    behind = {name: each.lag for name, each in look.destinations.items() if any(each.positions)}
    found |= {("destination", name): added - lag for name, lag in behind.items() if lag is not None}
    return found


@dataclass(frozen=True, slots=True)
class Views:
    """Makes overviews of one bridge. `live` None: no bridge was asked; `redis` is its address without secrets."""

    redis: str
    rates: Rates
    live: Live | None = None

    def overview(
        self, sources: Iterable[Listed], destinations: Iterable[Listed], look: Look,
        *, bridge: BridgeView | None, time: str, now: float,
    ) -> Overview:  # fmt: skip
        """Everything, of one look at all of these. `time` is RFC 3339, `now` monotonic seconds, as in `live`."""
        self.rates.note(counts_of(look, self.live), look.at)
        listed = list(destinations)
        names = {one.id for one in listed}
        return Overview(
            time=time,
            bridge=bridge,
            redis=self.redis,
            log=self._log(look),
            sources=[self._source(one, look.sources[one.id], now) for one in sources],
            destinations=[
                *(self._destination(one, look.destinations[one.id]) for one in listed),
                *(self._gone(name, each) for name, each in look.destinations.items() if name not in names),
            ],
        )

    def _log(self, look: Look) -> list[LogView]:
        return [
            LogView(
                partition=at, entries=one.entries, added=one.added, last=one.last if one.added else "",
                parked=one.parked, rate=self.rates(("log", str(at))),
            )
            for at, one in enumerate(look.log)
        ]  # fmt: skip

    def _source(self, listed: Listed, stored: SourceLook, now: float) -> SourceView:
        live = self.live.source(listed.id) if self.live else SourceLive()
        if listed.unusable:
            state, reason = "unusable", listed.unusable
        elif listed.paused:
            state, reason = "paused", ""
        elif self.live:
            state, reason = live.state, live.reason
        else:
            state, reason = stored.state or "new", stored.reason
        return SourceView(
            id=listed.id, kind=listed.kind, account=listed.account, resource=listed.resource, defined=listed.defined,
            state=state, reason=reason, sequence=stored.sequence, cursor=stored.cursor, time=stored.time,
            last_event_age_seconds=None if live.last is None else max(0.0, now - live.last), lag_seconds=live.lag,
            rate=self.rates(("source", listed.id)), events=live.events, bytes=live.bytes, parked=live.parked,
            duplicates=live.duplicates, reconnects=live.reconnects,
        )  # fmt: skip

    def _destination(self, listed: Listed, look: DestinationLook) -> DestinationView:
        live = self.live.destination(listed.id) if self.live else DestinationLive()
        state: str = look.standing.state
        reason, since = look.standing.reason, look.since
        if listed.unusable:
            state, reason, since = "unusable", listed.unusable, None
        elif listed.paused:
            state, reason, since = "paused", "", None
        elif live.fenced:
            state, reason, since = "fenced", f"{live.fenced} delivers to it now", None
        elif state == "active" and look.lanes:
            reason = live.failure
        return DestinationView(
            id=listed.id, kind="stream" if listed.kind == "stream" else "webhook", url=listed.url,
            defined=listed.defined, state=state, reason=reason, since_seconds=since, **self._queue(listed.id, look),
            delivered=live.delivered, attempts=live.attempts,
        )  # fmt: skip

    def _gone(self, name: str, look: DestinationLook) -> DestinationView:
        return DestinationView(
            id=name, kind="gone", state=look.standing.state, reason="no longer configured", since_seconds=look.since,
            **self._queue(name, look),
        )  # fmt: skip

    def _queue(self, name: str, look: DestinationLook) -> dict[str, Any]:
        return {
            "behind": look.lag, "in_flight": look.in_flight, "waiting": look.lanes,
            "waiting_entries": look.entries, "oldest_seconds": look.oldest,
            "next_due_seconds": look.next_due, "dead": look.dead, "rate": self.rates(("destination", name)),
        }  # fmt: skip
