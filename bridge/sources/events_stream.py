"""`bctrl.events.stream`: `GET /v1/events/stream`, the events of a whole account in the order of their commits.

Resumed after an event's id it has no gaps (CONTRACT A.7); its history is the list `GET /v1/events`. It never ends: the
end of a run is one of its events. With other filters it goes on from the same event. Without an event it may begin
with what happens from then on: where a connection ended before its first one, the list tells what happened meanwhile.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from bridge.clock import now, rfc3339
from bridge.event import Batch, Position
from bridge.normalize.resource import below
from bridge.normalize.run_event import AccountStream
from bridge.sources.account import Account
from bridge.sources.bookmark import Bookmark
from bridge.sources.event_stream import Call, EventStream
from bridge.sources.history import LATE, History
from bridge.sources.subscription import FROM_UPSTREAM, Start

ACCOUNT = "account"
"""The subject of events that name neither a run nor anything else."""


def resource(base_url: str) -> str:
    """The CloudEvents `source` of what the bridge itself has to say about the stream."""
    return below(base_url, "events")


class EventsStream(EventStream):
    """One account's stream. `filters` are query parameters under the API's own names.

    `headers` are `BCTRL-Version`, and those of the space and the subaccount.
    """

    def __init__(
        self, id_: str, account: Account, *, filters: Sequence[tuple[str, str]] = (), headers: Mapping[str, str],
        idle_timeout: float = 60.0, max_event_bytes: int = 8 << 20, recheck: float = 300.0,
        start: Start = FROM_UPSTREAM,
    ) -> None:  # fmt: skip
        reads = AccountStream(ACCOUNT, account.base_url)
        call = Call(
            account.url("v1", "events", "stream"), "after", filters, headers, idle_timeout, max_event_bytes, whole=True
        )  # fmt: skip
        super().__init__(
            id_, account, call, reads, resource=resource(account.base_url), subject=ACCOUNT, recheck=recheck,
            start=start,
        )  # fmt: skip
        self.history = History(
            account, account.url("v1", "events"), headers=headers, params=filters, reads=reads,
            ordered=True, resumes=True, notice=self.notice,
        )  # fmt: skip

    def begin(self, position: Position) -> Bookmark:
        """As for all; behind a connection that has brought nothing, with what has happened since it began."""
        at = super().begin(position)
        if at.connected and not position.cursor:
            return Bookmark(again=True, begin=at.begin, since=at.begin)
        return at

    async def _connection(self, position: Position, bookmark: Bookmark) -> AsyncGenerator[Batch]:
        first = not (position.cursor or position.bookmark)
        noted = False
        async with aclosing(super()._connection(position, bookmark)) as batches:
            async for batch in batches:
                if first and not noted:
                    # LATE earlier, since the upstream's clock may differ from ours
                    batch.bookmark, noted = Bookmark(connected=True, begin=rfc3339(now() - LATE)).text, True
                elif noted and batch.cursor:
                    batch.bookmark, first, noted = "", False, False
                yield batch
