"""Holds `runbridge health` to the truth about a bridge, in one line and an exit code, and to being quick."""

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from command import Command
from daemon import package
from typer.testing import CliRunner, Result
from upstream import HANG, Script, Upstream, answer

from bridge import health
from bridge.cli import app
from bridge.settings.schema import Http

WELL = json.dumps({"status": "alive", "problems": {}}).encode()
STUCK = json.dumps({"status": "not ready", "problems": {"redis": "OOM", "source s": "401\nforged"}}).encode()


async def asked(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command as a process."""
    async with Command(tmp_path, "health", *arguments, stdout=None, **environment) as command:
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
        (False, answer(404, b"<html>"), 1, "404 Scripted"),
        (False, answer(500, b'["status"]'), 1, "500 Scripted"),
    ],
)  # fmt: skip
async def test_it_says_what_the_bridge_says(
    upstream: Upstream, tmp_path: Path, *, ready: bool, script: Script, code: int, line: str
) -> None:
    """/livez, or /readyz with --ready: 200 is 0, anything else 1, with the state and every problem in one line."""
    upstream.on("/readyz" if ready else "/livez", script)
    (tmp_path / "bridge.toml").write_text(f'[http]\nlisten = "{origin(upstream)}"\n')

    ended, out, err = await asked(tmp_path, *["--ready"] * ready, BRIDGE_CONFIG="bridge.toml")

    assert (ended, out + err) == (code, f"{line}\n" if code == 0 else f"runbridge: {line}\n")
    assert bool(out) == (code == 0)


async def test_silence_is_not_well(upstream: Upstream) -> None:
    """A bridge that accepts and says nothing is not alive, once the time is over."""
    upstream.on("/livez", HANG)
    with pytest.raises(health.NotWell, match=r"^no answer from 127\.0\.0\.1:\d+: timed out$"):
        await asyncio.to_thread(health.ask, None, {"BRIDGE_HTTP__LISTEN": origin(upstream)}, "/livez", 0.1)


async def test_the_environment_wins_over_the_file(upstream: Upstream, tmp_path: Path) -> None:
    """As in the settings, in whatever case; and what listens on every address is asked on loopback."""
    upstream.on("/livez", answer(200, WELL))
    (tmp_path / "bridge.toml").write_text('[http]\nlisten = ""\n')
    everywhere = origin(upstream).replace("127.0.0.1", "0.0.0.0")

    ended, out, _ = await asked(tmp_path, "--config", "bridge.toml", bridge_http__LISTEN=everywhere)

    assert (ended, out) == (0, "alive\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[http]\nlisten = ""', 'health can\'t be asked for: http.listen is ""'),
        ('[http]\nlisten = "127.0.0.1:0"', "http.listen has no port that could be asked"),
        ('[http]\nlisten = "[::1]:1"', "no answer from ::1:1: "),
        ("http = 1\n[", "can't be read: TOMLDecodeError; see `runbridge check`"),
    ],
)
def test_what_cant_be_asked_is_not_well(tmp_path: Path, text: str, reason: str) -> None:
    """No server, no port, no TOML, nobody there: exit code 1, and the reason on standard error."""
    (tmp_path / "bridge.toml").write_text(text)
    ended = invoked("-c", str(tmp_path / "bridge.toml"))
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert reason in ended.stderr


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """It is named."""
    assert "nowhere.toml" in invoked("-c", str(tmp_path / "nowhere.toml")).stderr


def test_it_is_quick() -> None:
    """Asked as a probe asks, it imports neither the settings nor the other commands; and agrees with them."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = "{}:{}".format(*closed.getsockname())
    program = (
        "import sys; sys.argv = ['runbridge', 'health']\nfrom bridge.__main__ import main\n"
        "try: main()\nexcept SystemExit as end: print(end.code)\n"
        "print({'typer', 'pydantic', 'asyncio', 'rich'} & {*sys.modules})"
    )
    environ = {"PYTHONPATH": str(package()), "BRIDGE_HTTP__LISTEN": address}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "1\nset()\n"
    assert Http().listen == health.DEFAULT_LISTEN
