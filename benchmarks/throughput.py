"""Events a second from Server-Sent Events to Redis Streams: the daemon and three other ways, in interleaved turns."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon import daemon
from benchmarks.processes import KEY, Child, Valkey, python, wait_for
from benchmarks.upstream import event_id

LONGEST = 90.0
"""Seconds that one turn may take."""


@dataclass(frozen=True)
class Turn:
    """One run of one contender. CPU in microseconds an event, `most` in bytes: the contender's largest resident size."""

    per_second: float
    cpu: float
    redis_cpu: float
    most: int


@dataclass(frozen=True)
class Contender:
    """One way to do the job. `fraction` of the events: a slow one gets fewer."""

    name: str
    start: Callable[[Path, str, Valkey, str], Child]
    fraction: float = 1.0


def _script(module: str) -> Callable[[Path, str, Valkey, str], Child]:
    def start(directory: Path, upstream: str, server: Valkey, run: str) -> Child:
        extra = [str(directory / f"cursor-{server.port}.json")] if module == "mq_route" else []
        return python(f"benchmarks.{module}", upstream, server.url, run, KEY, *extra, directory=directory)

    return start


BRIDGE = Contender("runbridge", daemon)
MQ_BRIDGE = Contender("mq-bridge", _script("mq_route"))
SDK_LOOP = Contender("SDK loop", _script("sdk_loop"), fraction=1 / 15)
PASS_THROUGH = Contender("pass-through", _script("pass_through"))
ALL = (BRIDGE, MQ_BRIDGE, SDK_LOOP, PASS_THROUGH)
FAST = (BRIDGE, MQ_BRIDGE, PASS_THROUGH)


@dataclass(frozen=True)
class Setting:
    """What is the same for all contenders of a table."""

    events: int
    size: int
    turns: int
    appendonly: bool
    contenders: tuple[Contender, ...]

    def __str__(self) -> str:
        kept = "appendonly yes, everysec" if self.appendonly else "no persistence"
        return f"{self.events:,} events of {self.size} B of JSON, Valkey with {kept}, {self.turns} turns"


def compare(setting: Setting, upstream: str, directory: Path, say: Callable[[str], None]) -> dict[str, list[Turn]]:
    """All turns of all contenders; each turn's order is another, so that none always follows the same one."""
    turns: dict[str, list[Turn]] = {contender.name: [] for contender in setting.contenders}
    orders = itertools.cycle(_rotations(setting.contenders))
    for at, order in zip(range(setting.turns), orders, strict=False):
        for contender in order:
            say(f"turn {at + 1} of {setting.turns}: {contender.name}")
            events = max(1000, int(setting.events * contender.fraction))
            turns[contender.name].append(_turn(contender, setting, events, upstream, directory))
    return turns


def _rotations(contenders: tuple[Contender, ...]) -> list[tuple[Contender, ...]]:
    return [contenders[at:] + contenders[:at] for at in range(len(contenders))]


def _turn(contender: Contender, setting: Setting, events: int, upstream: str, directory: Path) -> Turn:
    """From the first entry that is seen to the last: starting up is not measured."""
    run = f"burst-{events}-{setting.size}"
    with (
        Valkey(directory, appendonly=setting.appendonly) as server,
        contender.start(directory, upstream, server, run) as child,
    ):

        def reached(length: int) -> bool:
            child.check()
            return server.length >= length

        wait_for(lambda: reached(1), f"{contender.name}: the first entry; see {child.log}")
        before, redis_before, already = child.usage(), server.usage(), server.length
        wait_for(lambda: reached(events), f"{contender.name}: {events} entries; see {child.log}", LONGEST, 0.02)
        after, redis_after = child.usage(), server.usage()
        (started, _), (ended, last) = server.edge(last=False), server.edge(last=True)
        if server.length != events or event_id(events - 1) not in str(last):
            raise SystemExit(f"{contender.name}: {server.length} entries, the last one {last}")
    counted = events - already
    return Turn(
        events / max(0.001, (ended - started) / 1000),
        (after.cpu - before.cpu) / counted * 1e6,
        (redis_after.cpu - redis_before.cpu) / counted * 1e6,
        after.most,
    )
