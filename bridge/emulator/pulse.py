"""Wakes everybody who waits for a change. Carries no value: who wakes looks for itself."""

import asyncio
from collections.abc import Callable


class Pulse:
    """A repeatable wake-up: `fire` ends every `wait` that is under way, and none that comes later.

    Look first and wait afterwards, without an `await` between the two, and no change is missed.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.also: Callable[[], None] | None = None  # called at each `fire`

    def fire(self) -> None:
        """Ends every wait that is under way."""
        self._event.set()
        self._event = asyncio.Event()
        if self.also is not None:
            self.also()

    async def wait(self, seconds: float | None = None) -> None:
        """Returns at the next `fire`, or after `seconds` (None: no limit)."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
