"""Holds the reader of any stream to RFC 6901 and to what a stream of nobody's in particular may send."""

from itertools import count
from typing import Any

import msgspec
import pytest
from judges import judged
from normalized import RECEIPT, RECEIVED, encoded

from bridge.event import Batch, Event, Parked, State
from bridge.normalize.any_event import AnyStream, Pointers, find
from bridge.sse import Decoder

RESOURCE = "https://news.example/stream"
# the document of RFC 6901, section 5
DOCUMENT = rb'{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}'


def reader(*, terminal: str | None = None, prefix: str = "", **pointers: str) -> AnyStream:
    """A reader whose made ids are counted."""
    made = count(1)
    return AnyStream(RESOURCE, "news", Pointers(**pointers), prefix, terminal, lambda: f"made {next(made)}")


def read(frames: bytes, **options: Any) -> Batch:
    """What a stream's frames say."""
    return reader(**options).batch(Decoder().feed(frames), RECEIVED)


def events(frames: bytes, **options: Any) -> list[dict[str, Any]]:
    """The events of a stream as their readers see them."""
    return [judged(encoded(record)) for record in read(frames, **options).records if isinstance(record, Event)]


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("", DOCUMENT), ("/foo", b'["bar","baz"]'), ("/foo/0", b'"bar"'), ("/", b"0"), ("/a~1b", b"1"), ("/c%d", b"2"),
        ("/e^f", b"3"), ("/g|h", b"4"), ("/i\\j", b"5"), ('/k"l', b"6"), ("/ ", b"7"), ("/m~0n", b"8"),
    ],
)  # fmt: skip
def test_the_examples_of_the_specification(pointer: str, found: bytes) -> None:
    """RFC 6901, section 5: every pointer of it finds what it says there."""
    there = find(msgspec.Raw(DOCUMENT), pointer)
    assert there is not None
    assert bytes(there) == found


@pytest.mark.parametrize(
    ("document", "pointer", "found"),
    [
        (b'{"~1":1,"/":2}', "/~01", b"1"),  # section 4: first ~1, then ~0, or this would be a slash
        (b'{"a":{"0":1}}', "/a/0", b"1"),
        (b"[[1,2],[3]]", "/1/0", b"3"),
        (b"[1,2]", "/2", None),
        (b"[1,2]", "/-", None),
        (b"[1,2]", "/01", None),
        (b"[1,2]", "/+1", None),
        (b"[1,2]", "/1.0", None),
        (b"[1,2]", "/\u0661", None),
        (b"[1,2]", "/" + "9" * 5000, None),
        (b"[1,2]", "/length", None),
        (b'{"a":1}', "/a/b", None),
        (b'{"a":"text"}', "/a/0", None),
        (b'{"a":null}', "/a/b", None),
        (b'{"a":null}', "/a", b"null"),
        (b'{"a":1,"a":2}', "/a", b"2"),
        (b'{"\\u0061":1}', "/a", b"1"),
        (b'"text"', "", b'"text"'),
        (b"{}", None, None),
    ],
)
def test_a_pointer_finds_its_place_or_nothing(document: bytes, pointer: str | None, found: bytes | None) -> None:
    """Escapes, array indices without leading zeros, and nothing where nothing is."""
    there = find(msgspec.Raw(document), pointer)
    assert (None if there is None else bytes(there)) == found


def test_pointers_name_the_attributes() -> None:
    """Id, type, subject and time come from where the pointers say; the data stays as it came."""
    data = b'{ "meta":{"k/id":"n-1","kind":"added"}, "about":["x","sport"], "at":1782388805.5 }'
    (event,) = events(
        b"id: 7\nevent: e\ndata: " + data + b"\n\n", prefix="org.example.",
        id="/meta/k~1id", type="/meta/kind", subject="/about/1", time="/at",
    )  # fmt: skip
    assert (event["id"], event["type"], event["subject"]) == ("n-1", "org.example.added", "sport")
    assert (event["time"], event["partitionkey"], event["source"]) == ("2026-06-25T12:00:05.500000Z", "sport", RESOURCE)
    assert event["datacontenttype"] == "application/json"


def test_without_pointers_the_frame_tells() -> None:
    """The id is the frame's own, the type its name or `message`, the subject the source's, the time that of receipt."""
    first, second = events(b'id: 7\nevent: added\ndata: {"id":"x"}\n\nid: 8\ndata: {}\n\n', prefix="p.")
    assert (first["id"], first["type"], first["subject"], first["time"]) == ("7", "p.added", "news", RECEIPT)
    assert (second["id"], second["type"]) == ("8", "p.message")


@pytest.mark.parametrize("value", ["null", "true", "{}", "[]", '""'])
def test_a_pointer_to_no_text_is_as_none(value: str) -> None:
    """What is neither a text nor a number is not taken, nor is an empty text."""
    (event,) = events(f'id: 7\ndata: {{"a":{value}}}\n\n'.encode(), id="/a", type="/a", subject="/a", time="/a")
    assert (event["id"], event["type"], event["subject"], event["time"]) == ("7", "message", "news", RECEIPT)


@pytest.mark.parametrize("number", ["0", "-0", "12345678901234567890123", "1.50", "1e400", "9" * 4000])
def test_a_number_keeps_its_digits(number: str) -> None:
    """A number becomes its text as the upstream wrote it, even where no double holds it; as a time it never raises."""
    (event,) = events(f'data: {{"a":{number}}}\n\n'.encode(), id="/a", time="/a")
    assert (event["id"], event["datacontenttype"]) == (number, "application/json")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Hello", "Hello"),
        (b"{", "{"),
        (b"NaN", "NaN"),
        (b'"a\x01"', '"a\x01"'),
        ("\u20ac\n\u20ac".encode(), "\u20ac\n\u20ac"),
    ],
)
def test_what_is_no_json_is_a_text(data: bytes, text: str) -> None:
    """It is kept as a JSON string, of the media type text/plain."""
    frame = b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n"
    (event,) = events(frame, id="/a")
    assert (event["data"], event["datacontenttype"], event["id"]) == (text, "text/plain", "made 1")


@pytest.mark.parametrize("data", [b"null", b"5", b'"text"', b"[1]", b' {"a":"\\ud83d"}'])
def test_any_json_is_data(data: bytes) -> None:
    """It is kept byte for byte, whatever it is."""
    (record,) = read(b"data: " + data + b"\n\n").records
    assert isinstance(record, Event)
    assert (bytes(record.data), record.datacontenttype) == (data, "application/json")
    assert judged(encoded(record))


def test_what_cannot_be_read_is_parked() -> None:
    """Bytes that are not UTF-8, what nests too deeply, and what is too large."""
    deep = b"[" * 100_000
    frames = b'data: "\xff"\n\ndata: ' + deep + b"\n\n"
    records = [record for record in read(frames).records if isinstance(record, Parked)]
    assert [record.reason for record in records] == ["not UTF-8", "nested too deeply"]
    assert [record.raw for record in records] == [b'"\xff"', deep]
    (large,) = reader().batch(Decoder(max_event_bytes=4).feed(b"data: 123456\n\n"), RECEIVED).records
    assert isinstance(large, Parked)
    assert (large.raw, large.reason) == (b"1234", "oversized: 6 bytes, of which the first 4 are kept")


def test_the_terminal_event_is_the_last() -> None:
    """The frame of that name is an event where it has data, ends the source, and nothing behind it is read."""
    frames = b"data: 1\n\nevent: done\ndata: 2\n\ndata: 3\n\n"
    batch = read(frames, terminal="done")
    assert (len(batch.records), batch.state) == (2, State.ENDED)
    assert read(frames).state is None


def test_a_made_id_is_the_same_on_a_replay() -> None:
    """Behind an id, frames without one are told apart by their bytes and count; before any id each is new."""
    frames = b"id: 7\ndata: a\n\n" + b"data: b\n\n" * 2 + b"event: e\ndata: b\n\n"
    stream = reader()
    decoded = Decoder()
    first = [event.id for event in stream.batch(decoded.feed(frames), RECEIVED).records if isinstance(event, Event)]
    again = [event.id for event in stream.batch(decoded.feed(frames), RECEIVED).records if isinstance(event, Event)]
    assert first == again
    assert len(set(first)) == 4
    assert all(id_.startswith("7") for id_ in first)
    assert [event["id"] for event in events(b"data: b\n\ndata: b\n\n")] == ["made 1", "made 2"]


def named(*frames: tuple[str, str]) -> bytes:
    """Frames of these ids and data."""
    return "".join(f"id: {id_}\ndata: {data}\n\n" for id_, data in frames).encode()


def test_an_id_that_comes_again_with_other_bytes_is_no_id() -> None:
    """Each different frame under one id is an event of its own; the same bytes are a replay, until the id is shared."""
    stream = reader()
    frames = named(("0", "a"), ("0", "a"), ("0", "b"), ("1", "c"), ("0", "a"), ("0", "b"), ("1", "c"))
    frames += b"data: b\n\n" + named(("0", "\xff"))

    def told() -> list[str]:
        stream.connected()
        return [record.id for record in stream.batch(Decoder().feed(frames), RECEIVED).records
                if isinstance(record, Event)]  # fmt: skip

    first = told()
    assert first[:2] == ["0", "0"]
    assert first[3] == first[6] == "1"
    assert len({first[0], *first[2:]}) == len(first) - 2, "all others are events of their own"
    assert first[2].startswith("0:")
    assert first[2].endswith(":id:1")
    assert told() == first, "a replay is recognised"
    frames = named(("0", "b"), ("0", "new"))
    assert told()[0] == first[2], "one that begins later, too"
    assert told()[1] not in first


def test_what_cannot_be_read_is_told_apart_under_one_id() -> None:
    """Two frames that are parked are two, though they have one id; the same one again is the same."""
    bad = [b"id: 0\ndata: \xff%d\n\n" % number for number in (1, 2, 1)]
    keys = [record.key for record in read(b"".join(bad)).records if isinstance(record, Parked)]
    assert keys[0] == keys[2] != keys[1]


def test_ids_that_were_made_are_no_progress() -> None:
    """A batch says where all its ids were made up: what has one, or follows one that has, is not."""
    assert read(b"data: 1\n\ndata: 2\n\n").made
    for frames in (b"", b": alive\n\n", b"data: 1\n\nid: 2\ndata: 2\n\n", b"id: 2\ndata: 2\n\ndata: 3\n\n"):
        assert not read(frames).made
    assert not read(b'data: {"n":1}\n\n', id="/n").made
