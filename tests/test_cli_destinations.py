"""`runbridge destinations` as its user sees it: how each stands, and a disabled one that is delivered to again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from beside import beside
from command import Command
from daemon import Daemon
from dead import bury
from delivering import Stage, destination
from receiver import Receiver, accept, status
from servers import RedisServer
from standardwebhooks import Webhook
from typer.testing import CliRunner, Result
from waiting import wait_blocking, wait_until

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
        "positions": [""], "lag": 0, "in_flight": 0, "waiting": 0, "waiting_entries": 0, "next_due_seconds": None,
        "dead": 0,
    }  # fmt: skip
    assert found["old"]["dead"] == 1
    table = run(path, "list").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["DESTINATION", "crm", "copy", "old"]
    assert table[3].endswith("no longer configured")
    assert "is defined in the configuration file" in run(path, "remove", "crm").stderr, "nobody is asked for --yes"
    assert table[0].split()[3:6] == ["BEHIND", "TAKEN", "UP"], "what was taken up is more than what is under way"


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
        async with Command(
            tmp_path, "destinations", "resume", "crm", "-c", str(path), "--wait", "0.1"
        ) as command:  # fmt: skip
            assert await command.end() == 75
            assert "a bridge does it when one runs" in command.err
        receiver.answer = accept
        before = len(receiver.hooks)
        async with stage.bridge(there):
            await wait_until(lambda: len(set(receiver.ids()[before:])) >= 5, "all are delivered")
            await stage.all_settled("crm")
    assert [id_ for id_ in receiver.ids()[before:] if id_.startswith("e")] == [id_ for id_, _ in events]


def standing(stage: Stage) -> bytes:
    """What is stored of the destination as a whole."""
    return str(stage.server.call("HGET", stage.keys.destination("crm"), "standing")).encode()


@contextmanager
def running(stage: Stage, directory: Path, there: str) -> Iterator[None]:
    """A bridge as a process of its own, with this destination."""
    daemon = Daemon(directory, stage.config(there)).start()
    try:
        wait_blocking(lambda: daemon.lines("bridge.started"), "the bridge runs", 20.0)
        yield
    finally:
        daemon.kill()


def test_a_destination_is_added_tried_and_steered_while_the_bridge_runs(stage: Stage, tmp_path: Path) -> None:
    """With a secret that is shown this once and signs; what is paused is sent nothing, and is sent it once resumed."""
    path = tmp_path / "bridge.toml"

    def told(code: int, *arguments: str) -> Result:
        found = run(path, *arguments)
        assert found.exit_code == code, found.output
        return found

    with beside(Receiver()) as receiver, running(stage, tmp_path, destination("file", receiver.url, types=["none"])):
        added = told(
            0, "add", "crm", "--url", f"{receiver.url}?token=hush", "--new-secret", "--type", "ai.*",
            "--set", 'allow_networks=["127.0.0.0/8"]',
        )  # fmt: skip
        assert added.stderr.startswith("crm added")
        secret = added.stdout.strip()
        assert json.loads(told(0, "test", "crm", "--json").stdout)["detail"]["status"] == 204
        hook = receiver.hooks[-1]
        Webhook(secret).verify(hook.body, hook.headers)
        assert hook.event["type"] == "dev.runbridge.test"
        receiver.answer = status(500)
        assert "crm failed, answered 500" in told(1, "test", "crm").stderr
        receiver.answer = accept
        shown = told(0, "show", "crm").stdout
        assert ("hush" in shown, secret in shown) == (False, False)
        assert "# secrets is set, and not shown" in shown.splitlines()
        told(0, "pause", "crm")
        stage.put([("e1", "run-1")])
        states = {name: one["state"] for name, one in objects(told(0, "list", "--json")).items()}
        assert states == {"file": "active", "crm": "paused"}
        assert "e1" not in receiver.ids()
        told(0, "resume", "crm")
        wait_blocking(lambda: "e1" in receiver.ids(), "it is delivered")
        assert "nothing to resume" in told(0, "resume", "crm").stderr
        refused = told(2, "add", "crm", "--url", "https://x.example/", "--new-secret")
        assert ("another destination 'crm'" in refused.stderr, refused.stdout) == (True, "")
        told(0, "remove", "crm", "--yes", "--forget")
        assert "no destination 'crm'" in told(2, "test", "crm").stderr


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_a_new_secret_that_may_be_in_use_is_shown(stage: Stage, tmp_path: Path, as_json: tuple[str, ...]) -> None:
    """Where no bridge answered the command may be done later, with this secret."""
    path = tmp_path / "bridge.toml"
    path.write_text(stage.config(STREAM))
    wanted = ("add", "crm", "--url", "https://crm.example/", "--new-secret", "--wait", "0.1", *as_json)
    found = run(path, *wanted)
    assert (found.exit_code, found.stdout.count("whsec_")) == (75, 1)


@pytest.mark.parametrize("arguments", [("list",), ("resume", "copy2"), ("show", "copy2"), ("test", "x")])
def test_redis_away(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """69, one sentence, no secret."""
    path = tmp_path / "bridge.toml"
    webhook = destination("copy2", "http://127.0.0.1:1/")
    path.write_text(f'[redis]\nurl = "redis://:hush@127.0.0.1:1"\n{webhook}')
    result = run(path, *arguments)
    assert result.exit_code == 69, result.output
    assert result.stderr.count("\n") == 1
    assert "hush" not in result.output
