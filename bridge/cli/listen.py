"""`runbridge listen`: a destination for development that lives in this process alone. Changes nothing in the log."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.cli.at_log import at_log, end_usage, settings_of
from bridge.cli.completion import source_ids
from bridge.cli.ending import first, until_signal
from bridge.cli.mistakes import Mistakes
from bridge.cli.options import ConfigOption
from bridge.cli.tail import FROM_FORMS, Away, EventLines, Printed, Wanted, json_lines, pages, start_after
from bridge.cli.terminal import nobody_reads, while_somebody_reads
from bridge.event import Entry

if TYPE_CHECKING:
    from bridge.cli.forward_target import ForwardTarget
    from bridge.cli.forwarding import Forwarder, Summary
    from bridge.redis_log import Reader
    from bridge.settings import Settings

PAGE = 50
"""Events that are read at once: they wait in memory for a slow receiver."""
MOST_IN_FLIGHT = 64
TIMEOUT = 30.0
"""Seconds for one request; somebody may stand at a breakpoint."""
BodyFormat = Literal["structured", "binary", "thin", "batched"]


def listen(
    *,
    config: ConfigOption = None,
    forward_to: Annotated[
        str, typer.Option("--forward-to", "-f", metavar="URL", help="Post each event there; http:// may be left out.")
    ] = "",
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="GLOB", help="Only events of such types; may be repeated.")
    ] = None,
    subjects: Annotated[
        list[str] | None, typer.Option("--subject", metavar="ID", help="Only of this subject; may be repeated.")
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="ID|URI", help="Only of this source; as for tail.", autocompletion=source_ids),
    ] = None,
    expression: Annotated[
        str, typer.Option("--filter", metavar="EXPRESSION", help="Only events that this is true for (docs/filters.md).")
    ] = "",
    start: Annotated[str, typer.Option("--from", metavar="WHERE", help=f"Where to begin: {FROM_FORMS}.")] = "now",
    body_format: Annotated[BodyFormat, typer.Option("--format", help="How events are sent.")] = "structured",
    headers: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Send this header too; may be repeated."),
    ] = None,
    secret: Annotated[
        str, typer.Option("--secret", metavar="SECRET", help="Sign with this one; others on this machine can see it.")
    ] = "",
    secret_file: Annotated[
        Path | None, typer.Option("--secret-file", metavar="FILE", help="Sign with the secret in this file.")
    ] = None,
    in_flight: Annotated[
        int, typer.Option("--in-flight", min=1, max=MOST_IN_FLIGHT, help="Requests under way at once.")
    ] = 1,
    retries: Annotated[
        int, typer.Option("--retries", min=0, max=100, help="Further attempts for an event that is not taken.")
    ] = 0,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", metavar="FILE", help="Trust this authority or certificate (PEM).")
    ] = None,
    skip_verify: Annotated[
        bool, typer.Option("--skip-verify", help="Take any certificate; only for this machine (localhost).")
    ] = False,
    print_body: Annotated[bool, typer.Option("--print-body", help="Print what is sent, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many events.")] = None,
) -> None:
    r"""Send each event to a server that you are developing, signed as by a webhook destination, until Ctrl-C.

    A destination that lives as long as this command: it reads the log itself, from now on, posts to the URL one event
    after the other, and says what was answered. It needs no entry in the configuration, leaves nothing in the log and
    is no concern of the bridge that runs. Any address will do. An event that is not taken is said and not sent again,
    unless --retries says so. Without --forward-to the events are only shown.

    \b
      runbridge listen -c bridge.toml --forward-to localhost:3000/webhooks
      runbridge listen -c bridge.toml -f localhost:3000/webhooks --type 'ai.bctrl.run.*' --from 10m --print-body
      runbridge listen -c bridge.toml -f https://localhost:8443/ --skip-verify --secret-file dev.secret
      runbridge listen -c bridge.toml -f localhost:3000/ --filter 'data.status >= 500' --json | jq .status

    The secret is another one each time, unless one is given; your server verifies with it. A slow server slows the
    reading; nothing is lost by it as long as the log keeps it. Exit codes: 0 at its end, 2 when it can't be sent like
    this, 69 when Redis can't be reached at the start, 78 when the configuration has mistakes.
    """
    from bridge.cli.forward_target import forward_target  # noqa: PLC0415  # --help should not wait for the bridge
    from bridge.cli.forwarding import Summary  # noqa: PLC0415
    from bridge.clock import now  # noqa: PLC0415
    from bridge.delivery.filter import Filter  # noqa: PLC0415

    settings, wrong, after, target, judge = settings_of(config), Mistakes(), "", None, Filter()
    with wrong.noted():
        if not forward_to and (headers or secret or secret_file or ca_file or skip_verify or retries):
            raise ValueError("nothing is sent without --forward-to URL")
    with wrong.noted():
        target = None if not forward_to else forward_target(
            forward_to, body_format, headers or (), secret=secret, secret_file=secret_file, ca_file=ca_file,
            skip_verify=skip_verify,
        )  # fmt: skip
    with wrong.noted("--format"):
        if forward_to and body_format == "thin" and not settings.http.links:
            raise ValueError("thin needs links to the events: set http.listen or http.public_url")
    with wrong.noted("--filter"):
        judge = Filter(expression=expression)
    with wrong.noted("--from"):
        after = start_after(start, now())
    if wrong.texts:
        end_usage("listen", str(wrong))
    wanted, summary = Wanted.of(settings, types or (), subjects or (), sources or ()), Summary()
    shown = Shown(
        lambda entry: wanted(entry) and judge(entry), summary, count, in_flight, retries, body=print_body,
        as_json=as_json,
    )  # fmt: skip
    with while_somebody_reads(), at_log(settings, "listen"):
        asyncio.run(until_signal(_listen(settings, after, target, shown)))
    if target:
        print(f"runbridge listen: {summary}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is wanted, how it is sent and printed, and how much of it."""

    wanted: Callable[[Entry], bool]
    summary: "Summary"
    count: int | None
    in_flight: int
    retries: int
    body: bool
    as_json: bool


async def _listen(settings: "Settings", after: str, forward: "ForwardTarget | None", shown: Shown) -> None:
    from bridge.redis_log import Reader  # noqa: PLC0415  # as above
    from bridge.wiring import keys_of, server_of  # noqa: PLC0415

    async with AsyncExitStack() as stack:
        forwarder = None if forward is None else _forwarder(settings, forward, shown, stack)
        readers = []
        for keys in keys_of(settings):
            readers.append(Reader(server_of(settings), keys, after))
            stack.push_async_callback(readers[-1].close)
            await readers[-1].open()
        if forward is not None:
            print(forward.ready, file=sys.stderr, flush=True)
        away = Away("listen")
        if forwarder is None:
            printed = Printed(shown.wanted, json_lines if shown.as_json else EventLines(), shown.count)
            await first(*(_print(number, reader, printed, away) for number, reader in enumerate(readers)))
            return
        await first(*(_send(number, reader, forwarder, shown.wanted, away) for number, reader in enumerate(readers)))
        await forwarder.finished()


def _forwarder(settings: "Settings", forward: "ForwardTarget", shown: Shown, stack: AsyncExitStack) -> "Forwarder":
    from bridge.cli.forwarding import Delivery, DeliveryLines, Forwarder, delivery_json  # noqa: PLC0415  # as above
    from bridge.delivery.form import Form  # noqa: PLC0415
    from bridge.errors import ConfigurationError  # noqa: PLC0415
    from bridge.post import PostClient  # noqa: PLC0415
    from bridge.webhook import Webhook  # noqa: PLC0415

    lines = DeliveryLines(body=shown.body)

    def told(delivery: Delivery) -> None:
        shown.summary.add(delivery)
        if shown.as_json:
            delivery_json(delivery, body=shown.body)
        else:
            lines(delivery)

    def webhook(partition: int) -> tuple[Webhook, Form]:
        endpoint = forward.endpoint(settings, partition)
        return Webhook(endpoint, client, lambda _: None), endpoint.form

    forwarder = Forwarder(webhook, told, in_flight=shown.in_flight, retries=shown.retries, count=shown.count)
    try:
        client = PostClient(
            forward.url, guard=None, spawn=forwarder.spawn, tls=forward.tls, timeout=TIMEOUT,
            connections=shown.in_flight, plain=True,
        )  # fmt: skip
    except ConfigurationError as error:
        end_usage("listen", str(error))
    stack.push_async_callback(client.close)
    stack.push_async_callback(forwarder.close)
    return forwarder


async def _print(number: int, reader: "Reader", printed: Printed, away: Away) -> None:
    async with aclosing(pages(number, reader, away)) as read:
        async for entries in read:
            if not printed.take(number, entries):
                return


async def _send(
    number: int, reader: "Reader", forwarder: "Forwarder", wanted: Callable[[Entry], bool], away: Away
) -> None:  # fmt: skip
    async with aclosing(pages(number, reader, away, PAGE)) as read:
        async for entries in read:
            for entry in filter(wanted, entries):
                if not await forwarder.take(number, entry):
                    return
            if nobody_reads():
                return
