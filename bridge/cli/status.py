"""`runbridge status`: how everything stands, on one screen. Changes nothing."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bridge.cli.at_log import at_log, settings_of
from bridge.cli.ending import until_signal
from bridge.cli.options import ConfigOption
from bridge.cli.terminal import Terminal, nobody_reads, while_somebody_reads
from bridge.errors import LogUnavailable

if TYPE_CHECKING:
    from bridge.cli.looks import Look, Looks
    from bridge.settings import Settings

EX_WRONG = 1
EVERY = 1.0
"""Seconds from one look to the next."""


def status(
    *,
    config: ConfigOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every second, until q or Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; with --watch one a line, one a second.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when something is not in order.")] = False,
) -> None:  # fmt: skip
    r"""Show how everything stands: the bridge, the log, sources and destinations; first what needs attention.

    Asks the running bridge (`http.listen`). Where none answers it shows what Redis has, and says so. RATE/s is what a
    source adds to the log a second, and the events a second that are delivered to a destination (that it looks at,
    where no bridge answers); LAG is from the upstream's time of the last event to its receipt; BEHIND counts entries
    of the log that a destination has not looked at, TAKEN UP those that it has and that are not settled, WAITING
    subjects whose first event is tried again later, and in brackets the events that wait in them, at least. The first
    lines say what is not in order (!), as an active destination whose oldest event has waited for a minute, and what
    else to look at.

    \b
      runbridge status -c bridge.toml
      runbridge status -c bridge.toml --watch
      runbridge status -c bridge.toml --json | jq '.sources[] | select(.state == "failed")'
      runbridge status -c bridge.toml --check > /dev/null || page-somebody

    Exit codes: 0; with --check 1 when something is not in order; 69 when Redis can't be reached, 78 when the
    configuration has mistakes.
    """
    settings = settings_of(config)
    with while_somebody_reads(), at_log(settings, "status"):
        wrong = asyncio.run(until_signal(_status(settings, watch=watch, as_json=as_json)))
    if check and wrong:
        raise typer.Exit(EX_WRONG)


async def _status(settings: "Settings", *, watch: bool, as_json: bool) -> bool:
    """Shows it, once or until somebody ends it; whether something was not in order at last."""
    from bridge.cli.looks import Looks  # noqa: PLC0415  # --help should not wait for the whole bridge
    from bridge.cli.status_lines import concerns  # noqa: PLC0415

    async with Looks(settings) as looks:
        look = await (looks.look() if watch else looks.look_with_rates())
        if not watch:
            _print(look, as_json=as_json)
        elif as_json or not sys.stdout.isatty():
            await _repeat(looks, look, as_json=as_json)
        else:
            await _redraw(looks, look)
    return any(concern.wrong for concern in concerns(look.overview, look.unanswered))


async def _repeat(looks: "Looks", look: "Look", *, as_json: bool) -> None:
    while not nobody_reads():
        _print(look, as_json=as_json)
        if not as_json:
            print(flush=True)
        await asyncio.sleep(EVERY)
        look = await _again(looks, look)


async def _redraw(looks: "Looks", look: "Look") -> None:
    from bridge.cli.screen import Screen  # noqa: PLC0415  # as above
    from bridge.cli.status_lines import block  # noqa: PLC0415

    with Screen() as screen:
        over = False
        while not over:
            found = block(look.overview, look.unanswered, height=screen.height, width=screen.width)
            over = await screen.show(found.sentences, found.columns, EVERY)
            look = await _again(looks, look)


async def _again(looks: "Looks", before: "Look") -> "Look":
    """The next look; the one before with the reason where there is none."""
    from bridge.cli.looks import Look  # noqa: PLC0415  # as above

    try:
        return await looks.look()
    except LogUnavailable as error:
        return Look(before.overview, f"nothing answers, so this is how it was at {before.overview.time} ({error})")


def _print(look: "Look", *, as_json: bool) -> None:
    from bridge.cli.status_lines import block  # noqa: PLC0415  # as above

    if as_json:
        if look.unanswered:
            print(f"runbridge status: {look.unanswered}", file=sys.stderr)
        print(msgspec.json.encode(look.overview).decode(), flush=True)
        return
    terminal = Terminal()
    found = block(look.overview, look.unanswered, width=terminal.width)
    for line in found.sentences:
        terminal.line(*line)
    for line in found.columns:
        terminal.row(*line)
    terminal.flush()
