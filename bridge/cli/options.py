"""The options and exit codes that commands share. Does nothing."""

from pathlib import Path
from typing import Annotated

import typer

EX_USAGE = 2
EX_UNAVAILABLE = 69
EX_TEMPFAIL = 75
EX_CONFIG = 78
"""As in sysexits(3); 2 is what the shell's own commands use for what can't be asked."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", envvar="BRIDGE_CONFIG", help="Configuration (TOML)."),
]
