"""`bctrl.run-events.wait`: `POST /v1/runs/{id}/events/wait`, a long-poll for a run's next event.

Waits one after the other, each after the cursor of the last answer; a null cursor never replaces one. An answer that
brings nothing too soon, or the same again, is slowed down (CONTRACT F.7). Refuses to go on for ever with a run that is
over: a look at the run after a wait that brought nothing tells.
"""

import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random

import msgspec

from bridge.backoff import delays
from bridge.clock import now
from bridge.errors import HttpError, SourceError, SourceRefused
from bridge.event import Batch, Event, Parked, Position, State
from bridge.http_client import Response
from bridge.normalize.attributes import Unreadable, fields
from bridge.normalize.run_event import RunStream, parked
from bridge.normalize.surrogates import paired, verbatim
from bridge.sources.account import Account
from bridge.sources.bookmark import Bookmark
from bridge.sources.outcome import ERROR_BODY, refusal, unanswered
from bridge.sources.run_events_stream import resource
from bridge.sources.run_list import run_list
from bridge.sources.run_look import Run, RunLook
from bridge.sources.seam import Seam
from bridge.sources.subscription import FROM_UPSTREAM, Start, Subscription, after, clock, scope_of
from bridge.stop import nap

MARGIN = 15.0
"""Seconds that the client waits longer than the server was asked to (CONTRACT F.5)."""
SHORT = 1.0
"""Seconds of the wait for what came late, once the run is over (CONTRACT F.13)."""
GLANCE = 0.001
"""Seconds of a wait that is only made for its cursor."""
TOO_EARLY = 0.5
"""An answer without an event before this part of the time asked for is no time-out."""
PACE = 1.0
"""Seconds from one wait that brought nothing to the next, at least (CONTRACT F.26)."""
LISTS = {"type", "kind", "source"}
"""The body's fields that are lists."""
FRAMING = 4096
"""Bytes of an answer besides its event."""
REPEATS = 3
"""Times that known events may follow each other, each with a new cursor, before they are slowed down."""
RECENT = 64
"""Events among which one that comes again is noticed."""
MAX_SKIPPED = 256 << 20
"""Bytes of an answer that are read at all, for the cursor behind an event that is too large."""
_SIGNS = {"event", "timedOut"}
"""Members of which an answer has one at least."""
_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_SCALAR = rb'"\w+"\s*:\s*(?:[\w.+-]+|' + _TEXT + rb")"
_CURSOR = rb'"cursor"\s*:\s*(' + _TEXT + rb")"
_CURSOR_FIRST = re.compile(rb"\s*\{\s*(?:" + _SCALAR + rb"\s*,\s*)*?" + _CURSOR)
_CURSOR_LAST = re.compile(_CURSOR + rb"(?:\s*,\s*" + _SCALAR + rb")*\s*\}\s*$")
"""The body's own cursor, before or behind its event: between it and the body's edge there is no other object."""


@dataclass(frozen=True, slots=True)
class _Answer:
    record: Event | Parked | None = None
    cursor: str | None = None
    broken: str = ""
    """Why the source can't go on from this answer."""

    @property
    def known_by(self) -> str:
        """What the record is recognised by when it comes again; "" where there is none."""
        record = self.record
        return "" if record is None else record.id if isinstance(record, Event) else record.key


class RunEventsWait(Subscription):
    """One run's waits. `filters` are the body's fields under the API's own names; `wait_timeout` is `timeoutMs`."""

    def __init__(
        self, id_: str, account: Account, *, run: str, filters: Sequence[tuple[str, str]] = (),
        wait_timeout: float = 25.0, max_event_bytes: int = 8 << 20, recheck: float = 300.0,
        start: Start = FROM_UPSTREAM,
    ) -> None:  # fmt: skip
        named = resource(account.base_url, run)
        super().__init__(
            id_, account, resource=named, subject=run, recheck=recheck, scope=scope_of("wait", filters), start=start
        )  # fmt: skip
        self._url = account.url("v1", "runs", run, "events", "wait")
        self._reads = RunStream(run, named)
        self._timeout = wait_timeout
        self._most = max_event_bytes
        self._asked: dict[str, object] = {}
        for name, value in filters:
            before = self._asked.get(name)
            self._asked[name] = [*(before if isinstance(before, list) else ()), value] if name in LISTS else value
        self._look = RunLook(account, run, {})
        self.history = run_list(account, run, filters, self._reads, resumes=False, notice=self.notice)

    async def batches(self, position: Position) -> AsyncGenerator[Batch]:
        """History where it is asked for, then a batch an answer, until the run is over or something fails."""
        async with aclosing(self._before(position)) as batches:
            async for batch in batches:
                position = after(position, batch)
                yield batch
        async with aclosing(self._waits(position, Seam(self.begin(position), position.known))) as batches:
            async for batch in batches:
                yield batch

    async def _before(self, position: Position) -> AsyncGenerator[Batch]:
        """What is stored before the first wait: the cursor of now, if the upstream gives one, then the history.

        The wait after that cursor brings what happens while the list is read, wherever a wait without one begins.
        """
        bookmark = self.begin(position)
        if bookmark.page == "" and not position.cursor:
            first = await self._glance()
            if first.record is None and first.cursor:
                yield Batch(cursor=first.cursor, bookmark=bookmark.text)
                position = replace(position, cursor=first.cursor, bookmark=bookmark.text)
        async with aclosing(self.prologue(position)) as pages:
            async for batch in pages:
                if bookmark.page is not None and batch.bookmark is not None:
                    left = Bookmark.read(batch.bookmark)
                    if left == Bookmark(since=left.since):  # there is no list, so the waits begin wherever they do
                        batch.cursor = ""
                yield batch

    async def _waits(self, position: Position, seam: Seam) -> AsyncGenerator[Batch]:
        cursor, timeout, run = position.cursor or "", self._timeout, None
        slow, recent, again = delays(Random()), deque[str](maxlen=RECENT), 0
        while True:
            started = clock()
            answer = await self._ask(cursor, timeout)
            moved = answer.cursor if answer.cursor != cursor else None
            cursor = answer.cursor or cursor
            batch = Batch([] if answer.record is None else [answer.record], cursor=moved)
            yield seam.passed(batch) if seam.open else batch
            if answer.broken:
                raise SourceError(answer.broken)
            if answer.record is not None and answer.known_by not in recent:
                recent.append(answer.known_by)
                slow, again = delays(Random()), 0
                continue
            if answer.record is not None and moved and again < REPEATS:
                again += 1  # some upstreams tell the event at the cursor once more
                continue
            if run is not None and not (answer.record and moved):
                yield Batch([run.ended(self._reads, now())], state=State.ENDED)
                return
            took = clock() - started
            if answer.record is not None or took < timeout * TOO_EARLY:
                await nap(next(slow))  # the same again and again, or nothing too soon: perhaps without end
            else:
                slow = delays(Random())
                await nap(max(0.0, PACE - took))
            run = run or await self._over()
            timeout = SHORT if run else self._timeout  # once more, for what came late

    def again(self, raw: bytes, name: str, received: datetime) -> Event | Parked | None:  # noqa: ARG002  # it has an id
        """What a parked answer says now, or an event that was parked without its answer."""
        answer = self._read(raw, b"", 0, received)
        return self._record(raw, received) if answer.broken else answer.record

    async def _glance(self) -> _Answer:
        """What a wait has to say at once. A refusal says nothing: the list and the next wait tell the reason."""
        try:
            return await self._ask("", GLANCE)
        except SourceRefused:
            return _Answer()

    async def _over(self) -> Run | None:
        run = await self._look()
        return run if run is not None and run.over else None

    async def _ask(self, cursor: str, seconds: float) -> _Answer:
        """One wait of so many seconds. Raises SourceError and its kinds."""
        asked = {**self._asked, **({"cursor": cursor} if cursor else {}), "timeoutMs": round(seconds * 1000)}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            async with self.account.request(
                "POST", self._url, headers=headers, body=msgspec.json.encode(asked), total=seconds + MARGIN
            ) as response:
                if response.status == 200:
                    return self._read(*await self._body(response), now())
                said = self.account.hide(await response.read(ERROR_BODY))
            raise refusal(response.status, response.headers, said, now(), cursor=cursor)
        except HttpError as error:
            raise unanswered(error, consuming=False) from error
        except SourceRefused as refused:
            await self._look.confirm(refused, cursor=bool(cursor))
            raise

    async def _body(self, response: Response) -> tuple[bytes, bytes, int]:
        """The beginning of the body, up to the size of an event, its last bytes, and its size."""
        head, tail, size = bytearray(), b"", 0
        async with aclosing(response.chunks()) as chunks:
            async for chunk in chunks:
                head += chunk[: self._most + FRAMING - len(head)]
                tail = (tail + chunk)[-FRAMING:]
                size += len(chunk)
                if size > MAX_SKIPPED:
                    return bytes(head), b"", size
        return bytes(head), tail, size

    def _read(self, head: bytes, tail: bytes, size: int, received: datetime) -> _Answer:
        if size > len(head):
            reason = f"oversized: {size} bytes, of which the first {len(head)} are kept"
            found = _CURSOR_FIRST.match(head, 0, FRAMING) or _CURSOR_LAST.search(tail)
            cursor = _cursor(found[1]) if found else None
            stuck = "" if cursor else f"{reason}; its cursor was not found: raise max_event_bytes to go on"
            return _Answer(parked(reason, head, head), cursor, stuck)
        try:
            head.decode()
            said = fields(paired(head))
        except (Unreadable, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, Unreadable) else "not UTF-8"
            return _Answer(parked(reason, head, head), broken=f"an answer could not be read: {reason}")
        inner = said.get("data")
        if not _SIGNS & said.keys() and inner is not None and bytes(inner).startswith(b"{"):
            return self._read(verbatim(head, inner, "data"), b"", 0, received)  # the v2 era wraps what it answers
        if not _SIGNS & said.keys():
            reason = "neither `event` nor `timedOut`"
            return _Answer(parked(reason, head, head), broken=f"an answer could not be read: {reason}")
        event = said.get("event")
        record = None
        if event is not None and bytes(event) != b"null":
            record = self._record(verbatim(head, event, "event"), received)
        return _Answer(record, _cursor(bytes(said.get("cursor", b"null"))))

    def _record(self, event: bytes, received: datetime) -> Event | Parked | None:
        if len(event) > self._most:
            reason = f"oversized: {len(event)} bytes, of which the first {self._most} are kept"
            return parked(reason, event[: self._most], event)
        return self._reads.record(event, received)


def _cursor(value: bytes) -> str | None:
    """A cursor from its JSON value; None for null, for an empty one, and for what is no text."""
    try:
        return msgspec.json.decode(value, type=str) or None
    except msgspec.DecodeError:
        return None
