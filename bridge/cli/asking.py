"""Asks something of a running bridge through Redis, and tells what came of it. Does nothing of it itself."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer

from bridge.cli.at_log import at_log
from bridge.cli.ending import until_signal
from bridge.cli.event_line import printable
from bridge.cli.options import EX_TEMPFAIL
from bridge.commands import Command, Done
from bridge.errors import Declined

if TYPE_CHECKING:
    from bridge.settings import Settings

EX_REFUSED = 2
WAIT = 10.0
"""Seconds for an answer, unless told: a change comes into force within some two."""

WaitOption = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0.1, max=600, help="How long to wait for a bridge's answer.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]

Said = Callable[[Done], str]
"""What was done, in words."""


def ask(
    settings: "Settings", name: str, command: Command, said: Said,
    *, wait: float = WAIT, as_json: bool = False, also: Mapping[str, str] | None = None,
) -> Done:  # fmt: skip
    """What came of a command, having told it; ends with 2 where it is refused, 69 or 75 where nobody can do it now.

    `name` is that of the command line's command, such as `sources add`. `also` goes into the JSON object that is
    printed, unless it is refused.
    """
    with at_log(settings, name):
        try:
            done = asyncio.run(until_signal(_ask(settings, command, wait)))
        except Declined as declined:
            _refused(name, declined, as_json=as_json)
    if done is None:
        detail = f"no bridge answered within {wait:g} s; the command waits in Redis, and a bridge does it when one runs"
        if as_json:
            print(json.dumps({"ok": False, "kind": "unanswered", "detail": detail, "errors": [], **(also or {})}))
        else:
            print(f"runbridge {name}: {detail}", file=sys.stderr)
        raise typer.Exit(EX_TEMPFAIL)
    if as_json:
        print(msgspec.json.encode({"ok": True, **msgspec.structs.asdict(done), **(also or {})}).decode())
    else:
        print(said(done), file=sys.stderr)
    return done


def one_of(what: str, same: str) -> Said:
    """Tells what was done (`added`), or that it was so already (`is there already`), and the state now."""

    def said(done: Done) -> str:
        state = f"; it is {done.state}" if done.state and done.state not in {what, same.split(maxsplit=1)[0]} else ""
        return f"{printable(done.id)} {what if done.changed else same}{state}"

    return said


def confirmed(name: str, question: str, *, yes: bool) -> None:
    """Asks at a terminal, and ends the command with 1 at a no; ends it with 2 where there is none and no --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        print(f"runbridge {name}: there is no terminal to ask at: say --yes", file=sys.stderr)
        raise typer.Exit(EX_REFUSED)
    typer.confirm(question, abort=True, err=True)


def planned(settings: "Settings", name: str, command: Command, *, as_json: bool) -> None:
    """Ends as `ask` where a command would be refused, by what the file and Redis say: before anybody is asked."""
    with at_log(settings, name):
        try:
            if not asyncio.run(until_signal(_plan(settings, command))):
                raise typer.Abort
        except Declined as declined:
            _refused(name, declined, as_json=as_json)


async def _ask(settings: "Settings", command: Command, wait: float) -> Done | None:
    from bridge.redis_log.commands import Commands  # noqa: PLC0415  # --help should not wait for the whole bridge
    from bridge.wiring import keys_of, server_of  # noqa: PLC0415

    commands = Commands(server_of(settings), keys_of(settings)[0])
    try:
        return await commands.ask(command, wait)
    finally:
        await commands.close()


async def _plan(settings: "Settings", command: Command) -> bool:
    from bridge.cli.looks import Looks  # noqa: PLC0415  # as above

    async with Looks(settings) as looks:
        (await looks.roster()).plan(command, "")
    return True


def _refused(name: str, declined: Declined, *, as_json: bool) -> NoReturn:
    code = EX_TEMPFAIL if declined.kind == "unavailable" else EX_REFUSED
    if as_json:
        errors = [{"path": each.path, "message": each.message} for each in declined.problems]
        print(json.dumps({"ok": False, "kind": declined.kind, "detail": declined.detail, "errors": errors}))
    else:
        lines = [printable(declined.detail), *(f"  {printable(str(each))}" for each in declined.problems)]
        print(f"runbridge {name}: " + "\n".join(lines), file=sys.stderr)
    raise typer.Exit(code)
