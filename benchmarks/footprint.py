"""What the daemon holds: idle, over many events, and how many webhooks it sends."""

import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import STREAM, daemon
from benchmarks.latency import said
from benchmarks.processes import Valkey, python, wait_for

SETTLE = 5.0
"""Seconds before an idle daemon is looked at, and for which it is."""

RUNS = 20
"""Runs whose events are sent as webhooks."""


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


@dataclass(frozen=True)
class Posts:
    """Signed webhooks a second, and the daemon's CPU for one, in microseconds: the way into the log is part of it."""

    per_second: float
    cpu: float


def webhooks(upstream: str, directory: Path, *, events: int) -> Posts:
    """Several runs to one receiver on this machine: in order for each run, side by side over the runs."""
    with Valkey(directory) as server, python("benchmarks.receiver", directory=directory) as receiver:
        address = f"http://127.0.0.1:{receiver.line()}/"
        runs = [f"burst-{events // RUNS}-330-{at}" for at in range(RUNS)]
        with daemon(directory, upstream, server, *runs, webhook=address) as child:
            wait_for(lambda: said(address)["count"] > 0, f"the first webhook; see {child.log}")
            start, before, already = time.monotonic(), child.usage(), said(address)["count"]
            wait_for(lambda: said(address)["count"] >= events, f"{events} webhooks; see {child.log}", 120, 0.05)
            seconds, after = time.monotonic() - start, child.usage()
    count = events - already
    return Posts(count / seconds, (after.cpu - before.cpu) / count * 1e6)
