"""Parked records: what could not be read, in pages and whole, and another try to read one. Reads none itself."""

from base64 import b64encode
from typing import Annotated

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from bridge.commands import Done, RetryParked
from bridge.http_api.operation import PARTS, Call, Operation, Says, place_of
from bridge.http_api.problem import Refused
from bridge.http_api.served import Served, answer
from bridge.redis_log.parked import FIRST, LAST, PAGE, ParkedRecord
from bridge.redis_log.replays import before

RecordId = Annotated[str, Meta(pattern=PARTS["record"].pattern)]


class Parked(Struct, frozen=True, kw_only=True):
    """A record that could not be read."""

    id: str
    """`<partition>-<milliseconds>-<number>`."""
    source: str
    reason: str
    size: int
    """Bytes that are kept of it."""
    time: str
    """When it was stored, RFC 3339."""


class WholeParked(Parked, kw_only=True, frozen=True):
    """A parked record with its bytes."""

    cursor: str
    """Where the source stood when it was stored."""
    raw: str | None
    """The record as a text; null where it is none."""
    raw_base64: str | None = None
    """The record's bytes, where they are no text (RFC 4648, section 4)."""


class ParkedPage(Struct, frozen=True, kw_only=True):
    """Some parked records, the newest first in each partition."""

    records: list[Parked]
    next: str | None
    """What `after` is to be for the next page; null at the end."""
    total: int


class Page(Struct, frozen=True, kw_only=True):
    """How many, and from where."""

    limit: Annotated[int, Meta(ge=1, le=PAGE)] = 100
    after: RecordId | UnsetType = UNSET
    """Go on after this record, which may be gone."""


class ParkedApi:
    """The handlers."""

    def __init__(self, served: Served) -> None:
        self._records = served.readers.parked
        self._steering = served.steering

    def operations(self) -> list[Operation]:
        """The table of these."""
        return [
            Operation("GET", "/v1/parked", "listParked", "Records that could not be read", self._list,
                [Says(200, "A page.", ParkedPage)], query=Page, refuses=(503,), tag="parked records"),
            Operation("GET", "/v1/parked/{record}", "getParked", "A parked record with its bytes", self._get,
                [Says(200, "The record.", WholeParked)], refuses=(404, 503), tag="parked records"),
            Operation("POST", "/v1/parked/{record}/retry", "retryParked",
                "Read a parked record again, and put it into the log if it can be read now", self._retry,
                [Says(200, "What came of it.", Done)], refuses=(404, 409, 503), tag="parked records"),
        ]  # fmt: skip

    async def _list(self, call: Call) -> web.StreamResponse:
        asked: Page = call.query
        first, end = 0, LAST
        if asked.after:
            first, id_ = place_of(asked.after)
            end = before(id_)
        found: list[ParkedRecord] = []
        more = False
        for partition in self._records.partitions[first:]:
            limit = asked.limit - len(found) + 1
            async for page in self._records.pages(partition, FIRST, end, backwards=True, most=limit):
                found += page
                if len(found) > asked.limit:
                    break
            end, more = LAST, len(found) > asked.limit
            if more:
                break
        shown = found[: asked.limit]
        next_ = shown[-1].name if more else None
        return answer(ParkedPage(
            records=[_shown(each) for each in shown], next=next_, total=await self._records.count()
        ))  # fmt: skip

    async def _get(self, call: Call) -> web.StreamResponse:
        found = await self._records.whole(*place_of(call.path["record"]))
        if found is None:
            raise Refused(404, f"there is no parked record {call.path['record']}, or not any more")
        text, encoded = None, None
        try:
            text = found.raw.decode()
        except UnicodeDecodeError:
            encoded = b64encode(found.raw).decode()
        return answer(WholeParked(
            id=found.name, source=found.source, reason=found.reason, size=found.size, time=found.time,
            cursor=found.cursor, raw=text, raw_base64=encoded,
        ))  # fmt: skip

    async def _retry(self, call: Call) -> web.StreamResponse:
        partition, id_ = place_of(call.path["record"])
        return answer(await self._steering.do(RetryParked(id_, partition)))


def _shown(one: ParkedRecord) -> Parked:
    return Parked(id=one.name, source=one.source, reason=one.reason, size=one.size, time=one.time)
