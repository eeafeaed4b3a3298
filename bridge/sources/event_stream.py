"""What all Server-Sent Events sources share: one connection at a time, its beginning, its seam and its end.

Resumes with the call's own parameter and with `Last-Event-ID` (CONTRACT F.9). Refuses to decide when to come back:
`bridge.ingest` does.
"""

import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bridge.clock import now
from bridge.errors import HttpError, SourceError, SourceRefused
from bridge.event import Batch, Event, Parked, Position, State
from bridge.http_client import Response
from bridge.normalize.run_event import RunStream
from bridge.sources.account import Account
from bridge.sources.bookmark import Bookmark
from bridge.sources.outcome import refusal, unanswered
from bridge.sources.run_look import Run, RunLook
from bridge.sources.seam import Seam, placed
from bridge.sources.subscription import FROM_UPSTREAM, Start, Subscription, after, clock
from bridge.sse import Decoder, Frame
from bridge.stop import within

NOT_A_STREAM = ("text/html", "application/json")
"""Content types that are certainly no event stream. Others are read: v2 documents none (CONTRACT A.4)."""
LINGER = 1.0
"""Seconds that a stream which has told its end may still bring late events (CONTRACT F.13)."""


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def sendable(cursor: str) -> bool:
    """True for a cursor that a header can carry: one without control characters (RFC 9110, 5.5)."""
    return not _CONTROL.search(cursor)


class Reads(Protocol):
    """Turns frames into events."""

    def batch(self, frames: Iterable[Frame], received: datetime) -> Batch:
        """What the frames say, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """The request that opens a stream: `cursor` is the name of the parameter that resumes it."""

    url: str
    cursor: str | None
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    idle_timeout: float = 60.0
    max_event_bytes: int = 8 << 20
    whole: bool = False
    """The stream is a whole account's (`bridge.sources.outcome.Answer`)."""


class EventStream(Subscription):
    """A stream of events. Where it is one run's, `look` tells whether the run is over."""

    look: RunLook | None = None
    linger = LINGER
    placed = staticmethod(placed)
    """The time of an event by which it is told what comes from before."""

    def __init__(
        self, id_: str, account: Account, call: Call, reads: Reads, *, resource: str, subject: str, recheck: float,
        scope: str = "", start: Start = FROM_UPSTREAM,
    ) -> None:  # fmt: skip
        super().__init__(
            id_, account, resource=resource, subject=subject, recheck=recheck, scope=scope, start=start
        )  # fmt: skip
        self._call = call
        self._reads = reads
        self._gone = False
        """The stream has brought nothing, and its run was said to be gone: that it answers proves nothing."""

    async def batches(self, position: Position) -> AsyncGenerator[Batch]:
        """History where it is asked for, then one connection's batches (`bridge.ports.Source`)."""
        async with aclosing(self.prologue(position)) as batches:
            async for batch in batches:
                position = after(position, batch)
                yield batch
        over: Run | None = None
        while True:
            connected, fresh, silence = False, False, None
            try:
                async with aclosing(self._connection(position, self.begin(position))) as batches:
                    async for batch in batches:
                        connected = True
                        fresh = fresh or _news(batch, position)
                        position = after(position, batch)
                        self._gone = self._gone and not (fresh or _more(batch))
                        if self._gone:
                            continue
                        yield batch
                        if batch.state is State.ENDED:
                            return
            except SourceError as error:
                await self._judge(error, position)
                if not connected or not _silent(error):
                    raise
                silence = error
            if over and not fresh and isinstance(self._reads, RunStream):
                yield Batch([over.ended(self._reads, now())], state=State.ENDED)
                return
            # A run that is over is asked once more: between its stream's end and this look something may have come.
            over = await self._over(silence, fresh=fresh)
            if over is None:
                return

    def again(self, raw: bytes, name: str, received: datetime) -> Event | Parked | None:  # noqa: ARG002  # see AnyStream
        """What a parked frame says now. Its name and its `id:` line were not kept: what only they said is missing."""
        return next(iter(self._reads.batch([Frame("run.event", raw, "", None)], received).records), None)

    async def _over(self, silence: SourceError | None, *, fresh: bool) -> Run | None:
        """The run, if it is over: its stream ended without saying so, and has brought nothing new.

        Raises the silence that the stream ended with where it is not over.
        """
        try:
            run = await self.look() if self.look and not fresh else None
        except SourceRefused:
            self._gone = True
            raise
        if run and run.over:
            return run
        if silence:
            raise silence
        return None

    async def _judge(self, error: SourceError, position: Position) -> None:
        """Raise what a refusal means once the run itself was asked for."""
        if isinstance(error, SourceRefused) and self.look:
            await self.look.confirm(error, cursor=bool(position.cursor))

    async def _connection(self, position: Position, bookmark: Bookmark) -> AsyncGenerator[Batch]:
        """The first batch is empty and says: connected."""
        call, cursor = self._call, position.cursor
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", "Accept-Encoding": "identity"}
        params = list(call.params)
        if cursor:
            if call.cursor:
                params.insert(0, (call.cursor, cursor))
            if sendable(cursor):
                headers["Last-Event-ID"] = cursor
        try:
            async with self.account.request(
                "GET", call.url, headers={**headers, **call.headers}, params=params, idle=call.idle_timeout
            ) as response:
                await self._accept(response, cursor or "")
                yield Batch()
                if (bookmark.again or bookmark.tail is not None) and self.history and not cursor:
                    async with aclosing(self.history.batches(bookmark, position.known)) as pages:
                        async for batch in pages:
                            position = after(position, batch)
                            yield batch
                    bookmark = Bookmark.read(position.bookmark)
                async with aclosing(self._frames(response, position, bookmark)) as batches:
                    async for batch in batches:
                        yield batch
        except HttpError as error:
            raise unanswered(error, consuming=False) from error

    async def _frames(self, response: Response, position: Position, bookmark: Bookmark) -> AsyncGenerator[Batch]:
        decoder = Decoder(max_event_bytes=self._call.max_event_bytes, last_event_id=position.cursor or "")
        seam = Seam(bookmark, position.known, self.placed)
        chunks = response.chunks()
        async for chunk in chunks:
            batch = self._batch(decoder, chunk, seam)
            if batch.state is State.ENDED:
                batch.state = None  # not before the late ones are in
                yield batch
                async with aclosing(self._linger(chunks, decoder, seam)) as late:
                    async for batch in late:
                        yield batch
                yield Batch(state=State.ENDED)
                return
            yield batch
            if batch.broken:
                said = self.account.hide(batch.broken.encode()).decode()
                raise SourceError(f"the stream reported an error: {said}")
        if decoder.inside:
            raise SourceError("the stream ended in the middle of an event")

    async def _linger(self, chunks: AsyncGenerator[bytes], decoder: Decoder, seam: Seam) -> AsyncGenerator[Batch]:
        """What comes behind the end, until the upstream closes the stream or LINGER is over."""
        until = clock() + self.linger
        try:
            while self.linger and (chunk := await within(anext(chunks, b""), until - clock())):
                batch = self._batch(decoder, chunk, seam)
                batch.state = None
                yield batch
        except HttpError:
            return  # the end was told; how the connection ends does not matter

    def _batch(self, decoder: Decoder, chunk: bytes, seam: Seam) -> Batch:
        before = decoder.last_event_id
        batch = self._reads.batch(decoder.feed(chunk), now())
        if decoder.retry is not None:
            self.floor = decoder.retry / 1000
        if decoder.last_event_id != before and decoder.last_event_id and not batch.broken:
            batch.cursor = decoder.last_event_id
        return seam.passed(batch) if seam.open else batch

    async def _accept(self, response: Response, cursor: str) -> None:
        if response.status == 200:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind not in NOT_A_STREAM:
                return
        said = await self.account.said(response)
        raise refusal(
            response.status, response.headers, said, now(), cursor=cursor, stream=True, whole=self._call.whole
        )  # fmt: skip


def _news(batch: Batch, position: Position) -> bool:
    return any(isinstance(record, Event) and record.id not in position.known for record in batch.records)


def _more(batch: Batch) -> bool:
    """True for a batch that counts, though it has no new event."""
    parked = any(not isinstance(record, Event) for record in batch.records)
    return parked or batch.bookmark is not None or batch.state is not None


def _silent(error: SourceError) -> bool:
    """True where the connection was whole and nothing came; one that broke may have had more to bring."""
    return isinstance(error.__cause__, HttpError) and isinstance(error.__cause__.__cause__, TimeoutError)
