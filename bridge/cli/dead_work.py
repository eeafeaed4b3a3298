"""What the commands about dead letters do at the log: find letters, ask for them, wait for them, drop them, in pages.

Of a letter that is chosen only its place and its order are kept: 100,000 of them take some 75 MB (measured).
"""

import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bridge.cli.at_log import end_usage
from bridge.cli.dead_choice import Choice
from bridge.stop import nap

if TYPE_CHECKING:
    from bridge.redis_log import DeadLetters
    from bridge.redis_log.dead_letters import Done, Letter, Place
    from bridge.settings import Settings

LOOK = 0.3
"""Seconds between looks at what became of letters."""

Stream = tuple[str, int]
"""A destination and a partition."""
Order = tuple[int, int, str]
"""An entry's place in the log, and the id of the letter about it."""


@dataclass(slots=True)
class Chosen:
    """The letters that a command is about, by stream, in the order of the log; how many of them are tried again."""

    streams: dict[Stream, list[Order]] = field(default_factory=dict)
    retrying: int = 0
    missing: frozenset[str] = frozenset()
    """Ids that no letter has."""

    @property
    def count(self) -> int:
        """How many they are."""
        return sum(len(orders) for orders in self.streams.values())

    def pages(self) -> "Iterator[list[Place]]":
        """Their places, as many at once as a round trip takes, all of one stream."""
        from bridge.redis_log.dead_letters import PAGE, Place  # noqa: PLC0415  # --help should not wait for the bridge

        for (destination, partition), orders in self.streams.items():
            for at in range(0, len(orders), PAGE):
                yield [Place(destination, partition, letter) for _, _, letter in orders[at : at + PAGE]]


@contextlib.asynccontextmanager
async def opened(settings: "Settings") -> "AsyncIterator[DeadLetters]":
    """The dead letters of a configuration's log."""
    from bridge.redis_log import DeadLetters  # noqa: PLC0415  # as above
    from bridge.wiring import keys_of, server_of  # noqa: PLC0415

    letters = DeadLetters(server_of(settings), keys_of(settings))
    try:
        yield letters
    finally:
        await letters.close()


async def named(letters: "DeadLetters", settings: "Settings", names: Sequence[str], command: str) -> list[str]:
    """The destinations meant; all there are if none is named. Ends the command for one that nobody knows."""
    known = await letters.known(settings.destinations)
    for name in names:
        if name not in known and not await letters.exists(name):
            those = ", ".join(known) or "there are none"
            end_usage(command, f"no destination {name!r} is configured or has dead letters; those that are: {those}")
    return list(dict.fromkeys(names)) or known


async def found(letters: "DeadLetters", names: Sequence[str], choice: Choice) -> "AsyncIterator[Letter]":
    """The letters that are wanted, oldest first in each stream."""
    for name in names:
        for partition in letters.partitions:
            async for page in letters.pages(name, partition, choice.begin, choice.end):
                for letter in filter(choice, page):
                    yield letter


async def newest(letters: "DeadLetters", names: Sequence[str], choice: Choice, limit: int) -> "list[Letter]":
    """The last `limit` letters that are wanted, newest last."""
    kept: list[Letter] = []
    for name in names:
        for partition in letters.partitions:
            some: list[Letter] = []
            async for page in letters.pages(name, partition, choice.begin, choice.end, backwards=True):
                some += filter(choice, page)
                if len(some) >= limit:
                    break
            kept += some[:limit]
    return sorted(kept, key=lambda letter: _number(letter.place.letter))[-limit:]


async def choose(letters: "DeadLetters", names: Sequence[str], choice: Choice) -> Chosen:
    """All letters that are wanted."""
    chosen, met = Chosen(), set[str]()
    total = sum([await letters.count(name) for name in names])
    with progress("looking", total) as advance:
        for name in names:
            for partition in letters.partitions:
                orders: list[Order] = []
                async for page in letters.pages(name, partition, choice.begin, choice.end):
                    advance(len(page))
                    for letter in filter(choice, page):
                        orders.append((*_number(letter.entry), letter.place.letter))
                        chosen.retrying += letter.retrying
                        met |= choice.names(letter)
                if orders:
                    chosen.streams[name, partition] = sorted(orders)
    chosen.missing = choice.ids - met
    return chosen


async def act(chosen: Chosen, what: str, do: "Callable[[list[Place]], Awaitable[Done]]") -> "Done":
    """Do something with all of them, page by page."""
    from bridge.redis_log.dead_letters import Done  # noqa: PLC0415  # as above

    total = Done()
    with progress(what, chosen.count) as advance:
        for page in chosen.pages():
            total += await do(page)
            advance(len(page))
    return total


async def marks(letters: "DeadLetters", chosen: Chosen) -> dict[Stream, str]:
    """The newest letter of each stream, before anything is tried again."""
    return {stream: await letters.newest(*stream) for stream in chosen.streams}


async def followed(letters: "DeadLetters", chosen: Chosen, since: dict[Stream, str]) -> int:
    """Wait until something has come of all of them; how many are dead again."""
    left = list(chosen.pages())
    with progress("trying again", chosen.count) as advance:
        while left:
            before = sum(map(len, left))
            left = [still for page in left if (still := await letters.waiting(page))]
            advance(before - sum(map(len, left)))
            if left:
                await nap(LOOK)
    again = 0
    for stream, orders in chosen.streams.items():
        entries = {order[:2] for order in orders}
        async for page in letters.pages(*stream, f"({since[stream]}"):
            again += sum(_number(letter.entry) in entries for letter in page)
    return again


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal; what it gives is called with each advance."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:  # fmt: skip
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def _number(id_: str) -> tuple[int, int]:
    """A stream's id as numbers; zeros for a text that is none."""
    first, _, second = id_.partition("-")
    return (int(first), int(second)) if first.isdecimal() and second.isdecimal() else (0, 0)
