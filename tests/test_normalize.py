"""Holds the normaliser of run event streams to the recorded shapes of every generation, and to odd values."""

import json
from typing import Any

import msgspec
import pytest
from judges import judged
from normalized import G6, RECEIPT, RECEIVED, RESOURCE, RUN, STREAM, encoded, framed, only, parked, read

from bridge.event import Event, State
from bridge.normalize.own import own_event

# CONTRACT A.5, the vendor's own: no `time`, and a status that its schema does not have
DOCUMENTED = """\
event: run.event
id: evt_123
data: {"id":"evt_123","runId":"run_123","type":"runtime.lifecycle","status":"completed"}

event: heartbeat
data: {"time":"2026-06-25T12:00:05.000Z"}

event: run.ended
data: {"runId":"run_123","status":"completed","finishedAt":"2026-06-25T12:01:00.000Z","failure":null}

"""


# -- the generations


def test_the_documented_example_passes_as_it_is() -> None:
    """CONTRACT A.5 verbatim: two events, their data unchanged; the stream is over and resumes after its last id."""
    batch = read(DOCUMENTED)
    first, last = (judged(encoded(record)) for record in batch.records if isinstance(record, Event))
    lines = [line.removeprefix("data: ") for line in DOCUMENTED.splitlines() if line.startswith("data: ")]
    assert [bytes(record.data).decode() for record in batch.records if isinstance(record, Event)] == [
        lines[0],
        lines[2],
    ]
    assert (first["id"], first["type"], first["status"]) == ("evt_123", "ai.bctrl.runtime.lifecycle", "completed")
    assert (first["source"], first["subject"], first["runid"]) == (RESOURCE, RUN, RUN)
    assert first["time"] == RECEIPT
    assert (last["id"], last["type"], last["status"]) == ("run_123:ended", "ai.bctrl.run.ended", "completed")
    assert last["time"] == "2026-06-25T12:01:00Z"
    assert (batch.state, batch.cursor, batch.broken) == (State.ENDED, "evt_123", "")


def test_every_field_of_the_second_generation_has_its_attribute() -> None:
    """CONTRACT A.3 and D.1: each field becomes the extension of section 6, `kind` the category, `source` the origin."""
    fields = {
        "runtimeId": "runtimeid", "runtimeKind": "runtimekind", "spaceId": "spaceid", "pageId": "pageid",
        "contextId": "contextid", "connectionId": "connectionid", "commandId": "commandid",
        "toolCallId": "toolcallid", "artifactId": "artifactid", "correlationId": "correlationid",
        "status": "status", "traceparent": "traceparent", "runId": "runid",
    }  # fmt: skip
    data = {name: f"the {name}" for name in fields} | {
        "id": "e", "type": "connection.command.started", "kind": "command", "source": "platform", "name": "n",
        "time": "2026-01-02T03:04:05Z", "data": {"x": 1},
    }  # fmt: skip
    event = only(framed(data))
    assert {event[name] for name in fields.values()} == {f"the {name}" for name in fields}
    assert all(event[attribute] == f"the {field}" for field, attribute in fields.items())
    assert (event["category"], event["origin"], event["time"]) == ("command", "platform", "2026-01-02T03:04:05Z")
    assert event["data"] == data


@pytest.mark.parametrize(
    ("fields", "category"),
    [
        ({"kind": "artifact"}, "file"),
        ({"kind": "tool_call"}, "tool"),
        ({"kind": "network"}, "network"),
        ({"category": "captcha"}, "captcha"),
        ({"category": "lifecycle", "kind": "event"}, "lifecycle"),
        ({"category": "", "kind": None}, None),
        ({}, None),
    ],
)
def test_kind_and_category_are_one_vocabulary(fields: dict[str, Any], category: str | None) -> None:
    """CONTRACT D.1: the older words are mapped, all others stay, and `category` wins."""
    assert only(framed({"id": "e", "type": "t", **fields})).get("category") == category


def test_a_wrapped_event_is_unwrapped_and_resumed_by_its_wrapper() -> None:
    """CONTRACT D.4, rule 5: the inner event is the event, byte for byte; the position is the wrapper's."""
    inner = '{ "id":"evt_5", "type":"navigation","source":"cdp","timestamp":"2026-07-27T00:00:00Z","data":{"u":1e2} }'
    wrapper = f'{{"type":"runtime.event","id":"rse_9","runId":"run_123","event":{inner}}}'
    for name, id_, cursor in (("runtime.event", "", "rse_9"), ("", "", "rse_9"), ("runtime.event", "42", "42")):
        stream = framed(wrapper.encode(), event=name, id_=id_)
        batch = read(stream)
        (record,) = batch.records
        assert isinstance(record, Event)
        assert bytes(record.data).decode() == inner
        assert batch.cursor == cursor
        event = only(stream)
        assert (event["id"], event["type"], event["origin"]) == ("evt_5", "ai.bctrl.navigation", "cdp")


def test_a_wrapper_without_an_event_is_an_event_itself() -> None:
    """What is called `runtime.event` but holds no object is kept as it is."""
    for inside in ({}, {"event": None}, {"event": "text"}):
        event = only(framed({"type": "runtime.event", "id": "rse_1", **inside}, event="runtime.event"))
        assert (event["id"], event["type"]) == ("rse_1", "ai.bctrl.runtime.event")


def test_a_wrapped_event_without_an_id_has_its_wrappers() -> None:
    """Nothing is parked where an id can be had."""
    event = only(framed({"type": "runtime.event", "id": "rse_1", "event": {"type": "t"}}, event=""))
    assert (event["id"], event["data"]) == ("rse_1", {"type": "t"})


def test_heartbeats_are_comments_or_frames() -> None:
    """CONTRACT A.6: a comment between frames, CR LF and LF mixed, a frame without a name; each is liveness only."""
    stream = b'id: 42\r\nevent: navigation\r\ndata: {"id":"a","type":"navigation"}\r\n\r\n: heartbeat\r\n\r\nid: 43\n'
    stream += b'data: {"id":"b","type":"navigation"}\n\n: heartbeat\n\n' + framed({"time": "x"}, event="heartbeat")
    batch = read(stream + framed({"time": "2026-01-01T00:00:00Z"}, event=""))
    assert [record.id for record in batch.records if isinstance(record, Event)] == ["a", "b"]
    assert (len(batch.records), batch.cursor) == (2, "43")


def test_a_current_event_comes_under_its_own_name() -> None:
    """CONTRACT A.7: the frame is named after the event's type, which is open; `time` wins over the other times."""
    event = only(framed(G6, event="run.started", id_="evt_6"))
    assert (event["id"], event["type"], event["category"]) == ("evt_6", "ai.bctrl.run.started", "lifecycle")
    assert (event["time"], event["origin"], event["runtimeid"]) == ("2026-10-03T00:00:01Z", "system", "brw_1")
    assert "pageid" not in event
    assert event["data"] == G6


@pytest.mark.parametrize(
    "data",
    [
        {"runId": RUN, "status": "stopped", "finishedAt": None, "failure": {"code": "c", "message": "m"}},
        {"type": "run.ended", "id": "rse_99", "runId": RUN, "timestamp": "2026-07-27T00:00:09Z", "status": "failed"},
        {"id": RUN, "status": "ended", "category": None, "seq": None},
        {"status": 3, "finishedAt": 1785110409},
        {"object": "run", "id": RUN, "status": "ended", "endedAt": "2026-10-03T00:00:09Z", "endReason": "idle"},
        {"runId": RUN, "status": "stopped", "finishedAt": "later"},
        {},
    ],
)
@pytest.mark.parametrize("name", ["run.ended", ""])
def test_the_end_has_many_shapes(data: dict[str, Any], name: str) -> None:
    """CONTRACT D.3: a frame of that name, or data of that type, ends the stream; its event's id is always the same."""
    if not name:
        data = {**data, "type": "run.ended"}
    batch = read(framed({"id": "e", "type": "t"}, id_="evt_1") + framed(data, event=name))
    event = judged(encoded(batch.records[-1]))  # type: ignore[arg-type]
    assert (event["id"], event["type"], event["data"]) == ("run_123:ended", "ai.bctrl.run.ended", data)
    assert (batch.state, batch.cursor) == (State.ENDED, "evt_1")
    assert event.get("status") == (str(data["status"]) if "status" in data else None)


@pytest.mark.parametrize(
    "mark", [{"object": "event"}, {"category": "lifecycle"}, {"kind": "runtime"}, {"seq": 0}, {"seq": 7}]
)
def test_an_event_about_the_end_is_no_end(mark: dict[str, Any]) -> None:
    """CONTRACT D.3: a whole Event of type run.ended is an event with its own id, and the stream goes on."""
    data = {"id": "evt_8", "type": "run.ended", "status": "ended", **mark}
    stream = framed(data, event="run.ended", id_="evt_8")
    assert only(stream)["id"] == "evt_8"
    assert (read(stream).state, read(stream).cursor) == (None, "evt_8")


@pytest.mark.parametrize("frame", [{"event": "run.ended"}, {"event": "message", "id_": "end_1"}])
def test_any_end_marker_is_the_end_of_this_stream(frame: dict[str, str]) -> None:
    """The stream is one run's: its end is this run's, whatever run it names, and `runid` is what was said."""
    data = {"type": "run.ended", "runId": "run_9", "status": "completed"}
    batch = read(framed(data, **frame))
    (record,) = batch.records
    assert isinstance(record, Event)
    assert (record.id, record.subject, record.runid) == ("run_123:ended", RUN, "run_9")
    assert batch.state is State.ENDED
    about = read(framed({"id": "evt_4", "category": "lifecycle", **data}, **frame))
    assert about.state is None, "a whole event about another run's end is none"


@pytest.mark.parametrize(
    ("times", "time"),
    [
        ({"finishedAt": "2026-07-27T00:00:01Z", "endedAt": "2026-07-27T00:00:02Z"}, "2026-07-27T00:00:01Z"),
        ({"finishedAt": None, "endedAt": "2026-07-27T00:00:02Z"}, "2026-07-27T00:00:02Z"),
        ({"timestamp": "2026-07-27T00:00:03Z"}, "2026-07-27T00:00:03Z"),
        ({"finishedAt": "later"}, RECEIPT),
    ],
)
def test_the_end_has_the_time_of_the_end(times: dict[str, Any], time: str) -> None:
    """What says when the run was over comes first; the frame, a list, an answer and `GET` of the run tell the same."""
    data = {"type": "run.ended", "id": RUN, "status": "stopped", "category": None, **times}
    told = only(framed(data, event="run.ended"))
    assert (told["id"], told["time"]) == ("run_123:ended", time)
    raw = json.dumps(data).encode()
    listed = STREAM.record(raw, RECEIVED)
    assert isinstance(listed, Event)
    for record in (listed, STREAM.ended(raw, RECEIVED)):
        again = judged(encoded(record))
        assert {**again, "recordedtime": told["recordedtime"]} == told


def test_a_wrapped_event_about_the_end_is_no_end() -> None:
    """Only a frame of its own ends the stream."""
    batch = read(framed({"type": "runtime.event", "id": "1", "event": {"id": "e", "type": "run.ended"}}, event=""))
    assert (batch.state, [record.id for record in batch.records if isinstance(record, Event)]) == (None, ["e"])


# -- times


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("2026-06-25T12:00:05.000Z", "2026-06-25T12:00:05Z"),
        ("2026-06-25T12:00:05.123456Z", "2026-06-25T12:00:05.123456Z"),
        ("2026-06-25T12:00:05", "2026-06-25T12:00:05Z"),
        ("2026-06-25 12:00:05.5", "2026-06-25T12:00:05.500000Z"),
        ("2026-06-25T14:00:05+02:00", "2026-06-25T12:00:05Z"),
        ("2026-06-25", "2026-06-25T00:00:00Z"),
        (1782388805, "2026-06-25T12:00:05Z"),
        (1782388805123, "2026-06-25T12:00:05.123000Z"),
        (1782388805.5, "2026-06-25T12:00:05.500000Z"),
        ("1782388805", "2026-06-25T12:00:05Z"),
        ("1782388805123", "2026-06-25T12:00:05.123000Z"),
        (-1, "1969-12-31T23:59:59Z"),
        ("soon", RECEIPT),
        ("", RECEIPT),
        ("2026-13-45T99:00:00Z", RECEIPT),
        ("0001-01-01T00:00:00+02:00", RECEIPT),
        ("9999-12-31T23:59:59-02:00", RECEIPT),
        (10**30, RECEIPT),
        (None, RECEIPT),
        (True, RECEIPT),
        ({}, RECEIPT),
        ([1782388805], RECEIPT),
    ],
)
def test_times_are_read_leniently(written: object, read_as: str) -> None:
    """RFC 3339, naive (as UTC), with an offset, seconds or milliseconds since 1970; anything else is the receipt."""
    assert only(framed({"id": "e", "type": "t", "time": written}))["time"] == read_as


def test_the_first_time_that_can_be_read_counts() -> None:
    """`time` comes before `timestamp`, that before `createdAt`; one that can't be read does not count."""
    event = {"id": "e", "type": "t", "time": "no", "timestamp": 1782388805, "createdAt": "2020-01-01T00:00:00Z"}
    assert only(framed(event))["time"] == "2026-06-25T12:00:05Z"
    del event["timestamp"]
    assert only(framed(event))["time"] == "2020-01-01T00:00:00Z"


# -- odd values


@pytest.mark.parametrize(
    ("written", "attribute"),
    [
        (b"null", None), (b"true", None), (b"[]", None), (b'{"a":1}', None), (b'""', None),
        (b"7", "7"), (b"-0.50", "-0.50"), (b"1e999", "1e999"), (b"9" * 400, "9" * 400), (rb'"\u0000"', "\0"),
        (rb'"\ud83d\ude00"', "\U0001f600"), (rb'"cut \ud83d"', "cut \ufffd"), (rb'"\\ud83d"', r"\ud83d"),
    ],
)  # fmt: skip
def test_an_attribute_of_another_type_loses_no_event(written: bytes, attribute: str | None) -> None:
    """A number is its text, half a surrogate pair U+FFFD, all else left out; `data` has what came."""
    data = b'{"id":"e","type":"t","status":' + written + b',"data":[1.0,1E5,123456789012345678901234567890,"\\u00e9"]}'
    event = only(framed(data))
    assert event.get("status") == attribute
    assert read(framed(data)).records[0].data == msgspec.Raw(data)  # type: ignore[union-attr]


def test_ids_and_types_may_be_numbers() -> None:
    """An id is an opaque text, whatever it is upstream."""
    event = only(framed(b'{"id":12345678901234567890123,"type":4.0,"pageId":1e400}'))
    assert (event["id"], event["type"], event["pageid"]) == ("12345678901234567890123", "ai.bctrl.4.0", "1e400")


def test_half_a_surrogate_pair_anywhere_is_passed_on() -> None:
    r"""A text cut between UTF-16 units (`"\ud83d"`) is JSON: its event is stored, verbatim, also in a wrapper."""
    inner = rb'{"id":"e","type":"t","data":{"text":"cut \ud83d","\udc00":"\\\ud800\u0041"}}'
    assert only(framed(inner))["data"] == json.loads(inner)
    wrapper = b'{"type":"runtime.event","id":"w","event":' + inner + b"}"
    assert only(framed(wrapper))["data"] == json.loads(inner)
    assert parked(framed(rb'{"a":"\ud83d"}', event="")).reason == "no id"


def test_the_id_of_the_data_wins_and_the_position_is_the_frames() -> None:
    """CONTRACT F.10: de-duplicate by `data.id`, resume by the frame's `id:`; either one is enough."""
    both = framed({"id": "inner", "type": "t"}, id_="outer")
    assert (only(both)["id"], read(both).cursor) == ("inner", "outer")
    frame_only = framed({"type": "t"}, id_="outer")
    assert (only(frame_only)["id"], read(frame_only).cursor) == ("outer", "outer")
    data_only = both + framed({"id": "second", "type": "t"})
    assert read(data_only).cursor == "second"


def test_an_event_of_the_bridge_is_valid() -> None:
    """The bridge's own events have the form of all others."""
    event = own_event(id_="s:failed:1", resource=RESOURCE, subject=RUN, what="failed", data={"a": 1}, time=RECEIPT)
    assert judged(encoded(event))["type"] == "dev.runbridge.source.failed"
