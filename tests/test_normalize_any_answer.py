"""Holds the readers of answers, pages and any stream to any bytes at all: they never raise, and lose nothing."""

import itertools
import json
from typing import Any

import pytest
from any_json import FIELDS, OBJECTS, VALUES, fields, said, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import judged
from normalized import ACCOUNT, RECEIVED, STREAM, encoded, signalled

from bridge.event import Event, Parked
from bridge.normalize import page
from bridge.normalize.any_event import AnyStream, Pointers
from bridge.normalize.durable_work import DurableWork, Noun
from bridge.sse import Frame

NOUNS: list[Noun] = ["operation", "invocation"]
ANSWERS = st.builds(
    lambda inner, outer, noun: {**outer, noun: inner}, OBJECTS, OBJECTS, st.sampled_from(NOUNS)
)  # fmt: skip
TOKENS = st.lists(st.sampled_from([*FIELDS, "0", "1", "01", "-", "~0", "~1", "9" * 12]), max_size=3)
POINTERS = st.none() | TOKENS.map(lambda tokens: "".join(f"/{token}" for token in tokens))
PAGES = st.builds(
    lambda items, rest: {**rest, "data": items}, st.lists(VALUES | OBJECTS, max_size=4), OBJECTS
)  # fmt: skip


def valid(record: Event) -> dict[str, Any]:
    """The event as its readers see it, by all judges; its data is there byte for byte."""
    body = encoded(record)
    assert body.endswith(b'"data":%s}' % bytes(record.data))
    return judged(body)


def found(data: bytes) -> dict[str, Any] | None:
    """The members of a JSON object; None where it is none, or too deep for any reader."""
    try:
        return fields(data)
    except RecursionError:
        return None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | texts(ANSWERS) | texts(OBJECTS), st.sampled_from(NOUNS))
def test_any_answer_about_work_is_an_event_or_parked(body: bytes, noun: Noun) -> None:
    """An answer with a status is a valid event of its own bytes; every other one is parked whole."""
    record = DurableWork(noun, "w", f"https://api.bctrl.ai/{noun}s/w").answer(body, RECEIVED).record
    answer = found(body)
    work = answer.get(noun, answer) if answer is not None else None
    status = work.get("status") if isinstance(work, dict) else None
    number = isinstance(status, int | float) and not isinstance(status, bool)
    if not number and not (isinstance(status, str) and status):
        assert isinstance(record, Parked)
        assert (record.raw, bool(record.reason), bool(record.key)) == (body, True, True)
        return
    assert isinstance(record, Event)
    event = valid(record)
    assert bytes(record.data) in body
    assert event["data"] == work
    assert event["id"].startswith("w:")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | texts(OBJECTS) | texts(VALUES), st.tuples(POINTERS, POINTERS, POINTERS, POINTERS))
def test_any_data_of_any_stream_is_an_event(data: bytes, at: tuple[str | None, ...]) -> None:
    """Whatever is UTF-8 and not too deep is a valid event: JSON byte for byte, all else as a text."""
    stream = AnyStream("https://h.example/s", "news", Pointers(*at), "", None, lambda: "made")
    data = data or b" "
    (record,) = stream.batch([Frame("message", data, "", None)], RECEIVED).records
    try:
        parsed = said(data)
    except (UnicodeDecodeError, RecursionError):
        assert isinstance(record, Parked)
        assert record.raw == data
        return
    except ValueError:
        assert isinstance(record, Event)
        assert (valid(record)["data"], record.datacontenttype) == (data.decode(), "text/plain")
        return
    assert isinstance(record, Event)
    assert (bytes(record.data), record.datacontenttype) == (data, "application/json")
    event = valid(record)
    assert event["data"] == parsed
    for attribute, pointer, default in (("id", at[0], "made"), ("type", at[1], "message"), ("subject", at[2], "news")):
        there = pointed(parsed, pointer)
        if isinstance(there, str):
            assert event[attribute] == (there.encode("utf-16", "surrogatepass").decode("utf-16", "replace") or default)
        elif isinstance(there, int | float) and not isinstance(there, bool):
            assert json.loads(event[attribute]) == there
        else:
            assert event[attribute] == default


def pointed(whole: object, pointer: str | None) -> object:
    """RFC 6901 read a second time: its section 4, with None for an error."""
    for token in pointer.split("/")[1:] if pointer is not None else []:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(whole, dict):
            whole = whole.get(name)
        elif isinstance(whole, list) and name in map(str, range(len(whole))):
            whole = whole[int(name)]
        else:
            return None
    return whole if pointer is not None else None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | texts(PAGES) | texts(PAGES, ("data", "hasMore", "nextCursor", "x")))
def test_any_page_is_its_objects_or_none(body: bytes) -> None:
    """A page is the items of `data`, byte for byte and in their order; what is no page is None."""
    read, whole = page.read(body), found(body)
    items = whole.get("data") if whole is not None else None
    cursor = whole.get("nextCursor") if whole is not None else None
    if not isinstance(items, list) or not (cursor is None or isinstance(cursor, str)):
        assert read is None
        return
    assert read is not None
    assert [said(item) for item in read.items] == items
    assert all(item in body for item in read.items)
    for stream, item in itertools.product((STREAM, ACCOUNT), read.items):
        record = stream.record(item, RECEIVED)
        if isinstance(record, Event):
            valid(record)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | texts(OBJECTS) | texts(OBJECTS, ("data",)))
def test_any_answer_to_a_wait_for_a_name_is_a_signal_or_parked(body: bytes) -> None:
    """An answer with `data` is a valid signal of its bytes; every other one is parked whole, and said to be broken."""
    batch = signalled("https://api.anchorbrowser.io", "otp", body)
    (record,) = batch.records
    answer = found(body)
    if answer is None or "data" not in answer:
        assert isinstance(record, Parked)
        assert (record.raw, record.reason) == (body, batch.broken)
        return
    assert isinstance(record, Event)
    assert bytes(record.data) in body
    assert valid(record)["data"] == answer["data"]
    assert not batch.broken


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_no_depth_is_too_deep(opening: str) -> None:
    """However deep an object nests, up to where the decoder ends and a little to each side, no reader raises."""
    closing = "]" if opening == "[" else "}"
    kinds = set()
    for depth in itertools.chain(range(0, 1100, 3), [100_000]):
        data = f'{{"id":"e","status":"running","type":"t","data":{opening * depth}1{closing * depth}}}'.encode()
        listed = b'{"data":[%s],"event":%s,"operation":%s}' % (data, data, data)
        any_stream = AnyStream("https://h.example/s", "news", Pointers("/id", "/data/a"), "", None, lambda: "made")
        for frame in (Frame("run.event", data, "", None), Frame("runtime.event", listed, "w", None, own_id=True)):
            for stream in (STREAM, ACCOUNT, any_stream):
                records = stream.batch([frame], RECEIVED).records
                kinds |= {type(record) for record in records}
                assert len(records) == 1
        for answer in (data, listed):
            kinds.add(type(DurableWork("operation", "w", "https://w").answer(answer, RECEIVED).record))
        page.read(listed)
        signalled("https://api.anchorbrowser.io", "otp", data)
    assert kinds == {Event, Parked}
