"""What the two loops need from the outside, as Protocols. No bodies: adapters live in layer 3."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bridge.event import Batch, Entry, Position
from bridge.facts import Fact
from bridge.lane import Outcome, Settlement, Taken

Observe = Callable[[Fact], None]


class Source(Protocol):
    """One upstream subscription. `resource` is the CloudEvents `source` of all it brings."""

    id: str
    resource: str
    scope: str
    """What a cursor belongs to besides the resource: the filters, the generation of the API."""
    recheck: float
    """Seconds between looks at an upstream that refuses."""
    floor: float
    """Seconds the upstream asks to wait before reconnecting (the stream's `retry`); 0 if it does not say."""

    def batches(self, position: Position) -> AsyncGenerator[Batch]:
        """One connection's batches, after `position`. Raises SourceError and its kinds.

        Ends when the upstream ends the connection. A batch without records or cursor says: connected, or alive.
        """
        ...

    def failed(self, reason: str, status: int) -> Batch:
        """The batch that records a refusal: event and state."""
        ...

    def lost(self, reason: str) -> Batch:
        """The batch that records a possible loss."""
        ...

    def gap(self, reason: str, position: Position) -> tuple[Batch, str]:
        """The batch that records a cursor's end and goes on as `on_gap` says; and what that is."""
        ...

    @property
    def quiet(self) -> bool:
        """True while its account is asked to leave the upstream alone."""
        ...

    async def admit(self) -> None:
        """Return when its account may ask the upstream once more."""
        ...


class Writer(Protocol):
    """One source's place in the log."""

    position: Position
    """What is stored, plus what is under way."""

    async def add(self, batch: Batch) -> int:
        """Take a batch, numbering what is new; the count of new events. Waits for room. Raises Moved, Fenced."""
        ...

    async def stored(self) -> None:
        """Return when everything added is in the log. Raises Moved, Fenced."""
        ...

    async def arm(self, *, armed: bool) -> None:
        """Say durably that a consuming wait is under way, or no longer. Raises Moved, Fenced, LogUnavailable."""
        ...

    def guard(self) -> AbstractAsyncContextManager[None]:
        """Interrupt what is done inside as soon as the log is found to stand elsewhere. Raises Moved, Fenced."""
        ...

    async def moved(self) -> None:
        """Wait until the log is found to stand elsewhere. Raises Moved, Fenced."""
        ...

    async def reload(self) -> None:
        """Read the position again, dropping what was not stored. Raises Fenced."""
        ...


class Log(Protocol):
    """The log, as a source sees it."""

    async def open(self, source: str, resource: str, scope: str) -> Writer:
        """Take ownership of the source and read its position, waiting for Redis where that is needed.

        A stored cursor belongs to one resource and one scope; with another scope it is dropped, and the bookmark
        becomes CHANGED.
        """
        ...


class Spool(Protocol):
    """Keeps a signal on disk until it is in the log."""

    def keep(self, source: str, batch: Batch) -> bool:
        """Write the batch down; True if it is on disk now. Never raises: what can't be kept is logged."""
        ...

    def left(self, source: str) -> list[Batch]:
        """What an earlier life of this source could not store."""
        ...

    def drop(self, source: str) -> None:
        """Everything kept for this source is in the log now."""
        ...


class Send(Protocol):
    """One attempt at one destination. Never raises for what a receiver can do."""

    async def __call__(self, entry: Entry, attempt: int, /) -> Outcome:
        """Try once and say what came of it; `attempt` counts from 1."""
        ...


class Lanes(Protocol):
    """The log as one destination sees it. Every call raises LogUnavailable and Fenced."""

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the log has grown."""
        ...

    async def open(self) -> None:
        """Take over the delivery."""
        ...

    async def exchange(
        self,
        settled: list[str],
        settlements: list[Settlement],
        *,
        want: int,
        heads: int,
        busy: list[str],
        after: str,
    ) -> Taken:
        """Settle, then take up to `want` new entries and `heads` due heads of lanes not `busy`, in one round trip.

        `after` is ">" for new entries, or an id: entries read before and not settled, beyond it.
        """
        ...
