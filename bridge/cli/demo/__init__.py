"""`runbridge demo`: an event's whole way through the real daemon. Leaves nothing running or on disk."""

import asyncio
import contextlib
import sys
from typing import Annotated

import typer

from bridge.cli.options import EX_UNAVAILABLE


def demo(
    *,
    events: Annotated[
        int | None, typer.Option("--events", "-n", min=1, help="End after so many events; without it, at Ctrl-C.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=500.0, help="Events a second.")] = 4.0,
) -> None:
    r"""Watch events pass through a real bridge: upstream, log, webhook.

    Starts a local upstream, a Valkey of its own in a temporary directory, a receiver that verifies signatures, and the
    bridge between them. A browser run plays, and every five seconds a named event is signalled; each event is a line,
    with the milliseconds that it took. Needs no network and no account; at its end nothing is left running or on disk.

    \b
      runbridge demo
      runbridge demo --events 100 --rate 20

    Exit codes: 0 at its end, 1 when something went wrong on the way, 69 without the extra `embedded`.
    """
    with contextlib.suppress(KeyboardInterrupt):  # before and after the event loop, which has a handler of its own
        raise typer.Exit(_demo(events, rate))


def _demo(events: int | None, rate: float) -> int:
    from bridge.cli.demo.errors import DemoError  # noqa: PLC0415  # --help should not wait for the whole bridge
    from bridge.cli.demo.stage import Stage  # noqa: PLC0415
    from bridge.cli.ending import until_signal  # noqa: PLC0415
    from bridge.cli.terminal import nobody_reads, while_somebody_reads  # noqa: PLC0415
    from bridge.embedded import server_binary  # noqa: PLC0415
    from bridge.errors import EmbeddedError  # noqa: PLC0415

    try:
        server_binary()
    except EmbeddedError:
        print("runbridge demo: needs a server of its own: pip install 'runbridge[embedded]'", file=sys.stderr)
        return EX_UNAVAILABLE
    stage = Stage(events, rate)
    status = 0
    with while_somebody_reads():
        try:
            asyncio.run(until_signal(stage.perform(), again=stage.hurry))
        except DemoError as error:
            print(f"runbridge demo: {error}", file=sys.stderr)
            status = 1
        except OSError as error:
            if nobody_reads():
                raise
            print(f"runbridge demo: can't be set up: {error}", file=sys.stderr)
            status = 1
        stage.sum_up()
    return status
