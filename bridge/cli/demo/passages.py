"""Follows each event from upstream to the log and to the webhook, and keeps the times. No I/O."""

import asyncio
import json
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.cli.demo.errors import DemoError
from bridge.cli.demo.upstream import mark
from bridge.event import Entry

MOST = 10_000
"""Events under way: more than that means that nothing arrives."""
MEASURED = 100_000
"""The last so many latencies are in the summary."""


@dataclass(slots=True)
class Passage:
    """One event on its way; times are seconds of the event loop's clock."""

    written: Callable[[], float]
    logged: float | None = None
    received: float | None = None
    entry: Entry | None = None

    @property
    def to_log(self) -> float:
        """Milliseconds until a reader of the log had it."""
        return 1000 * (self.logged - self.written()) if self.logged else 0.0

    @property
    def to_webhook(self) -> float:
        """Milliseconds until the receiver had verified it."""
        return 1000 * (self.received - self.written()) if self.received else 0.0


class Passages:
    """Those under way, by mark, and those that are through, in a queue for whoever shows them."""

    def __init__(self) -> None:
        self._open: dict[str, Passage] = {}
        self.through: asyncio.Queue[Passage] = asyncio.Queue()
        self._log_times: deque[float] = deque(maxlen=MEASURED)
        self._webhook_times: deque[float] = deque(maxlen=MEASURED)
        self.count = 0

    def written(self, mark: str, since: Callable[[], float]) -> None:
        """It is there upstream; since when, is known once it arrives. Raises DemoError if too many are under way."""
        if len(self._open) >= MOST:
            raise DemoError(f"{MOST} events are under way and none arrives")
        self._open[mark] = Passage(since)

    def logged(self, entry: Entry) -> None:
        """A reader of the log has it."""
        passage = self._open.get(mark(json.loads(entry.event)))
        if passage is not None and passage.logged is None:
            passage.logged, passage.entry = asyncio.get_running_loop().time(), entry
            self._settle(passage)

    def received(self, body: bytes) -> None:
        """The webhook has it, for the first time and verified."""
        passage = self._open.get(mark(json.loads(body)))
        if passage is not None and passage.received is None:
            passage.received = asyncio.get_running_loop().time()
            self._settle(passage)

    def _settle(self, passage: Passage) -> None:
        if passage.entry is None or passage.received is None:
            return
        del self._open[mark(json.loads(passage.entry.event))]
        self._log_times.append(passage.to_log)
        self._webhook_times.append(passage.to_webhook)
        self.count += 1
        self.through.put_nowait(passage)

    def missing(self) -> str:
        """What has not arrived, in words; "" if all has."""
        if not self._open:
            return ""
        logged = sum(passage.logged is not None for passage in self._open.values())
        return f"{len(self._open)} events: {len(self._open) - logged} are not in the log, {logged} only there"

    def latencies(self) -> str:
        """Median and 99th percentile to the log and to the webhook."""
        if not self.count:
            return "no event went through"
        ways = {"to the log": self._log_times, "to the webhook": self._webhook_times}
        return "; ".join(
            f"{way} p50 {_quantile(times, 0.5):.1f} ms, p99 {_quantile(times, 0.99):.1f} ms"
            for way, times in ((way, sorted(times)) for way, times in ways.items())
        )


def _quantile(ordered: Sequence[float], part: float) -> float:
    """The nearest rank."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
