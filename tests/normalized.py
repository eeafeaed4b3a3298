"""A run's normaliser, a signal's, and the bytes that the log gets of its events. Nothing here is ever sent anywhere."""

import json
from datetime import UTC, datetime
from typing import Any

from judges import judged

from bridge.event import Batch, Event, Parked
from bridge.http_client import HttpClient
from bridge.normalize.run_event import AccountStream, RunStream
from bridge.redis_log.writer import Writer
from bridge.sources.account import Account
from bridge.sources.event_wait import EventWait
from bridge.sse import Decoder

RUN = "run_123"
RESOURCE = "https://api.bctrl.ai/runs/run_123"
STREAM = RunStream(RUN, RESOURCE)
ACCOUNT = AccountStream("account", "https://api.bctrl.ai")
RECEIVED = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
RECEIPT = "2026-11-21T12:00:00.250000Z"


class Home:
    """Where a writer lives; here nothing is ever sent."""

    memory = 0

    def wake(self) -> None:
        """Something waits to be sent."""

    async def load(self, writer: Writer) -> None:
        """Not asked for here."""

    async def mark(self, writer: Writer, *, armed: bool) -> None:
        """Not asked for here."""


def encoded(event: Event) -> bytes:
    """The bytes that the log gets of an event."""
    writer = Writer(Home(), "s", RESOURCE, 100)
    writer.take(Batch([event]))
    body = writer.seal().events[3]
    assert isinstance(body, bytes)
    return body


def signalled(base_url: str, event: str, body: bytes) -> Batch:
    """What the answer to a wait for a named event becomes."""
    return EventWait("s", Account("anchor", base_url, {}, HttpClient()), event=event)._signal(body)


# CONTRACT A.7: all that a current Event has
G6: dict[str, Any] = {
    "object": "event", "id": "evt_6", "type": "run.started", "seq": 7, "category": "lifecycle", "channel": "api",
    "outcome": "ok", "source": "system", "actor": {"type": "api_key", "id": "k"}, "runId": RUN, "runtimeId": "brw_1",
    "spaceId": "sp_1", "pageId": None, "data": {"n": 1}, "time": "2026-10-03T00:00:01Z",
    "timestamp": "2026-10-03T00:00:02Z", "createdAt": "2026-10-03T00:00:03Z", "updatedAt": "2026-10-03T00:00:04Z",
}  # fmt: skip


def read(stream: str | bytes) -> Batch:
    """What a stream's frames say."""
    return STREAM.batch(Decoder().feed(stream if isinstance(stream, bytes) else stream.encode()), RECEIVED)


def framed(data: object, *, event: str = "run.event", id_: str = "") -> bytes:
    """One frame; data that is no bytes becomes JSON."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    lines = [f"event: {event}".encode() if event else b"", f"id: {id_}".encode() if id_ else b"", b"data: " + body]
    return b"\n".join([line for line in lines if line]) + b"\n\n"


def only(stream: str | bytes) -> dict[str, Any]:
    """The one event of a stream as its readers see it; valid, and with `data` as it came."""
    batch = read(stream)
    (record,) = batch.records
    assert isinstance(record, Event), record
    body = encoded(record)
    assert body.endswith(b'"data":%s}' % bytes(record.data))
    return judged(body)


def parked(stream: str | bytes) -> Parked:
    """The one parked record of a stream."""
    (record,) = read(stream).records
    assert isinstance(record, Parked), record
    return record
