"""Webhooks a second from a log that is full before: the daemon and other ways to send them, in interleaved turns.

Every contender sends the same bodies to a receiver of its own. A turn counts from its first receipt to its last by the
receiver's clock, and fails if a receipt is missing or doubled, or, of a contender that keeps order, out of order.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.daemon import daemon, webhook
from benchmarks.entries import Lanes, add, bodies, fill
from benchmarks.marks import tally
from benchmarks.mq_webhook import STREAM
from benchmarks.processes import Child, Valkey, python, wait_for
from benchmarks.receipts import Hooks

LONGEST = 120.0
"""Seconds that one turn may take."""
LOOK = 0.02
"""Seconds between looks at the receiver's count, which cost it some 100 µs each."""
BATCH = 500
"""Events in one request where they are batched."""
BATCHED = ('format = "batched"', f'batch = {{ max_events = {BATCH}, max_bytes = "1MiB", max_wait_ms = 10 }}')


@dataclass(frozen=True)
class Setting:
    """What is the same for all contenders of a table. `batch` are the events of a request."""

    events: int
    lanes: Lanes
    turns: int
    batch: int = 1

    def __str__(self) -> str:
        how = "signed webhooks" if self.batch == 1 else f"webhooks of at most {self.batch} events"
        together = f", {self.lanes.together} together" if self.lanes.together > 1 else ""
        return (
            f"{self.events:,} events of 600 B over {self.lanes.count:,} subjects{together}, {how}, {self.turns} turns"
        )


@dataclass(frozen=True)
class Place:
    """Where a turn happens."""

    directory: Path
    server: Valkey
    upstream: str
    receiver: str


Start = Callable[[Place, Setting], Child]


@dataclass(frozen=True)
class Contender:
    """One way to send. `fraction` of the events: a slow one gets fewer. `fills` is what it reads."""

    name: str
    start: Start
    fills: Callable[[Valkey, int, Lanes], None] = fill
    fraction: float = 1.0
    ordered: bool = False


@dataclass(frozen=True)
class Turn:
    """One turn. CPU in microseconds an event, `most` in bytes: the contender's largest resident size."""

    per_second: float
    cpu: float
    redis_cpu: float
    receiver_cpu: float
    most: int
    disordered: float
    """Share of the events that came after a later one of their subject."""


def _bridge(place: Place, setting: Setting) -> Child:
    table = webhook(place.receiver, *(BATCHED if setting.batch > 1 else ()))
    return daemon(place.directory, place.upstream, place.server, destinations={"receiver": table})


def _script(module: str, *extra: str) -> Start:
    def start(place: Place, setting: Setting) -> Child:
        lanes = setting.lanes
        numbers = map(str, (setting.events, lanes.count, lanes.together, setting.batch))
        more = (place.upstream if part == "UPSTREAM" else part for part in extra)
        command = (place.server.url, place.receiver, *numbers, *more)
        return python(f"benchmarks.{module}", *command, directory=place.directory)

    return start


def _nothing(_server: Valkey, _events: int, _lanes: Lanes) -> None:
    """For those that read no log."""


def _payloads(server: Valkey, events: int, lanes: Lanes) -> None:
    """The same events as mq-bridge reads them."""
    add(server, STREAM, ({"payload": body} for body in bodies(events, lanes)))


BRIDGE = Contender("runbridge", _bridge, fraction=1 / 2, ordered=True)
MQ_STREAM = Contender("mq-bridge from Redis", _script("mq_webhook"), _payloads)
MQ_SSE = Contender("mq-bridge from SSE", _script("mq_webhook", "UPSTREAM"), _nothing)
LOOP = Contender("aiohttp loop", _script("aiohttp_loop", "uvloop", "hmac"), fraction=1 / 4)
LIMIT = Contender("raw sender", _script("post_limit"), _nothing)
ALL = (BRIDGE, MQ_STREAM, MQ_SSE, LOOP, LIMIT)
OF_BATCHES = (BRIDGE, LOOP, LIMIT)
LOOPS = tuple(
    Contender(f"aiohttp loop, {run}, {sign}", _script("aiohttp_loop", run, sign), fraction=1 / 4)
    for run, sign in itertools.product(("uvloop", "asyncio"), ("hmac", "standardwebhooks"))
)
"""The forms of the loop; the first one is the fastest, and is the one in the tables."""


def compare(
    setting: Setting, contenders: Sequence[Contender], upstream: str, directory: Path, say: Callable[[str], None]
) -> dict[str, list[Turn]]:
    """All turns of all contenders; each turn's order is another, so that none always follows the same one."""
    turns: dict[str, list[Turn]] = {contender.name: [] for contender in contenders}
    for at in range(setting.turns):
        first = at % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            say(f"{setting.lanes.count:,} subjects, turn {at + 1} of {setting.turns}: {contender.name}")
            turns[contender.name].append(_turn(contender, setting, upstream, directory))
    return turns


def _turn(contender: Contender, setting: Setting, upstream: str, directory: Path) -> Turn:
    events = max(1000, int(setting.events * contender.fraction))
    lanes = Lanes(events) if setting.lanes.count == setting.events else setting.lanes
    with Valkey(directory) as server, Hooks(directory) as hooks:
        contender.fills(server, events, lanes)
        place = Place(directory, server, upstream, hooks.url)
        with contender.start(place, Setting(events, lanes, 1, setting.batch)) as child:

            def reached(count: int) -> bool:
                child.check()
                return hooks.count() >= count

            used = [each.usage for each in (child, server, hooks.process)]
            wait_for(partial(reached, 1), f"{contender.name}: the first webhook; see {child.log}")
            before, already = [usage() for usage in used], hooks.count()
            wait_for(partial(reached, events), f"{contender.name}: {events} webhooks; see {child.log}", LONGEST, LOOK)
            after = [usage() for usage in used]
        receipts = hooks.receipts()
    found = tally(receipts, events)
    if fault := found.fault(ordered=contender.ordered):
        raise SystemExit(f"benchmarks: {contender.name}, {setting}: {fault}")
    # the events of the first look went out before it, and those of a batch came at one moment
    first = sum(each.seen == receipts[0].seen for each in receipts)
    cpu, redis_cpu, receiver_cpu = (
        (end.cpu - start.cpu) / max(1, events - already) * 1e6 for start, end in zip(before, after, strict=True)
    )
    seconds = max(1, receipts[-1].seen - receipts[0].seen) / 1e9
    per_second, disordered = (events - first) / seconds, found.disordered / events
    return Turn(per_second, cpu, redis_cpu, receiver_cpu, after[0].most, disordered)


@dataclass(frozen=True)
class Ceiling:
    """What the receiver takes from two raw senders at once: events a second, and its CPU for one in microseconds."""

    per_second: float
    cpu: float


def ceiling(directory: Path, *, events: int, batch: int = 1) -> Ceiling:
    """Drive the receiver alone, with no log beside it."""
    with Hooks(directory) as hooks:
        numbers = (str(events), "20", "1", str(batch))
        senders = [python("benchmarks.post_limit", "", hooks.url, *numbers, directory=directory) for _ in range(2)]
        with senders[0], senders[1]:
            before = hooks.process.usage()
            wait_for(lambda: hooks.count() >= 2 * events, f"{2 * events} webhooks", LONGEST, LOOK)
            after = hooks.process.usage()
        receipts = hooks.receipts()
    # the senders start one after the other: the middle is when both are at work
    middle = receipts[len(receipts) // 4 : -len(receipts) // 4]
    seconds = (middle[-1].seen - middle[0].seen) / 1e9
    return Ceiling(len(middle) / seconds, (after.cpu - before.cpu) / (2 * events) * 1e6)
