"""Reads what has happened through a list call, page by page, so that a stream can go on behind it.

Each page is stored with the cursor of the next, so a crash costs no page twice; a cursor that is refused half-way costs
a page. Of an account's list (`GET /v1/events`) the newest event is looked up first: all that was committed before it is
in the list by then, and the stream, resumed after it in the order of commits, brings the rest. So nothing is missed,
however long the list is and whatever is committed meanwhile. Twice comes only what was committed after that event and
created more than `log.dedup_window` events before it. A run's list has no such order: what it puts in a place that has
been read already is missed. Refuses to hold more than one page.
"""

from collections.abc import AsyncGenerator, Callable, Container, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from bridge.clock import now
from bridge.errors import CursorRefused, SourceError, SourceRefused
from bridge.event import Batch, Event, Parked
from bridge.http_client import Params
from bridge.normalize import page
from bridge.normalize.run_event import RunStream
from bridge.sources.account import Account
from bridge.sources.bookmark import Bookmark
from bridge.sources.seam import EDGE, moment, placed

LIMIT = 100
"""Objects asked for at a time."""
MAX_PAGE = 64 << 20
"""Bytes of a page; where one has more, fewer objects are asked for."""
LATE = timedelta(seconds=60)
BACK = 1000
"""How far behind the newest event of the log a gap is looked for, in time and in events: what came late is there."""
TICK = timedelta(milliseconds=1)
"""What `from` is put back by, so that it does not matter whether it includes its own moment."""
BACKWARDS = "the list begins with its newest event, and no stream can go on from there"
ROUND = "the list gives a page's own cursor as that of the next"
ROUNDS = 3
"""How often such a page is asked for before the list is given up."""
CUT = "it ends before its newest event, without a cursor"


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
        self.ordered = ordered
        self._account = account
        self._url = url
        self._headers = headers
        self._params = list(params)
        self._reads = reads
        self.resumes = resumes
        self._notice = notice
        self._wanted = wanted
        self._limit = LIMIT
        self._edge = 1 if resumes else EDGE
        self._rounds = 0

    async def batches(self, at: Bookmark, known: Container[str]) -> AsyncGenerator[Batch]:
        """A batch a page, from the bookmark to the end; the last one says where the stream goes on.

        `known` are the ids that the log has. Raises SourceError and its kinds.
        """
        try:
            async for batch in self._batches(at, known):
                at = Bookmark.read(batch.bookmark or "")
                yield batch
        except CursorRefused as refused:  # the list's own cursor, not the stream's
            yield Batch(bookmark=self._restarted(at).text)
            raise SourceError(f"the list is read again where it was: {refused.reason}") from refused
        except SourceRefused as refused:
            if not refused.unserved:
                raise
            yield self._cut(at, refused.reason)

    async def _batches(self, at: Bookmark, known: Container[str]) -> AsyncGenerator[Batch]:
        if at.page is None and at.tail is not None:
            at = msgspec.structs.replace(at, page=at.tail, tail=None, until="")
        if self.ordered and not at.page and not at.until:
            asked, at = at, await self._bounds(at, known)
            batch = Batch(bookmark=at.text)
            if not at.until:
                self._finish(batch, asked)
            yield batch
            if not at.until:
                return
        while True:
            found = await self._page(at)
            batch, at, reached = self._told(self._forwards(found, at), at, known)
            following = None if reached else self._following(found, at)
            if following:
                at = following
                batch.bookmark = at.text
                yield batch
                continue
            if at.seek and at.last:  # nothing of it is known: so all of it is new
                at = Bookmark(page="", begin=at.begin, since=at.since)
                yield Batch(bookmark=at.text)
                continue
            lost = not reached and self._ends_early(found)
            if not lost:
                self._finish(batch, at)
            yield batch
            if lost:
                yield self._cut(at, CUT)
            return

    def _following(self, found: page.Page, at: Bookmark) -> Bookmark | None:
        """Where the next page is: at its cursor; or by time, as long as that gets on, where there is none."""
        if found.next:
            return msgspec.structs.replace(at, page=found.next)
        begin, before = moment(_before(at.through, TICK)), moment(at.begin)
        if self._ends_early(found) and begin and (before is None or begin > before):
            return msgspec.structs.replace(at, page="", begin=_text(begin))
        return None

    def _ends_early(self, found: page.Page) -> bool:
        """Whether more may be in an account's list than a page without a next one has told."""
        return self.ordered and not found.next and found.more is not False and bool(found.items)

    def _told(self, items: tuple[bytes, ...], at: Bookmark, known: Container[str]) -> tuple[Batch, Bookmark, bool]:
        """What a page tells, the bookmark behind it, and whether it holds the last event that is wanted."""
        records: list[Event | Parked] = []
        received = now()
        events: list[Event] = []
        seek, reached, since = at.seek, False, moment(at.since)
        for item in items:
            record = self._reads.record(item, received)
            if isinstance(record, Event):
                seek = seek and record.id not in known
                events.append(record)
                reached = record.id == at.until
            if record is not None and not seek and (isinstance(record, Parked) or self._asked(record, since)):
                records.append(record)
            if reached:
                break
        ids = tuple(event.id for event in events)
        at = msgspec.structs.replace(
            at, first=_distinct(at.first + ids)[: self._edge],
            last=_distinct((at.last + ids)[::-1])[: self._edge][::-1],
            seek=seek,
            through=placed(events[-1]) if events else at.through,
        )  # fmt: skip
        return Batch(records), at, reached

    def _asked(self, event: Event, since: datetime | None) -> bool:
        """Whether the filters fit and the time does: a list may pay no heed to `from`, or have none."""
        when = moment(placed(event)) if since else None
        return self._wanted(event) and not (since and when and when < since)

    def _cut(self, at: Bookmark, reason: str) -> Batch:
        """What is said where the list can't be read to its end; the stream goes on behind what it has told."""
        if at.seek or not at.last:
            return unlisted(self._notice, reason, at)
        batch = _perhaps(self._notice, f"the list can't be read to its end: {reason}", "now" if at.now else "backfill")
        self._finish(batch, msgspec.structs.replace(at, until=""), tail=False)
        return batch

    def _finish(self, batch: Batch, at: Bookmark, *, tail: bool = True) -> None:
        """Where the stream goes on from: an event's id; or its own beginning, with what the list told left out.

        With `tail`, a list without times is read on once the stream is there.
        """
        self._rounds = 0
        if self.resumes and (at.until or at.last):
            batch.cursor, batch.bookmark = at.until or at.last[-1], ""
        elif at.last:
            begin = _before(at.through, LATE) if self.ordered else ""
            batch.bookmark = msgspec.structs.replace(
                at, page=None, begin=begin, until="", seek=False, again=False,
                tail=("" if self.ordered else at.page or "") if tail else None,
            ).text  # fmt: skip
        else:
            batch.bookmark = Bookmark(
                again=True, seek=at.seek, begin=at.begin, since=at.since, now=at.now
            ).text  # fmt: skip

    def _restarted(self, at: Bookmark) -> Bookmark:
        """Where the list goes on once the cursor of a page is refused: by time, or else by what the log has."""
        if not self.ordered:
            return Bookmark(page="", seek=True, since=at.since)
        if not at.until:
            return at
        return msgspec.structs.replace(at, page="", begin=_before(at.through, TICK) or at.begin)

    async def _bounds(self, at: Bookmark, known: Container[str]) -> Bookmark:
        """The newest event, up to which the list is read; with `seek`, also from where: LATE before what is known.

        No farther back than BACK events, or than the window of known ids goes.
        """
        until, oldest, cursor, floor, back, beyond = "", "", "", None, 0, 0
        while True:
            asked = [("order", "desc"), ("limit", str(LIMIT if at.seek else 1)), *([("cursor", cursor)] * bool(cursor))]
            found = await self._fetch([*self._params, *asked], cursor=cursor)
            records = [self._reads.record(item, now()) for item in found.items]
            events = [record for record in records if isinstance(record, Event)]
            until = until or (events[0].id if events else "")
            met = [moment(placed(event)) for event in events if event.id in known] if at.seek else []
            times = [time for time in met if time]
            floor = floor or (times[0] - LATE if times else None)
            oldest = _text(times[-1]) if times else oldest
            cursor, back, beyond = found.next, back + len(times), 0 if times else beyond + len(events)
            if floor and (not cursor or (times and times[-1] <= floor)):
                oldest = _text(floor)
                break
            if not cursor or (floor and beyond >= LIMIT) or back >= BACK or (until and not at.seek):
                break
        first = await self._first() if oldest and not self.resumes else at.first
        return msgspec.structs.replace(
            at, page="", begin=oldest or at.begin, since=oldest or at.since, until=until, first=first, seek=False,
            again=False,
        )  # fmt: skip

    async def _first(self) -> tuple[str, ...]:
        """The ids of the list's very first events, by which the stream's own beginning is recognised."""
        found = await self._fetch([*self._params, ("order", "asc"), ("limit", str(EDGE))])
        records = [self._reads.record(item, now()) for item in found.items]
        return tuple(record.id for record in records if isinstance(record, Event))

    async def _page(self, at: Bookmark) -> page.Page:
        params = [*self._params, ("limit", str(self._limit))]
        if self.ordered:
            params += [("order", "asc"), *([("from", at.begin)] * bool(at.begin))]
        if at.page:
            params.append(("cursor", at.page))
        return await self._fetch(params, cursor=at.page or "")

    def _forwards(self, found: page.Page, at: Bookmark) -> tuple[bytes, ...]:
        """The objects, the oldest first: a list may pay no heed to `order`, or have none. Raises SourceRefused."""
        if at.page:
            return found.items
        records = [self._reads.record(item, now()) for item in found.items]
        events = [record for record in records if isinstance(record, Event)]
        times = [time for event in events if (time := moment(placed(event)))]
        if len(times) < 2 or times != sorted(times, reverse=True) or events[-1].id == at.until:
            return found.items
        if times[0] == times[-1] and events[0].id != at.until:
            return found.items
        if self._ends_early(found) or (found.more and (self.ordered or len(times) > 2)):
            raise SourceRefused(BACKWARDS, status=200, unserved=True)
        return found.items[::-1]

    async def _fetch(self, params: list[tuple[str, str]], *, cursor: str = "") -> page.Page:
        body = await self._account.fetch(
            self._url, headers=self._headers, params=params, cap=MAX_PAGE + 1, cursor=cursor
        )  # fmt: skip
        if len(body) > MAX_PAGE:
            self._limit = max(1, self._limit // 4)
            raise SourceError(f"a page of the list has more than {MAX_PAGE} bytes; {self._limit} are asked for at once")
        self._limit = min(LIMIT, self._limit * 2)
        found = page.read(body)
        if found is None:
            said = self._account.hide(body[:200]).decode(errors="replace")
            raise SourceError(f"no page of a list in the answer: {said!r}")
        if cursor and found.next == cursor:
            self._rounds += 1
            if self._rounds >= ROUNDS:
                self._rounds = 0
                raise SourceRefused(ROUND, status=200, unserved=True)
            raise SourceError(ROUND)
        return found


def _distinct(ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ids))


def _before(time: str, span: timedelta) -> str:
    """A time so much earlier; "" where it can't be read."""
    found = moment(time)
    return _text(found - span) if found else ""


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def unlisted(notice: Callable[[str, dict[str, object]], Event], reason: str, at: Bookmark) -> Batch:
    """What is said where there is no list: perhaps something is missing, and the stream is followed all the same."""
    reason = f"there is no list to read the history from: {reason}"
    batch = _perhaps(notice, reason, "now" if at.now else "earliest")
    batch.bookmark = Bookmark(since=at.since).text
    return batch


def _perhaps(notice: Callable[[str, dict[str, object]], Event], reason: str, action: str) -> Batch:
    said: dict[str, object] = {"reason": reason, "cursor": "", "action": action, "certain": False}
    return Batch([notice("gap", said)], lost=reason)
