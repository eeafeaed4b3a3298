"""Group commit: all writers that have something share one round trip, each with its own answer.

Idle means low latency, busy means large batches: a writer's batch is sealed when the previous one is answered, and
there is no linger setting. A batch without an answer is sent again as it was; the compare makes that exact.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

from bridge.backoff import delays
from bridge.clock import now, rfc3339
from bridge.errors import Fenced, LogError, LogUnavailable, Moved
from bridge.event import Position, State
from bridge.facts import BatchStored, LogBlocked, LogRestored, RecordParked, SourceReset
from bridge.ports import Observe
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Command, Link, Reply, Server, classify
from bridge.redis_log.scripts import APPEND, ARM, OPEN_SOURCE
from bridge.redis_log.writer import Sealed, Writer
from bridge.stop import nap, within

MAX_PARKED = 10_000
"""Parked records kept per partition; the oldest go first."""
MAX_ROUND = 4 << 20
"""Bytes of batches in one round trip, which a slow link has to carry within the time-out; the last may go over it."""
HEARTBEAT = 2.0
"""Seconds between looks at where idle writers stand: a Redis put back to an older copy, or a cursor that was set."""
STARTING = "STARTING"
"""Why the log takes no writes before its first answer."""
WRITES_REFUSED = {"OOM", "READONLY", "MISCONF", "NOPERM", "NOREPLICAS", "WRONGTYPE", "ERROR", "ERR"}
"""Words of a Redis that answers, but takes no writes: only a write shows that this is over."""


def _waits() -> Callable[[], float]:
    return delays(Random(), first=0.05, longest=2.0).__next__


def accept(reply: list[Any]) -> list[Any]:
    """What follows `OK` in a script's answer. Raises Moved, Fenced."""
    status, *rest = reply
    if status == b"MOVED":
        raise Moved(int(rest[0]), rest[1].decode())
    if status == b"FENCED":
        raise Fenced(rest[0].decode())
    return rest


def lag_of(newest: tuple[str | datetime, datetime] | None) -> float | None:
    """Seconds from an event's own time to its receipt; at least 0, because the clocks are two."""
    if newest is None:
        return None
    time, received = newest
    try:
        moment = time if isinstance(time, datetime) else datetime.fromisoformat(time)
        return max(0.0, (received - moment).total_seconds())
    except (ValueError, TypeError):
        return None  # not in the form that Python reads, or without an offset


def is_own(owner: str, instance: str) -> bool:
    """Whether this very process has that owner's name: an opening of its own came late, or its answer was lost."""
    return owner.rpartition(":")[0] == instance


def own_is_overtaken(fenced: Fenced, instance: str) -> LogUnavailable | Fenced:
    """Why a destination has to be opened again, where the newer owner is this process itself; else the fence."""
    if is_own(fenced.owner, instance):
        return LogUnavailable("OVERTAKEN", "an opening of this bridge's own came late: open again")
    return fenced


class Committer:
    """The writers of one partition and the one connection they share."""

    def __init__(
        self, server: Server, keys: Keys, *, instance: str, window: int, replicas: int,
        observe: Observe, appended: Callable[[], None], beat: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.keys = keys
        self.memory = 0
        self.blocked: str | None = STARTING
        self._link = Link(server, keys.events)
        self._instance = instance
        self._window = window
        self._replicas = replicas
        self._observe = observe
        self._appended = appended
        self._beat = beat
        self.writers: set[Writer] = set()
        self._dirty = asyncio.Event()
        self._first = 0
        """Whose turn it is among the writers, where not all fit into one round trip."""
        self._generation = 0
        self._next_look = 0.0

    # -- the sources' side

    async def open(self, source: str, resource: str, scope: str) -> Writer:
        """Take ownership of the source and read its position, however long Redis is away."""
        writer = Writer(self, source, resource, self._window, scope)
        await self.load(writer)
        self.writers.add(writer)
        return writer

    async def load(self, writer: Writer) -> None:
        """Read a writer's position, however long Redis is away. Raises Fenced."""
        reply: Reply = None
        wait = _waits()
        while reply is None:
            try:
                reply = await self._link.script(
                    OPEN_SOURCE, self.keys.source(writer.source), self.keys.recent(writer.source),
                    self._instance, writer.epoch, writer.resource, rfc3339(now()), writer.scope,
                )  # fmt: skip
            except LogUnavailable as error:
                self._block(error)
                await nap(wait())
        owner, epoch, sequence, cursor, state, reason, armed, bookmark, reset, *chunks = accept(reply)
        position = Position(
            int(sequence), None if cursor is None else cursor.decode(), State(state.decode()),
            reason.decode(), armed == b"1", bookmark.decode(),
        )  # fmt: skip
        writer.reset(position, owner.decode(), int(epoch), [chunk.decode() for chunk in chunks])
        self._unblock()
        if reset:
            self._observe(SourceReset(writer.source, writer.resource))

    async def mark(self, writer: Writer, *, armed: bool) -> None:
        """Store whether a consuming wait is under way. Raises Moved, Fenced, LogUnavailable."""
        try:
            reply = await self._link.script(
                ARM, self.keys.source(writer.source), writer.position.sequence, writer.owner, writer.epoch,
                int(armed), rfc3339(now()),
            )  # fmt: skip
        except LogUnavailable as error:
            self._block(error)
            raise
        self._unblock()
        try:
            accept(reply)
        except Fenced as fenced:
            raise self._told(fenced, writer) from None

    def wake(self) -> None:
        """Some writer has something to send."""
        self._dirty.set()

    def forget(self, writer: Writer) -> None:
        """A source has stopped for good."""
        self.writers.discard(writer)

    # -- the one task

    async def run(self) -> None:
        """Commit whatever the writers have, until cancelled."""
        wait = _waits()
        while True:
            self._beat()
            try:
                await self._round()
                wait = _waits()
            except LogUnavailable as error:
                self._block(error)
                await nap(wait())

    async def drained(self) -> None:
        """Return when no writer has anything left to send."""
        for writer in list(self.writers):
            try:
                await writer.stored()
            except LogError:
                continue  # what this writer holds belongs to somebody else, or will be read again

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    async def _round(self) -> None:
        looked = self._link.connected and self._generation == self._link.generation
        if not looked or asyncio.get_running_loop().time() >= self._next_look:
            await self._verify()
        ready = self._ready()
        if ready:
            await self._commit(ready)
            self._unblock()
            return
        self._dirty.clear()
        await within(self._dirty.wait(), HEARTBEAT)

    def _ready(self) -> list[Writer]:
        """The writers that have something to send; in turn, where it is too much for one round trip."""
        writers = list(self.writers)
        ready: list[Writer] = []
        size = 0
        for at in range(self._first, self._first + len(writers)):
            writer = writers[at % len(writers)]
            if size >= MAX_ROUND:
                self._first = at % len(writers)
                break
            if writer.dirty:
                ready.append(writer)
                size += writer.size
        return ready

    async def _commit(self, writers: list[Writer]) -> None:
        started = asyncio.get_running_loop().time()
        sealed = [writer.seal() for writer in writers]
        calls = [(APPEND, self._command(writer, batch)) for writer, batch in zip(writers, sealed, strict=True)]
        replies = await self._link.scripts(calls)
        if self._replicas:
            await self._replicated(writers[0])
        seconds = asyncio.get_running_loop().time() - started
        failure: LogUnavailable | None = None
        for writer, batch, reply in zip(writers, sealed, replies, strict=True):
            if isinstance(reply, Exception):
                failure = classify(reply)
            else:
                self._settle(writer, batch, reply, seconds)
        self._appended()
        if failure is not None:
            raise failure

    def _command(self, writer: Writer, batch: Sealed) -> Command:
        keys = self.keys
        return [
            keys.events, keys.parked, keys.source(writer.source), keys.recent(writer.source),
            batch.after, writer.owner, writer.epoch, batch.sequence,
            int(batch.cursor is not None), batch.cursor or "", str(batch.state or ""), batch.reason, rfc3339(now()),
            batch.drop, "\n".join(batch.ids), MAX_PARKED,
            int(batch.bookmark is not None), batch.bookmark or "", len(batch.events) // 4, *batch.events, *batch.parked,
        ]  # fmt: skip

    def _settle(self, writer: Writer, batch: Sealed, reply: list[bytes], seconds: float) -> None:
        if writer.sealed is not batch:
            return  # the writer was reset while this was on its way
        try:
            accept(reply)
        except Moved as moved:
            # The sequence after this batch, under this owner's name: it is this batch, and its first answer was
            # lost. No other writer has this name, and this one never sends another batch after the same sequence.
            if moved.sequence != batch.sequence or batch.sequence == batch.after:
                writer.refused(moved)
                return
        except Fenced as fenced:
            writer.refused(self._told(fenced, writer))
            return
        writer.committed()
        for reason in batch.parked[1::4]:
            self._observe(RecordParked(writer.source, str(reason)))
        parked, duplicates = len(batch.parked) // 4, writer.duplicates
        writer.duplicates = 0
        stored = len(batch.events) // 4
        self._observe(BatchStored(writer.source, stored, parked, duplicates, seconds, batch.size, lag_of(batch.newest)))

    async def _replicated(self, writer: Writer) -> None:
        # WAIT covers what this connection wrote, and a batch sent again may have been written by the one before it
        touch = ("HSET", self.keys.source(writer.source), "time", rfc3339(now()))
        _, acked = await self._link.pipeline([touch, ("WAIT", self._replicas, 1000)])
        if isinstance(acked, Exception):
            raise classify(acked)
        if acked < self._replicas:
            raise LogUnavailable("NOREPLICAS", f"{acked} of {self._replicas} replicas have the last batch")

    async def _verify(self) -> None:
        """After every new connection, and now and then: does the log still stand where each idle writer thinks?"""
        self._next_look = asyncio.get_running_loop().time() + HEARTBEAT
        await self._link.call("PING")
        if self.blocked not in WRITES_REFUSED:
            self._unblock()
        generation = self._link.generation
        idle = [writer for writer in self.writers if not writer.dirty]
        known = [(writer.position.sequence, writer.owner) for writer in idle]
        asked = [("HMGET", self.keys.source(writer.source), "sequence", "owner", "epoch") for writer in idle]
        replies = await self._link.pipeline(asked) if asked else []
        for writer, before, reply in zip(idle, known, replies, strict=True):
            if isinstance(reply, Exception):
                raise classify(reply)
            sequence, owner, epoch = int(reply[0] or 0), (reply[1] or b"").decode(), int(reply[2] or 0)
            if (sequence, owner) == before or writer.owner != before[1]:
                continue
            newer = owner != writer.owner and epoch >= writer.epoch
            writer.refused(self._told(Fenced(owner), writer) if newer else Moved(sequence, ""))
        self._generation = generation

    def _told(self, fenced: Fenced, writer: Writer) -> Moved | Fenced:
        """The fence; where the newer owner is this process itself, the place has only to be read again."""
        return Moved(writer.position.sequence, "") if is_own(fenced.owner, self._instance) else fenced

    def _block(self, error: LogUnavailable) -> None:
        if self.blocked != error.code:
            self.blocked = error.code
            self._observe(LogBlocked(error.code, str(error)))

    def _unblock(self) -> None:
        before, self.blocked = self.blocked, None
        if before not in {None, STARTING}:
            self._observe(LogRestored())
