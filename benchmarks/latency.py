"""Time from the upstream's write to the entry in the log, and to the webhook's receiver, at a steady rate.

Measured with a reader that blocks in XREAD and looks at the same monotonic clock as the upstream: so its own wake-up
and round trip are in the figure (an entry's id would be exact to the millisecond only).
"""

import time
from pathlib import Path
from typing import Any

from benchmarks.daemon import STREAM, daemon, webhook
from benchmarks.marks import FIND, WARM_UP, Delays, Receipt, delays, receipt, since_sent
from benchmarks.processes import KEY, Valkey, wait_for
from benchmarks.receipts import Hooks


def at_rate(
    upstream: str, directory: Path, *, rate: int, seconds: int, runs: int = 1, hooked: bool = False, kind: str = STREAM
) -> dict[str, Delays]:
    """`log`, and if it is `hooked` to a destination `webhook`: the delays of `rate` events a second of all `runs`.

    With a destination there should be several runs: the events of one run are sent one after another.
    """
    names = paced(rate, seconds, runs)
    events = WARM_UP + rate * seconds
    with Valkey(directory) as server, Hooks(directory) as hooks:
        destinations = {"receiver": webhook(hooks.url)} if hooked else {}
        with daemon(directory, upstream, server, *names, kind=kind, destinations=destinations) as child:
            found = {"log": delays(since_sent(read(server, events, seconds + 30)))}
            child.check()
            if hooked:
                wait_for(lambda: hooks.count() >= events, f"{events} webhooks; see {child.log}")
                found["webhook"] = delays(since_sent(hooks.receipts()))
    return found


def paced(rate: int, seconds: int, runs: int) -> list[str]:
    """The upstream's runs that together say `rate` events a second, with the warm-up before."""
    return [f"paced-{(WARM_UP + rate * seconds) // runs}-{rate // runs}-{at}" for at in range(runs)]


def read(server: Valkey, events: int, seconds: float) -> list[Receipt]:
    """The log's entries as they come, until there are so many. SystemExit where they don't come in time."""
    found: list[Receipt] = []
    last, deadline = "0", time.monotonic() + seconds
    while len(found) < events:
        if time.monotonic() > deadline:
            raise SystemExit(f"benchmarks: {len(found)} of {events} paced events within {seconds:g} s")
        answer: Any = server.client.xread({KEY: last}, count=1000, block=1000)
        for _, entries in answer or ():
            now = time.monotonic_ns()
            for entry, fields in entries:
                last = entry
                found += [receipt(text.decode(), now) for text in FIND(fields["event"].encode())]
    return found
