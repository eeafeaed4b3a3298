"""Holds the JSON Schema of the event to what the daemon really writes, and to the `cloudevents` package."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from daemon import Daemon, configuration, durable_source, stream_source, wait_source
from judges import complaints, judged, schema
from servers import RedisServer
from upstream import CUT, HANG, Upstream, answer, ended, frame, stream
from waiting import wait_until

from bridge.event import Event

VALID: dict[str, Any] = {
    "specversion": "1.0",
    "id": "evt_1",
    "source": "https://api.bctrl.ai/runs/r",
    "type": "ai.bctrl.navigation",
    "subject": "r",
    "time": "2026-06-25T12:00:05.123Z",
    "datacontenttype": "application/json",
    "sequence": "00000000000000000001",
    "partitionkey": "r",
    "recordedtime": "2026-06-25T12:00:06Z",
    "data": {},
}

RUN = "/v2/runs/r/events/stream"
GONE = "/v2/runs/gone/events/stream"
WAIT = "/v1/events/otp/wait"
WORK = "/v1/operations/w/wait"
ACCOUNT = "/v1/events/stream"


def test_it_is_a_schema() -> None:
    """The schema is valid by the specification it names (JSON Schema 2020-12)."""
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_it_knows_the_attributes_of_the_event_and_no_others() -> None:
    """The schema's properties are those of the value that the bridge encodes, all named as CloudEvents asks."""
    names = [field.encode_name for field in msgspec.structs.fields(Event)]
    assert set(schema()["properties"]) == set(names)
    assert all(name.isalnum() and name == name.lower() and len(name) <= 20 for name in names)


def test_a_smallest_and_a_fullest_event_pass() -> None:
    """The required attributes are enough, and every optional one may be there."""
    optional = set(schema()["properties"]) - set(VALID)
    for event in (VALID, {**VALID, **dict.fromkeys(optional, "x")}):
        assert judged(json.dumps(event).encode()) == event


@pytest.mark.parametrize("name", [*schema()["required"], "sequence"])
def test_a_missing_attribute_is_refused(name: str) -> None:
    """Each required attribute is missed."""
    assert complaints({key: value for key, value in VALID.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "0.3"),
        ("id", ""),
        ("id", 5),
        ("source", ""),
        ("source", "https://api.bctrl.ai/runs/a b"),
        ("type", ""),
        ("subject", ""),
        ("time", "2026-06-25T12:00:05"),
        ("time", "2026-06-25T12:00:05+02:00"),
        ("time", "2026-06-25 12:00:05Z"),
        ("time", "2026-06-25T12:00:05.Z"),
        ("recordedtime", "now"),
        ("datacontenttype", "text/plain"),  # whose data is a string
        ("datacontenttype", "text/html"),
        ("datacontenttype", None),
        ("sequence", "1"),
        ("sequence", "0000000000000000000x"),
        ("sequence", "\u0661" * 20),
        ("partitionkey", ""),
        ("status", ""),
        ("pageid", None),
        ("runid", 7),
        ("extra", "x"),
        ("runId", "x"),
        ("data_base64", "AA=="),
    ],
)
def test_another_form_is_refused(name: str, value: object) -> None:
    """A wrong value, and an attribute that is not in the table, is a complaint."""
    assert complaints({**VALID, name: value})


@pytest.mark.parametrize("data", [None, [], 0, "text", {"a": [{}]}])
def test_data_is_whatever_the_upstream_says(data: object) -> None:
    """`data` is any JSON value."""
    assert not complaints({**VALID, "data": data})


@pytest.mark.parametrize("data", [{}, [], None, 0, True])
def test_a_text_is_a_string(data: object) -> None:
    """`data` of text/plain is a JSON string and nothing else."""
    assert judged(json.dumps({**VALID, "datacontenttype": "text/plain", "data": "Hello"}).encode())
    assert complaints({**VALID, "datacontenttype": "text/plain", "data": data})


@pytest.mark.parametrize("example", schema()["examples"], ids=lambda example: example["type"])
def test_the_examples_are_events(example: dict[str, Any]) -> None:
    """Each example is valid by all judges."""
    assert judged(json.dumps(example).encode()) == example


def test_the_examples_of_attributes_are_valid() -> None:
    """Each example of one attribute may stand in its place."""
    for name, attribute in schema()["properties"].items():
        for example in attribute.get("examples", []):
            assert not complaints({**VALID, name: example}), (name, example)


async def test_what_the_daemon_writes_passes(tmp_path: Path, start_server: Callable[..., RedisServer]) -> None:
    """Every kind of event that the daemon puts into the log is valid, and its entry has the four fields in order."""
    server = start_server("valkey")
    expected = {
        "ai.bctrl.navigation", "ai.bctrl.run.ended", "io.anchorbrowser.event.signaled",
        "dev.runbridge.source.failed", "dev.runbridge.source.gap", "ai.bctrl.operation.succeeded",
        "ai.bctrl.message.created", "org.example.message",
    }  # fmt: skip

    def entries() -> list[dict[str, str]]:
        return [fields for _, fields in server.call("XRANGE", "bridge:{0}:events", "-", "+")]

    async with Upstream() as upstream:
        upstream.on(RUN, stream(frame("e1", pageId="p", kind="artifact"), frame("e2", name="\u20ac"), ended()))
        upstream.on(GONE, answer(404, {"code": "run.not_found", "error": "no such run"}))
        upstream.on(WAIT, answer(200, rb'{"data":{"code":1e2,"cut":"\ud83d"}}'), CUT, HANG)
        upstream.on(WORK, answer(200, {"operation": {"id": "w", "status": "succeeded"}, "timedOutWaiting": False}))
        upstream.on(ACCOUNT, stream(frame("evt_1", "message.created", runId=None, conversationId="conv_1"), then=HANG))
        upstream.on("/news", stream(b"id: 7\ndata: Hello\n\n", then=HANG))
        sources = stream_source() + stream_source("gone", run="gone") + wait_source(wait_timeout="1s")
        sources += durable_source("work") + '[sources.all]\naccount = "bctrl"\nkind = "bctrl.events.stream"\n'
        sources += f'[sources.news]\nkind = "sse"\nurl = "{upstream.url}/news"\ntype_prefix = "org.example."\n'
        config = configuration(server.url, sources, bctrl=upstream.url, anchor=upstream.url, more='grace = "2s"')
        async with Daemon(tmp_path, config) as daemon:
            await wait_until(lambda: {fields["type"] for fields in entries()} >= expected, f"all of {expected}", 20)
            daemon.kill()
    events = {}
    for fields in entries():
        assert list(fields) == ["id", "type", "subject", "event"]
        event = judged(fields["event"].encode())
        assert {name: event[name] for name in ("id", "type", "subject")} | {"event": fields["event"]} == fields
        assert event["partitionkey"] == event["subject"]
        events[event["id"]] = event
    (signal,) = (event for event in events.values() if event["type"].endswith("signaled"))
    assert signal["data"] == {"code": 100.0, "cut": "\ud83d"}
    news, created = events["7"], events["evt_1"]
    assert (news["data"], news["datacontenttype"], news["subject"]) == ("Hello", "text/plain", "news")
    assert created["source"].endswith("/conversations/conv_1")
    first = events["e1"]
    assert (first["category"], first["pageid"], first["runid"]) == ("file", "p", "r")
