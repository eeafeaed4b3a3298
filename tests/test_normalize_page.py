"""Holds the reader of list pages to `{data, nextCursor, hasMore}` in every form of it (CONTRACT A.5 to A.7)."""

import pytest

from bridge.normalize import page
from bridge.normalize.page import Page


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"data":[{"a":1},{"b":2}],"nextCursor":"c"}', Page((b'{"a":1}', b'{"b":2}'), "c", more=True)),
        (b'{"data":[],"nextCursor":null}', Page((), "", more=False)),
        (b'{"data":[]}', Page((), "", None)),
        (b'{"data":[{}],"hasMore":true}', Page((b"{}",), "", more=True)),
        (b'{"data":[{}],"nextCursor":null,"hasMore":true}', Page((b"{}",), "", more=True)),
        (b'{"data":[{}],"nextCursor":"c","hasMore":true}', Page((b"{}",), "c", more=True)),
        (b'{"data":[{}],"nextCursor":"c","hasMore":false}', Page((b"{}",), "", more=False)),
        (b'{"data":[{}],"nextCursor":"c","hasMore":1}', Page((b"{}",), "c", more=True)),
        (b'{"data":[{}],"hasMore":"no"}', Page((b"{}",), "", more=None)),
        (b'{"data":[1,null,"x",[2]]}', Page((b"1", b"null", b'"x"', b"[2]"), "", None)),
        (b'{"data":[{}],"nextCursor":"a\\u0062"}', Page((b"{}",), "ab", more=True)),
    ],
)
def test_a_page_is_its_objects_and_the_next_cursor(body: bytes, expected: Page) -> None:
    """The objects as received, and the cursor; none on the last page, by either sign; and whether more is said."""
    assert page.read(body) == expected


@pytest.mark.parametrize(
    "items",
    [
        [rb'{ "n" : 1.0e2, "s":"\u00e9\/" }', b'{"n":1}', b'{"n":1}'],
        [rb'{"cut":"\ud83d"}', rb'{"cut":"\ud83e"}', rb'{"cut":"\ufffd"}'],
        ['{"e":"\u20ac \U0001f600"}'.encode(), b"1", b"11", b"1"],
        [b'{"data":[1]}', b"[1]"],
    ],
)  # fmt: skip
def test_the_objects_are_byte_for_byte(items: list[bytes]) -> None:
    """Spaces, escapes, half a surrogate pair: as they came, equal ones and alike ones too."""
    for join in (b",", b" ,\n "):
        read = page.read(b'{"x":"data","before":{"data":1}, "data" : [ ' + join.join(items) + b' ],"data2":[0]}')
        assert read is not None
        assert list(read.items) == items


def test_a_name_may_be_escaped_or_twice() -> None:
    """JSON allows to escape the letters of a name; where it is there twice, the last one counts."""
    assert page.read(rb'{"d\u0061ta":[{}]}') == Page((b"{}",), "", None)
    assert page.read(b'{"data":[1],"data":[2]}') == Page((b"2",), "", None)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"null", b"{}", b'{"data":null}', b'{"data":{}}', b'{"data":[}', b'{"data":[1]',
        b'{"data":["\xff"]}', b'{"data":[],"nextCursor":5}', b'{"data":[],"nextCursor":{}}',
        b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_page_is_none(body: bytes) -> None:
    """Nothing raises, and nothing is taken for an empty page."""
    assert page.read(body) is None
