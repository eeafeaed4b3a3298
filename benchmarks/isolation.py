"""What a healthy destination, and the log, feel of five sick ones beside it: the healthy one alone and all six, in turn.

All six get every event of 20 runs. `alone` and `beside` are phases with a daemon, a Redis and receivers of their own;
the healthy one's receiver is a process of its own, and the sick ones share another.
"""

import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.daemon import daemon, webhook
from benchmarks.latency import paced, read
from benchmarks.marks import FIND, Delays, Receipt, between, delays, receipt, since_sent, tally
from benchmarks.moods import poisonous
from benchmarks.processes import KEY, Valkey, wait_for
from benchmarks.receipts import Hooks

RUNS = 20
SICK = {
    "dead": ('retry_schedule = ["100ms", "1s", "5s"]', "max_attempts = 1000"),
    "refusing": ('retry_schedule = ["10ms"]', "max_attempts = 3"),
    "slow": ('timeout = "25s"',),
    "flaky": ('retry_schedule = ["10ms"]', "max_attempts = 30"),
    "poison": ('retry_schedule = ["10ms"]', "max_attempts = 3"),
}
"""Name and mood of a destination -> its settings, so short that what ends in the dead letters does so in time."""
PATIENCE = 60.0
"""Seconds after the last event for the sick ones to be done, those that can be."""


@dataclass
class Phase:
    """What one phase found, in milliseconds."""

    log: list[float]
    """From the upstream's write to the reader of the log."""
    healthy: list[float]
    """From when the reader saw the entry to the receipt."""
    whole: list[float]
    """From the upstream's write to the receipt."""
    checks: dict[str, str] = field(default_factory=dict)
    """What was looked at among the sick ones -> what is wrong with it, or ""."""
    sent: dict[str, int] = field(default_factory=dict)
    """What the sick ones had taken at the end of the phase."""


@dataclass(frozen=True)
class Found:
    """Delays of all phases of a kind together, and each single phase's p99 of the healthy one."""

    log: dict[str, Delays]
    healthy: dict[str, Delays]
    whole: dict[str, Delays]
    single: dict[str, list[float]]
    checks: dict[str, str]
    sent: list[dict[str, int]]

    def ratio(self, what: str) -> float:
        """The p99 beside the sick ones, divided by the one alone: of `log`, `healthy` or `whole`."""
        found: dict[str, Delays] = getattr(self, what)
        return found["beside"].p99 / found["alone"].p99


def measure(
    upstream: str, directory: Path, *, rate: int, seconds: int, turns: int, say: Callable[[str], None]
) -> Found:
    """`turns` of `alone` and `beside`, interleaved."""
    phases: dict[str, list[Phase]] = {"alone": [], "beside": []}
    for turn in range(turns):
        for name, done in phases.items():
            say(f"isolation, turn {turn + 1} of {turns}: {name}")
            done.append(_phase(upstream, directory, rate, seconds, sick=name == "beside"))

    def pooled(what: str) -> dict[str, Delays]:
        return {name: delays([ms for phase in done for ms in getattr(phase, what)]) for name, done in phases.items()}

    checks: dict[str, str] = {}
    for phase in phases["beside"]:
        checks = {what: checks.get(what) or wrong for what, wrong in phase.checks.items()}
    single = {name: [delays(phase.healthy).p99 for phase in done] for name, done in phases.items()}
    sent = [phase.sent for phase in phases["beside"]]
    return Found(pooled("log"), pooled("healthy"), pooled("whole"), single, checks, sent)


def _phase(upstream: str, directory: Path, rate: int, seconds: int, *, sick: bool) -> Phase:
    names = paced(rate, seconds, RUNS)
    events = sum(int(name.split("-")[1]) for name in names)
    with (
        Valkey(directory) as server,
        Hooks(directory) as healthy,
        Hooks(directory, "benchmarks.moods") as moods,
        closing(socket.socket()) as unheard,
    ):
        unheard.bind(("127.0.0.1", 0))  # never listens: connections are refused, and nobody else gets the port
        dead = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        tables = {"healthy": webhook(healthy.url)}
        if sick:
            urls = {name: dead if name == "dead" else f"{moods.url}{name}" for name in SICK}
            tables |= {name: webhook(urls[name], *lines) for name, lines in SICK.items()}
        with daemon(directory, upstream, server, *names, destinations=tables) as child:
            log = read(server, events, seconds + 30)
            wait_for(lambda: healthy.count() >= events, f"{events} webhooks of the healthy one; see {child.log}")
            child.check()
            receipts = healthy.receipts()
            phase = Phase(since_sent(log), between(log, receipts), since_sent(receipts))
            phase.checks["healthy: all, in order"] = tally(receipts, events).fault()
            if sick:
                phase.sent = {name: moods.count(name) for name in SICK if name != "dead"}
                phase.checks |= _sick(server, moods, log)
    return phase


def _sick(server: Valkey, moods: Hooks, log: list[Receipt]) -> dict[str, str]:
    """The checks of the sick ones, once they are done or their time is over."""
    events = {(each.lane, each.number) for each in log}
    poisoned = {(lane, number) for lane, number in events if poisonous(number)}
    whole: Any = server.client.xrange(KEY)
    entries = dict(whole)

    def dead(destination: str, expected: set[tuple[str, int]]) -> str:
        return _differ(_dead(server, destination, entries), expected)

    goals: dict[str, Callable[[], str]] = {
        "flaky: all, in order": lambda: tally(moods.receipts("flaky"), len(events)).fault(),
        "poison: all others, in order": lambda: tally(moods.receipts("poison"), len(events - poisoned)).fault(),
        "poison: the refused ones are dead letters": lambda: dead("poison", poisoned),
        "refusing: all are dead letters": lambda: dead("refusing", events),
    }
    still = dict(goals)

    def done() -> bool:
        for name in [name for name, fault in still.items() if not fault()]:
            del still[name]
        return not still

    try:
        wait_for(done, "", PATIENCE, look=0.5)
    except SystemExit:
        pass  # what is wrong is said by the checks
    others = {f"{name}: no dead letter": dead(name, set()) for name in ("healthy", "flaky", "slow", "dead")}
    return {**{name: fault() for name, fault in goals.items()}, **others}


def _dead(server: Valkey, destination: str, log: dict[str, dict[str, str]]) -> list[tuple[str, int]]:
    """Lane and number of every dead letter; another lane where it doesn't hold all that the entry in the log does."""
    found = []
    letters: Any = server.client.xrange(f"bridge:{{0}}:dead:{destination}")
    for _, fields in letters:
        entry = log.get(fields["entry"])
        whole = entry is not None and entry.items() <= fields.items() and fields["attempts"] != "0"
        for text in FIND(fields["event"].encode()):
            each = receipt(text.decode(), 0)
            found.append((each.lane if whole else f"not whole: {each.lane}", each.number))
    return found


def _differ(found: list[tuple[str, int]], expected: set[tuple[str, int]]) -> str:
    counts = {
        "missing": len(expected - set(found)),
        "too many": len(set(found) - expected),
        "doubled": len(found) - len(set(found)),
    }
    return ", ".join(f"{many} {what}" for what, many in counts.items() if many)
