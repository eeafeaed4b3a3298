"""An event loop whose clock jumps over what nobody has to wait for, so that minutes pass at once.

Connections of this machine are real: only where none of them has anything to read or write does the clock jump, to
the next timer. Refuses to know processes, threads and other machines, whose work takes time that it can't see.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SETTLE = 0.002
"""Real seconds without a sign of any connection before the clock jumps."""


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(timeout if timeout is None or timeout <= 0 else SETTLE)
        if not found and timeout is not None:
            self.now += max(0.0, timeout)
        return found


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; the loop's time begins at 0."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


def clock() -> float:
    """The running loop's time in seconds."""
    return asyncio.get_running_loop().time()
