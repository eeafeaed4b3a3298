"""What the two loops need from the outside, as Protocols. No bodies: adapters live in layer 3."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from msgspec import Struct

from bridge.commands import Command, Done, Spec
from bridge.delivery.lane import Claims, Outcome, Reader, Request, Settlement, Taken, Unit
from bridge.event import Batch, Entry, Position
from bridge.facts import Fact
from bridge.overview import Defined, Overview

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
    """Attempts at one destination."""

    def __call__(self, unit: Unit, done: Callable[[Unit, Outcome], None], /) -> None:
        """Start one attempt, and return at once. Never raises.

        `done` is called exactly once, from the event loop and never inside this call, whatever happens.
        """
        ...


class Span(Protocol):
    """One attempt, as tracing sees it."""

    traceparent: bytes
    """The header's value: the attempt's own, under the event's trace where that has one."""

    def end(self, outcome: Outcome, /) -> None:
        """It is over, and this came of it. Called once."""
        ...


class Tracer(Protocol):
    """Makes the spans of what is sent, where tracing is on."""

    def attempts(self, destination: str, url: str, /) -> Callable[[Unit, str, bytes], Span]:
        """What begins a span of an attempt there: given its unit, its `webhook-id` and its `traceparent` or b""."""
        ...


class Wants(Protocol):
    """What a destination wants of the log. Never raises, whatever an entry holds."""

    def type(self, type_: str, /) -> bool:
        """False: surely no entry of this type."""
        ...

    def __call__(self, entry: Entry, /) -> bool:
        """True: it is to be delivered."""
        ...


class Lanes(Protocol):
    """The log as one destination sees it. Every coroutine raises LogUnavailable and Fenced."""

    def join(self, reader: Reader) -> None:
        """Have the reader woken by what it wants, once it rests, and told of requests."""
        ...

    def leave(self, reader: Reader) -> None:
        """Wake it no more."""
        ...

    async def open(self) -> tuple[str, bytes]:
        """Take over the delivery. The id up to which the destination has looked, and what `mark` stored last."""
        ...

    async def pending(self, after: str) -> tuple[list[Entry], str, int]:
        """A page of entries claimed before and not settled, beyond `after`.

        With the last id looked at, "" at the end, and how many entries the log has lost.
        """
        ...

    async def after(self, position: str, count: int) -> list[Entry]:
        """The log's entries after this one, at most `count`; none where it is the last."""
        ...

    def has(self, position: str) -> bool:
        """Whether `after` has an answer at once."""
        ...

    def rest(self, reader: Reader, position: str) -> bool:
        """Have the reader woken by the next entry it may want; False where there is more to read than `position`."""
        ...

    def rouse(self, reader: Reader) -> None:
        """End the rest: over `reader.passed` entries, up to `reader.position`, there was nothing to want."""
        ...

    async def exchange(
        self, settled: list[str], settlements: list[Settlement], claims: Claims, *, heads: int, busy: list[str],
        mark: tuple[bytes, Entry | None] | None = None,
    ) -> Taken:  # fmt: skip
        """Settle, then claim, then take up to `heads` due heads of lanes not `busy`, in one round trip.

        `mark` stores what became of the destination as a whole, and puts the event that says so into the log.
        """
        ...

    async def requests(self, count: int) -> list[Request]:
        """What somebody asks of this destination, at most `count`."""
        ...

    async def again(self, requests: list[Request], *, ordered: bool) -> None:
        """Have dead letters join the waiting lanes of their subjects, of which nothing may flow; requests are done.

        Not `ordered`: each gets a lane of its own.
        """
        ...


class Definition(Struct, frozen=True, kw_only=True):
    """How a source or destination is defined. `spec` leaves out what is secret, which `hidden` names by key path."""

    id: str
    defined: Defined
    paused: bool = False
    shadowed: bool = False
    """Added while running, too; the file's is the one in use."""
    spec: Spec
    hidden: list[str] = []


class Steering(Protocol):
    """A running bridge, as those who steer it see it: the control API, and the commands in Redis."""

    async def overview(self) -> Overview:
        """How everything stands, at most a second ago. Raises LogUnavailable."""
        ...

    async def definitions(self, section: Literal["sources", "destinations"]) -> list[Definition]:
        """What the file defines and what was added, by id."""
        ...

    async def do(self, command: Command) -> Done:
        """Do it, whole; it is stored when this returns. Raises Declined, or LogUnavailable: then nothing is changed."""
        ...
