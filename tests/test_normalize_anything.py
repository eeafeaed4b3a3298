"""Holds the readers of event streams to any bytes at all: they never raise, and lose nothing silently."""

import pytest
from any_json import OBJECTS, fields, texts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from judges import judged
from normalized import ACCOUNT, RECEIVED, STREAM, encoded

from bridge.event import Event, Parked
from bridge.normalize.run_event import RunStream
from bridge.sse import Frame

NAMES = ["run.event", "runtime.event", "run.ended", "run.started", "message", "heartbeat", "error", "other"]
RECORDS = st.builds(lambda first, second: {**first, **second}, OBJECTS, OBJECTS.map(lambda inner: {"event": inner}))

FRAMES = st.builds(
    lambda event, data, id_, own: Frame(event, data, id_, None, own_id=own),
    st.sampled_from(NAMES), st.binary(max_size=40) | texts(OBJECTS | RECORDS) | st.just(b"[DONE]"),
    st.text(max_size=4), st.booleans(),
)  # fmt: skip


def usable(value: object) -> bool:
    """Whether a value can be an attribute: a text with something in it, or a number."""
    return bool(value) if isinstance(value, str) else isinstance(value, int | float) and not isinstance(value, bool)


def meant(frame: Frame) -> str:
    """What has to become of a frame, by CONTRACT D.3 and D.4 read a second time."""
    if frame.event == "error" and not frame.own_id:
        return "broken"
    if frame.event == "heartbeat" or frame.data in {b"", b"[DONE]"}:
        return "ignored"
    promised = frame.own_id or frame.event in {"run.event", "runtime.event", "run.ended", "message"}
    try:
        found = fields(frame.data)
    except RecursionError:
        found = None
    if found is None:
        return "parked" if promised else "ignored"
    names, inner = {frame.event, str(found.get("type"))}, found.get("event")
    has_id = usable(found.get("id")) or bool(frame.own_id and frame.id)
    if "runtime.event" in names and isinstance(inner, dict):
        found, has_id = inner, has_id or usable(inner.get("id"))
    elif "run.ended" in names and not (
        usable(found.get("category"))
        or usable(found.get("kind"))
        or found.get("object") == "event"
        or found.get("seq") is not None
    ):
        return "event"
    if has_id and usable(found.get("type")):
        return "event"
    return "parked" if promised and not (frame.event == "message" and set(found) <= {"time"}) else "ignored"


@settings(max_examples=250, deadline=None)
@given(st.lists(FRAMES, min_size=1, max_size=2))
@example([Frame("run.event", b'{"id":1e999,"type":"t"}', "", None)])
@example([Frame("run.event", b'{"id":5,"type":"\\ud800"}', "", None)])
@example([Frame("message", b'{"x":"\\ud800"}', "", None)])
@pytest.mark.parametrize("stream", [STREAM, ACCOUNT], ids=["a run's", "an account's"])
def test_whatever_comes_is_stored_parked_or_rightly_ignored(stream: RunStream, frames: list[Frame]) -> None:
    """Any bytes: nothing raises, an event is valid and holds its bytes, what can't be read is parked, nothing else."""
    stream.batch(frames, RECEIVED)
    for frame in frames:
        batch = stream.batch([frame], RECEIVED)
        assert ("broken" if batch.broken else kind(batch.records)) == meant(frame)
        for record in batch.records:
            if isinstance(record, Parked):
                assert record.raw == frame.data
                assert record.reason
            else:
                judge(record, frame)


def kind(records: list[Event | Parked]) -> str:
    """What became of one frame."""
    if not records:
        return "ignored"
    (record,) = records
    return "parked" if isinstance(record, Parked) else "event"


def judge(record: Event, frame: Frame) -> None:
    """An event is valid by all judges, and its data is the frame's, or what the frame wraps, byte for byte."""
    data, body = bytes(record.data), encoded(record)
    assert body.endswith(b'"data":%s}' % data)
    event = judged(body)
    said = fields(frame.data)
    assert said is not None
    if data != frame.data:
        assert "runtime.event" in (frame.event, said["type"])
        assert data in frame.data
        assert event["data"] == said["event"]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40) | texts(OBJECTS | RECORDS))
def test_an_object_of_a_list_is_read_as_a_record_of_a_stream(data: bytes) -> None:
    """What a list or a wait's answer brings becomes what the same bytes become in a frame that promises a record."""
    record = STREAM.record(data, RECEIVED)
    frame = Frame("run.event", data, "", None)
    assert STREAM.batch([frame], RECEIVED).records == ([] if record is None else [record])
    assert kind([] if record is None else [record]) == meant(frame)
