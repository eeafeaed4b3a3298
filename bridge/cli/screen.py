"""A terminal that is drawn over and over until q is typed; as it was before, once it is over."""

import asyncio
import contextlib
import os
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from bridge.cli.table import Line
from bridge.stop import within

_KEYS = 64
"""Bytes that are read of what was typed, at once."""


class Screen:
    """Needs a running event loop. What doesn't fit on the screen is not drawn."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._over = asyncio.Event()
        self._before: list[Any] | None = None
        """How the terminal was, where keys can be read from it."""

    @property
    def height(self) -> int:
        """Lines of the terminal at the moment."""
        return self._console.height

    @property
    def width(self) -> int:
        """Its columns."""
        return self._console.width

    def __enter__(self) -> Self:
        self._live.__enter__()
        with contextlib.suppress(termios.error, OSError, ValueError):  # no terminal to type at: Ctrl-C alone ends it
            number = sys.stdin.fileno()
            self._before = termios.tcgetattr(number)
            tty.setcbreak(number)
            asyncio.get_running_loop().add_reader(number, self._typed, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            number = sys.stdin.fileno()
            asyncio.get_running_loop().remove_reader(number)
            termios.tcsetattr(number, termios.TCSADRAIN, self._before)
        self._live.__exit__(kind, error, trace)

    async def show(self, whole: list[Line], cut: list[Line], seconds: float) -> bool:
        """Draw lines that may be broken, below them lines that are cut, and wait; True once q was typed."""
        self._live.update(
            Group(
                *(Text.assemble(*line) for line in whole),
                *(Text.assemble(*line, no_wrap=True, overflow="ellipsis") for line in cut),
            ),
            refresh=True,
        )
        return await within(self._over.wait(), seconds) is not None

    def _typed(self, number: int) -> None:
        typed = os.read(number, _KEYS)
        if not typed or typed[:1] in {b"q", b"Q"}:
            asyncio.get_running_loop().remove_reader(number)
            self._over.set()
