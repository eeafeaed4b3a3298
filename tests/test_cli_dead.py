"""`runbridge dead` as its user sees it: what it lists, shows, asks for, drops and refuses; its exit codes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command
from dead import bury, marks, raw
from delivering import QUICK, Stage, destination
from receiver import Receiver, status
from servers import RedisServer
from typer.testing import CliRunner, Result
from waiting import wait_until

from bridge.cli import app

STREAM = '[destinations.copy]\nurl = "redis://127.0.0.1:1"\nstream = "runs:{subject}"\n'
Cli = Callable[..., Result]


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log with two partitions on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix, partitions=2)


@pytest.fixture
def cli(stage: Stage, tmp_path: Path) -> Cli:
    """Runs `runbridge dead` in this process, with a webhook and a stream destination configured."""
    path = tmp_path / "bridge.toml"
    path.write_text(stage.config(destination("crm", "http://127.0.0.1:1/"), STREAM))

    def run(*arguments: str, answer: str | None = None) -> Result:
        # no time-out: all is done when it returns; an exception of ours would be a stack trace
        found = CliRunner().invoke(app, ["dead", *arguments, "--config", str(path)], input=answer)
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found

    return run


def lines(result: Result) -> list[dict[str, Any]]:
    """The objects it printed."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def ago(seconds: float, number: int = 0) -> str:
    """A letter's id, of that long ago."""
    return f"{int((time.time() - seconds) * 1000)}-{number}"


@pytest.fixture
def letters(stage: Stage) -> dict[str, str]:
    """Event id -> letter: five of crm in two partitions, one of a stream destination, one of one that is gone."""
    some = {
        "a": bury(stage, "a", "run-1", letter=ago(7200), entry="1-1"),
        "b": bury(stage, "b", "run-2", letter=ago(3000), entry="2-1", kind="ai.bctrl.run.ended"),
        "c": bury(stage, "c", "run-1", letter=ago(60), entry="3-1", status="503"),
        "d": bury(stage, "d", "run-3", letter=ago(30), entry="4-1", status="", error="no answer", partition=1),
        "e": bury(stage, "e", "run-1", letter=ago(10), entry="1-1", partition=1, last_answer="no such thing\x1b[2J"),
        "copied": bury(stage, "copied", name="copy", letter=ago(5)),
        "old": bury(stage, "old", name="old", letter=ago(1)),
    }
    for partition in range(2):
        for name in ("crm", "copy", "old"):
            events = stage.keys.events.replace("{0}", f"{{{partition}}}")
            stage.server.call("XGROUP", "CREATE", events, name, "0", "MKSTREAM")
    return some


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "abcde"),
        (("--type", "*.ended"), "b"),
        (("--subject", "run-1"), "ace"),
        (("--subject", "run-2", "--subject", "*-3"), "bd"),
        (("--older-than", "40m"), "ab"),
        (("--newer-than", "20m", "--older-than", "20s"), "cd"),
        (("--status", "400"), "abe"),
        (("--status", "0", "--status", "503"), "cd"),
        (("--subject", "run-1", "--status", "400", "--limit", "1"), "e"),
        (("--limit", "2"), "de"),
        (("b", "3-1"), "bc"),
        (("1-1",), "ae"),
    ],
)
@pytest.mark.usefixtures("letters")
def test_selectors(cli: Cli, arguments: tuple[str, ...], expected: str) -> None:
    """Ids are a letter's, its event's or its entry's; every kind of option narrows; the newest comes last."""
    found = lines(cli("list", "--destination", "crm", "--json", *arguments))
    assert [letter["event"] for letter in found] == list(expected)


def test_list(cli: Cli, letters: dict[str, str]) -> None:
    """Every destination's letters in all partitions, for people and for programs, also one's that is gone."""
    table = cli("list").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["LETTER", *letters.values()]
    assert table[2].split()[1:] == ["50m", "crm", "ai.bctrl.run.ended", "run-2", "3", "400", "answered", "400"]
    found = {letter.pop("event"): letter for letter in lines(cli("list", "--json"))}
    assert set(found) == set(letters)
    assert found["d"] == {
        "letter": letters["d"], "destination": "crm", "partition": 1, "type": "ai.bctrl.navigation",
        "subject": "run-3", "entry": "4-1", "attempts": 3, "last_status": None, "last_error": "no answer",
        "time": "2026-11-22T12:00:00.000Z", "retrying": False,
    }  # fmt: skip


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--limit", "1")])
def test_list_says_which_ids_no_letter_has(cli: Cli, letters: dict[str, str], arguments: tuple[str, ...]) -> None:
    """And exits 1, after what it found; a limit makes none of them unknown."""
    said = "runbridge dead list: no dead letter has the id nobody\n"
    nobody = cli("list", "nobody", *arguments)
    assert (nobody.exit_code, nobody.stdout, nobody.stderr) == (1, "", said)
    some = cli("list", "a", "nobody", letters["b"], *arguments)
    assert (some.exit_code, some.stderr.endswith(said)) == (1, True)
    assert letters["b"] in some.stdout
    assert cli("list", "a", letters["b"], *arguments).exit_code == 0


def test_show(cli: Cli, letters: dict[str, str]) -> None:
    """The whole event and the last answer; nothing in them reaches the terminal as an escape."""
    shown = cli("show", letters["e"])
    assert shown.exit_code == 0
    assert '    "specversion": "1.0",' in shown.stdout
    assert "  no such thing [2J" in shown.stdout
    assert "\x1b" not in shown.stdout
    (found,) = lines(cli("show", "e", "--json"))
    assert (found["event"]["id"], found["last_answer"]) == ("e", "no such thing\x1b[2J")
    missing = cli("show", "e", "nobody")
    assert (missing.exit_code, missing.stderr) == (1, "runbridge dead show: no dead letter has the id nobody\n")


@pytest.mark.usefixtures("letters")
def test_retry_asks_once(stage: Stage, cli: Cli) -> None:
    """What is asked for is asked for once, marked, and still listed; a trial run asks for nothing."""
    arguments = ("retry", "--subject", "run-1", "--destination", "crm", "--json")
    summary = {"command": "retry", "chosen": 3, "done": 3, "retrying": 0, "gone": 0, "missing": []}
    assert lines(cli(*arguments, "--dry-run")) == [{**summary, "dry_run": True}]
    assert not marks(stage)
    assert lines(cli(*arguments)) == [{**summary, "dry_run": False}]
    assert lines(cli(*arguments)) == [{**summary, "dry_run": False, "done": 0, "retrying": 3}]
    retrying = [letter["event"] for letter in lines(cli("list", "--json")) if letter["retrying"]]
    assert retrying == ["a", "c", "e"]
    assert "retrying; answered 400" in cli("list").stdout
    for partition, count in ((0, 2), (1, 1)):
        root = f"{stage.prefix}:{{{partition}}}:requests"
        assert stage.server.call("SISMEMBER", root, "crm")
        assert stage.server.call("LLEN", f"{root}:crm") == count
        stage.server.call("DEL", root, f"{root}:crm")


@pytest.mark.usefixtures("letters")
def test_drop(stage: Stage, cli: Cli) -> None:
    """What is dropped is gone, from a destination that is gone too; what is retried stays unless forced."""
    assert cli("retry", "c").exit_code == 0
    stage.server.call("DEL", stage.keys.requests(), stage.keys.requests("crm"))
    found = lines(cli("drop", "--destination", "crm", "--all", "--yes", "--json"))
    assert (found[0]["chosen"], found[0]["done"], found[0]["retrying"]) == (5, 4, 1)
    assert [fields["id"] for _, fields in raw(stage)] == ["c"]
    assert cli("drop", "c", "--yes", "--force").exit_code == 0
    assert (raw(stage), marks(stage)) == ([], {})
    assert cli("drop", "--destination", "old", "--all", "--yes").exit_code == 0
    assert not raw(stage, "old")
    assert cli("drop", "--type", "*", "--yes", "--dry-run").stderr == "would drop 1 dead letters of copy\n"
    assert raw(stage, "copy")


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("retry",), 2, "say which"),
        (("drop", "--yes"), 2, "say which"),
        (("drop", "--all"), 2, "there is no terminal to ask at"),
        (("retry", "--all", "--destination", "copy"), 2, "a stream destination"),
        (("retry", "copied"), 2, "a stream destination"),
        (("retry", "--all", "--destination", "old"), 2, "no longer configured"),
        (("list", "--destination", "cmr"), 2, "those that are: crm, copy, old"),
        (("list", "--older-than", "soon"), 2, "--older-than"),
        (("retry", "nobody"), 1, "no dead letter has the id nobody"),
        (("drop", "nobody", "--yes"), 1, "no dead letter has the id nobody"),
    ],
)
def test_refusals(stage: Stage, cli: Cli, arguments: tuple[str, ...], code: int, said: str) -> None:
    """What can't be done is said, with what to do, and nothing happens."""
    before = [raw(stage, name) for name in ("crm", "copy", "old")]
    result = cli(*arguments)
    assert (result.exit_code, said in result.stderr) == (code, True), result.output
    assert [raw(stage, name) for name in ("crm", "copy", "old")] == before
    assert not marks(stage)


@pytest.mark.parametrize(("answer", "left"), [("n\n", 1), ("y\n", 0)])
def test_drop_asks_at_a_terminal(
    stage: Stage, cli: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:  # fmt: skip
    """At a terminal it asks; what is answered counts."""
    bury(stage, "a")
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    result = cli("drop", "a", answer=answer)
    assert "Drop 1 dead letters of crm for good?" in result.output
    assert len(raw(stage)) == left


async def test_retry_waits(stage: Stage, tmp_path: Path) -> None:
    """With --wait it ends when all are delivered (0) or some are dead again (1), which it counts; a daemon does it."""
    bury(stage, "good", "run-1", entry="1-1")
    bury(stage, "bad", "run-2", entry="2-1")
    async with Receiver() as receiver:
        config = tmp_path / "cli.toml"
        there = destination("crm", receiver.url, retry_schedule=QUICK, on_refused="dead")
        config.write_text(stage.config(there))
        receiver.answer = lambda hook: status(400 if hook.id == "bad" else 204)(hook)
        async with (
            stage.bridge(there),
            Command(tmp_path, "dead", "retry", "--all", "--wait", "--json", "-c", str(config)) as command,
        ):
            assert await command.end() == 1
            (summary,) = [json.loads(line) for line in command.lines]
            assert (summary["delivered"], summary["dead_again"]) == (1, 1)
            await wait_until(lambda: [fields["id"] for _, fields in raw(stage)] == ["bad"], "the dead one")
            receiver.answer = status(204)
            async with Command(tmp_path, "dead", "retry", "bad", "--wait", "-c", str(config)) as second:
                assert await second.end() == 0
                assert second.err.endswith("1 delivered, 0 dead again\n")


@pytest.mark.parametrize(("url", "code"), [("redis://:hush@127.0.0.1:1", 69), ("nonsense", 78)])
@pytest.mark.parametrize("arguments", [("list",), ("show", "1-1"), ("retry", "--all"), ("drop", "--all", "--yes")])
def test_what_is_away_or_wrong(tmp_path: Path, arguments: tuple[str, ...], url: str, code: int) -> None:
    """69 where Redis is away, 78 for a configuration with mistakes; a sentence, no stack trace, no secret."""
    path = tmp_path / "bridge.toml"
    path.write_text(f'[redis]\nurl = "{url}"\n{STREAM}')
    result = CliRunner().invoke(app, ["dead", *arguments, "-c", str(path)])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == code
    assert result.stderr.startswith("runbridge")
    assert "hush" not in result.output
