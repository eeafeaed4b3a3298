"""`python -m benchmarks`: the daemon beside other ways to do its job, on this machine, in some minutes."""

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks import footprint, latency, report
from benchmarks.daemon import STREAM, WAIT
from benchmarks.processes import python
from benchmarks.throughput import ALL, FAST, Setting, compare

PARTS = ("throughput", "short", "large", "appendonly", "latency", "waits", "idle", "crowd", "flat", "webhooks")


def main() -> None:
    options = _options()
    console = Console(width=120, highlight=False)
    started = time.monotonic()
    figures: dict[str, object] = {"machine": report.machine()}
    console.print("  ".join(f"{name} {value}" for name, value in report.machine().items()))
    with tempfile.TemporaryDirectory(prefix="runbridge-bench-") as made:
        directory = Path(made)
        with python("benchmarks.upstream", directory=directory) as upstream:
            url = f"http://127.0.0.1:{upstream.line()}"
            for name, setting in _settings(options).items():
                figures[name] = _throughput(console, setting, url, directory)
            rows = [row for part in options.parts for row in _other(part, options, url, directory, figures, console)]
    if rows:
        report.show_others(console, rows)
    console.print(f"{time.monotonic() - started:.0f} s in all")
    if options.json:
        report.write(options.json, figures)


def _settings(options: argparse.Namespace) -> dict[str, Setting]:
    events, turns = options.events, options.turns
    short = max(1000, events // 3)
    settings = {
        "throughput": Setting(events, 330, turns, appendonly=False, contenders=ALL),
        # mq-bridge slows down some 100,000 events after its start: this is its good part
        "short": Setting(short, 330, turns, appendonly=False, contenders=FAST),
        "large": Setting(short, 600, max(1, turns - 2), appendonly=False, contenders=FAST),
        "appendonly": Setting(short, 330, min(2, turns), appendonly=True, contenders=FAST),
    }
    return {name: setting for name, setting in settings.items() if name in options.parts}


def _throughput(console: Console, setting: Setting, url: str, directory: Path) -> dict[str, object]:
    with console.status("") as status:
        turns = compare(setting, url, directory, status.update)
    report.show_throughput(console, setting, turns)
    return {"setting": str(setting), "turns": turns, "ratios": report.ratios(turns)}


def _other(
    part: str, options: argparse.Namespace, url: str, directory: Path, figures: dict[str, object], console: Console
) -> list[tuple[str, str, str]]:
    with console.status(part):
        if part == "latency":
            return _latency(options, url, directory, figures)
        if part == "idle":
            idle = figures[part] = footprint.idle(url, directory)
            return [("resident, one idle source", report.megabytes(idle.resident), "< 80 MB"),
                    ("CPU, one idle source", f"{idle.cpu:.1%} of a core", "")]  # fmt: skip
        if part == "waits":
            found = figures[part] = latency.at_rate(url, directory, rate=100, seconds=10, kind=WAIT)["log"]
            said = f"p50 {found.p50:.2f}, p99 {found.p99:.2f}, most {found.most:.1f} ms"
            return [("answer of a wait to log at 100/s", said, "p99 < 10 ms")]
        if part == "crowd":
            rows = []
            for name, kind in (("streams", STREAM), ("waits", WAIT)):
                many = figures[f"{part} {name}"] = footprint.crowd(
                    url, directory, sources=2000, seconds=10 if options.quick else 30, kind=kind
                )
                said = (
                    f"{many.memory / 1024:.0f} KiB and {many.cpu / many.sources:.4%} of a core each; "
                    f"{report.megabytes(many.resident)} and {many.cpu:.1%} in all; connected in {many.connected:.1f} s"
                )
                rows.append((f"2,000 idle {name}", said, ""))
            return rows
        if part == "flat":
            flat = figures[part] = footprint.flat(url, directory, events=500_000, early=50_000)
            said = f"{report.megabytes(flat.early)}, then {report.megabytes(flat.late)} ({flat.late / flat.early:.2f})"
            return [("resident after 50,000 and 500,000 events", said, "within 10 %")]
        if part == "webhooks":
            posts = figures[part] = footprint.webhooks(url, directory, events=4000 if options.quick else 10_000)
            return [("signed webhooks, 20 runs", f"{posts.per_second:,.0f}/s at {posts.cpu:.0f} µs of CPU", "")]
    return []


def _latency(
    options: argparse.Namespace, url: str, directory: Path, figures: dict[str, object]
) -> list[tuple[str, str, str]]:
    seconds, rows = 5 if options.quick else 10, []
    for name, runs, webhook in (("one run", 1, False), ("10 runs and one destination", 10, True)):
        found = latency.at_rate(url, directory, rate=500, seconds=seconds, runs=runs, webhook=webhook)
        figures[f"latency {name}"] = found
        for where, delay in found.items():
            said = f"p50 {delay.p50:.2f}, p99 {delay.p99:.2f}, most {delay.most:.1f} ms"
            rows.append((f"upstream to {where} at 500/s, {name}", said, "p99 < 5 ms" if where == "log" else ""))
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--turns", type=int, default=5, help="turns of each contender (default 5)")
    parser.add_argument(
        "--events",
        type=int,
        default=300_000,
        help="events of a turn (default 300,000); the SDK loop gets a fifteenth of them, the other tables a third",
    )
    parser.add_argument("--quick", action="store_true", help="two turns, and shorter looks at the rest")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, turn by turn")
    options = parser.parse_args()
    options.parts = options.parts or PARTS
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if options.quick:
        options.turns = 2
    return options


if __name__ == "__main__":
    main()
