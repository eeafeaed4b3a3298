"""`python -m benchmarks`: the daemon beside other ways to do its job, on this machine, in some twenty minutes."""

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.parts import PARTS, Bench
from benchmarks.processes import python
from benchmarks.throughput import ALL, FAST, Setting, compare

TABLES = ("throughput", "short", "large", "appendonly")
NAMES = (*TABLES, *PARTS)


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
            rows = []
            for name in (name for name in PARTS if name in options.parts):
                with console.status(name) as status:
                    turns = max(2, options.turns - 2)
                    bench = Bench(url, directory, turns, options.quick, console, status.update)
                    figures[name], more = PARTS[name](bench)
                rows += more
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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(NAMES)} (default: all)")
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
    options.parts = options.parts or NAMES
    if unknown := set(options.parts) - set(NAMES):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if options.quick:
        options.turns = 2
    return options


if __name__ == "__main__":
    main()
