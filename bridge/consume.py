"""The loop of a source whose reading takes the record away: store before anything else, one wait at a time.

A wait is armed by a write to the log, so none is under way while the log takes no writes, while somebody newer owns
the source, or without a restart after `kill -9` knowing of it.
"""

from contextlib import aclosing
from random import Random

from bridge.backoff import Pace, delays
from bridge.errors import Fenced, LogUnavailable, Moved, OutcomeUnknown, SourceError, SourceRefused
from bridge.event import Batch, State
from bridge.facts import (
    LossPossible,
    SignalUnsaved,
    SourceConnected,
    SourceFailed,
    SourceFenced,
    SourceInterrupted,
    SourceRewound,
)
from bridge.ports import Log, Observe, Source, Spool, Writer
from bridge.stop import Stop


async def consume(source: Source, log: Log, spool: Spool, pace: Pace, *, observe: Observe, stop: Stop) -> None:
    """Bring signals into the log until the stop, letting the wait in flight end; or until somebody newer owns it."""
    try:
        writer = await stop.before(log.open(source.id, source.resource, source.scope))
        if writer is None:
            return
        loop = _Waits(source, writer, spool, pace, observe=observe, stop=stop)
        await loop.recover()
        await loop.run()
    except Fenced as fenced:
        observe(SourceFenced(source.id, fenced.owner))


class _Waits:
    def __init__(
        self, source: Source, writer: Writer, spool: Spool, pace: Pace, *, observe: Observe, stop: Stop
    ) -> None:  # fmt: skip
        self._source, self._writer, self._spool = source, writer, spool
        self._pace, self._observe, self._stop = pace, observe, stop
        self._connected = False
        self._stored = writer.position.sequence

    async def recover(self) -> None:
        """What an earlier life left: signals in the spool, and a wait whose end nobody has seen."""
        saved = 0
        for batch in self._spool.left(self._source.id):
            saved += await self._store(batch)
        self._spool.drop(self._source.id)
        if self._writer.position.armed and not saved:  # what was saved is what that wait brought
            await self._lost("the bridge ended while a wait was under way")

    async def run(self) -> None:
        """Wait after wait."""
        while await self._admitted() and await self._armed(armed=True):
            delay = await self._wait()
            if delay:
                await self._armed(armed=False)
                await self._stop.pause(delay)
        await self._armed(armed=False)

    async def _admitted(self) -> bool:
        """False if the bridge stops before the account may ask: nothing is armed while it has to be quiet."""
        if self._source.quiet:
            await self._armed(armed=False)
        await self._stop.before(self._source.admit())
        return not self._stop.is_set()

    async def _wait(self) -> float:
        """One wait; the seconds to pause before the next."""
        try:
            async with aclosing(self._source.batches(self._writer.position)) as batches:
                async for batch in batches:
                    if batch.records:
                        await self._keep(batch)
                    if not batch.broken:
                        await self._healthy()
        except SourceRefused as refused:
            return await self._refused(refused)
        except SourceError as error:
            if isinstance(error, OutcomeUnknown):
                await self._lost(error.reason)
            delay = self._pace.after_failure(error.retry_after)
            self._connected = False
            self._observe(SourceInterrupted(self._source.id, error.reason, delay, progress=False))
            return delay
        return 0.0

    async def _keep(self, batch: Batch) -> None:
        """The signal exists nowhere else any more: on disk, where there is a spool, and in the log before all else."""
        spooled = self._spool.keep(self._source.id, batch)
        stored = False
        try:
            await self._store(batch)
            stored = True
        finally:
            if not (stored or spooled):
                self._observe(SignalUnsaved(self._source.id, len(batch.records)))
        self._spool.drop(self._source.id)

    async def _healthy(self) -> None:
        self._pace.reset()
        if not self._connected:
            self._connected = True
            self._observe(SourceConnected(self._source.id, None))
        if self._writer.position.state is State.FAILED:
            await self._store(Batch(state=State.RUNNING))

    async def _refused(self, refused: SourceRefused) -> float:
        position = self._writer.position
        if (position.state, position.reason) != (State.FAILED, refused.reason):
            await self._store(self._source.failed(refused.reason, refused.status))
        self._connected = False
        self._observe(SourceFailed(self._source.id, refused.reason, self._source.recheck))
        return self._source.recheck

    async def _lost(self, reason: str) -> None:
        self._observe(LossPossible(self._source.id, reason))
        await self._store(self._source.lost(reason))

    async def _store(self, batch: Batch) -> int:
        """Return when the batch is in the log, however often the log moves meanwhile; its new events. Raises Fenced."""
        while True:
            try:
                new = await self._writer.add(batch)
                await self._writer.stored()
            except Moved:
                await self._reload()
            else:
                self._stored = self._writer.position.sequence
                return new

    async def _armed(self, *, armed: bool) -> bool:
        """Mark the wait durably; False if the bridge stops before the log takes the mark."""
        for delay in delays(Random(), first=0.05, longest=2.0):
            try:
                await self._writer.arm(armed=armed)
            except Moved:
                await self._reload()
            except LogUnavailable:
                if await self._stop.pause(delay):
                    return False
            else:
                return True
        raise AssertionError("the delays never end")

    async def _reload(self) -> None:
        """Stand where the log says. What it has forgotten can't be read again: that is said."""
        before = self._stored
        await self._writer.reload()
        after = self._stored = self._writer.position.sequence
        self._observe(SourceRewound(self._source.id, after))
        if after < before:
            await self._lost(f"the log came back from an older copy, {before - after} records ago")
