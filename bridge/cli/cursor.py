"""`runbridge cursor get | set`: where a source stands, and having it go on from elsewhere. Reads no upstream."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.at_log import at_log, end_usage, settings_of
from bridge.cli.completion import source_ids
from bridge.cli.ending import until_signal
from bridge.cli.event_line import printable
from bridge.cli.options import EX_USAGE, ConfigOption

if TYPE_CHECKING:
    from bridge.cli.known_sources import Known
    from bridge.redis_log import StoredCursor
    from bridge.settings import Settings

EX_CHANGED = 1
LONGEST = 8192
"""Characters of a cursor: what servers take in a header."""

SourceArgument = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="The source's id, as in the configuration.", autocompletion=source_ids),
]


def get(
    source: SourceArgument, *, config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:  # fmt: skip
    r"""Show where a source stands: its cursor, what it keeps beside it, and when something was stored last.

    It is what the log has in Redis, from which the bridge goes on after any restart. A source that is no longer
    configured is shown too, as long as the log remembers it.

    \b
      runbridge cursor get checkout -c bridge.toml
      runbridge cursor get checkout -c bridge.toml --json | jq -r .cursor

    Exit codes: 0, 2 when nobody knows such a source, 69 when Redis can't be reached, 78 when the configuration has
    mistakes.
    """
    settings = settings_of(config)
    with at_log(settings, "cursor get"):
        found = asyncio.run(until_signal(_look(settings, source, "cursor get")))
    if found is None:
        return
    known, seen = found
    if as_json:
        said = {name: value for name, value in asdict(seen).items() if name not in {"owner", "epoch", "scope", "armed"}}
        print(json.dumps({**said, "resource": seen.resource or known.resource, "kind": known.kind}))
        return
    rows = {
        "source": f"{source} ({known.kind or 'no longer configured'})",
        "cursor": "none" if seen.cursor is None else seen.cursor or '""',
        "sequence": str(seen.sequence),
        "state": " ".join(filter(None, (seen.state or "has never run", seen.reason and f"({seen.reason})"))),
        "bookmark": seen.bookmark,
        "resource": seen.resource or known.resource,
        "stored": seen.time,
    }
    for name, value in rows.items():
        if value:
            print(f"{name:9} {printable(value)}")


def set_(
    source: SourceArgument,
    cursor: Annotated[
        str | None, typer.Argument(metavar="CURSOR", help="What to go on after: of most sources an event's id.")
    ] = None,
    *, config: ConfigOption = None,
    drop: Annotated[
        bool, typer.Option("--drop", help="No cursor: begin where `from` of its configuration says.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Log once more what comes, also what the log has already.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:  # fmt: skip
    r"""Have a source go on after another cursor, or with --drop from its beginning. No restart is needed.

    A running bridge goes on there within some two seconds, also with a source that has ended or failed; otherwise the
    next one does at its start. What comes again and is among the last ids that the log remembers of this source
    (`log.dedup_window`) is not logged twice, unless --again says so. What lies between the old place and a later new
    one is never read.

    Shows the old place and the new one and asks; where there is no terminal to ask at, --yes has to say it. Nothing is
    done where the source was taken over by another bridge meanwhile, or where its configuration names another resource
    than the one it was read from. A named event has no cursor: reading it takes it away.

    \b
      runbridge cursor set checkout evt_8f2 -c bridge.toml
      runbridge cursor set checkout --drop -c bridge.toml
      runbridge cursor set checkout evt_001 --again --yes -c bridge.toml

    Exit codes: 0; 1 when the answer was no, or it changed meanwhile; 2 when it can't be set; 69 when Redis can't be
    reached, 78 when the configuration has mistakes.
    """
    problem = _unfit(cursor, drop=drop)
    if not (problem or yes or sys.stdin.isatty()):
        problem = "there is no terminal to ask at: say --yes, or look first with `runbridge cursor get`"
    if problem:
        end_usage("cursor set", problem)
    settings = settings_of(config)
    with at_log(settings, "cursor set"):
        found = asyncio.run(until_signal(_look(settings, source, "cursor set")))
        if found is None:
            return
        known, seen = found
        _refuse(known, seen, drop=drop)
        if not yes:
            _show(known, seen, cursor, again=again)
            typer.confirm("Have it go on there?", abort=True, err=True)
        done = asyncio.run(until_signal(_set(settings, known, seen, cursor, again=again)))
    if done is None:
        return
    if not done:
        changed = "it was taken over meanwhile, or its resource is another; nothing was done: look again"
        print(f"runbridge cursor set: {changed}", file=sys.stderr)
        raise typer.Exit(EX_CHANGED)
    where = f"after {printable(cursor)}" if cursor is not None else "from its beginning"
    print(
        f"{source} goes on {where}: in a running bridge within some two seconds, else at the next start",
        file=sys.stderr,
    )


COMMANDS: dict[str, Callable[..., None]] = {"get": get, "set": set_}


def _unfit(cursor: str | None, *, drop: bool) -> str:
    """Why this can't be a cursor; "" where it can."""
    if drop == (cursor is not None):
        return "say after which CURSOR to go on, or --drop; one of the two"
    if cursor is None:
        return ""
    if not cursor or len(cursor) > LONGEST or not cursor.isprintable():
        return f"a cursor has 1 to {LONGEST} characters and no control characters; for none say --drop"
    return ""


def _refuse(known: "Known", seen: "StoredCursor", *, drop: bool) -> None:
    """End the command where setting a cursor would do harm or nothing."""
    problem = ""
    if known.consuming:
        problem = f"{known.id} waits for a named event, which has no cursor: reading a signal takes it away"
    elif not known.cursors and not drop:
        problem = f"{known.id} ({known.kind}) has no cursor: it tells the present state; --drop has it asked anew"
    elif not known.kind:
        problem = f"{known.id} is no longer configured, so nobody would go on there: configure it again"
    elif seen.resource and seen.resource != known.resource:
        problem = (
            f"{known.id} was read from {seen.resource}, and its configuration says {known.resource}; a cursor belongs "
            "to one of them: start the bridge with this configuration first"
        )
    if problem:
        print(f"runbridge cursor set: {problem}", file=sys.stderr)
        raise typer.Exit(EX_USAGE)


def _show(known: "Known", seen: "StoredCursor", cursor: str | None, *, again: bool) -> None:
    old = "no cursor" if seen.cursor is None else printable(seen.cursor)
    new = "no cursor: from the beginning" if cursor is None else printable(cursor)
    state = f"sequence {seen.sequence}, {seen.state}" if seen.known else "has never run"
    rows = {"source": f"{known.id} ({known.kind})", "resource": known.resource, "now": f"{old} ({state})", "then": new}
    if seen.bookmark:
        rows["dropped"] = f"bookmark {printable(seen.bookmark)}"
    if again:
        rows["again"] = "what the log has already is logged once more"
    for name, value in rows.items():
        print(f"{name:9} {value}", file=sys.stderr)


async def _look(settings: "Settings", source: str, command: str) -> "tuple[Known, StoredCursor]":
    from bridge.cli.known_sources import known_source  # noqa: PLC0415  # --help should not wait for the whole bridge
    from bridge.redis_log import Cursors  # noqa: PLC0415
    from bridge.wiring import keys_of, server_of  # noqa: PLC0415

    cursors = Cursors(server_of(settings), keys_of(settings))
    try:
        seen = await cursors.look(source)
    finally:
        await cursors.close()
    known = await known_source(settings, source)
    if not (known.kind or seen.known):
        end_usage(command, f"nobody knows a source {source!r}; those that are: {', '.join(known.others) or 'none'}")
    return known, seen


async def _set(
    settings: "Settings", known: "Known", seen: "StoredCursor", cursor: str | None, *, again: bool
) -> bool:  # fmt: skip
    from bridge.redis_log import Cursors  # noqa: PLC0415  # as above
    from bridge.wiring import keys_of, server_of  # noqa: PLC0415

    cursors = Cursors(server_of(settings), keys_of(settings))
    try:
        return await cursors.set(seen, cursor, resource=known.resource, again=again)
    finally:
        await cursors.close()
