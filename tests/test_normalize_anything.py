"""Holds the normaliser of run event streams to any bytes at all: it never raises, and loses nothing silently."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from judges import judged, strict
from normalized import RECEIVED, STREAM, encoded

from bridge.event import Event, Parked
from bridge.sse import Frame

NAMES = ["run.event", "runtime.event", "run.ended", "run.started", "message", "heartbeat", "error", "other"]
FIELDS = [
    "id", "type", "time", "timestamp", "createdAt", "finishedAt", "kind", "category", "source", "status", "runId",
    "pageId", "seq", "object", "event", "data", "traceparent",
]  # fmt: skip
TEXTS = st.text(max_size=12) | st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=4)
KNOWN = st.sampled_from(["run.ended", "runtime.event", "event", "navigation", "", "2026-01-01T00:00:00Z", "1782388805"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | KNOWN
VALUES = st.recursive(LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(TEXTS, some, max_size=3))
OBJECTS = st.dictionaries(st.sampled_from(FIELDS) | TEXTS, VALUES, max_size=6)
RECORDS = st.builds(lambda first, second: {**first, **second}, OBJECTS, OBJECTS.map(lambda inner: {"event": inner}))
BIG = st.sampled_from([b"1e999", b"-1E-999", b"9" * 60, b"1.000", b"-0"])


def written(value: object) -> bytes:
    """JSON in the way of most upstreams: half a surrogate pair as an escape."""
    return json.dumps(value).encode()


def unescaped(value: object) -> bytes:
    """JSON without escapes, so that half a surrogate pair makes it invalid UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A JSON object, perhaps with a number no double can hold, perhaps with some bytes replaced."""
    value = draw(OBJECTS | RECORDS)
    data = draw(st.sampled_from([written, unescaped]))(value)
    if draw(st.booleans()):
        name = json.dumps(draw(st.sampled_from(FIELDS))).encode()
        data = data[:-1] + (b"," if value else b"") + name + b": " + draw(BIG) + b"}"
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    return data


FRAMES = st.builds(
    lambda event, data, id_, own: Frame(event, data, id_, None, own_id=own),
    st.sampled_from(NAMES), st.binary(max_size=40) | texts() | st.just(b"[DONE]"), st.text(max_size=4), st.booleans(),
)  # fmt: skip


def said(data: bytes) -> dict[str, Any] | None:
    """What the data says by the standard library; None where it is no JSON object."""
    try:
        found = strict(data)
    except ValueError as error:
        if "is there twice" not in str(error):
            return None
        found = json.loads(data)
    return found if isinstance(found, dict) else None


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
    fields = said(frame.data)
    if fields is None:
        return "parked" if promised else "ignored"
    names, inner = {frame.event, str(fields.get("type"))}, fields.get("event")
    has_id = usable(fields.get("id")) or bool(frame.own_id and frame.id)
    if "runtime.event" in names and isinstance(inner, dict):
        fields, has_id = inner, has_id or usable(inner.get("id"))
    elif "run.ended" in names and not (
        usable(fields.get("category")) or fields.get("object") == "event" or fields.get("seq") is not None
    ):
        return "event"
    if has_id and usable(fields.get("type")):
        return "event"
    return "parked" if promised and not (frame.event == "message" and set(fields) <= {"time"}) else "ignored"


@settings(max_examples=400, deadline=None)
@given(st.lists(FRAMES, min_size=1, max_size=2))
@example([Frame("run.event", b'{"id":1e999,"type":"t"}', "", None)])
@example([Frame("run.event", b'{"id":5,"type":"\\ud800"}', "", None)])
@example([Frame("message", b'{"x":"\\ud800"}', "", None)])
def test_whatever_comes_is_stored_parked_or_rightly_ignored(frames: list[Frame]) -> None:
    """Any bytes: nothing raises, an event is valid and holds its bytes, what can't be read is parked, nothing else."""
    STREAM.batch(frames, RECEIVED)
    for frame in frames:
        batch = STREAM.batch([frame], RECEIVED)
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
    fields = said(frame.data)
    assert fields is not None
    if data != frame.data:
        assert "runtime.event" in (frame.event, fields["type"])
        assert data in frame.data
        assert event["data"] == fields["event"]
