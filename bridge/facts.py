"""What can happen in the bridge, one frozen value each; `bridge.observe` turns it into one log line and its counters.

The set is closed: a log event's name is the class name in dotted lower case, and there are no others.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened, worth a line or a counter."""


@dataclass(frozen=True, slots=True)
class SourceConnected(Fact):
    """The upstream accepted the subscription; shown once per change, not at every reconnection."""

    source: str
    cursor: str | None


@dataclass(frozen=True, slots=True)
class SourceInterrupted(Fact):
    """A connection ended or failed; the source comes back after `delay` seconds."""

    source: str
    reason: str
    delay: float
    progress: bool


@dataclass(frozen=True, slots=True)
class SourceFailed(Fact):
    """The upstream refuses this source; it is re-checked every `recheck` seconds."""

    source: str
    reason: str
    recheck: float


@dataclass(frozen=True, slots=True)
class SourceEnded(Fact):
    """The run is over; the source will not be opened again."""

    source: str


@dataclass(frozen=True, slots=True)
class SourceFenced(Fact):
    """Somebody newer owns the source; it stops here."""

    source: str
    owner: str


@dataclass(frozen=True, slots=True)
class SourceRewound(Fact):
    """The log stands elsewhere than this writer thought; the source goes on from there."""

    source: str
    sequence: int


@dataclass(frozen=True, slots=True)
class SourceReset(Fact):
    """The source now names another resource than the stored cursor belongs to, which is therefore dropped."""

    source: str
    resource: str


@dataclass(frozen=True, slots=True)
class SourceGap(Fact):
    """A stored cursor can't be used any more; `action` is what is done about it (`on_gap`)."""

    source: str
    cursor: str
    reason: str
    action: str


@dataclass(frozen=True, slots=True)
class LossPossible(Fact):
    """A consuming call ended without an answer, a stream without ids was connected to again, or a list has no end."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class RecordParked(Fact):
    """A record could not be read; it is kept, with its bytes, in the parked stream."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class BatchStored(Fact):
    """One step of the log was committed. Counted, not logged."""

    source: str
    events: int
    parked: int
    duplicates: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SignalSpooled(Fact):
    """A signal was written to the spool directory because it has to survive a restart."""

    source: str
    id: str


@dataclass(frozen=True, slots=True)
class SpoolFailed(Fact):
    """The spool could not be written or read; a signal is then in memory only."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class SignalUnsaved(Fact):
    """A signal could not be stored before the bridge had to end: it is lost unless the upstream signals again."""

    source: str
    count: int


@dataclass(frozen=True, slots=True)
class LogBlocked(Fact):
    """Redis does not take writes for now; `code` is its word for it. Shown once per change."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class LogRestored(Fact):
    """Redis takes writes again."""


@dataclass(frozen=True, slots=True)
class LogTrimmed(Fact):
    """Old entries were removed; `unsettled` of them had not been settled by some destination (`max_entries`)."""

    removed: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class AttemptMade(Fact):
    """One webhook request and what came of it."""

    destination: str
    event: str
    attempt: int
    outcome: str
    status: int | None
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class LaneHeld(Fact):
    """A subject waits at a destination because its first event is to be tried again after `delay` seconds."""

    destination: str
    subject: str
    attempts: int
    delay: float


@dataclass(frozen=True, slots=True)
class DeadLettered(Fact):
    """An event was given up at a destination and kept among its dead letters."""

    destination: str
    event: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class EntriesMissing(Fact):
    """Entries that a destination had not settled are no longer in the log."""

    destination: str
    count: int


@dataclass(frozen=True, slots=True)
class DeliveryBlocked(Fact):
    """The log, or a target that is a Redis, takes nothing for a destination; it goes on by itself once it does."""

    destination: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class DestinationChanged(Fact):
    """A destination as a whole: `what` is probing, recovered, failing (a warning), disabled or enabled.

    `failures` of the last `attempts` failed, the last with `reason` and `status`.
    """

    destination: str
    what: str
    reason: str
    status: int | None
    attempts: int
    failures: int


@dataclass(frozen=True, slots=True)
class DestinationFenced(Fact):
    """Somebody newer delivers to this destination; delivery stops here."""

    destination: str
    owner: str


@dataclass(frozen=True, slots=True)
class SecretRotated(Fact):
    """The file of a signing secret holds another one, or a good one again: it signs from now on."""

    destination: str
    path: str


@dataclass(frozen=True, slots=True)
class SecretUnusable(Fact):
    """The file of a signing secret can't be used any more; the secret that it held before goes on signing."""

    destination: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class FanOutWritten(Fact):
    """A batch is in the streams of a `redis://` destination. Counted, not logged."""

    destination: str
    events: int


@dataclass(frozen=True, slots=True)
class FanOutRewound(Fact):
    """A target stands at `position`, before the `confirmed` that it had: it gets what it lost from the log again."""

    destination: str
    position: str
    confirmed: str


@dataclass(frozen=True, slots=True)
class FanOutAhead(Fact):
    """A target is ahead of the log, which was emptied or put back; it goes on with what comes behind `end`."""

    destination: str
    position: str
    end: str


@dataclass(frozen=True, slots=True)
class WorkerRestarted(Fact):
    """A worker ended by an error it should not have had; it starts again after `delay` seconds."""

    worker: str
    error: BaseException
    delay: float


@dataclass(frozen=True, slots=True)
class BridgeStarted(Fact):
    """The daemon is up."""

    version: str
    sources: int
    destinations: int
    redis: str


@dataclass(frozen=True, slots=True)
class BridgeStopping(Fact):
    """A stop was asked for; `grace` seconds remain to drain."""

    grace: float


@dataclass(frozen=True, slots=True)
class BridgeStopped(Fact):
    """The daemon has ended; `drained` is False if the grace ran out."""

    drained: bool


@dataclass(frozen=True, slots=True)
class ListenerUnavailable(Fact):
    """The default address for health and metrics is taken; the bridge goes on without them."""

    address: str
    reason: str
