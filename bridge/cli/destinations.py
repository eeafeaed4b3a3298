"""`runbridge destinations list | resume`: how each destination stands, and delivering again to a disabled one."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.at_log import at_log, end_usage, settings_of
from bridge.cli.ending import until_signal
from bridge.cli.event_line import printable
from bridge.cli.terminal import Columns, Terminal, while_somebody_reads

if TYPE_CHECKING:
    from bridge.redis_log import DeadLetters, DestinationLook, DestinationLooks
    from bridge.settings import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", envvar="BRIDGE_CONFIG", help="Configuration (TOML)."),
]
_COLOURS = {"active": "green", "probing": "yellow", "disabled": "red"}
_HEADINGS = ("DESTINATION", "KIND", "STATE", "BEHIND", "IN FLIGHT", "WAITING", "NEXT", "DEAD", "WHY")
_WIDTHS = (11, 7, 8, 6, 9, 7, 5, 5)
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def list_destinations(
    *,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, one a destination.")] = False,
) -> None:
    r"""List the destinations: state, how far behind, what is in flight, what waits, dead letters.

    A destination is active; probing, where most attempts failed of late and one at a time is made until one is
    delivered; or disabled, where nothing is sent until somebody resumes it. WAITING counts subjects (in format
    "batched" batches) whose first event is tried again later, NEXT says when the next of them is due. Those that
    are no longer configured but have dead letters are listed too.

    \b
      runbridge destinations list -c bridge.toml
      runbridge destinations list -c bridge.toml --json | jq 'select(.state != "active")'

    Exit codes: 0, 69 when Redis can't be reached, 78 when the configuration has mistakes.
    """
    settings = settings_of(config)
    with while_somebody_reads(), at_log(settings, "destinations list"):
        asyncio.run(until_signal(_list(settings, as_json=as_json)))


def resume(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The destination, as in the configuration.")],
    *,
    config: ConfigOption = None,
) -> None:
    r"""Have a disabled destination delivered to again; what waits for it goes out in its order.

    Mend the receiver first: one that answers 410 disables its destination at once, and one that fails is probed.
    Nothing was dropped while it was disabled. A running bridge does it within some two seconds; otherwise it is
    done at its next start.

    \b
      runbridge destinations resume crm -c bridge.toml

    Exit codes: 0, 2 when there is no such destination or it can't be disabled, 69 when Redis can't be reached, 78
    when the configuration has mistakes.
    """
    from bridge.settings import RedisDestination  # noqa: PLC0415  # --help should not wait for the whole bridge

    settings = settings_of(config)
    if name not in settings.destinations:
        known = ", ".join(settings.destinations) or "there are none"
        end_usage("destinations resume", f"no destination {name!r} is configured; those that are: {known}")
    if isinstance(settings.destinations[name], RedisDestination):
        end_usage("destinations resume", f"{name} is a stream destination, which is never disabled")
    with at_log(settings, "destinations resume"):
        asyncio.run(until_signal(_resume(settings, name)))


COMMANDS: dict[str, Callable[..., None]] = {"list": list_destinations, "resume": resume}


def span(seconds: float) -> str:
    """A time span in its largest unit, such as 5m."""
    for unit, length in (("d", _DAY), ("h", _HOUR), ("m", _MINUTE)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


async def _list(settings: "Settings", *, as_json: bool) -> None:
    letters, looks = _open(settings)
    try:
        found = {name: await looks.look(name) for name in await letters.known(settings.destinations)}
    finally:
        await letters.close()
        await looks.close()
    if as_json:
        for name, look in found.items():
            print(json.dumps(_object(name, _kind(settings, name), look)))
        return
    terminal, columns = Terminal(), Columns(*_WIDTHS)
    rows = [(name, _kind(settings, name), look) for name, look in found.items()]
    texts = [_texts(*row) for row in rows]
    for row in texts:
        for column, text in enumerate(row[:-1]):
            columns(column, text)  # as wide as the widest
    if not rows:
        print("no destinations are configured", file=sys.stderr)
        return
    terminal.line(*[(columns(at, text) if at < len(_WIDTHS) else text, "dim") for at, text in enumerate(_HEADINGS)])
    for row, (_, _, look) in zip(texts, rows, strict=True):
        styles = ("bold", "dim", _COLOURS[look.standing.state], *[""] * 4, "red" if look.dead else "", "dim")
        terminal.row(*[
            (columns(at, text) if at < len(_WIDTHS) else text, style)
            for at, (text, style) in enumerate(zip(row, styles, strict=True))
        ])  # fmt: skip


async def _resume(settings: "Settings", name: str) -> None:
    letters, looks = _open(settings)
    try:
        look = await looks.look(name)
        if look.standing.state != "disabled":
            print(f"{name} is {look.standing.state}, not disabled: there is nothing to resume", file=sys.stderr)
            return
        await letters.enable(name)
    finally:
        await letters.close()
        await looks.close()
    waiting = f"{look.lanes} waiting and {'?' if look.lag is None else look.lag} new"
    print(
        f"asked for: a running bridge delivers to {name} again within some two seconds ({waiting}), else one does at"
        " its next start; `runbridge destinations list` shows it",
        file=sys.stderr,
    )


def _open(settings: "Settings") -> tuple["DeadLetters", "DestinationLooks"]:
    from bridge.redis_log import DeadLetters, DestinationLooks  # noqa: PLC0415  # as above
    from bridge.wiring import keys_of, server_of  # noqa: PLC0415

    keys, server = keys_of(settings), server_of(settings)
    return DeadLetters(server, keys), DestinationLooks(server, keys)


def _kind(settings: "Settings", name: str) -> str:
    from bridge.settings import RedisDestination  # noqa: PLC0415  # as above

    if name not in settings.destinations:
        return "gone"
    return "stream" if isinstance(settings.destinations[name], RedisDestination) else "webhook"


def _texts(name: str, kind: str, look: "DestinationLook") -> tuple[str, ...]:
    since = "" if look.since is None or look.standing.state == "active" else f" {span(look.since)}"
    lag = "?" if look.lag is None else str(look.lag)
    due = "" if look.next_due is None else "now" if look.next_due <= 0 else span(look.next_due)
    why = "no longer configured" if kind == "gone" else printable(look.standing.reason)
    return (
        name, kind, look.standing.state + since, lag, str(look.in_flight), str(look.lanes), due, str(look.dead), why
    )  # fmt: skip


def _object(name: str, kind: str, look: "DestinationLook") -> dict[str, Any]:
    return {
        "destination": name, "kind": kind, "state": look.standing.state,
        "since_seconds": None if look.since is None else round(look.since, 3), "reason": look.standing.reason,
        "positions": list(look.positions), "lag": look.lag, "in_flight": look.in_flight, "waiting": look.lanes,
        "next_due_seconds": None if look.next_due is None else round(look.next_due, 3), "dead": look.dead,
    }  # fmt: skip
