"""The command line: one module per command. Each imports what it needs when it runs, so that --help is instant."""

from collections.abc import Callable, Mapping
from inspect import cleandoc
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bridge.cli import cursor, dead, destinations, parked, sources
from bridge.cli.check import check
from bridge.cli.demo import demo
from bridge.cli.emulator import emulator
from bridge.cli.health import health
from bridge.cli.keys import keys
from bridge.cli.listen import listen
from bridge.cli.replay import replay
from bridge.cli.run import run
from bridge.cli.status import status
from bridge.cli.tail import tail
from bridge.cli.verify import verify

RUN, LOOK, MEND, DEVELOP = "Run it", "See and steer it", "Put things right", "Develop with it"
"""The panels of the help, in their order."""
LONGEST_LINE = 200


class Panels(TyperGroup):
    """A group that lists its commands by panel, and is called by its name however it was started."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # typer's own, whatever it takes
        """As typer's own. Of `python -m bridge` a shell would make completions for `python` and `-m`."""
        return super().main(*args, **{**kwargs, "prog_name": self.name})

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002  # click's, which typer hides
        """As typer's own, with a heading for each panel and the whole first sentence of each command."""
        for panel in (RUN, LOOK, MEND, DEVELOP):
            rows = [
                (name, command.get_short_help_str(LONGEST_LINE))
                for name, command in sorted(self.commands.items())
                if getattr(command, "rich_help_panel", None) == panel
            ]
            with formatter.section(panel):
                formatter.write_dl(rows)


app = typer.Typer(
    name="runbridge",
    cls=Panels,
    help="Event bridge daemon: run event streams and named events in, Redis Streams and signed webhooks out.",
    epilog="Start with `runbridge demo`; then copy config/bridge.toml and try `runbridge check --config FILE`.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  # --help should not wait for it

        print(f"runbridge {version('runbridge')}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[  # its callback does the work
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take what belongs to no command."""


def _help(command: Callable[..., None]) -> str:
    r"""Its docstring; a line `\b`, which raw docstrings hold as two characters, keeps the examples' line ends."""
    return cleandoc(command.__doc__ or "").replace("\\b\n", "\b\n")


def _commands(panel: str, *commands: Callable[..., None]) -> None:
    for command in commands:
        app.command(help=_help(command), rich_help_panel=panel)(command)


def _group(panel: str, name: str, summary: str, commands: Mapping[str, Callable[..., None]]) -> None:
    group = typer.Typer(name=name, help=summary, no_args_is_help=True, rich_markup_mode=None)
    for each, command in commands.items():
        group.command(name=each, help=_help(command))(command)
    app.add_typer(group, rich_help_panel=panel)


_commands(RUN, run, check)
_commands(LOOK, status, tail, health)
_commands(MEND, replay)
_commands(DEVELOP, demo, emulator, listen, keys, verify)
_group(LOOK, "sources", "Sources: how they stand, adding and steering them while the bridge runs.", sources.COMMANDS)
_group(LOOK, "destinations", "Destinations: the same, and resuming disabled ones.", destinations.COMMANDS)
_group(MEND, "cursor", "Where a source stands, and having it go on from elsewhere.", cursor.COMMANDS)
_group(MEND, "dead", "Dead letters: what receivers did not take.", dead.COMMANDS)
_group(MEND, "parked", "Parked records: what could not be read.", parked.COMMANDS)
