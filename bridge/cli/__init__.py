"""The command line: one module per command. Each imports what it needs when it runs, so that --help is instant."""

from collections.abc import Callable, Mapping
from inspect import cleandoc

import typer

from bridge.cli import dead, destinations
from bridge.cli.check import check
from bridge.cli.demo import demo
from bridge.cli.emulator import emulator
from bridge.cli.keys import keys
from bridge.cli.replay import replay
from bridge.cli.run import run
from bridge.cli.tail import tail
from bridge.cli.verify import verify

app = typer.Typer(
    name="runbridge",
    help="Event bridge daemon: run event streams and named events in, Redis Streams and signed webhooks out.",
    epilog="Start with `runbridge demo`; then copy config/bridge.toml and try `runbridge check --config FILE`.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _help(command: Callable[..., None]) -> str:
    r"""Its docstring; a line `\b`, which raw docstrings hold as two characters, keeps the examples' line ends."""
    return cleandoc(command.__doc__ or "").replace("\\b\n", "\b\n")


for _command in (run, check, demo, emulator, tail, replay, keys, verify):
    app.command(help=_help(_command))(_command)


def _group(name: str, summary: str, commands: Mapping[str, Callable[..., None]]) -> None:
    group = typer.Typer(name=name, help=summary, no_args_is_help=True, rich_markup_mode=None)
    for each, command in commands.items():
        group.command(name=each, help=_help(command))(command)
    app.add_typer(group)


_group("dead", "Dead letters: what receivers did not take.", dead.COMMANDS)
_group("destinations", "How destinations stand, and resuming disabled ones.", destinations.COMMANDS)
