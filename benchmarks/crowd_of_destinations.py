"""What destinations cost that want nothing of what comes: memory, commands to Redis, CPU.

Twice the same: few destinations that take everything, and the same few among many whose `types` match nothing. At
rest (a source that says nothing), and with events flowing through the daemon's own sources.
"""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import daemon, webhook
from benchmarks.latency import paced, read
from benchmarks.marks import WARM_UP, Delays, delays, since_sent, tally
from benchmarks.processes import Child, Valkey, wait_for
from benchmarks.receipts import Hooks

BUSY = 10
"""Destinations that take everything."""
RUNS = 20
SETTLE = 5.0
"""Seconds after the start before anything is looked at."""
START = 120.0
"""Seconds that the start may take."""
PATIENCE = 60.0
"""Seconds after the last event for all webhooks to have come."""


@dataclass(frozen=True)
class Load:
    """`cpu` and `redis_cpu` as shares of one core; commands a second, those within scripts too, and the most frequent."""

    cpu: float
    redis_cpu: float
    commands: float
    most: dict[str, float]


@dataclass(frozen=True)
class Crowd:
    """So many destinations: resident bytes at rest, seconds to start, the two loads, and the webhooks of the busy ones.

    `delays` are from the upstream's write to the receipt; `fault` says what is missing or wrong among them, or "".
    """

    destinations: int
    started: float
    resident: int
    rest: Load
    flow: Load
    delays: Delays
    fault: str


def crowd(upstream: str, directory: Path, *, destinations: int, rate: int, seconds: int) -> Crowd:
    """`rate` events a second to each of the busy ones."""
    with Hooks(directory, "benchmarks.moods") as hooks:
        tables = {f"busy-{at}": webhook(f"{hooks.url}healthy/{at}") for at in range(BUSY)}
        idle = webhook(f"{hooks.url}refusing", 'types = ["never.*"]')
        tables |= {f"idle-{at}": idle for at in range(destinations - BUSY)}
        with Valkey(directory) as server, daemon(directory, upstream, server, "idle", destinations=tables) as child:
            begun = time.monotonic()
            wait_for(lambda: "bridge.started" in child.log.read_text(), f"the start; see {child.log}", START)
            started = time.monotonic() - begun
            time.sleep(SETTLE)
            resident = child.usage().resident
            watch = Watch(child, server)
            time.sleep(seconds)
            rest = watch.load()
        names = paced(rate, seconds, RUNS)
        events = sum(int(name.split("-")[1]) for name in names)
        with Valkey(directory) as server, daemon(directory, upstream, server, *names, destinations=tables) as child:
            read(server, WARM_UP, START)
            watch = Watch(child, server)
            wait_for(lambda: server.length >= events, f"{events} entries; see {child.log}", seconds + PATIENCE, 0.1)
            flow = watch.load()
            fault = _complete(hooks, events)
            child.check()
        received = [hooks.receipts(f"healthy/{at}") for at in range(BUSY)]
    waits = [ms for receipts in received for ms in since_sent(receipts)]
    return Crowd(destinations, started, resident, rest, flow, delays(waits or [float("inf")]), fault)


def _complete(hooks: Hooks, events: int) -> str:
    """What is wrong with the webhooks of the busy ones, once they are all there or their time is over."""

    def short() -> int:
        return sum(hooks.count(f"healthy/{at}") < events for at in range(BUSY))

    try:
        wait_for(lambda: not short(), "", PATIENCE, look=0.5)
    except SystemExit:
        pass  # what is missing is said below
    faults = (tally(hooks.receipts(f"healthy/{at}"), events).fault() for at in range(BUSY))
    return "; ".join(f"destination {at}: {fault}" for at, fault in enumerate(faults) if fault)


class Watch:
    """Looks at a daemon and its Redis from now on."""

    def __init__(self, child: Child, server: Valkey) -> None:
        self._child, self._server = child, server
        self._since = self._look()

    def _look(self) -> tuple[float, float, float, Counter[str]]:
        calls = {
            name.removeprefix("cmdstat_"): said["calls"]
            for name, said in self._server.client.info("commandstats").items()
        }
        return time.monotonic(), self._child.usage().cpu, self._server.usage().cpu, Counter(calls)

    def load(self) -> Load:
        """What both did since."""
        (start, cpu, redis_cpu, calls), (end, *cpus, later) = self._since, self._look()
        seconds = end - start
        done = later - calls
        del done["info"]  # our own
        most = {name: count / seconds for name, count in done.most_common(4)}
        return Load((cpus[0] - cpu) / seconds, (cpus[1] - redis_cpu) / seconds, done.total() / seconds, most)
