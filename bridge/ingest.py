"""The loop of a source that can be read again: read, append, come back. Knows neither HTTP nor Redis."""

import asyncio
from contextlib import aclosing

from bridge.backoff import Pace
from bridge.errors import CursorRefused, Fenced, Moved, SourceError, SourceRefused
from bridge.event import Batch, State
from bridge.facts import (
    LossPossible,
    SourceConnected,
    SourceEnded,
    SourceFailed,
    SourceFenced,
    SourceGap,
    SourceInterrupted,
    SourceRewound,
)
from bridge.ports import Log, Observe, Source, Writer
from bridge.stop import Stop


async def ingest(source: Source, log: Log, pace: Pace, *, observe: Observe, stop: Stop) -> None:
    """Bring a source's events into the log until it stops here: by the stop, or because somebody newer owns it."""
    try:
        writer = await log.open(source.id, source.resource, source.scope)
        while not stop.is_set():
            try:
                async with writer.guard():
                    await _follow(source, writer, pace, observe, stop)
            except Moved:
                await writer.reload()
                observe(SourceRewound(source.id, writer.position.sequence))
    except Fenced as fenced:
        observe(SourceFenced(source.id, fenced.owner))


async def _follow(source: Source, writer: Writer, pace: Pace, observe: Observe, stop: Stop) -> None:
    while not stop.is_set():
        if writer.position.state is State.ENDED:
            await writer.stored()
            observe(SourceEnded(source.id))
            await writer.moved()  # an older copy of the log may not know of the end
        await stop.pause(await _connection(source, writer, pace, observe))


async def _connection(source: Source, writer: Writer, pace: Pace, observe: Observe) -> float:
    """One connection, from its opening to its end; the seconds to wait before the next."""
    progress, retry_after, reason = 0, None, "the upstream closed the connection"
    connected, clock = False, asyncio.get_running_loop().time
    started = clock()
    try:
        async with aclosing(source.batches(writer.position)) as batches:
            async for batch in batches:
                if not connected:
                    connected = True
                    await _connected(source, writer, observe)
                new = await writer.add(batch)
                if batch.lost:
                    observe(LossPossible(source.id, batch.lost))
                progress += new * (not (batch.lost or batch.made))
                if batch.state is State.ENDED:
                    return 0.0
    except SourceRefused as refused:
        await _refused(source, writer, refused, observe)
        return source.recheck
    except CursorRefused as lost:
        if await _gap(source, writer, lost.reason, observe):
            return source.recheck
        reason, progress = lost.reason, 0  # what is read in the cursor's place does not make refusing it a success
    except SourceError as error:
        reason, retry_after = error.reason, error.retry_after
    if progress and not retry_after:
        delay = pace.after_progress(clock(), source.floor)
    else:
        delay = pace.after_failure(retry_after, source.floor, clock() - started)
    observe(SourceInterrupted(source.id, reason, delay, progress > 0))
    return delay


async def _connected(source: Source, writer: Writer, observe: Observe) -> None:
    observe(SourceConnected(source.id, writer.position.cursor))
    if writer.position.state is State.FAILED:
        await writer.add(Batch(state=State.RUNNING))


async def _gap(source: Source, writer: Writer, reason: str, observe: Observe) -> bool:
    """Record that the stored cursor is of no use, once per change; True where a person has to act."""
    position = writer.position
    batch, action = source.gap(reason, position)
    if batch.state is State.FAILED and (position.state, position.reason) == (State.FAILED, reason):
        return True
    await writer.add(batch)
    observe(SourceGap(source.id, position.cursor or "", reason, action))
    if batch.state is State.FAILED:
        observe(SourceFailed(source.id, reason, source.recheck))
    return batch.state is State.FAILED


async def _refused(source: Source, writer: Writer, refused: SourceRefused, observe: Observe) -> None:
    """Record that the upstream refuses this source: one event per change, not one per look."""
    if (writer.position.state, writer.position.reason) != (State.FAILED, refused.reason):
        await writer.add(source.failed(refused.reason, refused.status))
    observe(SourceFailed(source.id, refused.reason, source.recheck))
