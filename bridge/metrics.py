"""The bridge's metrics as Prometheus text: what the process counted, and what Redis has, asked for at each scrape.

Refuses to keep series of what is no more: labels are what is configured now, or what the log has dead letters of.
https://prometheus.io/docs/instrumenting/writing_exporters/ and https://prometheus.io/docs/practices/naming/
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from time import monotonic
from typing import Any, Literal, get_args

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from bridge.clock import unix
from bridge.errors import LogUnavailable
from bridge.live import Connection, Live, Times
from bridge.overview import BridgeView, Overview
from bridge.stop import nap

CONTENT_TYPE = CONTENT_TYPE_LATEST
PATIENCE = 4.0
"""Seconds for Redis to answer; a scrape is given up after 10 by default."""
STATES = {"active": 0, "probing": 1, "disabled": 2, "paused": 3, "fenced": 4, "unusable": 5}
"""A destination's states as numbers."""
_SOURCE_STATES = (*get_args(Connection), "paused", "unusable")

Kind = Literal["counter", "gauge"]
Row = tuple[Kind, str, str, Callable[[Any], float | None]]
"""What kind of metric, its name and help, and its value; None where there is none."""

_SOURCES: tuple[Row, ...] = (
    ("counter", "events", "Events stored in the log.", lambda live: live.events),
    ("counter", "stored_bytes", "Bytes of the events and parked records that were stored.", lambda live: live.bytes),
    ("counter", "parked", "Records parked because they could not be read.", lambda live: live.parked),
    ("counter", "duplicates", "Events that the upstream sent again.", lambda live: live.duplicates),
    ("counter", "source_interruptions", "Connections that ended or failed.", lambda live: live.reconnects),
    ("counter", "source_gaps", "Stored cursors that could not be used any more.", lambda live: live.gaps),
    ("counter", "possible_losses", "Waits without an answer, connections without a cursor.", lambda live: live.losses),
    ("gauge", "source_lag_seconds", "From the upstream's time of the last event to its receipt.",
     lambda live: live.lag),
    ("gauge", "source_last_event_timestamp_seconds", "When the last event was stored, since 1970.",
     lambda live: None if live.last is None else round(unix() - monotonic() + live.last, 1)),
)  # fmt: skip
_DESTINATIONS: tuple[Row, ...] = (
    ("counter", "webhook_dead_letters", "Events given up.", lambda live: live.dead),
    ("counter", "fan_out_events", "Events added to streams.", lambda live: live.written),
    ("counter", "entries_missing", "Unsettled entries gone from the log.", lambda live: live.missing),
)  # fmt: skip
_QUEUES: tuple[Row, ...] = (
    ("gauge", "destination_state", "0 active, 1 probing, 2 disabled, 3 paused, 4 fenced, 5 unusable.",
     lambda view: STATES.get(view.state)),
    ("gauge", "destination_behind_entries", "Entries that it has not looked at.", lambda view: view.behind),
    ("gauge", "destination_in_flight_entries", "Entries taken up and neither settled nor put back.",
     lambda view: view.in_flight),
    ("gauge", "destination_waiting_entries",
     "Entries that wait for a retry or behind one; of very many subjects, those of the first ones.",
     lambda view: view.waiting_entries),
    ("gauge", "destination_waiting_lanes", "Subjects, or batches, that wait for a retry or behind one.",
     lambda view: view.waiting),
    ("gauge", "destination_queue_age_seconds", "Age of its oldest unsettled entry; 0 where nothing waits.",
     lambda view: view.oldest_seconds or 0),
    ("gauge", "destination_dead_letters", "Dead letters there are.", lambda view: view.dead),
)  # fmt: skip
_LOG: tuple[Row, ...] = (
    ("gauge", "log_entries", "Entries of the log.", lambda view: view.entries),
    ("counter", "log_added_entries", "Entries ever added to the log.", lambda view: view.added),
    ("gauge", "log_parked_records", "Parked records there are.", lambda view: view.parked),
)
_TOTALS = {
    "trimmed": "Entries trimmed.",
    "trimmed_unsettled": "Entries trimmed by max_entries before they were settled.",
    "worker_restarts": "Workers that ended by an error and were started again.",
    "spool_failures": "Times that the spool could not be written or read.",
    "signals_unsaved": "Signals that could not be stored before the bridge had to end.",
}


class Metrics:
    """Text for a scrape: awaited, at most 5 s. `live` is counted by the process; the rest is asked for.

    `overview` raises LogUnavailable while Redis is away: what only Redis knows is then left out. `blocked` is Redis'
    word for why it takes no writes, None while it does.
    """

    def __init__(
        self, live: Live, *, overview: Callable[[], Awaitable[Overview]], bridge: Callable[[], BridgeView],
        blocked: Callable[[], str | None],
    ) -> None:  # fmt: skip
        self._live, self._overview, self._bridge, self._blocked = live, overview, bridge, blocked
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        GCCollector(registry=self._process)

    async def __call__(self) -> bytes:
        """All metrics, as of now."""
        try:
            async with asyncio.timeout(PATIENCE):
                overview = await self._overview()
        except (LogUnavailable, TimeoutError):
            overview = None
        text = [generate_latest(self._process)]
        for family in _Scrape(self._live, overview, self._bridge(), self._blocked()).collect():
            text.append(generate_latest(_One(family)))
            await nap(0)  # thousands of sources take a quarter of a second: others get their turn between
        return b"".join(text)


@dataclass(frozen=True, slots=True)
class _One(Collector):
    """What the library's formatter takes."""

    family: Metric

    def collect(self) -> Iterator[Metric]:
        """The one."""
        yield self.family


@dataclass(frozen=True, slots=True)
class _Scrape:
    """What there is to say at one moment."""

    live: Live
    overview: Overview | None
    bridge: BridgeView
    blocked: str | None

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        yield from self._whole()
        yield from self._sources()
        yield from self._destinations()
        if self.overview is not None:
            yield from _families(_LOG, "partition", [(str(view.partition), view) for view in self.overview.log])

    def _whole(self) -> Iterator[Metric]:
        info = {"version": self.bridge.version, "bridge": self.bridge.instance}
        yield InfoMetricFamily("runbridge", "Which bridge this is.", value=info)
        yield GaugeMetricFamily("runbridge_ready", "1 where /readyz says so.", value=self.bridge.ready)
        yield GaugeMetricFamily(
            "runbridge_redis_up", "1 where Redis answered this scrape.", value=self.overview is not None
        )  # fmt: skip
        blocked = GaugeMetricFamily(
            "runbridge_log_blocked", "1 while Redis takes no writes, with why.", labels=["code"]
        )
        blocked.add_metric([self.blocked or ""], self.blocked is not None)
        yield blocked
        for name, help_ in _TOTALS.items():
            yield CounterMetricFamily(f"runbridge_{name}", help_, value=self.live.totals[name])
        reloads = CounterMetricFamily(
            "runbridge_reloads", "Times the configuration was read again.", labels=["outcome"]
        )
        for outcome in ("done", "refused"):
            reloads.add_metric([outcome], self.live.totals[f"reloads_{outcome}"])
        yield reloads
        yield _histogram("append_seconds", "Time of one append.", [], [([], self.live.appends)])

    def _sources(self) -> Iterator[Metric]:
        live, overview = self.live, self.overview
        if overview is None:
            states = {id_: str(source.state) for id_, source in live.sources.items()}
        else:
            states = {view.id: view.state for view in overview.sources}
        said = GaugeMetricFamily(
            "runbridge_source_state", "1 for the state that it is in, 0 for the others.", labels=["source", "state"]
        )  # fmt: skip
        for id_, now in states.items():
            for state in _SOURCE_STATES:
                said.add_metric([id_, state], state == now)
        yield said
        lives = [(id_, live.source(id_)) for id_ in states]
        yield from _families(_SOURCES, "source", lives)
        appends = SummaryMetricFamily(
            "runbridge_source_append_seconds", "Time of this source's appends.", labels=["source"]
        )  # fmt: skip
        for id_, source in lives:
            appends.add_metric([id_], source.appends, source.append_seconds)
        yield appends

    def _destinations(self) -> Iterator[Metric]:
        live, overview = self.live, self.overview
        if overview is None:
            lives = list(live.destinations.items())
        else:
            views = [(view.id, view) for view in overview.destinations]
            yield from _families(_QUEUES, "destination", views)
            lives = [(id_, live.destination(id_)) for id_, view in views if view.kind != "gone"]
        yield from _families(_DESTINATIONS, "destination", lives)
        outcomes = [(name, each.outcomes) for name, each in lives]
        yield _counted("webhook_attempts", "Webhook requests.", "outcome", outcomes)
        changes = [(name, each.changes) for name, each in lives]
        yield _counted("destination_changes", "What became of a destination.", "what", changes)
        times = [([name], each.times) for name, each in lives if each.outcomes]
        yield _histogram("webhook_attempt_seconds", "Time of one webhook request.", ["destination"], times)


def _families(rows: Iterable[Row], label: str, things: Iterable[tuple[str, Any]]) -> Iterator[Metric]:
    """A family a row, with a series a thing that has a value."""
    for kind, name, help_, value in rows:
        family: CounterMetricFamily | GaugeMetricFamily
        family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
            f"runbridge_{name}", help_, labels=[label]
        )
        for id_, thing in things:
            found = value(thing)
            if found is not None:
                family.add_metric([id_], found)
        yield family


def _counted(name: str, help_: str, label: str, things: Iterable[tuple[str, Counter[str]]]) -> Metric:
    """What is counted by one more label."""
    family = CounterMetricFamily(f"runbridge_{name}", help_, labels=["destination", label])
    for id_, counts in things:
        for what, count in counts.items():
            family.add_metric([id_, what], count)
    return family


def _histogram(name: str, help_: str, labels: Iterable[str], things: Iterable[tuple[list[str], Times]]) -> Metric:
    family = HistogramMetricFamily(f"runbridge_{name}", help_, labels=list(labels))
    for values, times in things:
        bounds = [floatToGoString(bound) for bound in times.bounds]
        family.add_metric(values, list(zip(bounds, accumulate(times.counts), strict=True)), times.total)
    return family
