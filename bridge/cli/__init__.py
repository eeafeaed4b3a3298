"""The command line: one module per command. Each imports what it needs when it runs, so that --help is instant."""

import typer

from bridge.cli.check import check
from bridge.cli.emulator import emulator
from bridge.cli.run import run

app = typer.Typer(
    name="runbridge",
    help="Event bridge daemon: run event streams and named events in, Redis Streams and signed webhooks out.",
    epilog="Start with `runbridge demo`; then copy config/bridge.toml and try `runbridge check --config FILE`.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(check)
app.command()(emulator)
