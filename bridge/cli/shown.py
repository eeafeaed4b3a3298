"""Shows sources and destinations, and how the file or Redis defines them. Changes nothing, and shows no secret."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bridge.cli.at_log import at_log, end_usage
from bridge.cli.ending import until_signal
from bridge.cli.event_line import printable
from bridge.cli.table import Line, rate, short_span
from bridge.cli.terminal import Terminal, while_somebody_reads
from bridge.overview import DestinationView, SourceView

if TYPE_CHECKING:
    from bridge.cli.looks import Look
    from bridge.ports import Definition
    from bridge.settings import Settings

NAMED = 20
"""Ids that are told to who asks for one that there is not."""

Section = Literal["sources", "destinations"]
View = SourceView | DestinationView

_bare = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_LABELS = {"in_flight": "taken up", "time": "stored"}
_SPANS = frozenset({"since_seconds", "last_event_age_seconds", "lag_seconds", "oldest_seconds", "next_due_seconds"})


def list_sources(settings: "Settings", *, as_json: bool) -> None:
    """All sources, those that need attention first."""
    from bridge.cli.status_lines import ordered, source_table  # noqa: PLC0415  # --help should not wait for these

    with while_somebody_reads(), at_log(settings, "sources list"):
        look = asyncio.run(until_signal(_look(settings)))
        if look is None:
            return
        _told("sources list", look)
        found = ordered(look.overview.sources)
        if as_json:
            for view in found:
                print(msgspec.json.encode(view).decode())
        elif found:
            _rows(source_table(found, look.overview.time, whole=True))
        else:
            print("no sources are defined", file=sys.stderr)


def show(settings: "Settings", section: Section, id_: str, *, as_json: bool) -> None:
    """One of them; ends the command with 2 where there is none of this id."""
    name = f"{section} show"
    with while_somebody_reads(), at_log(settings, name):
        found = asyncio.run(until_signal(_both(settings, section, id_)))
        if found is None:
            return
        look, definition = found
        _told(name, look)
        views: list[SourceView] | list[DestinationView] = getattr(look.overview, section)
        view = next((view for view in views if view.id == id_), None)
        if view is None:
            known = ", ".join(printable(view.id) for view in views[:NAMED]) or "there are none"
            known += f" and {len(views) - NAMED:,} more" if len(views) > NAMED else ""
            end_usage(name, f"there is no {section[:-1]} {printable(id_)!r}; those that are: {known}")
        if as_json:
            print(msgspec.json.encode({**msgspec.structs.asdict(view), "definition": definition}).decode())
        else:
            _print(section, view, definition)


def toml(spec: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """The keys of a definition as they could stand in the file, tables within it as dotted keys."""
    for key, value in spec.items():
        here = (*path, key if _bare(key) else json.dumps(key, ensure_ascii=False))
        if isinstance(value, dict):
            yield from toml(value, here)
        else:
            yield f"{'.'.join(here)} = {json.dumps(value, ensure_ascii=False)}"


def worded(name: str, value: object) -> str:
    """A field of a view for people: spans in their unit, rates rounded."""
    if isinstance(value, int | float) and name in _SPANS:
        return short_span(value)
    if isinstance(value, float):
        return rate(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


async def _look(settings: "Settings") -> "Look":
    from bridge.cli.looks import Looks  # noqa: PLC0415  # as above

    async with Looks(settings) as looks:
        return await looks.look()


async def _both(settings: "Settings", section: Section, id_: str) -> "tuple[Look, Definition | None]":
    from bridge.cli.looks import Looks  # noqa: PLC0415  # as above

    async with Looks(settings) as looks:
        look, roster = await looks.look(), await looks.roster()
        return look, roster.definition((section, id_)) if roster.known((section, id_)) else None


def _told(name: str, look: "Look") -> None:
    if look.unanswered:
        print(f"runbridge {name}: {look.unanswered}; this is what Redis has", file=sys.stderr)


def _rows(lines: list[Line]) -> None:
    terminal = Terminal()
    for line in lines:
        terminal.row(*line)


def _print(section: Section, view: View, definition: "Definition | None") -> None:
    terminal = Terminal()
    for name, value in msgspec.structs.asdict(view).items():
        if value not in (None, "", 0) or name == "state":
            label = _LABELS.get(name) or name.removesuffix("_seconds").replace("_", " ")
            terminal.line((f"{label:15} ", "dim"), (printable(worded(name, value)), ""))
    if definition is None:
        return
    where = " (the file's is in use; another one was added while running)" if definition.shadowed else ""
    terminal.line()
    terminal.line((f"[{section}.{view.id if _bare(view.id) else json.dumps(view.id)}]", "bold"), (where, "dim"))
    for text in toml(definition.spec):
        terminal.line((printable(text), ""))
    for key in definition.hidden:
        terminal.line((f"# {printable(key)} is set, and not shown", "dim"))
