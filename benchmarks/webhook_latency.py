"""Time from the log to the receiver at a steady rate, one healthy destination.

Two ways into the log: through a source of the daemon, which knows at once that its log has grown; and by an XADD of
somebody else, such as another bridge of the same log. From the log means: from when a reader that blocks in XREAD saw
the entry, or from when the XADD was sent.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import daemon, webhook
from benchmarks.entries import Lanes, pace
from benchmarks.latency import paced, read
from benchmarks.marks import WARM_UP, Delays, between, delays, since_sent, tally
from benchmarks.processes import Valkey, wait_for
from benchmarks.receipts import Hooks

LANES = 20


@dataclass(frozen=True)
class Found:
    """Delays from the upstream's write, or the XADD's sending, to the reader of the log and to the receipt."""

    log: Delays
    receipt: Delays
    between: Delays
    """From when the reader saw the entry to the receipt: less than nothing where the receiver was first."""


def own(upstream: str, directory: Path, *, rate: int, seconds: int) -> Found:
    """Through the daemon's sources, one for each subject."""
    names = paced(rate, seconds, LANES)
    return _measure(upstream, directory, names, rate, seconds)


def foreign(directory: Path, *, rate: int, seconds: int) -> Found:
    """By the XADD of another process."""
    return _measure("", directory, [], rate, seconds)


def _measure(upstream: str, directory: Path, names: list[str], rate: int, seconds: int) -> Found:
    events = WARM_UP + rate * seconds
    with Valkey(directory) as server, Hooks(directory) as hooks:
        table = {"receiver": webhook(hooks.url)}
        with daemon(directory, upstream, server, *names, destinations=table) as child:
            if not names:
                wait_for(lambda: "bridge.started" in child.log.read_text(), f"the start; see {child.log}")
                threading.Thread(target=pace, args=(server, events, Lanes(LANES), rate), daemon=True).start()
            log = read(server, events, seconds + 30)
            wait_for(lambda: hooks.count() >= events, f"{events} webhooks; see {child.log}")
        receipts = hooks.receipts()
    if fault := tally(receipts, events).fault():
        raise SystemExit(f"benchmarks: {rate} a second: {fault}")
    return Found(delays(since_sent(log)), delays(since_sent(receipts)), delays(between(log, receipts)))
