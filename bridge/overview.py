"""How a bridge stands, as values for people and programs: `status`, the control API and the page show these. Pure.

Counts of events are Redis' own; what a connection does now, and counts "since the start", are of the running process.
"""

from typing import Literal

from msgspec import Struct

Defined = Literal["file", "added"]
"""Where a source or destination is defined: in the configuration file, or added while running (kept in Redis)."""


class SourceView(Struct, kw_only=True, frozen=True):
    """One source."""

    id: str
    kind: str
    account: str = ""
    resource: str = ""
    """The CloudEvents `source` of what it brings."""
    defined: Defined = "file"
    state: str
    """`connecting`, `connected`, `reconnecting`, `failed`, `ended`, `paused`, `fenced`, `unusable`; as stored
    (`running`, `failed`, `ended`) where no bridge is asked."""
    reason: str = ""
    """Why it isn't connected, in words."""
    sequence: int = 0
    """Records that were numbered: events and parked ones, as Redis has it."""
    cursor: str | None = None
    time: str = ""
    """When something was stored last, RFC 3339; "" for never."""
    last_event_age_seconds: float | None = None
    """Since the last event was stored; None where there was none since the start."""
    lag_seconds: float | None = None
    """From the upstream's time of the last event to its receipt."""
    rate: float = 0.0
    """Records a second, over the last seconds."""
    events: int = 0
    """Since the start, as all that follow."""
    bytes: int = 0
    parked: int = 0
    duplicates: int = 0
    reconnects: int = 0


class DestinationView(Struct, kw_only=True, frozen=True):
    """One destination, over all partitions."""

    id: str
    kind: Literal["webhook", "stream", "gone"]
    """`gone`: not configured any more, but the log has dead letters of it."""
    url: str = ""
    """Without user, password and query."""
    defined: Defined = "file"
    state: str
    """`active`, `probing`, `disabled`, `paused`, `fenced`, `unusable`."""
    reason: str = ""
    """Why it is in this state; of an active one where something waits, why the last attempt failed."""
    since_seconds: float | None = None
    """How long it has been in this state; None where it never left the first one."""
    behind: int | None = 0
    """Entries of the log that it has not looked at; None where Redis does not know."""
    in_flight: int = 0
    """Entries taken up and neither settled nor put back."""
    waiting: int = 0
    """Subjects, or batches, that wait for a retry or behind one."""
    waiting_entries: int = 0
    """Entries in them; of very many subjects, those of the first ones."""
    oldest_seconds: float | None = None
    """Age of its oldest unsettled entry; None where nothing waits."""
    next_due_seconds: float | None = None
    dead: int = 0
    rate: float = 0.0
    """Events delivered a second, over the last seconds; where no bridge is asked, entries looked at."""
    delivered: int = 0
    """Events that the receiver has, or that were added to streams; since the start, as those that follow."""
    attempts: int = 0


class LogView(Struct, kw_only=True, frozen=True):
    """One partition of the log."""

    partition: int
    entries: int
    """As XLEN has it."""
    added: int
    """Entries ever added."""
    last: str = ""
    """The newest entry's id."""
    parked: int = 0
    rate: float = 0.0
    """Entries added a second, over the last seconds."""


class BridgeView(Struct, kw_only=True, frozen=True):
    """The process."""

    instance: str = ""
    version: str = ""
    started: str = ""
    uptime_seconds: float = 0.0
    ready: bool = False
    problems: dict[str, str] = {}
    """What is not in order, by what: `redis`, `source X`, `destination Y`, `configuration`."""


class Overview(Struct, kw_only=True, frozen=True):
    """Everything on one screen. `bridge` is None where no bridge answers and Redis alone was asked."""

    time: str
    bridge: BridgeView | None
    redis: str
    """Its address, without secrets."""
    log: list[LogView]
    sources: list[SourceView]
    destinations: list[DestinationView]
