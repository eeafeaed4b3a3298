"""`bctrl.operation.wait` and `bctrl.invocation.wait`: `POST /v1/operations/{id}/wait`, `/v1/invocations/{id}/wait`.

A wait ends at the end of the work or after its time, and tells the present state either way; each change of status or
step is an event. Refuses to take `timedOutWaiting` for the status `timed_out`, which is an end (CONTRACT A.2).
"""

from collections.abc import AsyncGenerator
from datetime import datetime
from random import Random

import msgspec

from bridge.backoff import delays
from bridge.clock import now
from bridge.errors import HttpError, SourceError
from bridge.event import Batch, Event, Parked, Position, State
from bridge.normalize.durable_work import Answer, DurableWork, Noun
from bridge.normalize.resource import below
from bridge.normalize.run_event import parked
from bridge.sources.account import Account
from bridge.sources.outcome import ERROR_BODY, refusal, unanswered
from bridge.sources.subscription import Subscription, clock
from bridge.stop import nap

MARGIN = 15.0
"""Seconds that the client waits longer than the server was asked to (CONTRACT F.5)."""
MAX_BODY = 8 << 20
"""Bytes of an answer; a longer one is parked with its beginning."""
TOO_EARLY = 0.5
"""An answer without news before this part of the time asked for is no time-out, and is slowed down."""
PACE = 1.0
"""Seconds from one wait that brought nothing to the next, at least (CONTRACT F.26)."""


def resource(base_url: str, noun: Noun, id_: str) -> str:
    """The CloudEvents `source` of the work's events."""
    return below(base_url, f"{noun}s", id_)


class DurableWait(Subscription):
    """The waits for one operation or invocation. `wait_timeout` is sent as `timeoutMs`."""

    def __init__(
        self, id_: str, account: Account, *, noun: Noun, work: str, wait_timeout: float = 2.0, recheck: float = 300.0
    ) -> None:  # fmt: skip
        named = resource(account.base_url, noun, work)
        super().__init__(id_, account, resource=named, subject=work, recheck=recheck)
        self._reads = DurableWork(noun, work, named)
        self._url = account.url("v1", f"{noun}s", work, "wait")
        self._timeout = wait_timeout
        self._body = msgspec.json.encode({"timeoutMs": round(wait_timeout * 1000)})

    async def batches(self, position: Position) -> AsyncGenerator[Batch]:
        """A batch an answer, until the work is over or something fails."""
        slow = delays(Random())
        while True:
            started = clock()
            body = await self._ask()
            answer = self._reads.answer(body, now()) if len(body) <= MAX_BODY else _oversized(body)
            record = answer.record
            if isinstance(record, Parked):
                yield Batch([record])
                raise SourceError(f"an answer could not be read: {record.reason}")
            news = record.id not in position.known
            yield Batch([record] if news else [], state=State.ENDED if answer.over else None)
            if answer.over:
                return
            took = clock() - started
            if news or took >= self._timeout * TOO_EARLY:
                slow = delays(Random())
                await nap(0.0 if news else max(0.0, PACE - took))
            else:
                await nap(next(slow))

    def again(self, raw: bytes, name: str, received: datetime) -> Event | Parked | None:  # noqa: ARG002  # it has an id
        """What a parked answer says now."""
        return self._reads.answer(raw, received).record

    async def _ask(self) -> bytes:
        """One wait's answer. Raises SourceError and its kinds."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            async with self.account.request(
                "POST", self._url, headers=headers, body=self._body, total=self._timeout + MARGIN
            ) as response:
                if response.status == 200:
                    return await response.read(MAX_BODY + 1)
                said = self.account.hide(await response.read(ERROR_BODY))
        except HttpError as error:
            raise unanswered(error, consuming=False) from error
        raise refusal(response.status, response.headers, said, now())


def _oversized(body: bytes) -> Answer:
    return Answer(parked(f"oversized: the first {MAX_BODY} bytes are kept", body[:MAX_BODY], body))
