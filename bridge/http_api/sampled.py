"""One look shared by all who want it: however many ask, it is taken once in a while, and only when somebody asks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Sampled(Generic[T]):
    """What `look` gave last, at most `every` seconds old."""

    def __init__(self, look: Callable[[], Awaitable[T]], every: float) -> None:
        self._look = look
        self._every = every
        self._lock = asyncio.Lock()
        self._taken: tuple[float, T] | None = None

    async def __call__(self) -> T:
        """Raises what `look` raises."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._taken is None or now - self._taken[0] >= self._every:
                self._taken = now, await self._look()
            return self._taken[1]
