"""The clock that due times are kept by: goes on over restarts, and no jump of the wall clock moves it.

While a bridge runs it follows the event loop's time. Over a restart it goes on by the wall clock's difference, the
only measure there is; one that went backwards counts as nothing.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

from bridge.clock import unix
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Link

KEEP = 5.0
"""Seconds between notes of both clocks."""


class DeliveryClock:
    """One partition's. `wall` is seconds since 1970."""

    def __init__(self, link: Link, keys: Keys, wall: Callable[[], float] = unix) -> None:
        self._link = link
        self._key = keys.clock
        self._wall = wall
        self.started = False
        self._time: Callable[[], float] = monotonic
        """The event loop's, once it runs: asking for the loop each time costs a call to the system."""
        self._ahead = 0.0
        """Seconds between the event loop's time and this clock."""

    def seconds(self) -> float:
        """Now. Only after `start`."""
        return self._time() + self._ahead

    def milliseconds(self) -> int:
        """Now, as it is stored."""
        return int(self.seconds() * 1000)

    async def start(self) -> None:
        """Read where it stood when it was last noted. Raises LogUnavailable."""
        if self.started:
            return
        noted = await self._link.call("GET", self._key)
        self._time = asyncio.get_running_loop().time
        wall, loop = self._wall(), self._time()
        clock, then = (int(part) / 1000 for part in noted.split()) if noted else (wall, wall)
        if not self.started:  # nobody else was faster
            self._ahead, self.started = clock + max(wall - then, 0.0) - loop, True

    async def note(self) -> None:
        """Keep both clocks for the next start. Raises LogUnavailable."""
        await self._link.call("SET", self._key, f"{self.milliseconds()} {int(self._wall() * 1000)}")
