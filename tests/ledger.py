"""An upstream's events as data: in the order of their commits, listed by time, streamed from anywhere. Serves nobody.

Written for the tests of history, gaps and seams: cursors can expire, events can be created long before their commit.
`http` serves it through the scripted upstream; `tests/direct.py` hands it to a source without any network.
"""

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from upstream import CLOSE, HANG, Exchange, Script, answer, stream

ORIGIN = datetime(2026, 6, 25, 12, tzinfo=UTC)
Query = list[tuple[str, str]]


def moment(seconds: float) -> str:
    """A time so many seconds after the first."""
    return (ORIGIN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Ledger:
    """Events of one run. `page` is the most of them on a page; `begins` where a stream without a cursor begins.

    Odd ones of a `traced` ledger are spans: the stream tells them and the list does not. The list pays no heed to the
    parameters `deaf` ("order": the newest first, "from"); with `mute` it never says `nextCursor`.
    """

    def __init__(
        self, *, page: int = 100, begins: str = "start", traced: bool = False, deaf: Collection[str] = (),
        mute: bool = False,
    ) -> None:  # fmt: skip
        self.events: list[dict[str, Any]] = []
        self.page = page
        self.begins = begins
        self.traced = traced
        self.deaf = deaf
        self.mute = mute
        self.epoch = 0
        """Cursors of the list that were given out in another one are refused."""
        self.refused: set[str] = set()
        """Cursors that the stream refuses."""
        self.asked: Callable[[], None] = lambda: None
        """Called with every page and every part of a stream."""

    @property
    def ids(self) -> list[str]:
        """In the order of commits."""
        return [event["id"] for event in self.events]

    def grow(self, count: int, *, late: float = 0.0, **fields: Any) -> None:
        """Commit so many events, a second apart, each created `late` seconds before its turn."""
        for _ in range(count):
            number = len(self.events)
            created = moment(number - late)
            kind = {"type": "span.started"} if self.traced and number % 2 else {
                "object": "event", "seq": number, "category": "page", "source": "browser", "type": "page.loaded",
            }  # fmt: skip
            named = {"id": f"e{number}", "runId": "r", "createdAt": created, "timestamp": created, "time": created}
            self.events.append({**named, **kind, **fields})

    def list(self, query: Query) -> tuple[int, dict[str, Any]]:
        """Status and body of a page."""
        self.asked()
        asked = {name: value for name, value in query if name not in self.deaf}
        down = asked.get("order", "desc" if "order" in self.deaf else "asc") == "desc"
        found = sorted(
            (each for each in self.events if "object" in each and asked.get("from", "") <= each["createdAt"]),
            key=_place, reverse=down,
        )  # fmt: skip
        if "cursor" in asked:
            epoch, _, place = asked["cursor"].partition("|")
            if int(epoch) != self.epoch:
                return 400, {"error": {"code": "pagination.cursor_invalid", "message": "the cursor has expired"}}
            found = [each for each in found if (_text(each) < place if down else _text(each) > place)]
        page = found[: min(self.page, int(asked.get("limit", "100")))]
        more = len(found) > len(page)
        following = f"{self.epoch}|{_text(page[-1])}" if more else None
        return 200, {"data": page, "hasMore": more, **({} if self.mute else {"nextCursor": following})}

    def after(self, cursor: str | None) -> int | None:
        """The place that a stream begins at; None where it refuses the cursor."""
        if not cursor:
            return 0 if self.begins == "start" else len(self.events)
        name = cursor.removeprefix("frame-")
        return None if name in self.refused or name not in self.ids else self.ids.index(name) + 1

    def frame(self, number: int, *, wrapped: bool = False) -> bytes:
        """The frame of an event: today's account stream, or `wrapped` as a run's."""
        event = self.events[number]
        id_, name, data = event["id"], event["type"], event
        if wrapped:
            id_ = f"frame-{id_}"
            if event.get("object"):
                name = "runtime.event"
                data = {"id": id_, "type": name, "runId": "r", "timestamp": event["timestamp"], "event": event}
        return f"id: {id_}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _place(event: dict[str, Any]) -> tuple[str, int]:
    return event["createdAt"], int(event["id"][1:])


def _text(event: dict[str, Any]) -> str:
    return f"{event['createdAt']} {int(event['id'][1:]):09}"


def lists(ledger: Ledger) -> Script:
    """Answers with pages of the ledger."""

    async def script(exchange: Exchange) -> None:
        status, body = ledger.list(exchange.request.query)
        await answer(status, body)(exchange)

    return script


def streams(ledger: Ledger, *, wrapped: bool = False, stays: bool = True) -> Script:
    """Tells all there is after the cursor; then says no more, or ends."""

    async def script(exchange: Exchange) -> None:
        asked = dict(exchange.request.query)
        at = ledger.after(asked.get("after") or asked.get("cursor"))
        if at is None:
            said = {"error": {"code": "pagination.cursor_invalid", "message": "after is unknown"}}
            await answer(400, said)(exchange)
            return
        parts = [ledger.frame(number, wrapped=wrapped) for number in range(at, len(ledger.events))]
        await stream(b": alive\n\n", *parts, then=HANG if stays else CLOSE)(exchange)

    return script
