"""Reads the queries of today's API: filters of Events, times, page sizes and cursors. Pure.

A key may be repeated where the documents say so: one of its values has to fit. Different keys all have to fit.
`from` is the first time that passes, `to` the first that doesn't any more. Unknown keys are ignored.
"""

import base64
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from bridge.emulator.filters import Query
from bridge.emulator.today_event import Fields

DEFAULT_LIMIT, MAX_LIMIT = 50, 1000  # no document gives these figures

# Query name: the field, or the field of a field, that it looks at. `run` is not here: see `Wanted`.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "browser": ("runtimeId",),
    "sandbox": ("sandboxId",),
    "task": ("taskId",),
    "conversation": ("conversationId",),
    "category": ("category",),
    "type": ("type",),
    "actor": ("actor", "id"),
    "actorType": ("actor", "type"),
    "channel": ("channel",),
    "outcome": ("outcome",),
}


class BadQueryError(Exception):
    """A query that can't be answered; the text says what is wrong with it."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class Wanted:
    """The Events that a client asked for; BadQueryError where a time is none."""

    def __init__(self, query: Query) -> None:
        self._runs = _values(query, "run")
        self._agents = _values(query, "agent")
        self._fields = [(path, wanted) for name, path in _FIELDS.items() if (wanted := _values(query, name))]
        self._times = Times(query)

    def takes_run(self, run: str) -> bool:
        """Whether an Event of this run may pass; spares making those that can't."""
        return not self._runs or run in self._runs

    def takes(self, event: Fields) -> bool:
        """Whether an Event passes, its run aside."""
        return (
            all(_at(event, path) in wanted for path, wanted in self._fields)
            and (not self._agents or _agent(event) in self._agents)
            and self._times.take(event)
        )


class Times:
    """The span of createdAt that a client asked for; BadQueryError where a time is none."""

    def __init__(self, query: Query) -> None:
        self._start, self._stop = _moment(query, "from"), _moment(query, "to")

    def take(self, item: Fields) -> bool:
        """Whether an item passes."""
        if self._start is None and self._stop is None:
            return True
        at = seconds(item.get("createdAt"))
        return (self._start is None or at >= self._start) and (self._stop is None or at < self._stop)


def seconds(text: object) -> float:
    """An RFC 3339 time as seconds since 1970; without an offset it is UTC; 0 for anything else."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else datetime.fromtimestamp(0, UTC)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class Place(NamedTuple):
    """What a list cursor holds: the order, the sort key of the last item seen, and the last item's own number."""

    order: str
    at: float
    id: str
    number: int

    def text(self) -> str:
        """The cursor; opaque, and no id of anything."""
        return "cur_" + base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")


class Page(NamedTuple):
    """Which page of a list is asked for."""

    limit: int
    order: str
    after: Place | None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Page":
        """Reads `limit`, `order` and `cursor`; BadQueryError says which is wrong."""
        limit, order = query.get("limit", str(DEFAULT_LIMIT)), query.get("order", "desc")
        if not limit.isascii() or not limit.isdigit() or not int(limit):
            raise BadQueryError("limit must be a positive integer.")
        if order not in ("asc", "desc"):
            raise BadQueryError("order must be asc or desc.")
        cursor = query.get("cursor")
        place = _place(cursor) if cursor else None
        if place and place.order != order:
            raise BadQueryError("The cursor belongs to another order.", "pagination.cursor_invalid")
        return cls(min(int(limit), MAX_LIMIT), order, place)


def page_of(
    keys: list[tuple[float, str, int]], page: Page, read: Callable[[int], object | None], scan: int
) -> tuple[list[object], str | None]:
    """The items of a page and the cursor of the next, None on the last page.

    `keys` are in ascending order; `read` gives the item of a key's number, None where a filter leaves it out. At most
    `scan` are read: a short page with a cursor may follow.
    """
    if page.order == "asc":
        places = range(bisect_right(keys, page.after[1:]) if page.after else 0, len(keys))
    else:
        places = range((bisect_left(keys, page.after[1:]) if page.after else len(keys)) - 1, -1, -1)
    items: list[object] = []
    last: tuple[float, str, int] = (0.0, "", 0)
    for count, place in enumerate(places):
        item = None if count == scan else read(keys[place][2])
        if count == scan or (item is not None and len(items) == page.limit):
            return items, Place(page.order, *last).text()
        if item is not None:
            items.append(item)
        last = keys[place]
    return items, None


def _place(cursor: str) -> Place:
    body = cursor.removeprefix("cur_")
    try:
        fields = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        place = Place(*fields)
    except (ValueError, TypeError):
        place = None
    kinds = tuple(map(type, place)) if place else ()
    if place is None or kinds not in ((str, float, str, int), (str, int, str, int)) or place.text() != cursor:
        raise BadQueryError("The cursor is unknown or has expired.", "pagination.cursor_invalid")
    return place


def _values(query: Query, name: str) -> frozenset[str]:
    return frozenset(query.getall(name)) if name in query else frozenset()


def _moment(query: Query, name: str) -> float | None:
    if name not in query:
        return None
    (text, *_) = query.getall(name)
    if not (at := seconds(text)):
        raise BadQueryError(f"{name} must be an RFC 3339 time.")
    return at


def _at(event: Fields, path: tuple[str, ...]) -> object:
    value: object = event
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _agent(event: Fields) -> object:
    """The agent of an Event: its own `agentId`, else its actor where that is an agent."""
    if "agentId" in event:
        return event["agentId"]
    return _at(event, ("actor", "id")) if _at(event, ("actor", "type")) == "agent" else None
