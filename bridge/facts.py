"""What can happen in the bridge, one frozen value each; `bridge.observe` turns it into one log line and its counters.

The set is closed: a log event's name is the class name in dotted lower case, and there are no others.
"""

import msgspec


class Fact(msgspec.Struct, frozen=True):  # made three times as fast as a dataclass
    """Something that happened, worth a line or a counter."""


class SourceConnected(Fact, frozen=True):
    """The upstream accepted the subscription; shown once per change, not at every reconnection."""

    source: str
    cursor: str | None


class SourceInterrupted(Fact, frozen=True):
    """A connection ended or failed; the source comes back after `delay` seconds."""

    source: str
    reason: str
    delay: float
    progress: bool


class SourceFailed(Fact, frozen=True):
    """The upstream refuses this source; it is re-checked every `recheck` seconds."""

    source: str
    reason: str
    recheck: float


class SourceEnded(Fact, frozen=True):
    """The run is over; the source will not be opened again."""

    source: str


class SourceFenced(Fact, frozen=True):
    """Somebody newer owns the source; it stops here."""

    source: str
    owner: str


class SourceRewound(Fact, frozen=True):
    """The log stands elsewhere than this writer thought; the source goes on from there."""

    source: str
    sequence: int


class SourceReset(Fact, frozen=True):
    """The source now names another resource than the stored cursor belongs to, which is therefore dropped."""

    source: str
    resource: str


class SourceGap(Fact, frozen=True):
    """A stored cursor can't be used any more; `action` is what is done about it (`on_gap`)."""

    source: str
    cursor: str
    reason: str
    action: str


class LossPossible(Fact, frozen=True):
    """A consuming call ended without an answer, a stream without ids was connected to again, or a list has no end."""

    source: str
    reason: str


class RecordParked(Fact, frozen=True):
    """A record could not be read; it is kept, with its bytes, in the parked stream."""

    source: str
    reason: str


class BatchStored(Fact, frozen=True):
    """One step of the log was committed. Counted, not logged.

    `size` is the bytes of events and parked records; `lag` the seconds from the upstream's time of the newest event to
    its receipt, None where there is no event or that time can't be read.
    """

    source: str
    events: int
    parked: int
    duplicates: int
    seconds: float
    size: int = 0
    lag: float | None = None


class SignalSpooled(Fact, frozen=True):
    """A signal was written to the spool directory because it has to survive a restart."""

    source: str
    id: str


class SpoolFailed(Fact, frozen=True):
    """The spool could not be written or read; a signal is then in memory only."""

    source: str
    reason: str


class SignalUnsaved(Fact, frozen=True):
    """A signal could not be stored before the bridge had to end: it is lost unless the upstream signals again."""

    source: str
    count: int


class LogBlocked(Fact, frozen=True):
    """Redis does not take writes for now; `code` is its word for it. Shown once per change."""

    code: str
    reason: str


class LogRestored(Fact, frozen=True):
    """Redis takes writes again."""


class LogTrimmed(Fact, frozen=True):
    """Old entries were removed; `unsettled` of them had not been settled by some destination (`max_entries`)."""

    removed: int
    unsettled: int


class AttemptMade(Fact, frozen=True):
    """One webhook request and what came of it."""

    destination: str
    event: str
    attempt: int
    outcome: str
    status: int | None
    seconds: float
    error: str
    events: int = 1
    """How many went out in it."""


class LaneHeld(Fact, frozen=True):
    """A subject waits at a destination because its first event is to be tried again after `delay` seconds."""

    destination: str
    subject: str
    attempts: int
    delay: float


class DeadLettered(Fact, frozen=True):
    """An event was given up at a destination and kept among its dead letters."""

    destination: str
    event: str
    attempts: int
    error: str


class EntriesMissing(Fact, frozen=True):
    """Entries that a destination had not settled are no longer in the log."""

    destination: str
    count: int


class DeliveryBlocked(Fact, frozen=True):
    """The log, or a target that is a Redis, takes nothing for a destination; it goes on by itself once it does."""

    destination: str
    code: str
    reason: str


class DestinationChanged(Fact, frozen=True):
    """A destination as a whole: `what` is probing, recovered, failing (a warning), disabled or enabled.

    `failures` of the last `attempts` failed, the last with `reason` and `status`.
    """

    destination: str
    what: str
    reason: str
    status: int | None
    attempts: int
    failures: int


class DestinationFenced(Fact, frozen=True):
    """Somebody newer delivers to this destination; delivery stops here."""

    destination: str
    owner: str


class HandshakeAccepted(Fact, frozen=True):
    """A receiver allows webhooks from here, `per_minute` at most if that is not None."""

    destination: str
    per_minute: int | None


class HandshakeRefused(Fact, frozen=True):
    """A receiver was asked and does not allow webhooks from here; nothing is sent until it does. Once a reason."""

    destination: str
    status: int | None
    error: str


class ReplayStarted(Fact, frozen=True):
    """A replay of `events` entries goes on at a destination, or begins; `partition` is that of the log."""

    destination: str
    replay: str
    partition: int
    events: int


class ReplayEnded(Fact, frozen=True):
    """A replay has ended: `outcome` is done, cancelled, or taken over by another bridge."""

    destination: str
    replay: str
    partition: int
    outcome: str


class SecretRotated(Fact, frozen=True):
    """The file of a signing secret holds another one, or a good one again: it signs from now on."""

    destination: str
    path: str


class SecretUnusable(Fact, frozen=True):
    """The file of a signing secret can't be used any more; the secret that it held before goes on signing."""

    destination: str
    path: str
    reason: str


class FanOutWritten(Fact, frozen=True):
    """A batch is in the streams of a `redis://` destination. Counted, not logged."""

    destination: str
    events: int


class FanOutRewound(Fact, frozen=True):
    """A target stands at `position`, before the `confirmed` that it had: it gets what it lost from the log again."""

    destination: str
    position: str
    confirmed: str


class FanOutAhead(Fact, frozen=True):
    """A target is ahead of the log, which was emptied or put back; it goes on with what comes behind `end`."""

    destination: str
    position: str
    end: str


class TracesSent(Fact, frozen=True):
    """The collector at `address` takes spans; shown once per change."""

    address: str


class TracesUnsent(Fact, frozen=True):
    """Spans are asked for and not sent; shown once per change."""

    reason: str


class WorkerRestarted(Fact, frozen=True):
    """A worker ended by an error it should not have had; it starts again after `delay` seconds."""

    worker: str
    error: BaseException
    delay: float


class BridgeStarted(Fact, frozen=True):
    """The daemon is up."""

    version: str
    sources: int
    destinations: int
    redis: str


class BridgeStopping(Fact, frozen=True):
    """A stop was asked for; `grace` seconds remain to drain."""

    grace: float


class BridgeStopped(Fact, frozen=True):
    """The daemon has ended; `drained` is False if the grace ran out."""

    drained: bool


class ListenerUnavailable(Fact, frozen=True):
    """The default address for health and metrics is taken; the bridge goes on without them."""

    address: str
    reason: str


class CommandDone(Fact, frozen=True):
    """Somebody asked for a change, and it is made; `via` is `http`, `redis`, or `watch` for a watch that is over."""

    command: str
    id: str
    changed: bool
    via: str


class CommandRefused(Fact, frozen=True):
    """Somebody asked for what can't be done; nothing was changed."""

    command: str
    reason: str
    via: str


class ConfigurationReloaded(Fact, frozen=True):
    """The file was read again, and is in force; `changed` are the key paths of what was started, ended or restarted."""

    changed: list[str]


class ReloadRefused(Fact, frozen=True):
    """The file was read again and can't be used: nothing was changed."""

    problems: list[str]


class DefinitionsRestored(Fact, frozen=True):
    """Redis came back with older definitions than the bridge has, which stored its own again."""

    revision: int
