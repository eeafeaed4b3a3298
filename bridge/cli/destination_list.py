"""Lists destinations as Redis has them, those of the file and those added while running. Changes nothing."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from bridge.cli.at_log import at_log
from bridge.cli.ending import until_signal
from bridge.cli.event_line import printable
from bridge.cli.looks import Looks
from bridge.cli.status_lines import colour, waits
from bridge.cli.table import span, table
from bridge.cli.terminal import Part, Terminal, while_somebody_reads
from bridge.overview import DestinationView

if TYPE_CHECKING:
    from bridge.settings import Settings

_HEADINGS = ("DESTINATION", "KIND", "STATE", "BEHIND", "TAKEN UP", "WAITING", "NEXT", "DEAD", "WHY")
_NUMBERS = frozenset({"BEHIND", "TAKEN UP", "WAITING", "NEXT", "DEAD"})


def show(settings: "Settings", *, as_json: bool) -> None:
    """All of them; ends the command with 69 where Redis can't be reached."""
    with while_somebody_reads(), at_log(settings, "destinations list"):
        found = asyncio.run(until_signal(_look(settings)))
        if as_json:
            for view, positions in found or ():
                print(json.dumps(_object(view, positions)))
        elif found:
            terminal = Terminal()
            for line in table(_HEADINGS, [_row(view) for view, _ in found], right=_NUMBERS):
                terminal.row(*line)
        elif found is not None:
            print("no destinations are defined", file=sys.stderr)


async def _look(settings: "Settings") -> list[tuple[DestinationView, tuple[str, ...]]]:
    async with Looks(settings) as looks:
        overview, stored = await looks.stored_whole()
    return [(view, stored.destinations[view.id].positions) for view in overview.destinations]


def _row(view: DestinationView) -> list[Part]:
    since = "" if view.since_seconds is None or view.state == "active" else f" {span(view.since_seconds)}"
    due = view.next_due_seconds
    return [
        (printable(view.id), "bold"), (view.kind, "dim"), (view.state + since, colour(view)),
        ("?" if view.behind is None else str(view.behind), ""), (str(view.in_flight), ""), (waits(view), ""),
        ("" if due is None else "now" if due <= 0 else span(due), ""),
        (str(view.dead), "red" if view.dead else ""), (printable(view.reason), "dim"),
    ]  # fmt: skip


def _object(view: DestinationView, positions: tuple[str, ...]) -> dict[str, Any]:
    return {
        "destination": view.id, "kind": view.kind, "state": view.state, "since_seconds": _rounded(view.since_seconds),
        "reason": view.reason, "positions": list(positions), "lag": view.behind, "in_flight": view.in_flight,
        "waiting": view.waiting, "waiting_entries": view.waiting_entries,
        "next_due_seconds": _rounded(view.next_due_seconds), "dead": view.dead,
    }  # fmt: skip


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
