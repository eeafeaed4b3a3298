"""What the shell offers where a command wants a source or a destination: those of the configuration. Never fails.

Reads the file's tables and nothing else: no secrets file, no Redis, no rules. Silent where it can't be read, since
whatever is printed here would land on the command line.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import typer

LARGEST = 4 << 20
"""Bytes of a configuration that is looked at."""


def _named(section: str) -> Callable[[typer.Context, str], list[tuple[str, str]]]:
    def names(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        """Each id and, for shells that show it, its kind or form."""
        tables = _tables(ctx.params.get("config")).get(section)
        found = tables.items() if isinstance(tables, dict) else ()
        return [(name, _about(keys)) for name, keys in found if name.startswith(incomplete)]

    return names


source_ids = _named("sources")
destination_ids = _named("destinations")


def _tables(given: object) -> Mapping[str, object]:
    path = given or os.environ.get("BRIDGE_CONFIG")
    if not isinstance(path, str | Path):
        return {}
    try:
        with Path(path).open("rb") as file:
            return tomllib.loads(file.read(LARGEST).decode())
    except (OSError, ValueError, RecursionError):
        return {}


def _about(keys: object) -> str:
    """A source's kind; of a destination no more than that it is one: its URL may hold a secret."""
    kind = keys.get("kind") if isinstance(keys, dict) else None
    return kind if isinstance(kind, str) else ""
