"""`bctrl.run-events.stream`: `GET /v2/runs/{id}/events/stream` (or `/v1`), Server-Sent Events.

Holds one connection at a time and resumes with `cursor` and `Last-Event-ID` (CONTRACT F.9). Refuses to decide when to
come back: `bridge.ingest` does.
"""

from collections.abc import AsyncGenerator, Sequence

from bridge.clock import now
from bridge.errors import HttpError, SourceError, SourceRefused
from bridge.event import Batch, Position
from bridge.http_client import Response
from bridge.normalize.run_event import RunStream
from bridge.sources.account import Account, below
from bridge.sources.outcome import ERROR_BODY, refuse, unanswered
from bridge.sources.subscription import Subscription
from bridge.sse import Decoder

NOT_A_STREAM = ("text/html", "application/json")
"""Content types that are certainly no event stream. Others are read: v2 documents none (CONTRACT A.4)."""


def resource(base_url: str, run: str) -> str:
    """The CloudEvents `source` of a run's events."""
    return below(base_url, "runs", run)


class RunEventsStream(Subscription):
    """One run's event stream. `filters` are query parameters under the API's own names."""

    def __init__(
        self, id_: str, account: Account, *, run: str, api: str = "v2", filters: Sequence[tuple[str, str]] = (),
        idle_timeout: float = 60.0, max_event_bytes: int = 8 << 20, recheck: float = 300.0,
    ) -> None:  # fmt: skip
        super().__init__(id_, resource=resource(account.base_url, run), subject=run, recheck=recheck)
        self._account = account
        self._url = account.url(api, "runs", run, "events", "stream")
        self._filters = filters
        self._idle = idle_timeout
        self._max_event_bytes = max_event_bytes
        self._reads = RunStream(run, self.resource)

    async def batches(self, position: Position) -> AsyncGenerator[Batch]:
        """One connection's batches (`bridge.ports.Source`); the first is empty and says: connected."""
        cursor = position.cursor
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store", "Accept-Encoding": "identity"}
        params = list(self._filters)
        if cursor:
            params.insert(0, ("cursor", cursor))
            if cursor.isprintable():  # a header can't carry an id's control characters; the query can
                headers["Last-Event-ID"] = cursor
        try:
            async with self._account.client.request(
                "GET", self._url, headers={**headers, **self._account.credentials}, params=params, idle=self._idle
            ) as response:
                await self._accept(response)
                yield Batch()
                decoder = Decoder(max_event_bytes=self._max_event_bytes, last_event_id=cursor or "")
                async for chunk in response.chunks():
                    batch = self._batch(decoder, chunk)
                    yield batch
                    if batch.broken:
                        said = self._account.hide(batch.broken.encode()).decode()
                        raise SourceError(f"the stream reported an error: {said}")
        except HttpError as error:
            raise unanswered(error, consuming=False) from error

    def _batch(self, decoder: Decoder, chunk: bytes) -> Batch:
        before = decoder.last_event_id
        batch = self._reads.batch(decoder.feed(chunk), now())
        if decoder.retry is not None:
            self.floor = decoder.retry / 1000
        if decoder.last_event_id != before and decoder.last_event_id and not batch.broken:
            batch.cursor = decoder.last_event_id
        return batch

    async def _accept(self, response: Response) -> None:
        if response.status == 200:
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind in NOT_A_STREAM:
                raise SourceError(f"200 with {kind} where an event stream was expected")
            return
        if response.status == 204:
            raise SourceRefused("204: the upstream asks not to reconnect", status=204)
        refuse(
            response.status,
            response.headers,
            self._account.hide(await response.read(ERROR_BODY)),
            now(),
            consuming=False,
        )
