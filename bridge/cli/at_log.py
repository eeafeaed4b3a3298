"""What commands share that work on the log in Redis: the configuration, and their ends when it or Redis is at fault."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from bridge.cli.options import EX_CONFIG, EX_UNAVAILABLE, EX_USAGE
from bridge.errors import ConfigurationError, LogUnavailable

if TYPE_CHECKING:
    from bridge.settings import Settings


def settings_of(config: Path | None) -> "Settings":
    """The configuration; ends the command with 78 where it has mistakes."""
    from bridge.settings import load  # noqa: PLC0415  # --help should not wait for the whole bridge

    try:
        return load(config, os.environ)
    except ConfigurationError as error:
        print(f"runbridge: the configuration can't be used:\n{error}", file=sys.stderr)
        raise typer.Exit(EX_CONFIG) from None


@contextlib.contextmanager
def at_log(settings: "Settings", command: str) -> Iterator[None]:
    """Ends the command with 69 where Redis can't be reached or doesn't do what is asked."""
    try:
        yield
    except LogUnavailable as error:
        address = settings.redis.address
        if address.startswith("embedded:") and error.code == "CONNECTION":
            problem = f"no bridge runs on {address}, whose server runs only with it; start `runbridge run` first"
        else:
            problem = f"{address} can't be used: {error}"
        print(f"runbridge {command}: {problem}", file=sys.stderr)
        raise typer.Exit(EX_UNAVAILABLE) from None


def end_usage(command: str, problem: str) -> NoReturn:
    """Ends the command with 2: it was asked for what can't be."""
    print(f"runbridge {command}: {problem}", file=sys.stderr)
    raise typer.Exit(EX_USAGE)
