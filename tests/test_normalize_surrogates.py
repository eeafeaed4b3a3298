"""Holds the reading of half surrogate pairs to RFC 8259, section 8.2: they are text, and are passed on as they came."""

import msgspec
import pytest

from bridge.normalize.surrogates import paired, verbatim

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\ude00"', rb'"\ufffd"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\uD83D\uDE00"', rb'"\uD83D\uDE00"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'"\ud83"', rb'"\ud83"'),
        (b'"\\', b'"\\'),
    ],
)
def test_half_a_pair_is_replaced_and_a_whole_one_is_not(text: bytes, expected: bytes) -> None:
    """Only what stands alone becomes U+FFFD, and the length stays."""
    assert paired(text) == expected
    assert len(expected) == len(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (rb'{"a":"\ud801","data":"\ud800"}', rb'"\ud800"'),
        (rb'{"\ud801":1,"data":"\ud800"}', rb'"\ud800"'),
        (rb'{"a":{"data":"\ud801"},"data":"\ud800"}', rb'"\ud800"'),
        (rb'{"a":["data",{"data":"\ud801"}],"data" : ["\ud800"] }', rb'["\ud800"]'),
        (rb'{"data":"\ud801","data":"\ud800"}', rb'"\ud800"'),
        (rb'{"a":"\"data\":[\ud801","data":"\ud800"}', rb'"\ud800"'),
        (rb'{"a":"}]","d\u0061ta":{"x":"\ud800"},"z":"\ud802"}', rb'{"x":"\ud800"}'),
        (rb'{"a":"data","data":"\ufffd\ud800"}', rb'"\ufffd\ud800"'),
        (rb'{"a":"\ud800","data":"\ufffd"}', rb'"\ufffd"'),
        (b'{"a":[],"data":1}', b"1"),
    ],
)
def test_the_value_of_a_member_is_found_where_it_stands(text: bytes, part: bytes) -> None:
    """Not where something else stands that differs from it in a surrogate only."""
    assert verbatim(text, _fields(paired(text))["data"], "data") == part
