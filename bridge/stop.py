"""The one way to wait: every pause ends when the bridge stops. Refuses to start or cancel tasks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Stop:
    """Set once, when the bridge is asked to end. Iterators check it between items; pauses end at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def child(self) -> "Stop":
        """A stop for a part: set with this one, or by itself. To be given back by `release` when the part is gone."""
        child = Stop()
        self._listeners.append(child.set)
        if self.is_set():
            child.set()
        return child

    def release(self, child: "Stop") -> None:
        """The part of this child is gone."""
        if child.set in self._listeners:
            self._listeners.remove(child.set)

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the bridge is asked to end."""
        self._listeners.append(wake)

    def set(self) -> None:
        """Ask everybody to finish what is in hand and end."""
        self._event.set()
        for wake in list(self._listeners):
            wake()

    def is_set(self) -> bool:
        """True once the bridge has been asked to end."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return when the bridge is asked to end."""
        await self._event.wait()

    async def pause(self, seconds: float) -> bool:
        """Wait up to `seconds`; True if the bridge was asked to end meanwhile."""
        return await within(self._event.wait(), seconds) is not None

    async def before(self, awaitable: Awaitable[T]) -> T | None:
        """The awaitable's result, or None if the bridge is asked to end first (it is then cancelled)."""
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(0 if self.is_set() else None) as scope:
                self.listen(wake := lambda: scope.reschedule(clock()))
                try:
                    return await awaitable
                finally:
                    self._listeners.remove(wake)
        except TimeoutError:
            return None


async def within(awaitable: Awaitable[T], seconds: float | None) -> T | None:
    """The awaitable's result, or None if `seconds` pass first (it is then cancelled); None waits without a bound."""
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        return None


async def nap(seconds: float) -> None:
    """Wait without an eye on the stop: for short waits inside work that has to be finished."""
    await asyncio.sleep(seconds)
