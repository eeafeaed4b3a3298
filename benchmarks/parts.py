"""The parts of the measurement beside the throughput of the log: each gives its figures and shows or tells them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks import control, crowd_of_destinations, footprint, isolation, latency, report, webhook_latency, webhooks
from benchmarks.crowd_of_destinations import Load
from benchmarks.daemon import STREAM, WAIT
from benchmarks.entries import Lanes

Row = tuple[str, str, str]
"""What was measured, the figures, the aim."""


@dataclass(frozen=True)
class Bench:
    """Where and how a part is measured. `say` shows what is being done."""

    upstream: str
    directory: Path
    turns: int
    quick: bool
    console: Console
    say: Callable[[str], None]

    def seconds(self, long: int, quick: int) -> int:
        return quick if self.quick else long


Part = Callable[[Bench], tuple[object, list[Row]]]


def log_latency(bench: Bench) -> tuple[object, list[Row]]:
    figures, rows = {}, []
    for name, runs, hooked in (("one run", 1, False), ("10 runs and one destination", 10, True)):
        found = figures[name] = latency.at_rate(
            bench.upstream, bench.directory, rate=500, seconds=bench.seconds(10, 5), runs=runs, hooked=hooked
        )
        for where, delay in found.items():
            aim = "p99 < 5 ms" if where == "log" else ""
            rows.append((f"upstream to {where} at 500/s, {name}", str(delay), aim))
    return figures, rows


def waits(bench: Bench) -> tuple[object, list[Row]]:
    found = latency.at_rate(bench.upstream, bench.directory, rate=100, seconds=10, kind=WAIT)["log"]
    return found, [("answer of a wait to log at 100/s", str(found), "p99 < 10 ms")]


def idle(bench: Bench) -> tuple[object, list[Row]]:
    found = footprint.idle(bench.upstream, bench.directory)
    return found, [
        ("resident, one idle source", report.megabytes(found.resident), "< 80 MB"),
        ("CPU, one idle source", f"{found.cpu:.1%} of a core", ""),
    ]


def crowd(bench: Bench) -> tuple[object, list[Row]]:
    figures, rows = {}, []
    for name, kind in (("streams", STREAM), ("waits", WAIT)):
        many = figures[name] = footprint.crowd(
            bench.upstream, bench.directory, sources=2000, seconds=bench.seconds(30, 10), kind=kind
        )
        said = (
            f"{many.memory / 1024:.0f} KiB and {many.cpu / many.sources:.4%} of a core each; "
            f"{report.megabytes(many.resident)} and {many.cpu:.1%} in all; connected in {many.connected:.1f} s"
        )
        rows.append((f"2,000 idle {name}", said, ""))
    return figures, rows


def flat(bench: Bench) -> tuple[object, list[Row]]:
    found = footprint.flat(bench.upstream, bench.directory, events=500_000, early=50_000)
    said = f"{report.megabytes(found.early)}, then {report.megabytes(found.late)} ({found.late / found.early:.2f})"
    return found, [("resident after 50,000 and 500,000 events", said, "within 10 %")]


def single_webhooks(bench: Bench) -> tuple[object, list[Row]]:
    events = 40_000 if bench.quick else 120_000
    spreads = (Lanes(20), Lanes(events)) if bench.quick else (Lanes(20), Lanes(200), Lanes(200, 64), Lanes(events))
    settings = [webhooks.Setting(events, lanes, bench.turns) for lanes in spreads]
    return _webhooks(bench, settings, webhooks.ALL), []


def batched_webhooks(bench: Bench) -> tuple[object, list[Row]]:
    setting = webhooks.Setting(100_000 if bench.quick else 300_000, Lanes(200), bench.turns, webhooks.BATCH)
    return _webhooks(bench, [setting], webhooks.OF_BATCHES), [("batched webhooks", "in the table above", "100,000/s")]


def loops(bench: Bench) -> tuple[object, list[Row]]:
    setting = webhooks.Setting(40_000, Lanes(20), bench.turns)
    turns = webhooks.compare(setting, webhooks.LOOPS, bench.upstream, bench.directory, bench.say)
    rows = [
        (name, report.spread([turn.per_second for turn in each], "{:,.0f}/s".format), "")
        for name, each in turns.items()
    ]
    return turns, rows


def _webhooks(bench: Bench, settings: list[webhooks.Setting], contenders: tuple[webhooks.Contender, ...]) -> object:
    figures: dict[str, object] = {}
    bench.say("the receiver's ceiling")
    top = figures["ceiling"] = webhooks.ceiling(bench.directory, events=200_000, batch=settings[0].batch)
    for setting in settings:
        turns = webhooks.compare(setting, contenders, bench.upstream, bench.directory, bench.say)
        report.show_webhooks(bench.console, setting, turns, top)
        figures[str(setting)] = {"turns": turns, "ratios": report.ratios(turns)}
    return figures


def delivery_latency(bench: Bench) -> tuple[object, list[Row]]:
    seconds = bench.seconds(20, 5)
    own = webhook_latency.own(bench.upstream, bench.directory, rate=500, seconds=seconds)
    foreign = webhook_latency.foreign(bench.directory, rate=500, seconds=seconds)
    return {"own": own, "foreign": foreign}, [
        ("log to receiver at 500/s, 20 subjects, own source", str(own.between), "p99 < 5 ms"),
        ("upstream to log, the same", str(own.log), ""),
        ("upstream to receiver, the same", str(own.receipt), ""),
        ("XADD of somebody else to receiver at 500/s, 20 subjects", str(foreign.receipt), ""),
    ]


def six_destinations(bench: Bench) -> tuple[object, list[Row]]:
    found = isolation.measure(
        bench.upstream, bench.directory, rate=300, seconds=bench.seconds(30, 8), turns=2, say=bench.say
    )
    rows = []
    for what, said, aim in (
        ("healthy", "log to the healthy receiver", "within 1.5 times"),
        ("whole", "upstream to the healthy receiver", ""),
        ("log", "upstream to log", "does not move"),
    ):
        delays = getattr(found, what)
        rows += [(f"{said} at 300/s, {name}", str(each), "") for name, each in delays.items()]
        rows.append((f"{said}: p99 beside five sick ones", f"{found.ratio(what):.2f} times that alone", aim))
    rows += [(f"isolation, {what}", wrong or "yes", "yes") for what, wrong in found.checks.items()]
    return found, rows


def crowd_of_webhooks(bench: Bench) -> tuple[object, list[Row]]:
    few, many = (
        crowd_of_destinations.crowd(
            bench.upstream, bench.directory, destinations=count, rate=100, seconds=bench.seconds(20, 8)
        )
        for count in (crowd_of_destinations.BUSY, 1000)
    )
    each = (many.resident - few.resident) / (many.destinations - few.destinations)
    rows = [("one idle destination among 1,000", f"{each / 1024:.0f} KiB", "")]
    for found in (few, many):
        name = f"{found.destinations:,} destinations"
        rows += [
            (f"{name}, the log at rest", _load(found.rest), ""),
            (f"{name}, 100 events/s to 10 of them", _load(found.flow), ""),
            (f"{name}, upstream to receiver", f"{found.delays}{found.fault and '; '}{found.fault}", ""),
        ]
    return {"few": few, "many": many}, rows


def steering(bench: Bench) -> tuple[object, list[Row]]:
    figures: dict[str, object] = {}
    bench.say("adding sources")
    added = figures["adding"] = control.adding(bench.directory, times=bench.seconds(50, 20))
    rows = [
        ("POST /v1/sources to its answer", str(added.answer), ""),
        ("POST /v1/sources to its first event in the log", str(added.event), "< 200 ms"),
    ]
    bench.say("reloading under load")
    turned = figures["reloads"] = control.reloads(bench.upstream, bench.directory, rate=1000, every=bench.seconds(2, 1))
    rows += [
        ("10 reloads at 1,000 events/s: each", str(turned.took), ""),
        ("log, webhooks", f"{turned.log.fault() or 'whole'}, {turned.webhooks.fault() or 'whole'}", "whole"),
        ("upstream to receiver", str(turned.delay), ""),
    ]
    for name, more in (("alone", {}), ("with a follower", {"follow": True}), ("scraped", {"scrape": True})):
        bench.say(f"idle, {name}")
        share = figures[f"idle {name}"] = control.idle(
            bench.upstream, bench.directory, sources=20, seconds=bench.seconds(60, 20), **more
        )
        rows.append((f"CPU, 20 idle sources, {name}", f"{share:.2%} of a core", "< 1 %"))
    bench.say("what is shown under load")
    seen = figures["shown"] = control.shown(bench.upstream, bench.directory, rate=1000, seconds=bench.seconds(30, 12))
    for name, each in seen.items():
        rows += [
            (f"{name} at 1,000 events/s: behind Redis", str(each.behind_ms), "agrees"),
            (f"{name}: counts that can't be so; time of an answer", f"{each.wrong}; {each.answer_ms}", "0"),
        ]
    return figures, rows


def _load(load: Load) -> str:
    most = ", ".join(f"{name} {count:,.0f}" for name, count in load.most.items())
    return f"{load.cpu:.1%} of a core, Redis {load.redis_cpu:.1%} for {load.commands:,.0f} commands/s ({most})"


PARTS: dict[str, Part] = {
    "latency": log_latency,
    "waits": waits,
    "idle": idle,
    "crowd": crowd,
    "flat": flat,
    "webhooks": single_webhooks,
    "batched": batched_webhooks,
    "loops": loops,
    "delivery": delivery_latency,
    "isolation": six_destinations,
    "destinations": crowd_of_webhooks,
    "control": steering,
}
