"""Standard output for commands that print line after line: colours on a terminal only, no fuss when nobody reads."""

import contextlib
import os
import select
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

Part = tuple[str, str]
"""Some text and its style (`dim`, `green`, "" for none)."""


class Terminal:
    """Prints lines made of styled parts, plain elsewhere than on a terminal."""

    def __init__(self) -> None:
        with contextlib.suppress(AttributeError):  # a stream that somebody put in the place of standard output
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        self._console = Console(highlight=False)

    @property
    def width(self) -> int | None:
        """Columns of the terminal at the moment; None where it is none, and lines are as long as they are."""
        return self._console.width if self._console.is_terminal else None

    def row(self, *parts: Part) -> None:
        """One line, which a terminal cuts to its width; it may wait in a buffer until `flush`."""
        self._print(parts, whole=False)

    def line(self, *parts: Part) -> None:
        """One line, whole everywhere."""
        self._print(parts, whole=True)

    def _print(self, parts: tuple[Part, ...], *, whole: bool) -> None:
        if self._console.is_terminal:
            self._console.print(Text.assemble(*parts), soft_wrap=whole, no_wrap=not whole, overflow="ellipsis")
        else:
            print("".join(text for text, _ in parts).rstrip())

    def flush(self) -> None:
        """Show what has been printed."""
        sys.stdout.flush()


class Columns:
    """Widths of columns that grow with what they have held, up to `most` characters each."""

    def __init__(self, *least: int, most: int = 48) -> None:
        self._widths = list(least)
        self._most = most

    def __call__(self, column: int, text: str) -> str:
        """`text`, filled up to the width of its column and two spaces."""
        self._widths[column] = width = max(self._widths[column], min(len(text), self._most))
        return f"{text:<{width}}  "


def type_colour(type_: str) -> str:
    """The style of an event's type, by who speaks: the bridge itself, a named event, or a run."""
    families = {"dev.runbridge.": "yellow", "io.anchorbrowser.": "magenta"}
    return next((colour for prefix, colour in families.items() if type_.startswith(prefix)), "cyan")


def nobody_reads() -> bool:
    """True once the other end of standard output has been closed: a pipe's reader has ended, a terminal has gone."""
    poll = select.poll()
    with contextlib.suppress(OSError):  # a stream that is no file
        poll.register(sys.stdout, 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0))


@contextlib.contextmanager
def while_somebody_reads() -> Iterator[None]:
    """Ends the block quietly when standard output can no longer be written to."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) or nobody_reads():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the interpreter's end
            return
        raise
