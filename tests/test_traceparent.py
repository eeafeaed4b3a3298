"""Holds webhooks to the trace context of their events: a real Redis, a real receiver, and a bridge between them."""

import json

import pytest
from delivering import SOURCE, Stage, body, destination
from receiver import Receiver
from servers import RedisServer

from bridge.signing import message_id

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ANOTHER = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"
TRACES = {"traced": TRACE, "another": ANOTHER, "none": None, "odd": "01" + TRACE[2:]}
FORMATS = ("structured", "binary", "thin", "batched")


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


def put(stage: Stage, id_: str, trace: str | None) -> None:
    """Add an event with this trace context, as a bridge's append would."""
    event = json.loads(body(id_, "run-1")) | ({} if trace is None else {"traceparent": trace})
    stage.put_raw(id=id_, type="ai.bctrl.navigation", subject="run-1", event=json.dumps(event))


async def sent(stage: Stage, there: str) -> dict[str, tuple[list[str], str | None]]:
    """`webhook-id` -> the request's headers `traceparent`, and the event's own attribute as it came, if at all."""
    async with Receiver() as receiver:
        async with stage.bridge(there.replace("RECEIVER", receiver.url), http='public_url = "https://bridge.example"'):
            await stage.all_settled("crm")
        return {
            hook.headers["webhook-id"]: (
                hook.request.headers.getall("traceparent", []),
                hook.headers.get("ce-traceparent") if hook.body.startswith(b'{"id"') else _said(hook.body),
            )
            for hook in receiver.hooks
        }


def _said(text: bytes) -> str | None:
    event = json.loads(text)
    found: str | None = (event[0] if isinstance(event, list) else event).get("traceparent")
    return found


@pytest.mark.parametrize("format_", FORMATS)
async def test_the_trace_context_of_an_event_is_a_header(stage: Stage, format_: str) -> None:
    """In every format, once, where W3C Trace Context 00 allows it; what else an event says stays in the event."""
    for id_, trace in TRACES.items():
        put(stage, id_, trace)
    there = destination("crm", "RECEIVER", format=format_, types=["ai.bctrl.*"])
    there += "batch = { max_events = 1 }\n" if format_ == "batched" else ""
    assert await sent(stage, there) == {
        message_id(SOURCE + "run-1", id_): ([trace] if trace in {TRACE, ANOTHER} else [], trace)
        for id_, trace in TRACES.items()
    }


@pytest.mark.parametrize("other", [TRACE, ANOTHER, None])
async def test_a_batch_carries_the_trace_context_that_its_events_share(stage: Stage, other: str | None) -> None:
    """All of them, or none is a header."""
    put(stage, "first", TRACE)
    put(stage, "second", other)
    there = destination("crm", "RECEIVER", format="batched", types=["ai.bctrl.*"])
    ((_, found),) = (await sent(stage, there + "batch = { max_events = 2, max_wait_ms = 2000 }\n")).items()
    assert found == ([TRACE] if other == TRACE else [], TRACE)
