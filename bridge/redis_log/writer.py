"""One source's place in the log: numbers what is new, collects it while an append is under way.

Refuses to talk to Redis: its home, the committer, sends what a writer seals and tells it what came of it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

import msgspec

from bridge.clock import now, rfc3339
from bridge.errors import Fenced, LogError, Moved
from bridge.event import Batch, Event, Position, State

MAX_RECORDS = 512
MAX_BYTES = 1 << 20
"""What one writer collects before the reading waits; a single page may go over it."""
MAX_MEMORY = 64 << 20
"""Bytes that all writers of a partition may hold together while Redis is away; each may still hold one page."""

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Sealed:
    """A batch on its way: what it says never changes, so that it can be sent again after a lost answer."""

    after: int
    sequence: int
    events: list[str | bytes]
    parked: list[str | bytes]
    cursor: str | None
    bookmark: str | None
    state: State | None
    reason: str
    ids: list[str]
    drop: int
    size: int
    """Bytes of events and parked records."""
    newest: tuple[str | datetime, datetime] | None
    """The last event's own time, and when it was received."""


@dataclass(slots=True)
class _Pending:
    events: list[str | bytes] = field(default_factory=list)
    parked: list[str | bytes] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    cursor: str | None = None
    bookmark: str | None = None
    state: State | None = None
    reason: str = ""
    records: int = 0
    size: int = 0
    newest: tuple[str | datetime, datetime] | None = None

    def __bool__(self) -> bool:
        said = (self.cursor, self.bookmark, self.state)
        return bool(self.events or self.parked) or any(each is not None for each in said)


class Window:
    """The recent event ids of one source, in chunks as they are stored: a chunk an append, the oldest dropped whole."""

    def __init__(self, limit: int, chunks: list[str]) -> None:
        self._limit = limit
        self._chunks = deque(chunk.split("\n") for chunk in chunks)
        self.ids = {id_ for chunk in self._chunks for id_ in chunk}

    def keep(self, ids: list[str]) -> int:
        """Remember a sealed batch's ids as one chunk; how many of the oldest chunks fall out."""
        if ids:
            self._chunks.append(ids)
        dropped = 0
        while len(self.ids) - len(self._chunks[0] if self._chunks else ()) >= self._limit:
            self.ids.difference_update(self._chunks.popleft())
            dropped += 1
        return dropped


def window_key(event_id: str) -> str:
    """An event id as the window stores it: its chunks are separated by newlines."""
    return event_id.replace("\n", "\\n") if "\n" in event_id else event_id


class Home(Protocol):
    """What a writer needs of its committer."""

    memory: int
    """Bytes that all its writers hold."""

    def wake(self) -> None:
        """Something waits to be sent."""
        ...

    async def load(self, writer: "Writer") -> None:
        """Read where the source stands and `reset` the writer to it. Raises Fenced."""
        ...

    async def mark(self, writer: "Writer", *, armed: bool) -> None:
        """Store whether a consuming wait is under way. Raises Moved, Fenced, LogUnavailable."""
        ...


class Writer:
    """A source's writer. One ingest loop adds; one committer seals and settles."""

    def __init__(self, home: Home, source: str, resource: str, window: int, scope: str = "") -> None:
        self.source = source
        self.resource = resource
        self.scope = scope
        self.position = Position()
        self.owner = ""
        self.epoch = 0
        self.sealed: Sealed | None = None
        self.duplicates = 0
        self._limit = window
        self._window = Window(window, [])
        self._pending = _Pending()
        self._sequence = 0
        self._error: LogError | None = None
        self._scope: asyncio.Timeout | None = None
        self._changed = asyncio.Event()
        self._home = home

    # -- the ingest loop's side

    def take(self, batch: Batch) -> int:
        """Number, encode and collect a batch; how many of its events are new."""
        pending, ids = self._pending, self._window.ids
        received, newest = now(), None
        recorded = rfc3339(received)
        before = self._sequence
        new = size = 0
        for record in batch.records:
            if isinstance(record, Event):
                key = window_key(record.id)
                if key in ids:
                    self.duplicates += 1
                    continue
                ids.add(key)
                pending.ids.append(key)
                self._sequence += 1
                record.sequence = f"{self._sequence:020d}"
                record.recordedtime = recorded
                body = _encode(record)
                pending.events += (record.id, record.type, record.subject, body)
                size += len(body)
                new += 1
                newest = record
            else:
                if record.key:
                    if record.key in ids:
                        continue
                    ids.add(record.key)
                    pending.ids.append(record.key)
                self._sequence += 1
                cursor = batch.cursor or self.position.cursor or ""
                pending.parked += (self.source, record.reason, record.raw, cursor)
                size += len(record.raw)
        pending.records += self._sequence - before
        pending.size += size
        self._home.memory += size
        if newest is not None:
            pending.newest = newest.time, received
        if batch.cursor is not None:
            pending.cursor = batch.cursor
        if batch.bookmark is not None:
            pending.bookmark = batch.bookmark
        if batch.state is not None:
            pending.state, pending.reason = batch.state, batch.reason
        self.position = replace(
            self.position,
            sequence=self._sequence,
            cursor=self.position.cursor if batch.cursor is None else batch.cursor,
            bookmark=self.position.bookmark if batch.bookmark is None else batch.bookmark,
            state=batch.state or self.position.state,
            reason=batch.reason if batch.state is not None else self.position.reason,
        )
        return new

    async def add(self, batch: Batch) -> int:
        """Take a batch, waiting for room first; the count of new events. Raises Moved, Fenced."""
        while self.full and batch.records:
            await self._change()
        self._check()
        new = self.take(batch)
        if self._pending:
            self._home.wake()
        return new

    async def reload(self) -> None:
        """Read the position again, dropping what was not stored. Raises Fenced."""
        await self._home.load(self)

    async def arm(self, *, armed: bool) -> None:
        """Say durably that a consuming wait is under way, or no longer. Raises Moved, Fenced, LogUnavailable."""
        await self._home.mark(self, armed=armed)

    async def stored(self) -> None:
        """Return when everything added is in the log. Raises Moved, Fenced."""
        while self._pending or self.sealed is not None:
            await self._change()
        self._check()

    async def moved(self) -> None:
        """Wait until the log is found to stand elsewhere (Redis came back from an older copy). Raises Moved, Fenced."""
        while True:
            await self._change()

    @contextlib.asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """Interrupt what is done inside as soon as the log is found to stand elsewhere. Raises Moved, Fenced."""
        self._check()
        try:
            async with asyncio.timeout(None) as self._scope:
                yield
        except TimeoutError:
            self._check()
            raise
        finally:
            self._scope = None

    @property
    def full(self) -> bool:
        """True while the reading must wait."""
        pending = self._pending
        if pending.size >= MAX_BYTES or pending.records >= MAX_RECORDS:
            return True
        return pending.size > 0 and self._home.memory >= MAX_MEMORY

    @property
    def dirty(self) -> bool:
        """True while something waits to be sent."""
        return self._error is None and bool(self.sealed or self._pending)

    @property
    def size(self) -> int:
        """Bytes of the batch that goes next."""
        return self.sealed.size if self.sealed else self._pending.size

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _change(self) -> None:
        self._check()
        self._changed.clear()
        await self._changed.wait()
        self._check()

    # -- the committer's side

    def reset(self, position: Position, owner: str, epoch: int, chunks: list[str]) -> None:
        """Stand where the log says; whatever was not stored is dropped (a consuming source adds it again)."""
        self._window = Window(self._limit, chunks)
        self.position, self.owner, self.epoch = replace(position, known=self._window.ids), owner, epoch
        self._sequence = position.sequence
        self._home.memory -= self._pending.size + (self.sealed.size if self.sealed else 0)
        self._pending = _Pending()
        self.sealed = None
        self._error = None

    def seal(self) -> Sealed:
        """The batch to send: the one under way, or what was collected since."""
        if self.sealed is None:
            pending, self._pending = self._pending, _Pending()
            after = self._sequence - pending.records
            drop = self._window.keep(pending.ids)
            self.sealed = Sealed(
                after, self._sequence, pending.events, pending.parked, pending.cursor,
                pending.bookmark, pending.state, pending.reason, pending.ids, drop, pending.size,
                pending.newest,
            )  # fmt: skip
            self._changed.set()
        return self.sealed

    def committed(self) -> None:
        """The sealed batch is in the log."""
        self._home.memory -= self.sealed.size if self.sealed else 0
        self.sealed = None
        self._changed.set()

    def refused(self, error: Moved | Fenced) -> None:
        """The log stands elsewhere, or belongs to somebody else: every call raises this until `reset`."""
        if self._error is not None:
            return  # already said, and what was interrupted may still be ending
        self._error = error
        self._changed.set()
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())
