"""The names of a fan-out's streams: literal text, values as they are, bounded, and in one slot of a cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from bridge.delivery.template import MOST, MOST_TEXT, Template
from bridge.event import Entry

EVENT = b'{"specversion":"1.0","source":"https://api.example/runs/1","data":{"source":"no"}}'


def entry(subject: str = "run-1", type_: str = "ai.bctrl.run.step", event: bytes = EVENT) -> Entry:
    """One entry of the log."""
    return Entry("1-0", "e1", type_, subject, event)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("runs", "runs"),
        ("runs:{subject}", "runs:run-1"),
        ("{type}", "ai.bctrl.run.step"),
        ("{type}:{subject}:{partition}", "ai.bctrl.run.step:run-1:3"),
        ("from {source}!", "from https://api.example/runs/1!"),
        ("{{x}}:{subject}", "{x}:run-1"),
        ("{{{subject}}}", "{run-1}"),
        ("a}}b{{", "a}b{"),
    ],
)
def test_fields_are_replaced_and_the_rest_stays(text: str, key: str) -> None:
    """Text stays, doubled braces are braces, a field is its value."""
    assert Template(text).key(entry(), 3) == key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("runs:{run}", r"unknown field \{run\}: use \{type\}, \{subject\}, \{source\}, \{partition\}"),
        ("{}", r"unknown field \{\}"),
        ("{subject!r}", "unknown field"),
        ("runs:{subject", "'{' stands alone: write '{{' for a brace"),
        ("runs}", "'}' stands alone"),
        ("x" * (MOST_TEXT + 1), f"longer than {MOST_TEXT} bytes"),
    ],
)
def test_a_text_that_cant_be_used_says_why(text: str, said: str) -> None:
    """What is wrong, and what to write instead."""
    with pytest.raises(ValueError, match=said):
        Template(text)


@pytest.mark.parametrize(
    "event", [b"", b"{", b"[]", b'{"id":"x"}', b'{"source":7}', b'{"source":""}', b'{"source":"\xff"}']
)
def test_what_an_event_doesnt_have_is_none(event: bytes) -> None:
    """An event without subject, type or readable source has a stream all the same."""
    assert Template("{subject}/{type}/{source}").key(entry("", "", event), 0) == "none/none/none"


def test_values_are_put_in_as_they_are() -> None:
    """Braces, fields, blanks, line ends and NULs of a value mean nothing."""
    value = "{type}:{{x}} \n\0\N{SNOWMAN}"
    assert Template("a:{subject}").key(entry(value), 0) == "a:" + value


@given(st.text(min_size=MOST // 4), st.text(min_size=MOST // 4))
def test_long_keys_are_bounded_and_stay_apart(one: str, other: str) -> None:
    """At most 512 bytes: a longer key keeps its beginning, and a digest keeps it apart from others like it."""
    template = Template("{{tag}}:{subject}")
    head = "h" * MOST
    keys = [template.key(entry(head + value), 0) for value in (one, other)]
    assert all(len(key.encode()) <= MOST and key.startswith("{tag}:hhh") for key in keys)
    assert (keys[0] == keys[1]) == (one.encode(errors="replace") == other.encode(errors="replace"))
    short = template.key(entry(one), 0)
    assert short == "{tag}:" + one or len(one.encode()) + 6 > MOST >= len(short.encode())


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("{{bridge}}:runs:{subject}", "bridge"),
        ("runs:{{x}}", "x"),
        ("p{partition}:{{x}}:{type}", "x"),
        ("{{{partition}}}:{subject}", "2"),
        ("{{p{partition}}}:{subject}", "p2"),
        ("runs", ""),
        ("runs:{subject}", ""),
        ("{{{subject}}}", ""),
        ("{subject}:{{x}}", ""),
        ("{{}}{{x}}:{subject}", ""),
        ("{{x:{subject}}}", ""),
    ],
)
def test_the_hash_tag_that_all_keys_share(text: str, tag: str) -> None:
    """A tag counts only before any value that differs, and an empty first one hides those behind it."""
    template = Template(text)
    assert template.tag(2) == tag
    problem = template.problem_on_cluster()
    assert (problem is None) == bool(tag)
    if problem is not None:
        assert "{{bridge}}:runs:{subject}" in problem


@given(
    st.text(),
    st.text(),
    st.sampled_from(["{{b}}:{subject}", "{partition}{{{partition}}}{subject}{type}", "x{{y}}{type}"]),
)
def test_keys_with_a_tag_are_in_its_slot(subject: str, type_: str, text: str) -> None:
    """Whatever the values are, braces and all, the key is in the slot of the tag."""
    template = Template(text)
    key = template.key(entry(subject, type_), 2)
    assert key_slot(key.encode(errors="replace")) == key_slot(f"{{{template.tag(2)}}}".encode())
