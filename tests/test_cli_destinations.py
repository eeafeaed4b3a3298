"""`runbridge destinations` as its user sees it: how each stands, and a disabled one that is delivered to again."""

import json
from pathlib import Path
from typing import Any

import pytest
from command import Command
from dead import bury
from delivering import Stage, destination
from receiver import Receiver, accept, status
from servers import RedisServer
from typer.testing import CliRunner, Result
from waiting import wait_until

from bridge.cli import app

STREAM = '[destinations.copy]\nurl = "redis://127.0.0.1:1"\nstream = "runs:{subject}"\n'


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


def run(path: Path, *arguments: str) -> Result:
    """`runbridge destinations` in this process; an exception of ours would be a stack trace."""
    found = CliRunner().invoke(app, ["destinations", *arguments, "--config", str(path)])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def objects(result: Result) -> dict[str, dict[str, Any]]:
    """What `list --json` printed, by destination."""
    assert result.exit_code == 0, result.output
    return {one["destination"]: one for one in map(json.loads, result.stdout.splitlines())}


def test_list_before_anything_ran(stage: Stage, tmp_path: Path) -> None:
    """All that are configured, and one that is gone but has dead letters; empty where nothing ever ran."""
    path = tmp_path / "bridge.toml"
    path.write_text(stage.config(destination("crm", "http://127.0.0.1:1/"), STREAM))
    bury(stage, "e1", name="old")
    stage.server.call("XGROUP", "CREATE", stage.keys.events, "old", "0", "MKSTREAM")
    found = objects(run(path, "list", "--json"))
    assert {name: one["kind"] for name, one in found.items()} == {"crm": "webhook", "copy": "stream", "old": "gone"}
    assert found["crm"] == {
        "destination": "crm", "kind": "webhook", "state": "active", "since_seconds": None, "reason": "",
        "positions": [""], "lag": 0, "in_flight": 0, "waiting": 0, "next_due_seconds": None, "dead": 0,
    }  # fmt: skip
    assert found["old"]["dead"] == 1
    table = run(path, "list").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["DESTINATION", "crm", "copy", "old"]
    assert table[3].endswith("no longer configured")
    resumed = run(path, "resume", "crm")
    assert (resumed.exit_code, resumed.stderr) == (0, "crm is active, not disabled: there is nothing to resume\n")


async def test_a_disabled_destination_is_resumed(stage: Stage, tmp_path: Path) -> None:
    """410 disables it, which is listed with reason and what waits; resumed it goes on in order, and nothing is lost."""
    path = tmp_path / "bridge.toml"
    async with Receiver(status(410)) as receiver:
        there = destination("crm", receiver.url)
        path.write_text(stage.config(there))
        events = [(f"e{number}", "run-1") for number in range(5)]
        stage.put(events)
        async with stage.bridge(there):
            await wait_until(lambda: b"disabled" in standing(stage), "it is disabled")
        async with Command(tmp_path, "destinations", "list", "--json", "-c", str(path)) as command:
            assert await command.end() == 0
            (found,) = map(json.loads, command.lines)
        assert (found["state"], found["waiting"]) == ("disabled", 1)
        assert found["reason"]
        assert found["since_seconds"] < 60
        async with Command(tmp_path, "destinations", "resume", "crm", "-c", str(path)) as command:
            assert await command.end() == 0
            assert command.err.startswith("asked for")
        receiver.answer = accept
        before = len(receiver.hooks)
        async with stage.bridge(there):
            await wait_until(lambda: len(set(receiver.ids()[before:])) >= 5, "all are delivered")
            await stage.all_settled("crm")
    assert [id_ for id_ in receiver.ids()[before:] if id_.startswith("e")] == [id_ for id_, _ in events]


def standing(stage: Stage) -> bytes:
    """What is stored of the destination as a whole."""
    return str(stage.server.call("HGET", stage.keys.destination("crm"), "standing")).encode()


@pytest.mark.parametrize(
    ("name", "said"), [("cmr", "those that are: crm, copy"), ("copy", "which is never disabled")]
)  # fmt: skip
def test_resume_refuses(stage: Stage, tmp_path: Path, name: str, said: str) -> None:
    """What can't be resumed is said: exit 2."""
    path = tmp_path / "bridge.toml"
    path.write_text(stage.config(destination("crm", "http://127.0.0.1:1/"), STREAM))
    result = run(path, "resume", name)
    assert (result.exit_code, said in result.stderr) == (2, True), result.output


@pytest.mark.parametrize("arguments", [("list",), ("resume", "copy2")])
def test_redis_away(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """69, one sentence, no secret."""
    path = tmp_path / "bridge.toml"
    webhook = destination("copy2", "http://127.0.0.1:1/")
    path.write_text(f'[redis]\nurl = "redis://:hush@127.0.0.1:1"\n{webhook}')
    result = run(path, *arguments)
    assert result.exit_code == 69, result.output
    assert result.stderr.count("\n") == 1
    assert "hush" not in result.output
