"""`runbridge run`: the daemon, its signals and its exit codes."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING

import typer

from bridge.cli.options import EX_CONFIG, EX_UNAVAILABLE, ConfigOption
from bridge.errors import ConfigurationError, EmbeddedError

if TYPE_CHECKING:
    from bridge.app import App
    from bridge.stop import Stop


def run(config: ConfigOption = None) -> None:
    """Run the bridge until SIGTERM or Ctrl-C.

    The first signal lets what is in hand end, for at most `grace`, and exits 0; a second one exits at once. Every key
    of the file can be set from the environment too (BRIDGE_REDIS__URL); without a file, the environment is all.
    SIGHUP reads the file and the files with secrets again: what has changed is restarted, the rest goes on; a file
    with a mistake changes nothing, and the log lines say why.

    Exit codes: 0 after a stop, 69 when the embedded server can't be had, 78 when the configuration has mistakes.

    Example: runbridge run --config config/bridge.toml
    """
    from bridge import app  # noqa: PLC0415  # --help should not wait for the whole bridge
    from bridge.observe import configure_logs  # noqa: PLC0415
    from bridge.settings import load  # noqa: PLC0415
    from bridge.stop import Stop  # noqa: PLC0415

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what comes before the loop runs asks for what is done anyway
    try:
        settings = load(config, os.environ)
        configure_logs(settings.logging.level, settings.logging.format)
        _allow_open_files()
        stop = Stop()
        app.run(
            settings,
            stop,
            started=lambda running: _handle_signals(running, stop),
            load=lambda: load(config, os.environ),
        )
    except ConfigurationError as error:
        print(f"runbridge: the configuration can't be used:\n{error}", file=sys.stderr)
        raise typer.Exit(EX_CONFIG) from None
    except EmbeddedError as error:
        print(f"runbridge: {error}", file=sys.stderr)
        raise typer.Exit(EX_UNAVAILABLE) from None


def _allow_open_files() -> None:
    """Take as many open files as are allowed: each source and each delivery under way holds a socket.

    The usual limit to begin with, 1,024, is for programs that use `select`, which this one doesn't.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it; then the limit stays as it was set
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _handle_signals(running: "App", stop: "Stop") -> None:
    def handle(number: int) -> None:
        if stop.is_set():
            running.abandon()
            os._exit(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    loop.add_signal_handler(signal.SIGHUP, running.reload)
