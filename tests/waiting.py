"""The tests' one way to wait: for a condition, with a deadline and a description. Refuses to wait for mere time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL = 0.005
"""Seconds between looks."""


@overload
async def wait_until(condition: Callable[[], Awaitable[T | None]], description: str, timeout: float = ...) -> T: ...
@overload
async def wait_until(condition: Callable[[], T | None], description: str, timeout: float = ...) -> T: ...
async def wait_until(condition: Callable[[], Any], description: str, timeout: float = 10.0) -> Any:
    """The condition's first true result, awaited where it has to be.

    AssertionError with the description once `timeout` seconds have passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
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
