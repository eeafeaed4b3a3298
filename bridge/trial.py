"""One signed test event to a webhook, outside the log: what `destinations test` and the control API show."""

import asyncio

import msgspec

from bridge.clock import now, rfc3339, uuid7
from bridge.delivery.lane import Outcome, Unit
from bridge.destinations import Around, client_of, endpoint_of, signer_of
from bridge.event import Entry
from bridge.normalize.own import own_event
from bridge.settings import WebhookDestination
from bridge.stop import within
from bridge.webhook import Webhook

TYPE = "dev.runbridge.test"
BEYOND = 2.0
"""Seconds beyond the destination's own time-out, after which nobody waits any more."""
MOST_ANSWER = 500
"""Characters of the receiver's answer that are told."""


async def trial(name: str, destination: WebhookDestination, around: Around) -> dict[str, object]:
    """What came of one attempt: `outcome`, `status`, `seconds`, `error`, `answer`. Counts for nothing else."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[Outcome] = loop.create_future()
    client = client_of(destination, around.spawn, 1)
    started = loop.time()
    try:
        endpoint = endpoint_of(name, destination, around, signer_of(name, destination, around.observe), partition=0)
        Webhook(endpoint, client, lambda _: None)(
            Unit((_entry(name),)), lambda _, outcome: None if came.done() else came.set_result(outcome)
        )
        outcome = await within(came, destination.timeout + BEYOND)
    finally:
        await client.close()
    seconds = round(loop.time() - started, 4)
    if outcome is None:
        return {"outcome": "failed", "status": None, "seconds": seconds, "error": "no answer in time", "answer": ""}
    return {
        "outcome": outcome.result.value, "status": outcome.status, "seconds": seconds, "error": outcome.error,
        "answer": outcome.answer.decode(errors="replace")[:MOST_ANSWER],
    }  # fmt: skip


def _entry(name: str) -> Entry:
    time, id_ = rfc3339(now()), uuid7()
    event = own_event(
        id_=id_, resource=f"urn:runbridge:destination:{name}", subject=name, what="", time=time,
        data={"destination": name, "message": "This is a test. It is not in the log."},
    )  # fmt: skip
    event.type, event.recordedtime = TYPE, time
    return Entry("0-0", id_, TYPE, name, msgspec.json.encode(event))
