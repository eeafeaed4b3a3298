"""The bridge as a child process, as a service manager would run it. Refuses to leave it, or its server, behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from bridge.cli.demo.errors import DemoError
from bridge.embedded import EmbeddedServer
from bridge.redis_log import Keys, Server
from bridge.stop import nap, within

RUN, EVENT = "run_demo", "otp"
API_KEY = "demo-key"
SECRET = "whsec_Zm9yIHRoZSBkZW1vIG9ubHksIG5vdCBzZWNyZXQh"  # noqa: S105  # made for the demo, known to everybody
PATIENCE = 10.0
"""Seconds from SIGTERM to SIGKILL: the grace below, and the end of the server."""
LAST_LINES = 12

CONFIGURATION = f"""\
grace = "5s"

[redis]
url = "embedded:redis"

[http]
listen = ""

[logging]
format = "json"

[accounts.bctrl]
provider = "bctrl"
base_url = "{{upstream}}"
api_key = "{API_KEY}"

[accounts.anchor]
provider = "anchor"
base_url = "{{upstream}}"
api_key = "{API_KEY}"

[sources.run_demo]
account = "bctrl"
kind = "bctrl.run-events.stream"
run = "{RUN}"

[sources.otp]
account = "anchor"
kind = "anchor.event.wait"
event = "{EVENT}"
wait_timeout = "1s" # the demo's end waits for the last one

[destinations.receiver]
url = "{{receiver}}"
secrets = ["{SECRET}"]
allow_networks = ["127.0.0.0/8"]
"""
"""What config/demo.toml says, with the addresses of the moment."""


class Daemon:
    """`runbridge run` in `directory`, which holds its configuration, its server's files and its log."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = EmbeddedServer(directory / "redis")
        self._log = directory / "bridge.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def server(self) -> Server:
        """The server that holds the log."""
        return Server(self._server.url)

    @property
    def keys(self) -> Keys:
        """The keys of the log's only partition."""
        return Keys("bridge", 0)

    def start(self, *, upstream: str, receiver: str) -> None:
        """Write the configuration and start the process."""
        configuration = self._directory / "demo.toml"
        configuration.write_text(CONFIGURATION.format(upstream=upstream, receiver=receiver))
        with self._log.open("wb") as log:
            # a session of its own: a Ctrl-C at the terminal is for the demo, which then ends it in its turn
            self._process = subprocess.Popen(  # noqa: S603  # this interpreter, and a file of ours
                [sys.executable, "-m", "bridge", "run", "--config", str(configuration)],
                cwd=self._directory, env=_environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip

    async def watch(self) -> NoReturn:
        """Raises DemoError when the process ends, which it should not."""
        while self._process is None or self._process.poll() is None:
            await nap(0.05)
        raise DemoError(f"the bridge ended {_ending(self._process.returncode)}{self.last_lines()}")

    async def end(self) -> None:
        """End the process, and whatever it left running; done within some ten seconds."""
        if self._process is not None:
            self._process.terminate()
            if not await within(self._gone(), PATIENCE):
                self._process.kill()
                await self._gone()
        await self._server.sweep()

    def kill(self) -> None:
        """End the process at once; `end` still has to be called."""
        if self._process is not None:
            self._process.kill()

    def last_lines(self) -> str:
        """The end of what it has logged, to follow a sentence."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        except OSError:
            lines = []
        return "; it said:\n  " + "\n  ".join(lines) if lines else "; it said nothing"

    async def _gone(self) -> bool:
        while self._process is not None and self._process.poll() is None:
            await nap(0.02)
        return True


def _environment() -> dict[str, str]:
    """As it is here, but for BRIDGE_ variables, which would change the configuration; modules are found as here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}  # noqa: PTH100  # strings


def _ending(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
