"""Holds `runbridge health` to the truth about a bridge, in one line and an exit code, and to being quick."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from daemon import package
from typer.testing import CliRunner, Result
from upstream import HANG, Upstream, answer

from bridge import health
from bridge.cli import app
from bridge.settings.schema import Http

WELL = json.dumps({"status": "alive", "problems": {}}).encode()
STUCK = json.dumps({"status": "not ready", "problems": {"redis": "OOM", "source s": "401\nforged"}}).encode()


async def asked(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command as a process."""
    async with Command(tmp_path, "health", *arguments, **environment) as command:
        return await command.end(), command.out, command.err


def invoked(*arguments: str, **environment: str | None) -> Result:
    """The command's end, in this process."""
    return CliRunner().invoke(app, ["health", *arguments], env=environment)


def origin(upstream: Upstream) -> str:
    """Host and port."""
    return upstream.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("ready", "script", "code", "line"),
    [
        (False, answer(200, WELL), 0, "alive"),
        (False, answer(503, b'{"status": "stuck", "problems": {"keeper": "silent for 90 s"}}'), 1,
         "stuck: keeper: silent for 90 s"),
        (True, answer(200, b'{"status": "ready", "problems": {}}'), 0, "ready"),
        (True, answer(503, STUCK), 1, "not ready: redis: OOM; source s: 401 forged"),
        (False, answer(404, b"<html>"), 1, "404 Not Found"),
        (False, answer(500, b'["status"]'), 1, "500 Internal Server Error"),
    ],
)  # fmt: skip
async def test_it_says_what_the_bridge_says(
    upstream: Upstream, tmp_path: Path, *, ready: bool, script: object, code: int, line: str
) -> None:
    """/livez, or /readyz with --ready: 200 is 0, anything else 1, with the state and every problem in one line."""
    upstream.on("/readyz" if ready else "/livez", script)
    (tmp_path / "bridge.toml").write_text(f'[http]\nlisten = "{origin(upstream)}"\n')

    ended, out, err = await asked(tmp_path, *["--ready"] * ready, BRIDGE_CONFIG="bridge.toml")

    assert (ended, out + err) == (code, f"{line}\n" if code == 0 else f"runbridge: {line}\n")
    assert bool(out) == (code == 0)
