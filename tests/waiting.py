"""The tests' one way to wait: for a condition, with a deadline and a description. Refuses to wait for mere time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL = 0.005
"""Seconds between looks."""


async def wait_until(
    condition: Callable[[], T | Awaitable[T]], description: str, timeout: float = 10.0
) -> T:  # the deadline is part of what is asserted here
    """The condition's first true result; AssertionError with the description once `timeout` seconds have passed."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        value: T = await found if inspect.isawaitable(found) else found
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {description} (last: {value!r})"
        await asyncio.sleep(POLL)


def wait_blocking(condition: Callable[[], T], description: str, timeout: float = 10.0) -> T:
    """As `wait_until`, where there is no event loop."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout} s: {description} (last: {value!r})"
        time.sleep(POLL)
