"""What each source's connection and each destination does now, and counts since the start, from facts. Pure; no output.

Whoever stops for good is to be forgotten: there is no other bound to how many are kept.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any, Literal

from msgspec import Struct, field

from bridge import facts
from bridge.facts import Fact

Connection = Literal["connecting", "connected", "reconnecting", "failed", "ended", "fenced"]

APPENDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, math.inf)
"""Upper bounds of the times of an append that are counted apart, in seconds."""
ATTEMPTS = (0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 15.0, 60.0, math.inf)
"""Those of the times of an attempt."""


class Times:
    """How many times of something lay below each bound, and their sum; in plain numbers, because that is quick."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * len(bounds)
        """Up to and with each bound, and above the one before."""
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class SourceLive(Struct):
    """One source, since the start. It goes on changing: take what is needed at once."""

    state: Connection = "connecting"
    reason: str = ""
    """Why it isn't connected, in words."""
    events: int = 0
    """Stored in the log."""
    bytes: int = 0
    """Of the events and parked records that were stored."""
    parked: int = 0
    duplicates: int = 0
    reconnects: int = 0
    """Connections that ended or failed."""
    gaps: int = 0
    losses: int = 0
    """Possible ones."""
    last: float | None = None
    """When an event was stored last, as `monotonic` counts."""
    lag: float | None = None
    """From the upstream's time of the last event to its receipt, in seconds."""
    appends: int = 0
    append_seconds: float = 0.0
    """All appends together."""
    said: tuple[type[Fact], str] | None = None
    """What the last log line about its connection said."""


class DestinationLive(Struct):
    """One destination, since the start. It goes on changing, as SourceLive does."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Attempts by their outcome."""
    times: Times = field(default_factory=lambda: Times(ATTEMPTS))
    """Of the attempts."""
    delivered: int = 0
    """Events that the receiver has, or that were added to streams."""
    written: int = 0
    """Events added to streams."""
    failure: str = ""
    """Why the last attempt failed, if it did."""
    dead: int = 0
    """Events given up."""
    missing: int = 0
    """Unsettled entries that had gone from the log."""
    changes: Counter[str] = field(default_factory=Counter)
    """What became of it, and how often."""
    fenced: str = ""
    """Who delivers in its place, or nothing."""

    @property
    def attempts(self) -> int:
        """Webhook requests."""
        return self.outcomes.total()


class Live:
    """The sources, the destinations and the bridge as a whole. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.sources: dict[str, SourceLive] = {}
        self.destinations: dict[str, DestinationLive] = {}
        self.appends = Times(APPENDS)
        self.totals: Counter[str] = Counter()
        """What is counted of the bridge as a whole, by the names in `bridge.metrics`."""
        self._clock = clock
        self._takes: dict[type[Fact], Callable[[Any], None]] = {
            facts.BatchStored: self._stored,
            facts.SourceConnected: lambda fact: self._now(fact.source, "connected"),
            facts.SourceInterrupted: self._interrupted,
            facts.SourceFailed: lambda fact: self._now(fact.source, "failed", fact.reason),
            facts.SourceEnded: lambda fact: self._now(fact.source, "ended"),
            facts.SourceFenced: lambda fact: self._now(fact.source, "fenced", f"{fact.owner} reads it now"),
            facts.SourceRewound: lambda fact: self._now(fact.source, "connecting"),
            facts.SourceGap: self._gap,
            facts.LossPossible: self._lost,
            facts.AttemptMade: self._attempted,
            facts.FanOutWritten: self._written,
            facts.DeadLettered: self._buried,
            facts.EntriesMissing: self._missed,
            facts.DestinationChanged: self._changed,
            facts.DestinationFenced: self._fenced,
            facts.LogTrimmed: self._trimmed,
            facts.WorkerRestarted: self._restarted,
            facts.ConfigurationReloaded: lambda _: self._total("reloads_done"),
            facts.ReloadRefused: lambda _: self._total("reloads_refused"),
            facts.SpoolFailed: lambda _: self._total("spool_failures"),
            facts.SignalUnsaved: lambda fact: self._total("signals_unsaved", fact.count),
        }

    def __call__(self, fact: Fact) -> None:
        """Take a fact; those that change nothing here are passed over."""
        take = self._takes.get(type(fact))
        if take is not None:
            take(fact)

    def source(self, id_: str) -> SourceLive:
        """What is known of a source; one that nothing was heard of is connecting."""
        return self.sources.get(id_) or SourceLive()

    def destination(self, name: str) -> DestinationLive:
        """What is known of a destination."""
        return self.destinations.get(name) or DestinationLive()

    def begin(self, source: str) -> None:
        """The source is started, for the first time or again; what was counted stays."""
        self._now(source, "connecting")

    def forget(self, source: str) -> None:
        """The source is no more; one of its name begins anew."""
        self.sources.pop(source, None)

    def begin_destination(self, name: str) -> None:
        """The destination is started, for the first time or again."""
        self._destination(name).fenced = ""

    def forget_destination(self, name: str) -> None:
        """The destination is no more; one of its name begins anew."""
        self.destinations.pop(name, None)

    # -- sources

    def _source(self, id_: str) -> SourceLive:
        found = self.sources.get(id_)
        if found is None:
            found = self.sources[id_] = SourceLive()
        return found

    def _now(self, id_: str, state: Connection, reason: str = "") -> None:
        source = self._source(id_)
        source.state, source.reason = state, reason

    def _stored(self, fact: facts.BatchStored) -> None:
        source = self._source(fact.source)
        self.appends.add(fact.seconds)
        source.appends += 1
        source.append_seconds += fact.seconds
        source.parked += fact.parked
        source.duplicates += fact.duplicates
        source.bytes += fact.size
        if fact.events:
            source.events += fact.events
            source.last = self._clock()
            if fact.lag is not None:
                source.lag = fact.lag

    def _interrupted(self, fact: facts.SourceInterrupted) -> None:
        source = self._source(fact.source)
        source.reconnects += 1
        if not (fact.progress and fact.delay == 0):  # replaced at once: the stream goes on
            source.state, source.reason = "reconnecting", fact.reason

    def _gap(self, fact: facts.SourceGap) -> None:
        self._source(fact.source).gaps += 1

    def _lost(self, fact: facts.LossPossible) -> None:
        self._source(fact.source).losses += 1

    # -- destinations

    def _destination(self, name: str) -> DestinationLive:
        found = self.destinations.get(name)
        if found is None:
            found = self.destinations[name] = DestinationLive()
        return found

    def _attempted(self, fact: facts.AttemptMade) -> None:
        destination = self._destination(fact.destination)
        destination.outcomes[fact.outcome] += 1
        destination.times.add(fact.seconds)
        if fact.outcome == "delivered":
            destination.delivered += fact.events
            destination.failure = ""
        else:
            destination.failure = fact.error

    def _written(self, fact: facts.FanOutWritten) -> None:
        destination = self._destination(fact.destination)
        destination.written += fact.events
        destination.delivered += fact.events

    def _buried(self, fact: facts.DeadLettered) -> None:
        self._destination(fact.destination).dead += 1

    def _missed(self, fact: facts.EntriesMissing) -> None:
        self._destination(fact.destination).missing += fact.count

    def _changed(self, fact: facts.DestinationChanged) -> None:
        self._destination(fact.destination).changes[fact.what] += 1

    def _fenced(self, fact: facts.DestinationFenced) -> None:
        self._destination(fact.destination).fenced = fact.owner

    # -- the bridge

    def _total(self, name: str, count: int = 1) -> None:
        self.totals[name] += count

    def _trimmed(self, fact: facts.LogTrimmed) -> None:
        self._total("trimmed", fact.removed)
        self._total("trimmed_unsettled", fact.unsettled)

    def _restarted(self, fact: facts.WorkerRestarted) -> None:
        self._total("worker_restarts")
        kind, _, id_ = fact.worker.partition(" ")
        if kind == "source":
            self._now(id_, "reconnecting", f"{type(fact.error).__name__}: {fact.error}")
