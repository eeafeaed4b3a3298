"""`anchor.event.wait`: `POST /v1/events/{event_name}/wait`, a long-poll whose answer takes the signal away.

There is nothing to resume from and nothing to de-duplicate on (CONTRACT C.1), so each signal gets an id of our own at
receipt, and an end without an answer is an OutcomeUnknown. Refuses to arm: `bridge.consume` does, one wait at a time.
"""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime

import msgspec

from bridge.clock import now, rfc3339, uuid7
from bridge.errors import HttpError, SourceError
from bridge.event import Batch, Event, Parked, Position
from bridge.normalize.resource import below
from bridge.normalize.surrogates import paired, verbatim
from bridge.sources.account import Account
from bridge.sources.outcome import ERROR_BODY, refusal, unanswered
from bridge.sources.subscription import Subscription

MARGIN = 15.0
"""Seconds that the client waits longer than the server was asked to (CONTRACT F.5)."""
MAX_BODY = 8 << 20
"""Bytes of an answer; a longer one is parked with its beginning."""
TOO_EARLY = 0.5
"""A 408 before this part of the time asked for is not a time-out: something answers instantly and wrongly."""


def resource(base_url: str, event: str) -> str:
    """The CloudEvents `source` of a named event's signals."""
    return below(base_url, "events", event)


class _Answer(msgspec.Struct):
    data: msgspec.Raw


class EventWait(Subscription):
    """One named event. `wait_timeout` is sent as `timeoutMs`."""

    def __init__(
        self, id_: str, account: Account, *, event: str, wait_timeout: float = 15.0, recheck: float = 300.0
    ) -> None:
        super().__init__(id_, account, resource=resource(account.base_url, event), subject=event, recheck=recheck)
        self._url = account.url("v1", "events", event, "wait")
        self._timeout = wait_timeout
        self._body = msgspec.json.encode({"timeoutMs": round(wait_timeout * 1000)})

    async def batches(self, position: Position) -> AsyncGenerator[Batch]:  # noqa: ARG002  # a wait has no cursor
        """One wait: a batch with the signal, or an empty one where none came. Raises OutcomeUnknown and its kin."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with self.account.request(
                "POST", self._url, headers=headers, body=self._body, total=self._timeout + MARGIN, admitted=True
            ) as response:
                if response.status == 200:
                    batch = self._signal(await response.read(MAX_BODY + 1))
                    yield batch
                    if batch.broken:
                        raise SourceError(batch.broken)
                    return
                body = await response.read(ERROR_BODY)
        except HttpError as error:
            raise unanswered(error, consuming=True) from error
        if response.status != 408:
            raise refusal(response.status, response.headers, self.account.hide(body), now(), consuming=True)
        waited = clock() - started
        if waited < self._timeout * TOO_EARLY:
            raise SourceError(f"408 after {waited:.1f} s, though {self._timeout:g} s were asked for")
        yield Batch()

    def again(self, raw: bytes, name: str, received: datetime) -> Event | Parked | None:
        """What a parked answer says now. Nothing but `name` tells the signal from others: it is made once."""
        record = self._signal(raw).records[0]
        if isinstance(record, Event):
            record.id, record.time = name, rfc3339(received)
        return record

    def _signal(self, body: bytes) -> Batch:
        if len(body) > MAX_BODY:
            return _park(f"oversized: more than {MAX_BODY} bytes", body[:MAX_BODY])
        try:
            body.decode()
            data = verbatim(body, msgspec.json.decode(paired(body), type=_Answer).data, "data")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return _park(f"no signal in the answer: {error}", body)
        received = rfc3339(now())
        event = Event(
            id=uuid7(), source=self.resource, type="io.anchorbrowser.event.signaled", subject=self.subject,
            time=received, partitionkey=self.subject, data=msgspec.Raw(data),
        )  # fmt: skip
        return Batch([event])


def _park(reason: str, body: bytes) -> Batch:
    """An answer that can't be read is kept, and asked for again after a while: it may be the answer to every wait."""
    return Batch([Parked(reason, body)], broken=reason)
