"""How commands that run until somebody ends them come to their end: by a signal, or by the first part that is done."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until_signal(work: Coroutine[Any, Any, T], *, again: Callable[[], None] = lambda: None) -> T | None:
    """The work's result; or None if SIGINT, SIGTERM or SIGHUP came first, on which it is cancelled, once.

    It may clean up as long as it likes; `again` is called at every further signal. A hang-up that this process was
    started to ignore (nohup) stays ignored; an interrupt does not, which shells ignore for what they start with `&`.
    """
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
    asked = False

    def ask() -> None:
        nonlocal asked
        if asked:
            again()
        else:
            asked = True
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, ask)
    await asyncio.wait({task})
    return None if task.cancelled() else task.result()


async def first(*works: Coroutine[Any, Any, T]) -> T:
    """The result, or the error, of the work that ends first; all others are cancelled and have ended by then."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
