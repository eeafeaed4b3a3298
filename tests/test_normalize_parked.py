"""Holds the normaliser of run event streams to what is no event: parked whole, a sign of life, or an error."""

import pytest
from normalized import G6, RECEIVED, STREAM, framed, only, parked, read

from bridge.event import Batch, Event, Parked
from bridge.sse import Decoder


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"garbage", "not JSON"),
        (b'{"id":"e","type":"t"', "not JSON"),
        (b'{"id":"e","type":"t","n":NaN}', "not JSON"),
        (b'{"id":"e","type":"t","x":"\x01"}', "not JSON"),
        (b'{"id":"e","type":"t","x":"\xff"}', "not UTF-8"),
        (b'{"id":"e","type":"t","x":"\xed\xa0\x80"}', "not UTF-8"),
        (b"[1]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"type":"t"}', "no id"),
        (b'{"id":null,"type":"t"}', "no id"),
        (b'{"id":"","type":"t"}', "no id"),
        (b'{"id":"e"}', "no type"),
        (b'{"id":"e","type":false}', "no type"),
        (b'{"id":"e","type":"t","x":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    ],
)
@pytest.mark.parametrize("name", ["run.event", ""])
def test_a_record_that_cannot_be_read_is_parked_whole(data: bytes, reason: str, name: str) -> None:
    """Its bytes and the reason are kept, the same record has the same key, and the frames after it are read."""
    stream = framed(data, event=name)
    record = parked(stream)
    assert (record.raw, record.reason) == (data, reason)
    assert record == parked(stream)
    assert record.key != parked(framed(data + b" ", event=name)).key
    assert [type(record) for record in read(stream + framed({"id": "e", "type": "t"})).records] == [Parked, Event]


def test_an_id_line_makes_a_record_of_any_frame() -> None:
    """A frame of an unknown name is liveness, unless it has an `id:` line or is a whole event."""
    assert read(framed(b"garbage", event="other")).records == []
    assert read(framed({"a": 1}, event="other")).records == []
    assert parked(framed(b"garbage", event="other", id_="7")).reason == "not JSON"
    assert parked(framed({"a": 1}, event="other", id_="7")).reason == "no type"
    assert only(framed({"id": "e", "type": "t"}, event="other"))["id"] == "e"


def test_an_oversized_frame_is_parked_with_its_beginning() -> None:
    """What the decoder cut off is said, and the position moves on."""
    stream = framed({"id": "big", "type": "t", "x": "y" * 100}, id_="big") + framed({"id": "e", "type": "t"}, id_="e")
    batch = STREAM.batch(Decoder(max_event_bytes=40).feed(stream), RECEIVED)
    record = batch.records[0]
    assert isinstance(record, Parked)
    assert record.raw == b'{"id": "big", "type": "t", "x": "yyyyyyyyyyyy'[:40]
    assert record.reason.startswith("oversized: ")
    assert batch.cursor == "e"


@pytest.mark.parametrize("data", [b"[DONE]", b"", b"{}", b'{"time":1}'])
def test_signs_of_life_are_ignored(data: bytes) -> None:
    """CONTRACT D.4, rules 2 and 4: nothing is stored, nothing is parked, nothing ends."""
    assert read(framed(data, event="")) == Batch()


def test_an_error_frame_ends_the_connection_after_what_came_before_it() -> None:
    """CONTRACT F.15: what follows it is not read, and will be sent again."""
    before, after = framed({"id": "a", "type": "t"}, id_="a"), framed({"id": "b", "type": "t"}, id_="b")
    for data in (b"overloaded", b""):
        batch = read(before + framed(data, event="error") + after)
        assert (len(batch.records), batch.cursor) == (1, "a")
        assert batch.broken
    named = framed({**G6, "type": "error"}, event="error", id_="evt_6")
    assert only(named)["type"] == "ai.bctrl.error"
