"""`sse`: any Server-Sent Events URL, resumed by `Last-Event-ID` and, where it has one, a query parameter.

Refuses to hide what it can't know: a stream whose events have no ids brings nothing that happened between two
connections, and each such gap is said in the log.
"""

from collections.abc import AsyncGenerator, Mapping

from bridge.clock import uuid7
from bridge.event import Batch, Position
from bridge.normalize.any_event import AnyStream as Reads
from bridge.normalize.any_event import Pointers
from bridge.sources.account import Account
from bridge.sources.bookmark import Bookmark
from bridge.sources.event_stream import Call, EventStream
from bridge.sources.subscription import FROM_UPSTREAM, Start, scope_of

NO_IDS = "its events have no ids to go on from, so what happened while it was not connected is missing"


def resource(url: str) -> str:
    """The CloudEvents `source` of a stream's events: its URL without the query, which may hold a token."""
    return url.partition("?")[0].partition("#")[0]


class AnyStream(EventStream):
    """One stream. `pointers` say where the attributes of an event are; `cursor_query` names the parameter."""

    def __init__(
        self, id_: str, account: Account, *, url: str, pointers: Pointers, type_prefix: str = "",
        cursor_query: str | None = None, terminal_event: str | None = None, headers: Mapping[str, str] | None = None,
        idle_timeout: float = 60.0, max_event_bytes: int = 8 << 20, recheck: float = 300.0, start: Start = FROM_UPSTREAM,
    ) -> None:  # fmt: skip
        named = resource(url)
        self._frames_read = reads = Reads(named, id_, pointers, type_prefix, terminal_event, uuid7)
        call = Call(url, cursor_query, (), headers or {}, idle_timeout, max_event_bytes)
        super().__init__(
            id_, account, call, reads, resource=named, subject=id_, recheck=recheck,
            scope=scope_of("", [("url", url)]), start=start,
        )  # fmt: skip

    async def _connection(self, position: Position, bookmark: Bookmark) -> AsyncGenerator[Batch]:
        connected = False
        self._frames_read.connected()
        async for batch in super()._connection(position, bookmark):
            yield batch
            if not connected and position.sequence and not (position.cursor or position.bookmark):
                yield self.lost(NO_IDS)
            connected = True
