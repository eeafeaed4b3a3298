"""A run's normaliser, a signal's, and the bytes that the log gets of its events. Nothing here is ever sent anywhere."""

from datetime import UTC, datetime

from bridge.event import Batch, Event
from bridge.http_client import HttpClient
from bridge.normalize.run_event import AccountStream, RunStream
from bridge.redis_log.writer import Writer
from bridge.sources.account import Account
from bridge.sources.event_wait import EventWait

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
