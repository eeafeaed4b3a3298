"""Holds an account's reader to what its events are about, and both readers to each generation's fields."""

import json
from typing import Any

import pytest
from judges import judged
from normalized import ACCOUNT, RECEIVED, RUN, STREAM, encoded

from bridge.event import Batch, Event
from bridge.sse import Decoder

BASE = "https://api.bctrl.ai"
IDS = {
    "runId": "run_1", "taskId": "task_1", "sandboxId": "sb_1", "runtimeId": "brw_1", "conversationId": "conv_1",
    "spaceId": "sp_1",
}  # fmt: skip


def read(data: dict[str, Any], name: str = "run.started", id_: str = "evt_1") -> Batch:
    """What an account's stream says in one frame."""
    return ACCOUNT.batch(
        Decoder().feed(f"id: {id_}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()), RECEIVED
    )  # fmt: skip


def only(batch: Batch) -> dict[str, Any]:
    """The one event of a batch as its readers see it."""
    (record,) = batch.records
    assert isinstance(record, Event), record
    return judged(encoded(record))


@pytest.mark.parametrize(
    ("ids", "source", "subject"),
    [
        (["runId", "taskId", "sandboxId", "runtimeId", "conversationId", "spaceId"], "/runs/run_1", "run_1"),
        (["taskId", "sandboxId", "runtimeId", "conversationId", "spaceId"], "/tasks/task_1", "task_1"),
        (["sandboxId", "runtimeId", "conversationId", "spaceId"], "/sandboxes/sb_1", "sb_1"),
        (["runtimeId", "conversationId", "spaceId"], "/browsers/brw_1", "brw_1"),
        (["conversationId", "spaceId"], "/conversations/conv_1", "conv_1"),
        (["spaceId"], "/spaces/sp_1", "sp_1"),
        ([], "/events", "account"),
    ],
)
def test_an_event_is_about_the_first_that_it_names(ids: list[str], source: str, subject: str) -> None:
    """The run orders its events; without one the task, the sandbox, the browser, the conversation, the space."""
    for rest in ({}, dict.fromkeys(IDS.keys() - ids), dict.fromkeys(IDS.keys() - ids, "")):
        event = only(read({"id": "evt_1", "type": "t", **rest, **{name: IDS[name] for name in ids}}))
        assert (event["source"], event["subject"], event["partitionkey"]) == (BASE + source, subject, subject)
        assert event.get("runid") == ("run_1" if "runId" in ids else None)


def test_a_run_has_the_same_events_here_and_in_its_own_stream() -> None:
    """`source` and `id` are equal, so that who reads both can tell."""
    data = {"id": "evt_1", "type": "t", "runId": RUN}
    (there,) = STREAM.batch(Decoder().feed(f"data: {json.dumps(data)}\n\n".encode()), RECEIVED).records
    assert isinstance(there, Event)
    here = only(read(data))
    assert (here["source"], here["id"], here["type"]) == (there.source, there.id, there.type)


def test_an_id_that_is_no_path_is_one_segment() -> None:
    """Whatever an id holds, the source stays below the account's own."""
    for id_, encoded_id in (("a/b c", "a%2Fb%20c"), ("..", "%2E%2E"), ("\u20ac?#", "%E2%82%AC%3F%23")):
        event = only(read({"id": "evt_1", "type": "t", "taskId": id_}))
        assert (event["source"], event["subject"]) == (f"{BASE}/tasks/{encoded_id}", id_)


@pytest.mark.parametrize("mark", [{}, {"category": "lifecycle"}, {"seq": 4}, {"object": "event"}])
def test_the_end_of_a_run_ends_nothing_here(mark: dict[str, Any]) -> None:
    """It is an event of its run, under the id that the run's own stream gives it, and the account's stream goes on."""
    batch = read({"id": "evt_1", "type": "run.ended", "runId": "run_1", "status": "ended", **mark}, "run.ended")
    event = only(batch)
    assert (event["type"], event["subject"]) == ("ai.bctrl.run.ended", "run_1")
    assert event["id"] == ("evt_1" if mark else "run_1:ended")
    assert (batch.state, batch.cursor) == (None, "evt_1")


# -- the generations, field by field, as CONTRACT D.1 has them


def test_every_field_of_the_trace_generation_has_its_attribute() -> None:
    """CONTRACT A.6: the time is `timestamp`, the origin `source`; a span id stays in the data."""
    inner = {
        "id": "evt_5", "type": "navigation", "runId": RUN, "source": "cdp", "spanId": "span_1", "pageId": "page_1",
        "timestamp": "2026-07-27T00:00:01Z", "data": {"status": "x"},
    }  # fmt: skip
    wrapper = {
        "type": "runtime.event",
        "id": "rse_1",
        "runId": "other",
        "timestamp": "2026-07-27T00:00:02Z",
        "event": inner,
    }
    (record,) = STREAM.batch(Decoder().feed(f"data: {json.dumps(wrapper)}\n\n".encode()), RECEIVED).records
    assert isinstance(record, Event)
    event = judged(encoded(record))
    extensions = {name: event[name] for name in ("id", "type", "time", "origin", "runid", "pageid", "data")}
    assert extensions == {
        "id": "evt_5", "type": "ai.bctrl.navigation", "time": "2026-07-27T00:00:01Z", "origin": "cdp", "runid": RUN,
        "pageid": "page_1", "data": inner,
    }  # fmt: skip
    assert not {"status", "category"} & set(event)


@pytest.mark.parametrize("type_", ["span.started", "span.updated", "span.completed", "control.changed"])
def test_spans_and_changes_of_control_are_events_of_their_own(type_: str) -> None:
    """CONTRACT A.6 and A.7: the whole frame is the event, under the frame's own id."""
    frame = {"type": type_, "id": "rse_2", "runId": RUN, "timestamp": "2026-07-27T00:00:03Z", "span": {"id": "span_1"}}
    (record,) = STREAM.batch(Decoder().feed(f"data: {json.dumps(frame)}\n\n".encode()), RECEIVED).records
    assert isinstance(record, Event)
    event = judged(encoded(record))
    assert (event["id"], event["type"], event["data"]) == ("rse_2", f"ai.bctrl.{type_}", frame)
    assert event["time"] == "2026-07-27T00:00:03Z"


def test_every_field_of_todays_events_has_its_attribute() -> None:
    """CONTRACT A.7: `outcome` is the status, `category` and `source` have words of their own, the first time counts."""
    data = {
        "object": "event", "id": "evt_6", "type": "run.started", "seq": 7, "category": "lifecycle", "channel": "api",
        "outcome": "denied", "source": "system", "actor": {"type": "api_key", "id": "k"}, "pageId": "page_1", **IDS,
        "data": {"status": "x"}, "time": "2026-10-03T00:00:01Z", "timestamp": "2026-10-03T00:00:02Z",
        "createdAt": "2026-10-03T00:00:03Z", "updatedAt": "2026-10-03T00:00:04Z",
    }  # fmt: skip
    event = only(read(data))
    names = ("category", "origin", "status", "runid", "runtimeid", "spaceid", "pageid", "time")
    assert [event[name] for name in names] == [
        "lifecycle", "system", "denied", "run_1", "brw_1", "sp_1", "page_1", "2026-10-03T00:00:01Z"
    ]  # fmt: skip
    for name in ("time", "timestamp"):
        del data[name]
    assert only(read(data))["time"] == "2026-10-03T00:00:03Z"
    assert only(read({**data, "status": "s"}))["status"] == "s"


@pytest.mark.parametrize("numbers", [[7, 8, 9], [7, 900, 3], [7, 7, 7], [None, "8", 8.5]])
def test_nothing_is_concluded_from_seq(numbers: list[object]) -> None:
    """What `seq` counts is not documented: events with holes in it, backwards or without it come all the same."""
    frames = [
        f"id: evt_{at}\nevent: a.b\ndata: {json.dumps({'id': f'evt_{at}', 'type': 'a.b', 'seq': number})}\n\n"
        for at, number in enumerate(numbers)
    ]
    batch = ACCOUNT.batch(Decoder().feed("".join(frames).encode()), RECEIVED)
    assert [record.id for record in batch.records if isinstance(record, Event)] == ["evt_0", "evt_1", "evt_2"]
    assert batch.cursor == "evt_2"
