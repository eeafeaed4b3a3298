"""Holds the formats to exact bytes, to the `cloudevents` package, and to being safe with entries that are no event."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from any_json import texts
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import example, given
from hypothesis import strategies as st
from judges import judged, strict

from bridge.delivery import members
from bridge.delivery.form import BATCHED, STRUCTURED, Form, form, webhook_id
from bridge.delivery.lane import Unit
from bridge.event import Entry, Event
from bridge.signing import message_id

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DATA = b'{"id": "e",  "n":1.0, "big":123456789012345678901234567890}'
OURS = Event(
    id="evt_1", source="https://api.bctrl.ai/runs/r", type="ai.bctrl.run.navigation", subject="r",
    time="2026-11-21T12:00:05.120Z", sequence="00000000000000000007", partitionkey="r",
    recordedtime="2026-11-21T12:00:05.121Z", category="navigation", traceparent=TRACE, data=msgspec.Raw(DATA),
)  # fmt: skip
TEXT = msgspec.json.encode(OURS)
CORE = {"specversion": "1.0", "id": "e", "source": "/s", "type": "t"}
LINE = re.compile(rb"[a-zA-Z0-9-]+: [\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|ce-[a-z0-9]+: ")


def link(entry: Entry) -> str:
    """Where a test says that events can be read."""
    return f"https://bridge.example/v1/events/0-{entry.entry}"


FORMATS: dict[str, Form] = {name: form(name, link) for name in ("structured", "binary", "batched", "thin")}


def entry(event: bytes, at: str = "7-1") -> Entry:
    """An entry of the log with this event."""
    return Entry(at, "evt_1", "t", "r", event)


def sent(name: str, *events: bytes | Mapping[str, Any]) -> tuple[str, dict[str, str], bytes]:
    """What one request of this format carries: its id, its headers by their names as written, its body.

    Every header is a line of its own that no value of an event can break.
    """
    entries = (entry(event if isinstance(event, bytes) else json.dumps(event).encode()) for event in events)
    id_, block, trace, body = FORMATS[name](Unit(tuple(entries)))
    block += b"traceparent: %b\r\n" % trace if trace else b""
    lines = block.split(b"\r\n")
    assert lines.pop() == b""
    assert all(map(LINE.fullmatch, lines)), block
    headers = dict(line.decode().split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    return id_, headers, body


def read(headers: dict[str, str], body: bytes) -> BaseCloudEvent:
    """What the official package makes of a request."""
    return from_http_event(HTTPMessage({name.lower(): value for name, value in headers.items()}, body))


ID = message_id(OURS.source, OURS.id)


def test_structured_is_the_entry_as_it_is() -> None:
    """The event's bytes, under its own `webhook-id`; its trace context is a header too."""
    assert FORMATS["structured"](Unit((entry(TEXT),))) == (ID, STRUCTURED, TRACE.encode(), TEXT)
    assert STRUCTURED == b"Content-Type: application/cloudevents+json; charset=utf-8\r\n"


def test_binary_is_headers_and_the_data_as_it_is() -> None:
    """Every attribute is a header, in the event's order; the upstream's bytes are the body."""
    id_, block, trace, body = FORMATS["binary"](Unit((entry(TEXT),)))
    assert (id_, trace, body) == (ID, TRACE.encode(), DATA)
    assert block.decode().split("\r\n") == [
        "Content-Type: application/json", "ce-specversion: 1.0", "ce-id: evt_1",
        "ce-source: https://api.bctrl.ai/runs/r", "ce-type: ai.bctrl.run.navigation", "ce-subject: r",
        "ce-time: 2026-11-21T12:00:05.120Z", "ce-sequence: 00000000000000000007", "ce-partitionkey: r",
        "ce-recordedtime: 2026-11-21T12:00:05.121Z", "ce-category: navigation", f"ce-traceparent: {TRACE}", "",
    ]  # fmt: skip


def test_a_batch_is_an_array_of_the_entries_as_they_are() -> None:
    """In their order, also of one; its id is the only member's, or one of all members in their order."""
    other = TEXT.replace(b"evt_1", "evt_\u00fc".encode())
    id_, headers, body = sent("batched", TEXT, other)
    assert body == b"[" + TEXT + b"," + other + b"]"
    assert headers == {"Content-Type": "application/cloudevents-batch+json; charset=utf-8", "traceparent": TRACE}
    assert [judged(json.dumps(one).encode())["id"] for one in json.loads(body)] == ["evt_1", "evt_\u00fc"]
    assert sent("batched", TEXT)[::2] == (ID, b"[" + TEXT + b"]")
    assert id_ == sent("batched", TEXT, other)[0] == "msg_7acba9569aec3cb06ebab633b554a253"
    ids = {id_, sent("batched", other, TEXT)[0], sent("batched", TEXT, TEXT)[0], ID}
    assert len(ids) == 4
    assert all(re.fullmatch(r"msg_[0-9a-f]{32}", each) for each in ids)


def test_thin_is_the_event_without_its_data() -> None:
    """Whatever else it says stays, and `dataref` says where the rest is, also where it said so itself."""
    id_, headers, body = sent("thin", TEXT)
    said = json.loads(TEXT)
    del said["data"]
    assert json.loads(body) == said | {"dataref": "https://bridge.example/v1/events/0-7-1"}
    assert (id_, headers["traceparent"]) == (ID, TRACE)
    assert read(headers, body).get_data() is None
    own = sent("thin", CORE | {"dataref": "https://elsewhere.example", "data_base64": "AA==", "x": True})[2]
    assert strict(own) == CORE | {"x": True, "dataref": link(entry(b""))}


@pytest.mark.parametrize("name", ["structured", "binary", "thin"])
def test_several_events_are_a_batch_in_every_format(name: str) -> None:
    """A unit that was tried as a batch stays one request with the same id when the format is changed."""
    id_, headers, body = sent(name, TEXT, TEXT)
    assert headers == {"Content-Type": BATCHED.decode().strip().removeprefix("Content-Type: "), "traceparent": TRACE}
    assert id_ == sent("batched", TEXT, TEXT)[0]
    assert body == b"[" + b",".join([sent(name, TEXT)[2] if name == "thin" else TEXT] * 2) + b"]"


def test_a_format_has_a_name() -> None:
    """The four of the configuration; thin has to know where the whole event is."""
    with pytest.raises(ValueError, match="structured, binary, batched, thin"):
        form("xml")
    with pytest.raises(ValueError, match="link"):
        form("thin")


VALUES = st.text(max_size=20) | st.text(st.sampled_from(' "%\\\r\n\0\x7f:\u00e9\U0001f600~!/'), max_size=8)
NAMES = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(lambda name: name not in {"data", "time", "dataref"})


@given(st.dictionaries(NAMES, VALUES.filter(bool), max_size=6), st.booleans(), st.booleans())
@example(
    attributes={"id": "a\r\nx-evil: 1", "subject": " \t ", "type": "%41%", "source": '"'}, ascii_only=True, spaced=True
)
def test_attributes_survive_as_headers(attributes: dict[str, str], ascii_only: bool, spaced: bool) -> None:
    """Percent-encoded as UTF-8: the official package reads what was said, and a line stays a line."""
    said: dict[str, Any] = CORE | attributes | {"specversion": "1.0", "datacontenttype": "application/json"}
    text = json.dumps(said | {"data": {"a": 1}}, ensure_ascii=ascii_only, separators=None if spaced else (",", ":"))
    id_, headers, body = sent("binary", text.encode())
    event = read(headers, body)
    assert {name: value for name, value in event.get_attributes().items() if name != "time"} == said
    assert event.get_data() == {"a": 1}
    assert "ce-datacontenttype" not in headers
    assert id_ == message_id(said["source"], said["id"])


@pytest.mark.parametrize(
    ("event", "type_", "body"),
    [
        ({"data": [1, "\u00e9"]}, "application/json", b'[1, "\\u00e9"]'),
        ({"data": "text", "datacontenttype": "application/problem+json; charset=utf-8"},
         "application/problem+json; charset=utf-8", b'"text"'),
        ({"data": "t\u00e9xt\n", "datacontenttype": "text/plain"}, "text/plain", "t\u00e9xt\n".encode()),
        ({"data": "a", "datacontenttype": 'text/csv; charset= "UTF-8"'}, 'text/csv; charset= "UTF-8"', b"a"),
        ({"data_base64": "AP8=", "datacontenttype": "image/png"}, "image/png", b"\0\xff"),
        ({"data": None, "data_base64": None, "x": None, "n": -5, "b": False}, "application/json", b"null"),
    ],
)  # fmt: skip
def test_data_becomes_the_body(event: dict[str, Any], type_: str, body: bytes) -> None:
    """JSON as it is, the text of a string of another type, the bytes of base64; null attributes are none."""
    _, headers, found = sent("binary", CORE | event)
    assert (headers["Content-Type"], found) == (type_, body)
    assert headers.get("ce-n") == (str(event["n"]) if "n" in event else None)
    assert headers.get("ce-b") == ("false" if "b" in event else None)
    assert not {"ce-x", "ce-data", "ce-data_base64", "ce-datacontenttype"} & set(headers)


@pytest.mark.parametrize(
    "event",
    [
        {}, {"data_base64": ""}, {"data_base64": "!"}, {"data_base64": 5}, {"data": 1, "data_base64": "AA=="},
        {"data": {}, "datacontenttype": "text/plain"}, {"data": "", "datacontenttype": "text/plain"},
        {"data": "a", "datacontenttype": "text/plain; charset=latin1"},
        {"data": 1, "datacontenttype": "application/cloudevents+json"}, {"data": 1, "datacontenttype": "a/b\r\nx: y"},
        {"data": 1, "datacontenttype": "a/\u00e9"}, {"data": 1, "datacontenttype": ""},
        {"data": 1, "datacontenttype": True}, {"data": 1, "x": 1.5}, {"data": 1, "x": {}}, {"data": 1, "X": "x"},
        {"data": 1, "a_b": "x"}, {"data": 1, "x: y\r\nz": "x"}, {"data": 1, "": "x"}, {"data": 1, "id": ""},
        {"data": 1, "id": 5}, {"data": 1, "source": None}, {"data": 1, "specversion": "0.3"},
        {"data": 1, "x": "y" * members.MAX_HEADERS}, {"data": 1, "x": "\u00e9" * (members.MAX_HEADERS // 6)},
    ],
)  # fmt: skip
def test_what_binary_can_not_carry_goes_out_structured(event: dict[str, Any]) -> None:
    """No payload, no plain Content-Type, a name or value of another kind, headers over 32 KiB: nothing is lost."""
    text = json.dumps(CORE | event).encode()
    _, headers, body = sent("binary", text)
    assert (headers, body) == ({"Content-Type": "application/cloudevents+json; charset=utf-8"}, text)


@pytest.mark.parametrize("name", ["id", "data", "x"])
@pytest.mark.parametrize("space", [b"", b" "])
def test_a_name_that_is_twice_is_not_read_either_way(name: str, space: bytes) -> None:
    """Receivers would differ about it: binary sends it whole, thin nothing of it."""
    text = json.dumps(CORE | {"x": "1", "data": "secret"}, separators=(",", ":")).encode()
    text = text[:-1] + b"," + space + b'"%b":"2"}' % name.encode()
    assert sent("binary", text)[2] == text
    assert json.loads(sent("thin", text)[2])["type"] == "dev.runbridge.entry.unreadable"


@pytest.mark.parametrize(
    "value",
    ["", 5, None, TRACE.upper(), TRACE[:-1], TRACE + "-x", "ff" + TRACE[2:], "01" + TRACE[2:],
     TRACE.replace("b7ad6b7169203331", "0" * 16), "00-" + "0" * 32 + TRACE[35:], TRACE + "\r\nx: y", [TRACE]],
)  # fmt: skip
def test_no_other_trace_context_is_a_header(value: object) -> None:
    """Only one that W3C Trace Context allows is passed on; the event keeps what it says."""
    for name in FORMATS:
        id_, headers, _ = sent(name, CORE | {"data": 1, "traceparent": value})
        assert "traceparent" not in headers
        assert id_ == message_id("/s", "e")


OTHER_TRACE = TRACE.replace("b7ad", "b7ae")


@pytest.mark.parametrize(
    "others",
    [[CORE], [CORE | {"traceparent": OTHER_TRACE}], [CORE | {"traceparent": TRACE + "0"}], [b"no event"],
     [CORE | {"traceparent": TRACE}, CORE]],
)  # fmt: skip
@pytest.mark.parametrize("name", ["batched", "thin"])
def test_a_batch_has_the_trace_context_that_all_its_members_share(
    name: str, others: list[bytes | Mapping[str, Any]]
) -> None:
    """One that has another, or none, or is no event at all leaves the request without."""
    shared: list[bytes | Mapping[str, Any]] = [CORE | {"traceparent": TRACE, "id": "x", "extra": 1}, TEXT]
    assert sent(name, *shared)[1]["traceparent"] == TRACE
    assert "traceparent" not in sent(name, *shared, *others)[1]
    assert "traceparent" not in sent(name, *others, *shared)[1]


ODD = [
    b"", b"\xff", b"null", b"[]", b'"x"', b"{}", b'{"id":"e","source":"/s"}', TEXT[:-1], TEXT + b"]",
    b"\xef\xbb\xbf" + TEXT, TEXT.replace(b"1.0,", b"NaN,"), TEXT.replace(b"1.0,", b'"\\ud800",'),
    TEXT.replace(b"1.0,", b'"\xff",'), TEXT.replace(b'"data"', b'"x\\ud800"'), b"[" * (1 << 20),
    TEXT.replace(b'"category"', b'"Category"'), TEXT.replace(b"1.0,", b"[" * 9999 + b"]" * 9999 + b","),
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_an_entry_that_is_no_event_spoils_nothing(odd: bytes) -> None:
    """Structured and binary send it as it is; a batch has it whole inside an event; thin gives none of it away."""
    for name in ("structured", "binary"):
        _, headers, body = sent(name, odd)
        assert (headers["Content-Type"], body) == ("application/cloudevents+json; charset=utf-8", odd)
    id_, _, body = sent("batched", TEXT, odd, TEXT)
    first, stood_in, last = strict(body)
    assert first == last == strict(TEXT)
    assert base64.b64decode(stood_in.pop("data_base64")) == odd
    assert stood_in == {
        "specversion": "1.0", "id": webhook_id(entry(odd)), "source": "urn:runbridge:log", "subject": "r",
        "type": "dev.runbridge.entry.unreadable", "logentry": "7-1", "datacontenttype": "application/octet-stream",
    }  # fmt: skip
    assert id_ == sent("batched", TEXT, odd, TEXT)[0]
    assert strict(sent("thin", odd)[2]) == stood_in | {"dataref": link(entry(odd))}


def test_fields_of_an_entry_can_be_any_text() -> None:
    """An entry without an event is known by its fields, whatever they hold."""
    for subject in ("", "a\r\nb", "\ud800", "\0"):
        unit = Unit((Entry("7-1", "", "", subject, b""),) * 2)
        for name, formed in FORMATS.items():
            id_, _, _, body = formed(unit)
            assert re.fullmatch("msg_[0-9a-f]{32}", id_), name
            assert len(strict(body)) == 2
    assert webhook_id(Entry("7-1", "", "", "r", b"")) == message_id("r", "7-1")
    assert webhook_id(Entry("7-1", "e", "", "r", b"")) == message_id("r", "e")


EVENTS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {name: st.just(value) for name, value in CORE.items()},
    optional={
        "subject": VALUES, "x": VALUES | st.integers() | st.floats() | st.none(), "data": st.integers() | VALUES,
        "datacontenttype": VALUES | st.sampled_from(["text/plain", "application/json"]), "A": st.just(1),
    },
)  # fmt: skip


@given(texts() | texts(EVENTS, ("id", "data", "subject", "x")), st.text(st.characters(), max_size=3))
def test_no_entry_breaks_a_request(text: bytes, subject: str) -> None:
    """Whatever anybody put into the log: no format raises, headers keep their lines, a batch is a batch of events."""
    one = Entry("7-1", "i", "t", subject, text)
    for name, formed in FORMATS.items():
        id_, block, trace, body = formed(Unit((one,)))
        assert all(map(LINE.fullmatch, block.split(b"\r\n")[:-1])), name
        assert re.fullmatch(rb"(00(-[0-9a-f]+){3})?", trace)
        assert id_ == webhook_id(one)
        if name == "batched":
            (event,) = strict(body)
            assert event["id"]
            assert event["specversion"] == "1.0"
        if name == "thin":
            assert not {"data", "data_base64"} & set(strict(body))
