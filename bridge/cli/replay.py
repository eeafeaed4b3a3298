"""`runbridge replay`: asks for a range of the log to be sent to a webhook again, and follows it. Sends nothing."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.at_log import at_log, end_usage, settings_of
from bridge.cli.completion import destination_ids
from bridge.cli.ending import until_signal
from bridge.cli.options import ConfigOption
from bridge.cli.tail import FROM_FORMS
from bridge.cli.terminal import while_somebody_reads

if TYPE_CHECKING:
    from bridge.cli.replay_work import Wish
    from bridge.settings import Settings, WebhookDestination

RATE = 50.0
"""Requests a second, unless told."""


def replay(
    *,
    config: ConfigOption = None,
    destination: Annotated[
        str,
        typer.Option("--destination", "-d", metavar="ID", help="The webhook.", autocompletion=destination_ids),
    ] = "",
    start: Annotated[str, typer.Option("--from", metavar="WHERE", help=f"The first: {FROM_FORMS}.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="WHERE", help="The last, in the same forms.")] = "now",
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="GLOB", help="Only events of such types; may be repeated.")
    ] = None,
    subjects: Annotated[
        list[str] | None,
        typer.Option("--subject", metavar="ID", help="Only of this subject, or glob; may be repeated."),
    ] = None,
    rate: Annotated[float, typer.Option("--rate", min=0.001, max=10_000, help="Requests a second, at most.")] = RATE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many events it would be.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Don't wait for its end.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Show the replays that are not done.")] = False,
    cancel: Annotated[str, typer.Option("--cancel", metavar="ID", help="End a replay; what was sent stays sent.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON objects, one a line.")] = False,
) -> None:
    r"""Send what is in the log to a webhook again.

    All events from --from up to --to, both with them, that the destination wants, and that match one --type and one
    --subject where these are given. They come in order within a subject and with the webhook-id they always had, so
    that a receiver can tell what it has already; each request carries the header `Runbridge-Replay: ID`.

    \b
      runbridge replay -c bridge.toml -d crm --from 2h --dry-run
      runbridge replay -c bridge.toml -d crm --from 2026-11-21T12:00:00Z --to 2026-11-21T13:00:00Z
      runbridge replay -c bridge.toml -d crm --from start --type 'ai.bctrl.run.*' --subject run_123 --rate 5
      runbridge replay -c bridge.toml --list
      runbridge replay -c bridge.toml --cancel 5f2c81d0

    The bridge that runs sends them, or the next one that is started; a restart goes on where it was. Live delivery
    goes first: a replay has connections of its own, takes what is left of the destination's rate_limit, pauses while
    the destination is disabled or in trouble, and does not count against it when it fails. An event that fails is
    tried again by the destination's schedule, and in the end is a dead letter. Of several replays to one destination
    each waits for the one before. --rate holds over all partitions; in format "batched" a request is a batch.

    Follows the replay until it is done; Ctrl-C leaves it running. Exit codes: 0, 1 when there is nothing to send or
    no such replay, 2 for options that can't be, 69 when Redis can't be reached, 78 when the configuration has mistakes.
    """
    settings = settings_of(config)
    with while_somebody_reads(), at_log(settings, "replay"):
        from bridge.cli import replay_work as work  # noqa: PLC0415  # --help should not wait for the whole bridge

        if listing:
            code = asyncio.run(until_signal(work.show(settings, as_json=as_json)))
        elif cancel:
            code = asyncio.run(until_signal(work.cancel(settings, cancel, as_json=as_json)))
        else:
            found = _destination(settings, destination)
            wish = _wish(
                destination, found, start=start, end=end, types=types or [], subjects=subjects or [], rate=rate
            )  # fmt: skip
            asking = work.Asking(settings, wish, as_json=as_json)
            code = asyncio.run(until_signal(asking.run(dry_run=dry_run, follow=not detach)))
            if code is None and asking.id:
                print(
                    f"runbridge replay: {asking.id} goes on without this command; `runbridge replay --list` shows it, "
                    f"`runbridge replay --cancel {asking.id}` ends it",
                    file=sys.stderr,
                )
        if code:
            raise typer.Exit(code)


def _destination(settings: "Settings", name: str) -> "WebhookDestination":
    from bridge.settings import WebhookDestination  # noqa: PLC0415  # as above

    found = settings.destinations.get(name)
    webhooks = [each for each, one in settings.destinations.items() if isinstance(one, WebhookDestination)]
    those = f"those that are: {', '.join(webhooks)}" if webhooks else "there is none"
    if found is None:
        said = f"no destination {name!r} is configured" if name else "say which webhook by --destination"
        end_usage("replay", f"{said}; {those}")
    if not isinstance(found, WebhookDestination):
        end_usage(
            "replay",
            f"{name} is a stream in Redis, which has each event exactly once: sent again, it would be there twice. "
            f"Read the stream again instead; for webhooks, {those}",
        )
    return found


def _wish(
    name: str, destination: "WebhookDestination", *, start: str, end: str, types: list[str], subjects: list[str],
    rate: float,
) -> "Wish":  # fmt: skip
    from bridge.cli.replay_work import Wish, span  # noqa: PLC0415  # as above
    from bridge.clock import now  # noqa: PLC0415
    from bridge.delivery.filter import Filter, FilterError  # noqa: PLC0415
    from bridge.destinations import filter_of  # noqa: PLC0415

    if not start:
        end_usage("replay", f"say where it begins by --from: {FROM_FORMS}")
    try:
        more = Filter(types, subjects)
        after, last = span(start, end, now())
    except (FilterError, ValueError) as error:
        end_usage("replay", str(error))
    wants = filter_of(destination)
    return Wish(name, after, last, tuple(types), tuple(subjects), rate, lambda entry: more(entry) and wants(entry))
