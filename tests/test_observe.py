"""Holds log lines and counters to the closed set of facts: each with its name, its level and no repetition."""

import inspect
import json
import logging
import re
import timeit
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
import structlog

from bridge import facts
from bridge.facts import Fact
from bridge.observe import LEVELS, Observer, configure_logs, name_of

FACTS = [kind for _, kind in inspect.getmembers(facts, inspect.isclass) if issubclass(kind, Fact) and kind is not Fact]
OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def made(kind: type[Fact], **given: Any) -> Fact:
    """A fact of this kind with some value in every field."""
    some = {str: "a text", int: 1, float: 1.5, bool: True, BaseException: ValueError("no"), NoneType: None}
    hints = get_type_hints(kind)
    values = {name: some[(get_args(hint) or (hint,))[-1]] for name, hint in hints.items()}
    return kind(**values | given)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was logged since the last look; nothing goes to standard output."""
    out, err = capsys.readouterr()
    assert not out
    return [json.loads(line) for line in err.splitlines()]


def observed(capsys: pytest.CaptureFixture[str], *seen: Fact) -> list[dict[str, Any]]:
    """The lines of an observer that sees these facts."""
    configure_logs("debug", "json")
    observe = Observer()
    for fact in seen:
        observe(fact)
    return lines(capsys)


def level_of(kind: type[Fact]) -> str:
    """The level's name; empty where it is only counted."""
    level = LEVELS.get(kind, logging.INFO)
    return logging.getLevelName(level).lower() if level else ""


@pytest.mark.parametrize("kind", FACTS)
def test_a_fact_is_one_line(kind: type[Fact], capsys: pytest.CaptureFixture[str]) -> None:
    """Name, level, time in UTC and every field, in one line of JSON; one that is only counted has none."""
    fact = made(kind)
    if not level_of(kind):
        assert observed(capsys, fact) == []
        return
    (line,) = observed(capsys, fact)
    assert line.pop("event") == name_of(kind)
    assert line.pop("level") == level_of(kind)
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() is not None
    line.pop("exception", None)
    expected = {name: getattr(fact, name) for name in get_type_hints(kind)}
    if "event" in expected:
        expected["event_id"] = expected.pop("event")
    if isinstance(expected.get("error"), BaseException):
        expected["error"] = "ValueError: no"
    assert line == expected


def test_the_set_is_closed() -> None:
    """The names and levels are those that the operators' page lists, no more and no fewer."""
    listed: dict[str, str] = {}
    for names, level in re.findall(r"^\| ((?:`[a-z.]+`(?:, )?)+) \| (\w+) \|", OPERATIONS.read_text(), re.MULTILINE):
        listed |= dict.fromkeys(re.findall(r"`([a-z.]+)`", names), level)
    assert listed == {name_of(kind): level_of(kind) or "counted" for kind in FACTS}
    assert set(LEVELS) <= set(FACTS)


def test_only_facts_are_observed() -> None:
    """What is not in the set is a mistake of the caller, not a line."""
    observe = Observer()

    class Rumour(Fact, frozen=True):
        """Nothing that happened."""

    with pytest.raises(KeyError):
        observe(Rumour())


@pytest.mark.parametrize("kind", FACTS)
def test_no_fact_has_a_place_for_a_secret(kind: type[Fact]) -> None:
    """A field is a name, a number or a reason: nothing that holds settings, headers or bytes."""
    for name, hint in get_type_hints(kind).items():
        assert set(get_args(hint) or (hint,)) <= {str, int, float, bool, NoneType, BaseException}
        assert not re.search(r"key|secret|token|password|url|header|body|settings", name)


def test_an_unexpected_error_is_shown_with_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    """A worker's mistake is logged in one line, with the stack in a field of its own."""
    with pytest.raises(ZeroDivisionError) as caught:
        print(1 / 0)
    (line,) = observed(capsys, facts.WorkerRestarted("w", caught.value, 1.0))
    assert line["error"] == "ZeroDivisionError: division by zero"
    assert "test_observe.py" in line["exception"]


def test_a_source_that_repeats_itself_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A change is a line; the same again is only counted, and so is a connection that is replaced at once."""
    connected = facts.SourceConnected("s", "c1")
    away = facts.SourceInterrupted("s", "connection refused", 1.0, progress=False)
    brief = facts.SourceInterrupted("s", "the upstream closed the connection", 0.0, progress=True)
    other = facts.SourceInterrupted("t", "connection refused", 1.0, progress=False)
    failed = facts.SourceFailed("s", "401", 300.0)
    seen = observed(
        capsys, connected, brief, connected, brief, connected, away, away, away, other, connected, failed, failed, away
    )
    assert [(line["event"], line["source"]) for line in seen] == [
        ("source.connected", "s"), ("source.interrupted", "s"), ("source.interrupted", "t"), ("source.connected", "s"),
        ("source.failed", "s"), ("source.interrupted", "s"),
    ]  # fmt: skip


def test_a_lane_that_stays_held_is_logged_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The first failure of a subject's event is a line; the following ones are seen in the counters."""
    held = [facts.LaneHeld("d", "run", attempts, 1.0) for attempts in (1, 2, 3)]
    assert [line["attempts"] for line in observed(capsys, *held, facts.LaneHeld("d", "run", 1, 1.0))] == [1, 1]


def test_what_is_gone_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line of a source that is no more is not kept; one of the same name has a line of its own."""
    configure_logs("info", "json")
    observe = Observer()
    for _ in range(2):
        observe(facts.SourceConnected("s", "c1"))
        observe.live.forget("s")
    assert len(lines(capsys)) == 2


def test_an_attempt_is_cheap_to_count() -> None:
    """Counting an attempt that no line is written of takes some 0.5 µs, and less than 5 µs on a busy machine."""
    configure_logs("info", "json")
    observe, fact = Observer(), facts.AttemptMade("d", "e", 1, "delivered", 200, 0.001, "")
    best = min(timeit.repeat(lambda: observe(fact), number=2000, repeat=5)) / 2000
    assert best < 5e-6


def test_levels_filter(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines below `logging.level` are not written, and libraries are heard from warnings on."""
    configure_logs("error", "json")
    observe = Observer()
    for kind in FACTS:
        observe(made(kind))
    assert {line["level"] for line in lines(capsys)} == {"error"}
    logging.getLogger("asyncio").info("unheard")
    logging.getLogger("asyncio").warning("heard")
    assert capsys.readouterr().err == "asyncio: heard\n"


def test_auto_is_for_people_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    """`auto` writes JSON where standard error is no terminal; `console` writes a readable line anywhere."""
    configure_logs("info", "auto")
    Observer()(facts.LogRestored())
    assert [line["event"] for line in lines(capsys)] == ["log.restored"]
    configure_logs("info", "console")
    Observer()(facts.SourceEnded("checkout"))
    text = capsys.readouterr().err
    assert "source.ended" in text
    assert "checkout" in text
    assert not text.startswith("{")
