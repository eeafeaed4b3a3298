"""Holds globs to docs/filters.md: from end to end, in their own case, with nothing special but *."""

import json

import pytest

from bridge.delivery.filter import MAX_GLOB, MAX_GLOBS, Filter, FilterError
from bridge.event import Entry

SOURCE = "https://api.bctrl.ai/runs/0b0c"


def entry(type: str = "ai.x", subject: str = "0b0c", source: str | None = SOURCE, *, ok: bool = True) -> Entry:  # noqa: A002  # the name of the attribute
    """An entry of the log; one whose source is None has no such attribute."""
    event = {"source": source, "data": {"ok": ok}} if source is not None else {"data": {"ok": ok}}
    return Entry("1-0", "evt_1", type, subject, json.dumps(event).encode())


@pytest.mark.parametrize(
    ("globs", "text", "wanted"),
    [
        ((), "a.b", True),
        (("a.b",), "a.b", True),
        (("a.b",), "A.b", False),
        (("a.b",), "a.b.c", False),
        (("a.*",), "a.b.c", True),
        (("a.*",), "a.", True),
        (("a.*",), "a", False),
        (("*",), "", True),
        (("**",), "a", True),
        (("*.c",), "a.b.c", True),
        (("a*c",), "ac", True),
        (("ab*bc",), "abc", False),
        (("*b*bc",), "abc", False),
        (("a*b*c",), "a.b.b.c", True),
        (("a*bb*c",), "a.b.b.c", False),
        (("*b*b*",), "b", False),
        (("*aab*",), "aaab", True),
        (("[ab]",), "a", False),
        (("[ab]*",), "[ab]c", True),
        (("a?c",), "abc", False),
        (("a?c*",), "a?c", True),
        (("a.c",), "abc", False),
        (("a\\*",), "a\\b", True),
        (("a\n*",), "a\nb\nc", True),
        (("x", "y*", "*z*"), "azb", True),
        (("x", "y*", "*z*"), "xa", False),
        (("é*",), "éa", True),
    ],
)
def test_globs(globs: tuple[str, ...], text: str, wanted: bool) -> None:
    """A glob matches from end to end, in its own case; * crosses dots, and is the only special character."""
    assert Filter(types=globs)(entry(type=text)) is wanted
    assert Filter(subjects=globs)(entry(subject=text)) is wanted
    assert Filter(sources=globs)(entry(source=text)) is wanted
    assert Filter(types=globs).type(text) is wanted


def test_every_kind_has_to_match() -> None:
    """One glob of each kind that is given has to match, and the expression has to hold."""
    asked = Filter(["ai.*", "x"], ["0b*"], ["https://api.bctrl.ai/*"], "data.ok == true")
    assert asked(entry())
    assert not asked(entry(type="io.x"))
    assert not asked(entry(subject="1b"))
    assert not asked(entry(source="https://elsewhere.example/"))
    assert not asked(entry(source=None))
    assert not asked(entry(ok=False))


def test_a_thousand_globs() -> None:
    """All the globs that are allowed decide together, and one more is an error that says so."""
    subjects = [f"run-{number}" for number in range(MAX_GLOBS - 2)]
    asked = Filter(subjects=[*subjects, "job-*", "*-last"])
    assert all(asked(entry(subject=subject)) for subject in ("run-0", "run-997", "job-1", "the-last"))
    assert not asked(entry(subject="run-998"))
    with pytest.raises(FilterError, match=f"subjects has {MAX_GLOBS + 1} globs; at most {MAX_GLOBS}"):
        Filter(subjects=["x"] * (MAX_GLOBS + 1))


def test_wrong_globs() -> None:
    """An empty glob, an overlong one, and a text in place of the list are told with their place."""
    with pytest.raises(FilterError, match=r"sources\[1\] has 0 characters"):
        Filter(sources=["a", ""])
    with pytest.raises(FilterError, match=rf"types\[0\] has {MAX_GLOB + 1} characters"):
        Filter(types=["x" * (MAX_GLOB + 1)])
    with pytest.raises(FilterError, match=r"types is a text; write a list of globs, as"):
        Filter(types="ai.*")
