"""An event loop in a thread, so that a test can call commands, which want the main thread, beside a running bridge."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 40.0
"""Seconds for entering and leaving."""


@contextmanager
def beside(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """The context, entered and left in that loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="beside")
    thread.start()
    try:
        found = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(PATIENCE)
        try:
            yield found
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
