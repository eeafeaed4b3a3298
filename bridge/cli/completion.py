"""What the shell offers where a command wants a source or a destination: those of the configuration. Never fails.

Reads the file's tables, and Redis only for the commands that steer what was added while running. Silent where
something can't be read, since whatever is printed here would land on the command line.
"""

import asyncio
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.settings import Settings

LARGEST = 4 << 20
"""Bytes of a configuration that is looked at."""
PATIENCE = 0.3
"""Seconds for Redis to say what was added while running."""

Offered = list[tuple[str, str]]
Section = Literal["sources", "destinations"]


def _named(section: Section, *, file: bool = True, added: bool = False) -> Callable[[typer.Context, str], Offered]:
    def names(ctx: typer.Context, incomplete: str) -> Offered:
        """Each id and, for shells that show it, its kind or form."""
        path = ctx.params.get("config") or os.environ.get("BRIDGE_CONFIG")
        if not isinstance(path, str | Path):
            return []
        tables = _tables(path).get(section)
        keys = tables if isinstance(tables, dict) else {}
        found = [(name, _about(each)) for name, each in keys.items()] if file else []
        found += [
            (name, "added while running") for name in (_added(path, section) if added else ()) if name not in keys
        ]
        return [(name, about) for name, about in found if name.startswith(incomplete)]

    return names


source_ids = _named("sources")
destination_ids = _named("destinations")
every_source_id = _named("sources", added=True)
every_destination_id = _named("destinations", added=True)
added_source_ids = _named("sources", file=False, added=True)
added_destination_ids = _named("destinations", file=False, added=True)


def _added(path: str | Path, section: Section) -> list[str]:
    """The ids of those added while running; none where the file has mistakes or Redis doesn't answer in time."""
    from bridge.roster import field_of  # noqa: PLC0415  # --help should not wait for the whole bridge
    from bridge.settings import load  # noqa: PLC0415

    prefix = field_of((section, ""))
    try:
        fields = asyncio.run(_stored(load(Path(path), os.environ)))
    except (BridgeError, TimeoutError):
        return []
    return sorted(name.removeprefix(prefix) for name in fields if name.startswith(prefix))


async def _stored(settings: "Settings") -> Mapping[str, str]:
    from bridge.redis_log import Definitions  # noqa: PLC0415  # as above
    from bridge.wiring import keys_of, server_of  # noqa: PLC0415

    definitions = Definitions(server_of(settings), keys_of(settings))
    try:
        async with asyncio.timeout(PATIENCE):
            return (await definitions.load()).fields
    finally:
        await definitions.close()


def _tables(path: str | Path) -> Mapping[str, object]:
    try:
        with Path(path).open("rb") as file:
            return tomllib.loads(file.read(LARGEST).decode())
    except (OSError, ValueError, RecursionError):
        return {}


def _about(keys: object) -> str:
    """A source's kind; of a destination no more than that it is one: its URL may hold a secret."""
    kind = keys.get("kind") if isinstance(keys, dict) else None
    return kind if isinstance(kind, str) else ""
