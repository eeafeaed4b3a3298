"""One fact, one log line and its counters; names from a closed set. Refuses to be called with anything but facts.

A change is logged, its repetition is only counted. Secrets can't get here: no fact has a field for one.
"""

import logging
import math
import re
import sys
from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from structlog.typing import EventDict

from bridge import facts
from bridge.facts import Fact

LEVELS: dict[type[Fact], int] = {
    facts.BatchStored: 0,
    facts.FanOutWritten: 0,
    facts.AttemptMade: logging.DEBUG,
    facts.SourceInterrupted: logging.WARNING,
    facts.SourceFailed: logging.ERROR,
    facts.SourceFenced: logging.WARNING,
    facts.SourceReset: logging.WARNING,
    facts.SourceGap: logging.WARNING,
    facts.LossPossible: logging.WARNING,
    facts.RecordParked: logging.WARNING,
    facts.SpoolFailed: logging.ERROR,
    facts.SignalUnsaved: logging.ERROR,
    facts.LogBlocked: logging.ERROR,
    facts.LogTrimmed: logging.DEBUG,
    facts.LaneHeld: logging.WARNING,
    facts.DeadLettered: logging.ERROR,
    facts.EntriesMissing: logging.ERROR,
    facts.DeliveryBlocked: logging.WARNING,
    facts.DestinationChanged: logging.WARNING,
    facts.DestinationFenced: logging.WARNING,
    facts.HandshakeRefused: logging.ERROR,
    facts.FanOutRewound: logging.WARNING,
    facts.FanOutAhead: logging.WARNING,
    facts.SecretUnusable: logging.ERROR,
    facts.WorkerRestarted: logging.ERROR,
    facts.ListenerUnavailable: logging.WARNING,
}
"""All others are logged at info; 0 is never logged."""

STATES = {"recovered": 0, "enabled": 0, "probing": 1, "disabled": 2}
"""What became of a destination -> its state as a number. A warning (`failing`) leaves it what it is."""

Kind = TypeVar("Kind", Counter, Gauge)


class _Level:
    """The least urgent level that is written."""

    least = logging.NOTSET


def name_of(kind: type[Fact]) -> str:
    """The log event's name: `SourceConnected` -> `source.connected`."""
    return re.sub(r"(?<!^)(?=[A-Z])", ".", kind.__name__).lower()


def configure_logs(level: str, form: str) -> None:
    """Set structlog up: a form for people on a terminal, JSON elsewhere; to standard error."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    _Level.least = number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _name_first,
            structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # libraries speak only when something is wrong with them
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s", force=True)


def _name_first(_logger: object, _method: str, line: EventDict) -> EventDict:
    """The line's time, level and name before its fields, so that a person finds them."""
    first = ("timestamp", "level", "event")
    return {key: line[key] for key in first if key in line} | {key: line[key] for key in line if key not in first}


class Attempts(Collector):
    """Webhook requests by destination and outcome, and how long they took. Counted and collected in one thread.

    In plain numbers: with the library's own metrics an attempt costs 1.5 µs here, so 0.5 (measured).
    """

    BUCKETS = (0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 15.0, 60.0, math.inf)
    """Seconds, up to and with each."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Counted[str], list[int], list[float]]] = {}
        """Destination -> attempts by outcome, attempts by bucket, sum of seconds."""

    def count(self, fact: facts.AttemptMade) -> None:
        """One more."""
        seen = self._seen.get(fact.destination)
        if seen is None:
            seen = self._seen[fact.destination] = Counted(), [0] * len(self.BUCKETS), [0.0]
        outcomes, buckets, total = seen
        outcomes[fact.outcome] += 1
        buckets[bisect_left(self.BUCKETS, fact.seconds)] += 1
        total[0] += fact.seconds

    def collect(self) -> Iterator[Metric]:
        """What was counted so far, for a scrape."""
        attempts = CounterMetricFamily(
            "runbridge_webhook_attempts", "Webhook requests.", labels=["destination", "outcome"]
        )
        seconds = HistogramMetricFamily(
            "runbridge_webhook_attempt_seconds", "Time of one webhook request.", labels=["destination"]
        )
        bounds = [floatToGoString(bound) for bound in self.BUCKETS]
        for destination, (outcomes, buckets, total) in self._seen.items():
            for outcome, count in outcomes.items():
                attempts.add_metric([destination, outcome], count)
            seconds.add_metric([destination], list(zip(bounds, accumulate(buckets), strict=True)), total[0])
        yield attempts
        yield seconds


class Observer:
    """The bridge's `observe`. `registry` holds its metrics."""

    def __init__(self) -> None:
        disable_created_metrics()  # they double the series and say nothing that a scrape doesn't
        self.registry = CollectorRegistry()
        self._log = structlog.get_logger()
        self._last: dict[tuple[type[Fact], str], object] = {}
        self._names = {kind: name_of(kind) for kind in Fact.__subclasses__()}
        counter = self._counter
        self._events = counter("events", "Events stored in the log.", "source")
        self._parked = counter("parked", "Records parked because they could not be read.", "source")
        self._duplicates = counter("duplicates", "Events that the upstream sent again.", "source")
        self._reconnects = counter("source_interruptions", "Connections that ended or failed.", "source")
        self._attempts = Attempts()
        self.registry.register(self._attempts)
        self._changes = counter("destination_changes", "What became of a destination.", "destination", "what")
        self._state = _children(
            Gauge(
                "runbridge_destination_state", "0 active, 1 probing, 2 disabled, since it last changed.",
                ["destination"], registry=self.registry,
            )
        )  # fmt: skip
        self._dead = counter("webhook_dead_letters", "Events given up.", "destination")
        self._fan_out = counter("fan_out_events", "Events added to streams.", "destination")
        self._gaps = counter("source_gaps", "Stored cursors that could not be used any more.", "source")
        self._losses = counter("possible_losses", "Waits without an answer, connections without a cursor.", "source")
        self._missing = counter("entries_missing", "Unsettled entries gone from the log.", "destination")
        self._unsettled = counter("trimmed_unsettled", "Entries trimmed by max_entries before they were settled.")
        self._append = Histogram(
            "runbridge_append_seconds", "Time of one append.", registry=self.registry,
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5),
        )  # fmt: skip
        self._counts: dict[type[Fact], Callable[[Any], object]] = {
            facts.BatchStored: self._count_batch,
            facts.AttemptMade: self._attempts.count,
            facts.DestinationChanged: self._count_change,
            facts.DeadLettered: lambda fact: self._dead(fact.destination).inc(),
            facts.FanOutWritten: lambda fact: self._fan_out(fact.destination).inc(fact.events),
            facts.SourceGap: lambda fact: self._gaps(fact.source).inc(),
            facts.LossPossible: lambda fact: self._losses(fact.source).inc(),
            facts.SourceInterrupted: lambda fact: self._reconnects(fact.source).inc(),
            facts.EntriesMissing: lambda fact: self._missing(fact.destination).inc(fact.count),
            facts.LogTrimmed: lambda fact: self._unsettled().inc(fact.unsettled),
        }

    def __call__(self, fact: Fact) -> None:
        """Count the fact, and log it if it is worth a line."""
        kind = type(fact)
        count = self._counts.get(kind)
        if count is not None:
            count(fact)
        level = LEVELS.get(kind, logging.INFO)
        # asked first: a line that nobody reads would cost more than all the rest (measured)
        if level >= _Level.least and level and self._changed(fact):
            self._log.log(level, self._names[kind], **_fields(fact))

    def _changed(self, fact: Fact) -> bool:
        """False where a source or a lane only repeats what its last line said."""
        if isinstance(fact, facts.LaneHeld):
            return fact.attempts <= 1
        if not isinstance(fact, facts.SourceConnected | facts.SourceInterrupted | facts.SourceFailed):
            return True
        key = (Fact, fact.source)
        if isinstance(fact, facts.SourceInterrupted) and fact.progress and fact.delay == 0:
            return False  # replaced at once: the stream goes on
        said = (type(fact), getattr(fact, "reason", ""))
        changed = self._last.get(key) != said
        self._last[key] = said
        return changed

    def _count_batch(self, fact: facts.BatchStored) -> None:
        self._append.observe(fact.seconds)
        self._events(fact.source).inc(fact.events)
        if fact.parked:
            self._parked(fact.source).inc(fact.parked)
        if fact.duplicates:
            self._duplicates(fact.source).inc(fact.duplicates)

    def _count_change(self, fact: facts.DestinationChanged) -> None:
        self._changes(fact.destination, fact.what).inc()
        state = STATES.get(fact.what)
        if state is not None:
            self._state(fact.destination).set(state)

    def _counter(self, name: str, help_: str, *labels: str) -> Callable[..., Counter]:
        return _children(Counter(f"runbridge_{name}", help_, labels, registry=self.registry))


def _children(metric: Kind) -> Callable[..., Kind]:
    """A metric's children by their labels' values, kept: looking one up costs four times an increment (measured)."""
    kept: dict[tuple[str, ...], Kind] = {}

    def child(*values: str) -> Kind:
        found = kept.get(values)
        if found is None:
            found = kept[values] = metric.labels(*values) if values else metric
        return found

    return child


def _fields(fact: Fact) -> dict[str, object]:
    fields = msgspec.structs.asdict(fact)
    if "event" in fields:
        fields["event_id"] = fields.pop("event")  # structlog's own name for the line's name
    error = fields.get("error")
    if isinstance(error, BaseException):
        fields |= {"error": f"{type(error).__name__}: {error}", "exc_info": error}
    return fields
