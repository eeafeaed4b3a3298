"""Reads a parked record again, as after an upgrade of its reader, and puts what it says now into the log.

Drops a record only behind that. A crash in between leaves it, and the next try finds its event in the log.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from bridge.clock import now
from bridge.commands import Done, RetryParked
from bridge.errors import Declined, Fenced, LogUnavailable, Moved
from bridge.event import Batch, Event, Parked
from bridge.ports import Writer
from bridge.redis_log import ParkedRecords, WholeRecord
from bridge.stop import within

PATIENCE = 10.0
"""Seconds for the event to be in the log; the log may take no writes now."""


class Reads(Protocol):
    """A source, as far as it reads what it has parked (`bridge.sources.subscription.Subscription`)."""

    def again(self, raw: bytes, name: str, received: datetime) -> Event | Parked | None:
        """What a record says now; None for nothing. `name` becomes the event's id where it has none of its own."""
        ...


Running = Callable[[str], tuple[Reads, Writer] | None]
"""The source of this id and its open writer; None where it doesn't run here."""


def read_again(source: Reads, record: WholeRecord) -> Event | Parked:
    """What a record says now; Parked, with the reason of today, where it still can't be read."""
    if not record.whole:
        return Parked(f"only its beginning was kept ({record.reason})", record.raw)
    found = source.again(record.raw, f"parked-{record.name}", _received(record))
    return Parked("it says nothing that would be an event", record.raw) if found is None else found


async def retry(records: ParkedRecords, command: RetryParked, running: Running) -> Done:
    """Does the command `parked.retry`. `changed` where the record became an event; else `detail.reason` says why not.

    `state` is "stored" or "parked", `detail.event` the event's id, `detail.duplicate` whether the log had it already.
    Raises Declined where there is no such record or its source doesn't run here; LogUnavailable where the log takes
    nothing now: then the record is there still.
    """
    record = await records.whole(command.partition, command.id)
    name = f"{command.partition}-{command.id}"
    if record is None:
        raise Declined("missing", f"no parked record has the id {name}")
    place = running(record.source)
    if place is None:
        raise Declined("unavailable", f"source {record.source}, which brought {name}, does not run here")
    source, writer = place
    event = read_again(source, record)
    said: dict[str, object] = {"source": record.source}
    if isinstance(event, Parked):
        return Done(name, changed=False, state="parked", detail={**said, "reason": event.reason})
    new = await _stored(writer, event, record.source)
    await records.drop(record.partition, [record.id])
    return Done(name, changed=True, state="stored", detail={**said, "event": event.id, "duplicate": not new})


async def _stored(writer: Writer, event: Event, source: str) -> bool:
    """Whether it was new; it is in the log when this returns."""

    async def add() -> bool:
        new = await writer.add(Batch([event]))
        await writer.stored()
        return new > 0

    try:
        new = await within(add(), PATIENCE)
    except Moved as moved:
        raise LogUnavailable("MOVED", f"the log of source {source} has just moved; ask again") from moved
    except Fenced as fenced:
        raise Declined("unavailable", f"another bridge runs source {source}: {fenced}") from fenced
    if new is None:
        raise LogUnavailable("TIMEOUT", f"the log took no event of source {source} within {PATIENCE:g} s")
    return new


def _received(record: WholeRecord) -> datetime:
    try:
        return datetime.fromisoformat(record.time).astimezone(UTC)
    except ValueError:
        return now()
