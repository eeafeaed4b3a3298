"""The real daemon, `python -m bridge run`, on a configuration for some runs and perhaps some destinations."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.processes import Child, Valkey, free_port, python

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the example of the Standard Webhooks specification

STREAM, WAIT = "bctrl.run-events.stream", "bctrl.run-events.wait"


def daemon(
    directory: Path,
    upstream: str,
    server: Valkey,
    *runs: str,
    kind: str = STREAM,
    destinations: Mapping[str, str] | None = None,
    port: int = 0,
) -> Child:
    """Its process. All settings but the needed ones are the defaults; a short grace, since nothing is waited for.

    `destinations` are names and the lines of their tables, such as `webhook` makes. It listens on `port`, or a free one.
    """
    text = f"""
grace = "1s"
[redis]
url = "{server.url}"
[http]
listen = "127.0.0.1:{port or free_port()}"
"""
    if runs:
        text += f"""
[accounts.upstream]
provider = "bctrl"
base_url = "{upstream}"
api_key = "k"
"""
    for run in runs:
        text += f"""
[sources.{run}]
account = "upstream"
kind = "{kind}"
run = "{run}"
"""
    for name, lines in (destinations or {}).items():
        text += f"[destinations.{name}]\n{lines}\n"
    path = configuration(directory, server)
    path.write_text(text)
    return python("bridge", "run", "--config", str(path), directory=directory)


def configuration(directory: Path, server: Valkey) -> Path:
    """The file of the daemon whose log is there."""
    return directory / f"daemon-{server.port}.toml"


def webhook(url: str, *lines: str) -> str:
    """The table of a destination on this machine, with more lines of it."""
    return "\n".join((f'url = "{url}"', f'secrets = ["{SECRET}"]', 'allow_networks = ["127.0.0.0/8"]', *lines))
