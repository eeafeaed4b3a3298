"""`runbridge health`: whether a running bridge is well, for health checks. Changes nothing, needs no token."""

from typing import Annotated

import typer

from bridge.cli.options import ConfigOption


def health(
    config: ConfigOption = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it is ready (/readyz), not only alive (/livez).")
    ] = False,
) -> None:
    r"""Ask the bridge that runs with this configuration whether it is well.

    Reads http.listen from the file or the environment, asks there, and prints one line. A bridge that listens nowhere
    (http.listen = "") can't be asked: then this fails, so leave the health check out.

    \b
      runbridge health -c bridge.toml
      runbridge health --ready          (the file in BRIDGE_CONFIG)

    Exit codes: 0 when it is well, 1 when it is not, doesn't answer or can't be asked.
    """
    from bridge.health import told  # noqa: PLC0415  # --help should not wait for it

    raise typer.Exit(told(config, ready=ready))
