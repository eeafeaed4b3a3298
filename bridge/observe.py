"""One fact, one log line and its counters (`bridge.live`). Refuses to be called with anything but facts.

A change is logged, its repetition is only counted. Secrets can't get here: no fact has a field for one.
"""

import logging
import re
import sys

import msgspec
import structlog
from structlog.typing import EventDict

from bridge import facts
from bridge.facts import Fact
from bridge.live import Live

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
    facts.TracesUnsent: logging.WARNING,
    facts.WorkerRestarted: logging.ERROR,
    facts.CommandRefused: logging.WARNING,
    facts.ReloadRefused: logging.ERROR,
    facts.DefinitionsRestored: logging.WARNING,
    facts.ListenerUnavailable: logging.WARNING,
}
"""All others are logged at info; 0 is never logged."""


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


class Observer:
    """The bridge's `observe`. `live` has what was counted, and what goes on now."""

    def __init__(self) -> None:
        self.live = Live()
        self._log = structlog.get_logger()
        self._names = {kind: name_of(kind) for kind in Fact.__subclasses__()}

    def __call__(self, fact: Fact) -> None:
        """Count the fact, and log it if it is worth a line."""
        self.live(fact)
        kind = type(fact)
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
        if isinstance(fact, facts.SourceInterrupted) and fact.progress and fact.delay == 0:
            return False  # replaced at once: the stream goes on
        source = self.live.source(fact.source)
        before, source.said = source.said, (type(fact), getattr(fact, "reason", ""))
        return before != source.said


def _fields(fact: Fact) -> dict[str, object]:
    fields = msgspec.structs.asdict(fact)
    if "event" in fields:
        fields["event_id"] = fields.pop("event")  # structlog's own name for the line's name
    error = fields.get("error")
    if isinstance(error, BaseException):
        fields |= {"error": f"{type(error).__name__}: {error}", "exc_info": error}
    return fields
