"""Time from the upstream's write to the entry in the log, and to the webhook's receiver, at a steady rate.

Measured with a reader that blocks in XREAD and looks at the same monotonic clock as the upstream: so its own wake-up
and round trip are in the figure (an entry's id would be exact to the millisecond only).
"""

import json
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.daemon import STREAM, daemon
from benchmarks.processes import KEY, Valkey, python, wait_for
from benchmarks.upstream import SENT

WARM_UP = 500
"""Events that are left out: the connection and the first calls."""


@dataclass(frozen=True)
class Delays:
    """Milliseconds."""

    p50: float
    p99: float
    most: float
    count: int


def delays(values: list[float]) -> Delays:
    ordered = sorted(values[WARM_UP:])
    return Delays(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1], len(ordered))


def at_rate(
    upstream: str, directory: Path, *, rate: int, seconds: int, runs: int = 1, webhook: bool = False, kind: str = STREAM
) -> dict[str, Delays]:
    """`log`, and with a destination `webhook`: the delays of `rate` events a second, of all `runs` together.

    With a destination there should be several runs: the events of one run are sent one after another.
    """
    events = WARM_UP + rate * seconds
    names = [f"paced-{events // runs}-{rate // runs}-{at}" for at in range(runs)]
    with Valkey(directory) as server, python("benchmarks.receiver", directory=directory) as receiver:
        address = f"http://127.0.0.1:{receiver.line()}/"
        with daemon(directory, upstream, server, *names, webhook=address if webhook else "", kind=kind) as child:
            found = {"log": delays(_read(server, events, seconds + 30))}
            child.check()
            if webhook:
                wait_for(lambda: len(said(address)["delays"]) >= events, f"{events} webhooks; see {child.log}")
                found["webhook"] = delays(said(address)["delays"])
    return found


def _read(server: Valkey, events: int, seconds: float) -> list[float]:
    found: list[float] = []
    last, deadline = "0", time.monotonic() + seconds
    while len(found) < events:
        if time.monotonic() > deadline:
            raise SystemExit(f"benchmarks: {len(found)} of {events} paced events within {seconds:g} s")
        answer: Any = server.client.xread({KEY: last}, count=1000, block=1000)
        for _, entries in answer or ():
            now = time.monotonic_ns()
            for entry, fields in entries:
                last = entry
                found.append((now - json.loads(fields["event"])["data"]["data"][SENT]) / 1e6)
    return found


def said(receiver: str) -> dict[str, Any]:
    """What the receiver has counted."""
    with urllib.request.urlopen(receiver, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
    return answer
