"""What the daemon holds: idle, with many idle sources, and over many events."""

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import STREAM, daemon
from benchmarks.processes import Valkey, wait_for

SETTLE = 5.0
"""Seconds before an idle daemon is looked at, and for which it is."""


@dataclass(frozen=True)
class Idle:
    """`resident` in bytes, `cpu` as a share of one core."""

    resident: int
    cpu: float


def idle(upstream: str, directory: Path) -> Idle:
    """One connected source that says nothing."""
    with Valkey(directory) as server, daemon(directory, upstream, server, "idle") as child:
        time.sleep(SETTLE)
        before = child.usage()
        time.sleep(SETTLE)
        after = child.usage()
    return Idle(after.resident, (after.cpu - before.cpu) / SETTLE)


@dataclass(frozen=True)
class Crowd:
    """Many idle sources: seconds until all are connected, and what each costs beyond a daemon with one.

    `memory` in bytes, `cpu` as a share of one core.
    """

    sources: int
    connected: float
    resident: int
    memory: float
    cpu: float


def crowd(upstream: str, directory: Path, *, sources: int, seconds: float, kind: str = STREAM) -> Crowd:
    """That many connected sources of one account that say nothing."""
    alone = idle(upstream, directory)
    runs = [f"idle-{at}" for at in range(sources)]
    with Valkey(directory) as server, daemon(directory, upstream, server, *runs, kind=kind) as child:
        started = time.monotonic()
        wait_for(lambda: child.log.read_text().count("source.connected") >= sources, f"{sources} sources", 90, 0.05)
        connected = time.monotonic() - started
        time.sleep(SETTLE)
        before = child.usage()
        time.sleep(seconds)
        after = child.usage()
    memory = (after.resident - alone.resident) / (sources - 1)
    return Crowd(sources, connected, after.resident, memory, (after.cpu - before.cpu) / seconds)


@dataclass(frozen=True)
class Flat:
    """Resident bytes after the first events, after the last one, and the most in between."""

    events: int
    early: int
    late: int
    most: int


def flat(upstream: str, directory: Path, *, events: int, early: int) -> Flat:
    """The resident size over `events` of 330 B."""
    with Valkey(directory) as server, daemon(directory, upstream, server, f"burst-{events}-330") as child:
        wait_for(lambda: server.length >= early, f"{early} events; see {child.log}", 60)
        first = child.usage().resident
        wait_for(lambda: server.length >= events, f"{events} events; see {child.log}", 120, 0.05)
        last = child.usage()
    return Flat(events, first, last.resident, last.most)
