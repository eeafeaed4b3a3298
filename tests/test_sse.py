"""Holds `bridge.sse` to the shipped cases, to a literal second implementation and to its bounds. Opens no socket."""

import base64
import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_sse import interpret

from bridge.sse import MAX_LINE_BYTES, MAX_RETRY_MS, Decoder, Frame

CASES = json.loads((Path(__file__).parent / "sse_cases.json").read_text("utf-8"))["cases"]
MIB = 1024 * 1024
DEFAULT_BOUND = 8 * MIB

# What random streams are made of: where decoders go wrong, in lines that often enough make a frame.
STARTS = [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb", b"\xff\xfe"]
FIELDS = [b"data", b"data:", b"data: ", b"event: ", b"id", b"id:", b"id: ", b"retry:", b"retry: ", b":"]
NOT_FIELDS = [b"", b"Data:", b"dat", b" data:", b"data :", b"datax:", b"retry", b"event", b"\0id:"]
SIGNS = [b":", b" ", b": ", b"\0", b"\t", b"+", b"a", b"b", b"0", b"7", b"12", "\u0663".encode()]
BROKEN_TEXT = [b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xbf", b"\xff", b"\xe2\x80", b"\xf0\x9f\x98", b"\xed\xa0\x80"]
NOT_LINE_ENDS = [b"\x0b", b"\x0c", b"\x1c", "\x85".encode(), "\u2028".encode()]  # but for str.splitlines
LINE_ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n", b""]
NAMES = FIELDS * 2 + NOT_FIELDS
TEXT = SIGNS * 2 + BROKEN_TEXT + NOT_LINE_ENDS

Seen = tuple[str, bytes, str, int | None, bool, int]


def seen(frame: Frame) -> Seen:
    """Return everything a frame tells."""
    return frame.event, frame.data, frame.id, frame.retry, frame.own_id, frame.oversized


def expected(stream: bytes, bound: int = DEFAULT_BOUND, last_event_id: str = "") -> list[Seen]:
    """Return what the literal implementation makes of a stream, its data as bytes and cut at the bound."""
    as_text = interpret(stream, last_event_id=last_event_id).messages
    as_bytes = interpret(stream, errors="surrogateescape").messages
    frames = []
    for message, raw in zip(as_text, as_bytes, strict=True):
        data = raw.data.encode("utf-8", "surrogateescape")
        assert data.decode("utf-8", "replace") == message.data
        oversized = len(data) if len(data) > bound else 0
        frames.append((message.type, data[:bound], message.last_event_id, message.retry, message.own_id, oversized))
    return frames


def decode(chunks: Iterable[bytes], decoder: Decoder | None = None) -> list[Seen]:
    """Feed all chunks to one decoder and return what its frames tell."""
    decoder = decoder or Decoder()
    return [seen(frame) for chunk in chunks for frame in decoder.feed(chunk)]


def pieces(stream: bytes, size: int) -> list[bytes]:
    """Cut a stream into chunks of one size."""
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a stream at places, of which some may be equal: that makes an empty chunk."""
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def chunkings(stream: bytes) -> Iterator[list[bytes]]:
    """Yield a stream whole, in single bytes, in pairs, split once at every place if short, and at random."""
    yield [stream]
    yield pieces(stream, 1)
    yield pieces(stream, 2)
    if len(stream) <= 200:
        yield from (cut(stream, [place]) for place in range(len(stream) + 1))
    chance = random.Random(len(stream))
    yield from (cut(stream, chance.choices(range(len(stream) + 1), k=count % 9)) for count in range(40))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_shipped_cases_come_out_the_same_in_every_chunking(case: dict[str, Any]) -> None:
    """Each shipped conformance case gives its events, its last event id and its retry, however it is cut."""
    stream = base64.b64decode(case["input_b64"])
    first_id = case["initial_last_event_id"]
    events = [(event["type"], event["data"], event["last_event_id"]) for event in case["events"]]
    for chunks in chunkings(stream):
        decoder = Decoder(last_event_id=first_id)
        frames = decode(chunks, decoder)
        assert [(frame[0], frame[1].decode("utf-8", "replace"), frame[2]) for frame in frames] == events, chunks
        assert (decoder.last_event_id, decoder.retry) == (case["reconnect_last_event_id"], case["retry_ms"])
        assert frames == expected(stream, last_event_id=first_id)


texts = st.lists(st.sampled_from(TEXT), max_size=3).map(b"".join)
lines = st.tuples(st.sampled_from(NAMES), texts, st.sampled_from(LINE_ENDS)).map(b"".join)
streams = st.tuples(st.sampled_from(STARTS), st.lists(lines, max_size=25).map(b"".join)).map(b"".join)
places = st.lists(st.integers(0, 300), max_size=12)


@settings(max_examples=1000, deadline=None)
@given(
    stream=streams,
    places=places,
    bound=st.integers(0, 6) | st.just(DEFAULT_BOUND),
    first_id=st.sampled_from(["", "k"]),
)
def test_agrees_with_the_literal_implementation_after_every_chunk(
    stream: bytes, places: list[int], bound: int, first_id: str
) -> None:
    """After each chunk the frames and what a reconnection needs are those of the literal implementation."""
    decoder = Decoder(max_event_bytes=bound, last_event_id=first_id)
    taken = b""
    frames: list[Seen] = []
    for chunk in cut(stream, places):
        taken += chunk
        frames += decode([chunk], decoder)
        assert frames == expected(taken, bound, first_id)
        reference = interpret(taken, last_event_id=first_id)
        assert decoder.last_event_id == reference.last_event_id
        assert decoder.retry == reference.retry


def random_stream(chance: random.Random) -> bytes:
    """Return a start and up to 19 lines, each a name, some text and an end."""
    parts = [chance.choice(STARTS)]
    for _ in range(chance.randrange(20)):
        parts += [chance.choice(NAMES), *chance.choices(TEXT, k=chance.randrange(3)), chance.choice(LINE_ENDS)]
    return b"".join(parts)


def fuzz(count: int) -> None:
    """Compare both implementations on random streams in random chunks, with and without a small bound."""
    chance = random.Random(20)
    frames = 0
    for turn in range(count):
        stream = random_stream(chance)
        chunks = cut(stream, chance.choices(range(len(stream) + 1), k=chance.randrange(8)))
        bound = chance.randrange(6) if turn % 2 else DEFAULT_BOUND
        decoder = Decoder(max_event_bytes=bound)
        reference = interpret(stream)
        assert decode(chunks, decoder) == expected(stream, bound), (chunks, bound)
        assert (decoder.last_event_id, decoder.retry) == (reference.last_event_id, reference.retry), chunks
        frames += len(reference.messages)
    assert frames > count // 2, "too few of the streams make a frame to show anything"


@pytest.mark.timeout(1800)
def test_agrees_with_the_literal_implementation_on_random_streams() -> None:
    """Random streams decode as the algorithm says; RUNBRIDGE_FUZZ sets how many (1000000 for a long look)."""
    fuzz(int(os.environ.get("RUNBRIDGE_FUZZ", "100000")))


def test_a_frame_is_its_four_fields() -> None:
    """Equality, hash, repr and the constructor's positions know event, data, id and retry alone."""
    plain = Frame("a", b"x", "1", 5)
    marked = Frame("a", b"x", "1", 5, own_id=True, oversized=9)
    assert plain == marked
    assert hash(plain) == hash(marked)
    assert repr(plain) == repr(marked) == "Frame(event='a', data=b'x', id='1', retry=5)"
    assert (plain.own_id, plain.oversized) == (False, 0)
    others = [Frame("b", b"x", "1", 5), Frame("a", b"y", "1", 5), Frame("a", b"x", "2", 5), Frame("a", b"x", "1", None)]
    assert plain not in [*others, ("a", b"x", "1", 5)]
    with pytest.raises(TypeError):
        Frame("a", b"x", "1", 5, True)  # type: ignore[call-arg]  # noqa: FBT003 - is refused
    with pytest.raises(AttributeError):
        plain.data = b"y"  # type: ignore[misc]


def test_own_id_marks_the_frame_that_carried_an_accepted_id() -> None:
    """A frame owns its id when one of its own lines set it, even to the empty string; a NUL makes none."""
    frames = decode([b"id: 1\ndata\n\ndata\n\nid: \0\ndata\n\nid: 2\n\ndata\n\nid\ndata\n\n"])
    own = [("1", True), ("1", False), ("1", False), ("2", False), ("", True)]
    assert [(frame[2], frame[4]) for frame in frames] == own


def test_only_a_blank_line_commits_an_id() -> None:
    """The id for a reconnection changes at the blank line, data or none, and not before."""
    decoder = Decoder(last_event_id="0")
    assert (decode([b"id: 1\ndata: a\n"], decoder), decoder.last_event_id) == ([], "0")
    assert (decode([b"\n"], decoder), decoder.last_event_id) == ([("message", b"a", "1", None, True, 0)], "1")
    assert (decode([b"id: 2\n\nid: 3\ndata: half"], decoder), decoder.last_event_id) == ([], "2")


def test_a_frame_that_ends_in_cr_does_not_wait() -> None:
    """A CR ends the blank line at once; a LF after it, whenever it comes, ends nothing more."""
    decoder = Decoder()
    assert len(decoder.feed(b"data: a\r\r")) == 1
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: b\r\n\r") == [Frame("message", b"b", "", None)]


def test_data_stays_the_bytes_that_came() -> None:
    """Data isn't decoded: broken UTF-8 stays as it is, while event and id are text with replacements."""
    assert Decoder().feed(b"event: \xff\nid: \xe2\x80\ndata: \xff\xe2\x80\n\n") == [
        Frame("\ufffd", b"\xff\xe2\x80", "\ufffd", None)
    ]


@pytest.mark.parametrize(
    ("digits", "retry"),
    [
        (b"0", 0),
        (b"000" * 9 + b"15", 15),
        (str(MAX_RETRY_MS).encode(), MAX_RETRY_MS),
        (str(MAX_RETRY_MS + 1).encode(), MAX_RETRY_MS),
        (b"9" * 20_000, MAX_RETRY_MS),
        (b"9" * MAX_LINE_BYTES, 3),
        (b"9" * 5000 + b"x", 3),
        ("٣".encode(), 3),
        (b"", 3),
    ],
)
def test_retry_is_bounded(digits: bytes, retry: int) -> None:
    """ASCII digits count up to a largest number; anything else, or a line too long, changes nothing."""
    decoder = Decoder()
    frames = decoder.feed(b"retry: 3\nretry: " + digits + b"\ndata\n\n")
    assert [frame.retry for frame in frames] == [decoder.retry] == [retry]


FILLER = b"\xc3\xa4: 0123456789" * 20_000  # 280 kB: over MAX_LINE_BYTES several times


@pytest.mark.parametrize("size", [1, 7, 1000, MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 10 * MIB])
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_long_data_is_exact_and_cut_at_the_bound(size: int, end: bytes) -> None:
    """Long data comes out whole up to the bound and cut over it, in any chunking; the next frame is exact."""
    first = [b"id: 1", b"data: " + FILLER, b"data:" + FILLER, b"data", b"event: late", b"id: 2", b""]
    stream = end.join([*first, b"data: z", b"", b""])
    whole = FILLER + b"\n" + FILLER + b"\n"
    for bound in (len(whole), len(whole) - 1, len(FILLER) + 1, len(FILLER), 70_000, 5, 0):
        frames = decode(pieces(stream, size), Decoder(max_event_bytes=bound))
        oversized = len(whole) if len(whole) > bound else 0
        rest = ("message", b"z"[:bound], "2", None, False, 0 if bound else 1)
        assert frames == [("late", whole[:bound], "2", None, True, oversized), rest]


@pytest.mark.parametrize("size", [1, 1000, 10 * MIB])
@pytest.mark.parametrize("start", [b":", b"x: ", b"datax", b"data", b"id: ", b"event: ", b"retry: 1"])
def test_other_long_lines_are_ignored(size: int, start: bytes) -> None:
    """Comments, unknown fields, ids, types and retries that are too long change nothing at all."""
    stream = b"id: 1\nevent: a\nretry: 2\n" + start + b"0" * (2 * MAX_LINE_BYTES) + b"\ndata: z\n\n"
    frames = decode(pieces(stream, size), Decoder(max_event_bytes=4))
    assert frames == [("a", b"z", "1", 2, True, 0)]


@pytest.mark.parametrize("size", [1, 1000, MAX_LINE_BYTES, 10 * MIB])
def test_the_longest_line_that_counts(size: int) -> None:
    """An id line of MAX_LINE_BYTES is accepted and one of a byte more is not, in any chunking."""
    longest = b"id: " + b"i" * (MAX_LINE_BYTES - 4)
    stream = longest + b"\ndata\n\n" + longest + b"j\ndata\n\n"
    frames = decode(pieces(stream, size))
    assert [(len(frame[2]), frame[4]) for frame in frames] == [(MAX_LINE_BYTES - 4, True), (MAX_LINE_BYTES - 4, False)]


UNENDING: dict[str, Callable[[int], bytes]] = {
    "one line of data": lambda size: b"data: " + b"x" * size,
    "tiny lines of data": lambda size: b"data:a\n" * (size // 7),
    "empty lines of data": lambda size: b"data\n" * (size // 5),
    "a comment": lambda size: b":" + b"x" * size,
    "comments": lambda size: b":x\n" * (size // 3),
    "an id": lambda size: b"id: " + b"x" * size,
    "carriage returns": lambda size: b"\r" * size,
}


@pytest.mark.parametrize("shape", UNENDING)
@pytest.mark.parametrize("size", [16, 5000])
def test_memory_stays_within_twice_the_bound(shape: str, size: int) -> None:
    """However a frame goes on without end, about twice the bound is held at most, its dispatch included."""
    chunks = pieces(UNENDING[shape](3 * MIB), size)
    decoder = Decoder(max_event_bytes=MIB)
    tracemalloc.start()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
        frames = decoder.feed(b"\n\n")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.25 * MIB
    assert all(len(frame.data) <= MIB for frame in frames)


@pytest.mark.parametrize("shape", UNENDING)
def test_time_is_linear(shape: str) -> None:
    """Eight times the bytes in chunks of 16 take about eight times as long; quadratic work takes 64 times."""

    def seconds(size: int) -> float:
        chunks = pieces(UNENDING[shape](size), 16)
        best = float("inf")
        for _ in range(5):
            decoder = Decoder()
            start = time.process_time()
            for chunk in chunks:
                decoder.feed(chunk)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(MIB) < 24 * seconds(MIB // 8)
