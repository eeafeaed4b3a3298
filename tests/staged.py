"""A bridge for documents to be tried on: the README's configuration, an upstream, a Redis, and a receiver that refuses.

What a document types in runs in a directory with `bridge.toml`; `127.0.0.1:8380` and `redis-cli` lead to this bridge.
Everything else that differs from what is written there is in the environment, as for any bridge.
"""

import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from command import Command
from daemon import Daemon, package
from servers import RedisServer, free_port
from shown import ROOT, blocks
from waiting import wait_blocking

SECRET = "whsec_" + "MDEy" * 8
RUN_TIMEOUT = 30
LETTER, PARKED = "1795348800123-0", "1795348811456-0"
"""What documents call a dead letter and a parked record."""


def configuration() -> str:
    """The README's, in one piece."""
    return "\n".join(block.text for block in blocks(ROOT / "README.md") if block.language == "toml")


class Staged:
    """The directory, and what its commands need."""

    def __init__(self, directory: Path, redis: RedisServer, environment: dict[str, str]) -> None:
        self.directory, self.redis, self.environment = directory, redis, environment

    def known(self, command: str) -> str:
        """The same, with ids of this log where the documents have some."""
        letter = self.redis.call("XRANGE", "bridge:{0}:dead:crm", "-", "+", "COUNT", "1")[0][0]
        parked = self.redis.call("XRANGE", "bridge:{0}:parked", "-", "+", "COUNT", "1")[0][0]
        return command.replace(LETTER, letter).replace(PARKED, parked)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """What a shell makes of it."""
        return subprocess.run(
            ["bash", "-c", command], cwd=self.directory, env={**os.environ, **self.environment}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=RUN_TIMEOUT,
            check=False,
        )  # fmt: skip


@contextmanager
def staged(directory: Path) -> Iterator[Staged]:
    """All of it, with an event in the log, one that was refused, and a record that can't be read."""
    with ExitStack() as stack:
        redis = RedisServer("valkey", directory / "redis", port=free_port()).start()
        stack.callback(redis.kill)
        receiver = stack.enter_context(_receiver())
        upstream, http = free_port(), free_port()
        emulator = Command(directory, "emulator", "--port", str(upstream), "--any-run", "--rate", "20")
        stack.callback(emulator.process.wait)
        stack.callback(emulator.process.kill)
        environment = {
            "BRIDGE_INSTANCE": "host",
            "BRIDGE_REDIS__URL": redis.url,
            "BRIDGE_HTTP__LISTEN": f"127.0.0.1:{http}",
            "BRIDGE_ACCOUNTS__BCTRL__BASE_URL": f"http://127.0.0.1:{upstream}",
            "BRIDGE_DESTINATIONS__CRM__URL": receiver,
            "BRIDGE_DESTINATIONS__CRM__ON_REFUSED": "dead",
            "BRIDGE_DESTINATIONS__AUDIT__URL": receiver,
            "BRIDGE_DESTINATIONS__PER_RUN__URL": redis.url,
            "PATH": f"{_programs(directory / 'bin', redis, http)}:{os.environ['PATH']}",
            "PYTHONPATH": str(package()),
        }
        for name in ("CRM", "AUDIT"):
            environment[f"BRIDGE_DESTINATIONS__{name}__ALLOW_NETWORKS"] = '["127.0.0.0/8"]'
        wait_blocking(lambda: "http" in emulator.out, "the upstream", 20.0)
        daemon = Daemon(directory, with_files(configuration(), directory), **environment).start()
        stack.callback(daemon.kill)
        wait_blocking(lambda: redis.call("XLEN", "bridge:{0}:dead:crm"), "a dead letter", 30.0)
        record = {"source": "checkout", "reason": "no JSON", "raw": "{", "cursor": ""}
        redis.client().xadd("bridge:{0}:parked", record)  # type: ignore[arg-type]  # dict is invariant
        yield Staged(directory, redis, environment)
        assert "Traceback" not in daemon.text, daemon.text


def with_files(text: str, directory: Path) -> str:
    """The configuration with a secret where one is left out, and with the files that it names in a directory."""
    text = text.replace("whsec_...", SECRET)
    for name in re.findall(r'"((?:/run/secrets|/etc/runbridge|secrets)/[\w.-]+)"', text):
        file = directory / "files" / Path(name).name
        file.parent.mkdir(exist_ok=True)
        file.write_text(SECRET + "\n")
        text = text.replace(f'"{name}"', f'"{file}"')
    return text


def _programs(directory: Path, redis: RedisServer, http: int) -> Path:
    """`runbridge` of this checkout; `redis-cli` and `curl` that find this Redis and this bridge where documents do."""
    directory.mkdir()
    where = f"--connect-to 127.0.0.1:8380:127.0.0.1:{http}"
    for name, line in {
        "runbridge": f"{sys.executable} -W error -m bridge",
        "redis-cli": f"{shutil.which('redis-cli')} --no-raw -p {redis.port}",
        "curl": f"{shutil.which('curl')} --silent --show-error --max-time 5 {where}",
    }.items():
        (directory / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (directory / name).chmod(0o755)
    return directory


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Refuses what a captcha is about, takes everything else."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(422 if b'"ai.bctrl.captcha' in body else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Say nothing."""


@contextmanager
def _receiver() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hooks"
    server.shutdown()
    server.server_close()
