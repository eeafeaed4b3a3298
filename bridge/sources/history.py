"""Reads what has happened through a list call, page by page, so that a stream can go on behind it.

Each page is stored with the cursor of the next, so a crash costs no page twice. Refuses to hold more than one page.
"""

from collections.abc import AsyncGenerator, Callable, Container, Mapping
from datetime import datetime

import msgspec

from bridge.clock import now
from bridge.errors import CursorRefused, SourceError, SourceRefused
from bridge.event import Batch, Event, Parked
from bridge.http_client import Params
from bridge.normalize import page
from bridge.normalize.moment import rfc3339
from bridge.normalize.run_event import RunStream, parked
from bridge.sources import bookmark
from bridge.sources.account import Account
from bridge.sources.bookmark import Bookmark

LIMIT = 100
"""Objects asked for at a time."""
MAX_PAGE = 64 << 20
"""Bytes of a page; of a larger one the objects are asked for one by one."""


class History:
    """One list call. `params` are its filters; `reads` makes events of its objects.

    `ordered` says that it takes `order`, `from` and `to` (`GET /v1/events`); `resumes` that an event's id is where its
    stream goes on from; `notice` makes an event of the bridge's own; `wanted` stands in for filters that the stream
    has and the list has not.
    """

    def __init__(
        self, account: Account, url: str, *, headers: Mapping[str, str], params: Params, reads: RunStream,
        ordered: bool, resumes: bool, notice: Callable[[str, dict[str, object]], Event],
        wanted: Callable[[Event], bool] = lambda _: True,
    ) -> None:  # fmt: skip
        self._account = account
        self._url = url
        self._headers = headers
        self._params = list(params)
        self._reads = reads
        self._ordered = ordered
        self._resumes = resumes
        self._notice = notice
        self._wanted = wanted
        self._limit = LIMIT

    async def batches(self, at: Bookmark, known: Container[str]) -> AsyncGenerator[Batch]:
        """A batch a page, from the bookmark to the end; the last one says where the stream goes on.

        `known` are the ids that the log has. Raises SourceError and its kinds.
        """
        try:
            async for batch in self._batches(at, known):
                yield batch
        except CursorRefused as refused:
            # its own cursor, not the stream's: from the beginning again, up to what is in the log already
            yield Batch(bookmark=Bookmark(page="", begin=at.begin, seek=True).text)
            raise SourceError(f"the list is read from its beginning again: {refused.reason}") from refused
        except SourceRefused as refused:
            if not refused.unserved:
                raise
            reason = f"there is no list to read the history from: {refused.reason}"
            said = {"reason": reason, "cursor": "", "action": "earliest", "certain": False}
            yield Batch([self._notice("gap", said)], bookmark=bookmark.STARTED)

    async def _batches(self, at: Bookmark, known: Container[str]) -> AsyncGenerator[Batch]:
        if self._ordered and not at.page and not at.until and not at.again:
            at = await self._bounds(at, known)
            yield Batch(bookmark=at.text)
        while True:
            found = await self._page(at)
            batch, at, reached = self._told(found.items, at, known)
            if not reached and found.next:
                at = msgspec.structs.replace(at, page=found.next)
                batch.bookmark = at.text
                yield batch
                continue
            if at.seek and at.last:  # nothing of it is known: so all of it is new
                at = Bookmark(page="", begin=at.begin, until=at.until)
                yield Batch(bookmark=at.text)
                continue
            self._finish(batch, at)
            yield batch
            return

    def _told(self, items: tuple[bytes, ...], at: Bookmark, known: Container[str]) -> tuple[Batch, Bookmark, bool]:
        """What a page tells, the bookmark behind it, and whether it holds the last event that is wanted."""
        records: list[Event | Parked] = []
        received = now()
        first, last, through, seek = at.first, at.last, at.through, at.seek
        reached = False
        for item in items:
            record = self._reads.record(item, received)
            if isinstance(record, Event):
                seek = seek and record.id not in known
                first, last = first or record.id, record.id
                through = rfc3339(record.time) if isinstance(record.time, datetime) else record.time
                reached = record.id == at.until
            if record is not None and not seek and (isinstance(record, Parked) or self._wanted(record)):
                records.append(record)
            if reached:
                break
        at = msgspec.structs.replace(at, first=first, last=last, through=through, seek=seek)
        return Batch(records), at, reached

    def _finish(self, batch: Batch, at: Bookmark) -> None:
        """Where the stream goes on from: an event's id; or its own beginning, with what the list told left out."""
        if self._resumes and (at.until or at.last):
            batch.cursor, batch.bookmark = at.until or at.last, ""
        elif at.last:
            batch.bookmark = Bookmark(first=at.first, last=at.last, through=at.through).text
        else:
            batch.bookmark = bookmark.STARTED if at.again else Bookmark(again=True, begin=at.begin).text

    async def _bounds(self, at: Bookmark, known: Container[str]) -> Bookmark:
        """The newest event, up to which the list is read; and with `seek`, the time of the newest one known.

        The stream is in the order of commits and the list in that of times: all that was committed before the newest
        is in the list by now, and the stream resumed after it brings the rest.
        """
        until, begin, cursor = "", at.begin, ""
        while True:
            params = [*self._params, ("order", "desc"), ("limit", str(LIMIT if at.seek else 1))]
            found = await self._fetch([*params, *([("cursor", cursor)] if cursor else [])])
            for item in found.items:
                record = self._reads.record(item, now())
                if not isinstance(record, Event):
                    continue
                until = until or record.id
                if not at.seek:
                    break
                if record.id in known:
                    return Bookmark(page="", begin=_created(item) or begin, until=until)
            cursor = found.next
            if not at.seek or not cursor:
                return Bookmark(page="", begin=begin, until=until)

    async def _page(self, at: Bookmark) -> page.Page:
        params = [*self._params, ("limit", str(self._limit))]
        if self._ordered:
            params.append(("order", "asc"))
            if at.begin:
                params.append(("from", at.begin))
        if at.page:
            params.append(("cursor", at.page))
        return await self._fetch(params, cursor=bool(at.page))

    async def _fetch(self, params: list[tuple[str, str]], *, cursor: bool = False) -> page.Page:
        body = await self._account.fetch(
            self._url, headers=self._headers, params=params, cap=MAX_PAGE + 1, cursor=cursor
        )  # fmt: skip
        if len(body) > MAX_PAGE:
            self._limit = 1
            raise SourceError(f"a page of the list has more than {MAX_PAGE} bytes; its events are read one by one")
        found = page.read(body)
        if found is None:
            raise SourceError(f"no page of a list in the answer: {parked('', body[:200], b'').raw!r}")
        return found


def _created(item: bytes) -> str:
    """The time by which the list is ordered, as the upstream wrote it."""
    try:
        return msgspec.json.decode(item, type=_Created).createdAt
    except msgspec.MsgspecError:
        return ""


class _Created(msgspec.Struct):
    createdAt: str = ""  # noqa: N815  # the upstream's name
