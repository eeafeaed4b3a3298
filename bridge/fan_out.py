"""The fan-out loop of one destination: every wanted event of the log into a stream of its own kind, exactly once.

Knows neither Redis nor HTTP. The position is the target's, stored in one step with the events; the log only hears of
it. Holds one batch, in the order of the log, and reads the next when the target has it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

from bridge.backoff import delays
from bridge.errors import Fenced, LogUnavailable, Moved
from bridge.event import Entry
from bridge.facts import (
    DeadLettered,
    DeliveryBlocked,
    DestinationFenced,
    EntriesMissing,
    FanOutAhead,
    FanOutRewound,
    FanOutWritten,
)
from bridge.ports import Observe
from bridge.stop import Stop, within

IDLE = 1.0
"""Seconds between looks at an idle log, and at the target, which may have been put back to an older copy."""


class Opened(NamedTuple):
    """A destination as the log knows it, taken over. All ids are the log's."""

    owner: str
    """`<instance>:<epoch>`."""
    begins: str
    """The entry after which the destination began."""
    confirmed: str
    """The entry up to which the target was known to have everything."""
    buried: frozenset[str]
    """The entries that became dead letters last."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next entries of the log, at most 500, or 4 MiB and one more; none where it has no more for now."""

    entries: Sequence[Entry]
    end: str
    """The last id that the log has given out."""
    missing: int = 0
    """Entries between those before and these that are no longer in the log."""


class Addressed(NamedTuple):
    """An event and the stream it goes to."""

    entry: Entry
    stream: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The stream of the event behind the first `added` takes none, and never will by itself."""

    added: int
    reason: str


class Followed(Protocol):
    """The log as a fan-out sees it. Every call raises LogUnavailable and Fenced."""

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the log has grown."""
        ...

    async def open(self, seen: int) -> Opened:
        """Take over the fan-out, with an epoch above `seen`."""
        ...

    async def follow(self, position: str) -> Chunk:
        """What comes after this entry; everything up to it is at the target."""
        ...

    async def bury(self, letters: Sequence[tuple[Entry, str]], buried: Sequence[str]) -> None:
        """Keep events and why they were refused as dead letters, and `buried`, the ids that `open` is to tell."""
        ...


class Target(Protocol):
    """Where the streams are. Every call raises LogUnavailable, Fenced and Moved, with the position as its cursor."""

    async def open(self, owner: str, begins: str) -> str:
        """Take the streams over; the position they have, or now `begins`."""
        ...

    async def write(self, after: str, to: str, batch: Sequence[Addressed]) -> Refused | None:
        """Add the events and move the position from `after` to `to`, in one step; or up to one that is refused."""
        ...

    async def check(self, position: str) -> None:
        """See whether the target still stands there."""
        ...


class FanOut:
    """One destination's worker in one partition; `run` is its only loop.

    `stream` names an event's stream; a name that begins with `reserved` is the log's own and never written to.
    """

    def __init__(
        self, destination: str, log: Followed, target: Target, wants: Callable[[Entry], bool],
        stream: Callable[[Entry], str], *, reserved: str, observe: Observe, stop: Stop,
    ) -> None:  # fmt: skip
        self.destination = destination
        self._log, self._target = log, target
        self._wants, self._stream, self._reserved = wants, stream, reserved
        self._observe, self._stop = observe, stop
        self._woken = asyncio.Event()
        log.listen(self._woken.set)
        stop.listen(self._woken.set)
        self._position = ""
        self._buried: frozenset[str] = frozenset()
        self._blocked = ""
        self._waits = delays(Random(), first=0.05, longest=2.0)

    async def run(self) -> None:
        """Copy until the bridge stops or somebody newer takes over; whatever fails is waited out."""
        while not self._stop.is_set():
            try:
                await self._open()
                await self._work()
            except LogUnavailable as error:
                if self._blocked != error.code:
                    self._blocked = error.code
                    self._observe(DeliveryBlocked(self.destination, error.code, str(error)))
                await self._stop.pause(next(self._waits))
            except Moved:
                self._blocked = "MOVED"  # the target was put back while it was connected: nothing to say yet
                await self._stop.pause(next(self._waits))
            except Fenced as fenced:
                self._observe(DestinationFenced(self.destination, fenced.owner))
                return

    async def _open(self) -> None:
        seen = 0
        while True:
            opened = await self._log.open(seen)
            try:
                self._position = await self._target.open(opened.owner, opened.begins)
                break
            except Fenced as fenced:
                # somebody newer, or the log was put back and counts its owners anew: the log knows
                seen = int(fenced.owner.rpartition(":")[2])
        self._buried = opened.buried
        if order(self._position) < order(opened.confirmed):
            self._observe(FanOutRewound(self.destination, self._position, opened.confirmed))

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            chunk = await self._log.follow(self._position)
            if self._stop.is_set():
                return
            if chunk.missing:
                self._observe(EntriesMissing(self.destination, chunk.missing))
            if order(chunk.end) < order(self._position):
                await self._ahead(chunk.end)
            elif chunk.entries:
                await self._copy(chunk.entries)
            elif await within(self._woken.wait(), IDLE) is None:
                await self._target.check(self._position)
            self._well()

    def _well(self) -> None:
        if self._blocked:
            self._blocked = ""
            self._waits = delays(Random(), first=0.05, longest=2.0)

    async def _ahead(self, end: str) -> None:
        """The log was emptied, or put back to an older copy: what comes behind its end is new."""
        self._observe(FanOutAhead(self.destination, self._position, end))
        await self._target.write(self._position, end, ())
        self._position = end

    async def _copy(self, entries: Sequence[Entry]) -> None:
        addressed = [Addressed(entry, self._stream(entry)) for entry in entries if self._wants(entry)]
        batch = [one for one in addressed if not one.stream.startswith(self._reserved)]
        if len(batch) < len(addressed):
            own = [one for one in addressed if one.stream.startswith(self._reserved)]
            await self._bury(own, "this stream's name is one of the log's own")
        added = 0
        while refused := await self._target.write(self._position, entries[-1].entry, batch):
            added += refused.added
            if refused.added:
                self._position = batch[refused.added - 1].entry.entry
            closed = batch[refused.added].stream
            rest = batch[refused.added :]
            await self._bury([one for one in rest if one.stream == closed], refused.reason)
            batch = [one for one in rest if one.stream != closed]
        self._position = entries[-1].entry
        self._observe(FanOutWritten(self.destination, added + len(batch)))

    async def _bury(self, refused: Sequence[Addressed], reason: str) -> None:
        """Give up what its stream doesn't take; what was given up just before a crash is not given up again."""
        fresh = [one.entry for one in refused if one.entry.entry not in self._buried]
        if not fresh:
            return
        here = order(self._position)
        before = {id_ for id_ in self._buried if order(id_) > here}
        self._buried = frozenset(before | {entry.entry for entry in fresh})
        await self._log.bury([(entry, reason) for entry in fresh], sorted(self._buried, key=order))
        for entry in fresh:
            self._observe(DeadLettered(self.destination, entry.id, 1, reason))


def order(entry: str) -> tuple[int, int]:
    """What sorts the ids of log entries: milliseconds, then number."""
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number or 0)
