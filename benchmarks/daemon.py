"""The real daemon, `python -m bridge run`, on a configuration for some runs and perhaps one webhook destination."""

from pathlib import Path

from benchmarks.processes import Child, Valkey, free_port, python

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the example of the Standard Webhooks specification


STREAM, WAIT = "bctrl.run-events.stream", "bctrl.run-events.wait"


def daemon(directory: Path, upstream: str, server: Valkey, *runs: str, webhook: str = "", kind: str = STREAM) -> Child:
    """Its process. All settings but the needed ones are the defaults."""
    text = f"""
[redis]
url = "{server.url}"
[http]
listen = "127.0.0.1:{free_port()}"
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
    if webhook:
        text += f"""
[destinations.receiver]
url = "{webhook}"
secrets = ["{SECRET}"]
allow_networks = ["127.0.0.0/8"]
"""
    path = directory / f"daemon-{server.port}.toml"
    path.write_text(text)
    return python("bridge", "run", "--config", str(path), directory=directory)
