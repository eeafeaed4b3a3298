"""The command line as a whole: what the shell completes, what --help and --version say, and how little they import."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main
from daemon import configuration, stream_source
from servers import RedisServer
from typer.testing import CliRunner
from waiting import wait_blocking

from bridge.cli import DEVELOP, LOOK, MEND, RUN, app
from bridge.redis_log import Keys

CONFIGURATION = """
[sources.checkout]
kind = "bctrl.run-events.stream"
[sources.code]
kind = "anchor.event.wait"
[destinations.crm]
url = "https://user:hidden@crm.example/"
"""
HEAVY = {"aiohttp", "pydantic", "redis", "prometheus_client", "uvloop", "httptools", "nacl", "structlog"}
"""What --help must not wait for."""


def completed(words: str, shell: str = "bash", **environment: str) -> list[str]:
    """What the shell is offered for a command line, the last word of which is being typed."""
    args = words.split(" ")
    variables = {
        "_RUNBRIDGE_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, "COMP_CWORD": str(len(args) - 1),
        "_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args", "BRIDGE_CONFIG": "", **environment,
    }  # fmt: skip
    result = CliRunner().invoke(app, [], env=variables, prog_name="runbridge")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.stderr == ""
    return [line for line in result.stdout.splitlines() if line]


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A file with sources and destinations; as a whole it is no valid configuration."""
    path = tmp_path / "bridge.toml"
    path.write_text(CONFIGURATION)
    return str(path)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("runbridge cursor get -c {} ", ["checkout", "code"]),
        ("runbridge cursor set --config {} che", ["checkout"]),
        ("runbridge parked retry -c {} --source co", ["code"]),
        ("runbridge listen -c {} --source ", ["checkout", "code"]),
        ("runbridge tail -c {} --source ch", ["checkout"]),
        ("runbridge dead list -c {} --destination ", ["crm"]),
        ("runbridge replay -c {} -d c", ["crm"]),
        ("runbridge cur", ["cursor"]),
    ],
)
def test_ids_are_completed(config: str, words: str, offered: list[str]) -> None:
    """Sources and destinations are those of the file that the line names."""
    assert completed(words.format(config)) == offered


def test_every_shell_gets_them(config: str) -> None:
    """By BRIDGE_CONFIG too; shells that show it get a source's kind, and nothing of a destination's URL."""
    line = "runbridge cursor get "
    assert completed(line, BRIDGE_CONFIG=config) == ["checkout", "code"]
    zsh, fish = (completed(line, shell, BRIDGE_CONFIG=config) for shell in ("zsh", "fish"))
    assert '"checkout":"bctrl.run-events.stream"' in " ".join(zsh)
    assert fish == ["checkout\tbctrl.run-events.stream", "code\tanchor.event.wait"]
    assert "hidden" not in "".join(completed("runbridge dead list -d ", "zsh", BRIDGE_CONFIG=config))


@pytest.mark.parametrize("text", ["not [toml", 'sources = "text"', "[sources]\na = 1", "\0", None])
def test_a_file_that_cannot_be_read_is_no_fuss(tmp_path: Path, text: str | None) -> None:
    """Nothing is printed over the command line that somebody is typing."""
    path = tmp_path / "bridge.toml"
    if text is not None:
        path.write_text(text)
    assert completed(f"runbridge cursor get -c {path} ") in ([], ["a"])
    assert completed(f"runbridge cursor get -c {tmp_path} ") == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("runbridge sources show -c {} ", ["file", "new"]),
        ("runbridge sources remove -c {} ", ["new"]),
        ("runbridge sources change -c {} f", []),
        ("runbridge destinations remove -c {} ", ["crm"]),
        ("runbridge destinations pause -c {} ", ["crm"]),
    ],
)
def test_what_was_added_while_running_is_completed(
    shared_servers: dict[str, RedisServer], prefix: str, tmp_path: Path, words: str, offered: list[str]
) -> None:  # fmt: skip
    """Beside the file's; alone where a command is for it alone. Where Redis is away, the file's are offered."""
    server, path = shared_servers["valkey"], tmp_path / "bridge.toml"
    for name in ("sources new", "sources file", "destinations crm"):
        server.call("HSET", Keys(prefix, 0).definitions, name, "{}")
    path.write_text(configuration(server.url, stream_source("file"), prefix=prefix, bctrl="http://127.0.0.1:1"))
    wait_blocking(lambda: completed(words.format(path)) == offered, "Redis answers in time")
    path.write_text(path.read_text().replace(server.url, "redis://127.0.0.1:1"))
    assert completed(words.format(path)) == [name for name in offered if name == "file"]


def test_completion_is_for_the_name_of_the_command() -> None:
    """However it was started: a shell must not take `python` for it."""
    command = [sys.executable, "-m", "bridge", "--show-completion", "bash"]
    script = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert script.rstrip().endswith("_runbridge_completion runbridge")


def test_version() -> None:
    """--version is the distribution's."""
    assert CliRunner().invoke(app, ["--version"]).stdout == f"runbridge {version('runbridge')}\n"


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below a group, with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_examples(path: tuple[str, ...]) -> None:
    """Each command's help shows itself used, on lines of its own, with options that it has."""
    result = CliRunner().invoke(app, [*path, "--help"], prog_name="runbridge", terminal_width=200)
    assert result.exit_code == 0
    examples = re.findall(rf"^ *(?:Example: )?(runbridge {' '.join(path)}\b.*)", result.stdout, re.MULTILINE)
    assert examples, result.stdout
    known = {name for parameter in ALL[path].params for name in (*parameter.opts, *parameter.secondary_opts)}
    used = {
        word.partition("=")[0]
        for example in examples
        for word in re.findall(r"(?<= )--[a-z0-9-]+", example.split("|")[0])
    }
    assert used <= known | {"--help"}


def test_help_names_every_command_in_a_panel() -> None:
    """The top level's help is in panels, and no command is missing from it."""
    group: Any = typer.main.get_command(app)
    text = CliRunner().invoke(app, ["--help"]).stdout
    assert [line[:-1] for line in text.splitlines() if line[:-1] in {RUN, LOOK, MEND, DEVELOP}] == [
        RUN,
        LOOK,
        MEND,
        DEVELOP,
    ]
    for name in group.commands:
        assert re.search(rf"^  {name}  ", text, re.MULTILINE), name


def test_help_imports_little() -> None:
    """Nothing that a command needs only when it runs: --help and completion answer within a quarter of a second."""
    code = "import sys, bridge.cli; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not HEAVY & set(found)
