"""Holds filters to what they cost, and to deciding whatever an event holds: events are anybody's."""

import json
import sys
from time import process_time
from types import FrameType
from typing import Any, Self

import msgspec
import pytest

from bridge.delivery.filter import Filter
from bridge.event import Entry

DEEP = b"[" * 100_000 + b"]" * 100_000
TEXT = b"x" * (8 << 20)
LONG = 'contains(data.x, "{0}{0}{0}b") or glob(data.x, "*{0}b*{0}b*")'.format("a" * 600)


def told(event: bytes, type_: str = "t") -> Entry:
    """An entry of the log with these bytes."""
    return Entry("1-0", "i", type_, "s", event)


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"null",
        b"[]",
        b'"category"',
        b"{",
        b'{"category":"network"} x',
        b"\xef\xbb\xbf{}",
        b'{"category":"network\xff","data":{"status":503}}',
        b'{"category":NaN,"data":{"status":503}}',
        b'{"category":1e999}',
        b'{"category":1' + b"0" * 5000 + b"}",
        DEEP,
        b'{"category":"network","data":' + DEEP + b"}",
        b'{"category":"network","x":' + DEEP + b',"data":{"status":503}}',
        b'{"\\u00e4":' + DEEP + b"}",
        b'{"\\ud800":' + DEEP + b"}",
        b'"\\ud800',
        '{"category":"network"}'.encode("utf-16"),
        TEXT,
        b'"' + TEXT,
    ],
    ids=range(20),
)
def test_no_event_at_all(event: bytes) -> None:
    """What is no CloudEvent has what the log tells, and everything else is absent; nothing raises."""
    entry = told(event)
    assert Filter(["t"], ["s"], (), 'id == "i" and category == null and data == null and data.status == null')(entry)
    assert not Filter(expression='category == "network" or data.status > 0')(entry)
    assert not Filter(sources=["*"])(entry)


@pytest.mark.parametrize(
    ("data", "expression", "wanted"),
    [
        (b'{"status":1' + b"0" * 400 + b"}", "data.status > 1e300", True),
        (b'{"status":-1' + b"0" * 400 + b"}", "data.status < -1e300", True),
        (b'{"status":18446744073709551617}', "data.status == 18446744073709551617", True),
        (b'{"status":18446744073709551617}', "data.status == 18446744073709551616", False),
        (b'{"status":503,"x":1e999}', "data.status == 503", True),
        (b'{"status":503,"status":200}', "data.status == 200", True),
        (b'{"status":503,"x":"\\ud83d cut"}', "data.status == 503", True),
        (b'{"x":"\\ud83d cut \\ud83e\\udd8a"}', 'data.x == "\\ufffd cut \U0001f98a"', True),
        (b'{"\\ud83d":1,"status":503}', "data.status == 503", True),
        (b'{"x":"\xff","status":503}', "data.status == 503", True),
        (b'{"x":"\xff","status":503}', "data == null", True),
        (b'{"x":"\xff"}', "data.x == null", True),
        (b'{"status":503,"x":' + b"[" * 500 + b"]" * 500 + b"}", "data.status == 503", True),
        (b'{"x":' + b"[" * 500 + b"]" * 500 + b',"y":' + b"[" * 500 + b"]" * 500 + b"}", "data.x == data.y", False),
        (b'{"x":' + b"[" * 500 + b"]" * 500 + b"}", "data.x in data.x or data.x != null", True),
        (b'{"__class__":1}', "data.__class__ == 1", True),
        (b'{"decode":1}', "data.items == null and data.decode == 1", True),
    ],
)
def test_odd_data(data: bytes, expression: str, wanted: bool) -> None:
    """Odd data beside what is asked for is no hindrance, and odd numbers keep all their digits."""
    assert Filter(expression=expression)(told(b'{"category":"network","data":' + data + b"}")) is wanted


@pytest.mark.parametrize("expression", ["envelope == null", "mro == null", "keys == null", "self == null"])
def test_names_that_mean_something_in_python(expression: str) -> None:
    """An attribute's name is only that, whatever it means to the language that this is written in."""
    assert Filter(expression=expression)(told(b"{}"))


class Decodings:
    """Counts what is decoded from JSON while it is entered."""

    def __enter__(self) -> Self:
        self.seen = 0
        sys.setprofile(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, called: Any) -> None:
        self.seen += event == "c_call" and isinstance(getattr(called, "__self__", None), msgspec.json.Decoder)


@pytest.mark.parametrize(
    ("asked", "decoded"),
    [
        (Filter(), 0),
        (Filter(["t"], ["s"]), 0),
        (Filter(["x"], (), ["*"], "data.status > 0"), 0),
        (Filter((), ["x"], ["*"], "data.status > 0"), 0),
        (Filter(expression='data.status > 0 and category == "x" and subject == "x"'), 0),
        (Filter(expression='data.status > 0 or category == "x" or subject == "s"'), 0),
        (Filter(sources=["x*"], expression="data.status > 0"), 1),
        (Filter(expression='category == "network" and runid == null'), 1),
        (Filter(expression='category == "x" and data.status >= 500'), 1),
        (Filter(expression='data.status >= 500 and category == "x"'), 1),
        (Filter(expression='not (data.status >= 500 or category == "network")'), 1),
        (Filter(expression='data.status >= 500 or data.a == 1 or category == "network"'), 1),
        (Filter(expression='category == "network" and data.status >= 500'), 2),
        (Filter(expression="data.status >= 500 and data.status < 600 and data.url == null"), 2),
        (Filter(expression="data.status >= 500 and data != null"), 3),
    ],
    ids=range(15),
)
def test_what_is_decoded(asked: Filter, decoded: int) -> None:
    """Nothing is decoded for type and subject; envelope and data once each, and only when they are needed."""
    entry = told(b'{"category":"network","source":"s","data":{"status":503}}')
    asked(entry)  # from now on the verdict of the type is known
    with Decodings() as decodings:
        asked(entry)
    assert decodings.seen == decoded


def test_data_that_is_not_needed_may_be_anything() -> None:
    """Where the attributes decide, even data that can't be read as text changes nothing."""
    entry = told(b'{"data":{"status":"\xff\xfe"},"category":"network"}')
    assert Filter(expression='category == "network" or data.status == 1')(entry)


def test_eight_mebibytes() -> None:
    """The largest event is decided in the time of one look over its bytes, and globs don't backtrack in it."""
    members = {f"m{number}": ["abcdefgh"] * 10 for number in range(60_000)}
    large = told(json.dumps({"category": "network", "data": {**members, "status": 503, "x": "a" * (1 << 20)}}).encode())
    assert len(large.event) > 8 << 20
    begun = process_time()
    assert Filter(expression='category == "network" and data.status == 503')(large)
    assert not Filter(expression='glob(data.x, "*a*a*a*a*a*a*a*a*a*a*a*b")')(large)
    assert not Filter(expression=LONG)(large)
    assert process_time() - begun < 1


def test_strangers_types_do_not_pile_up() -> None:
    """Verdicts on types are kept for at most 1,024 of them, and none for an overlong one."""
    asked = Filter(types=["a*"])
    assert all(asked.type(f"a{number}") for number in range(3000))
    assert asked.type("a" * 5000)
    assert asked._known.cache_info().currsize == 1024
