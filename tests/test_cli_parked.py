"""`runbridge parked` as its user sees it: what it lists, shows, has read again by a real bridge, drops and refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command
from daemon import configuration, stream_source
from following import V2, Stage
from servers import RedisServer
from typer.testing import CliRunner, Result
from upstream import HANG, frame, stream

from bridge.cli import app
from bridge.redis_log import Keys

EVENT = b'{"id":"e7","runId":"r","type":"navigation"}'
Cli = Callable[..., Result]
Park = Callable[..., str]


@pytest.fixture
def server(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A shared Valkey."""
    return shared_servers["valkey"]


@pytest.fixture
def park(server: RedisServer, prefix: str) -> Park:
    """Parks a record as a bridge does; its id."""

    def add(raw: bytes = EVENT, *, source: str = "s", reason: str = "not JSON", partition: int = 0) -> str:
        fields = ("source", source, "reason", reason, "raw", raw, "cursor", "e6")
        return f"{partition}-{server.call('XADD', Keys(prefix, partition).parked, '*', *fields)}"

    return add


@pytest.fixture
def cli(server: RedisServer, prefix: str, tmp_path: Path) -> Cli:
    """Runs `runbridge parked` in this process; the log has two partitions, and no bridge runs."""
    path = tmp_path / "bridge.toml"
    text = configuration(server.url, stream_source("s"), prefix=prefix, bctrl="https://api.bctrl.example")
    path.write_text(text.replace("[log]\n", "[log]\npartitions = 2\n"))

    def run(*arguments: str, answer: str | None = None) -> Result:
        found = CliRunner().invoke(app, ["parked", *arguments, "--config", str(path)], input=answer)
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found

    return run


def lines(result: Result) -> list[dict[str, Any]]:
    """The objects it printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list(cli: Cli, park: Park) -> None:
    """All partitions, the newest last, by source; for people in columns, which no record's text can leave."""
    assert cli("list").stderr == "no parked records\n"
    ids = [park(), park(b"\xff\xfe", source="t", partition=1), park(b"", reason="no\x1b[2J id")]
    found = lines(cli("list", "--json"))
    assert {each["id"] for each in found} == set(ids)
    assert found[0].keys() == {"id", "source", "reason", "size", "time", "cursor"}
    assert [(each["id"], each["size"]) for each in lines(cli("list", "--json", "--source", "t"))] == [(ids[1], 2)]
    table = cli("list", "--limit", "2")
    named = [line.split()[3] for line in table.stdout.splitlines()]
    newest = sorted(ids, key=lambda id_: [*map(int, id_.split("-")[1:]), int(id_.split("-")[0])])[-2:]
    assert named == ["ID", *newest]
    assert table.stdout.endswith("no [2J id\n")
    assert table.stderr == "2 of 3 parked records; see --limit and --json\n"


def test_show(cli: Cli, park: Park) -> None:
    """Text is shown as text, other bytes in hex, and with --raw exactly those bytes."""
    text, odd = park(b'{"a":\x1b\n1}'), park(bytes(range(120, 160)), partition=1)
    shown = cli("show", text).stdout.splitlines()
    assert shown[:4] == [f"id       {text}", "source   s", "reason   not JSON", "size     9 bytes"]
    assert shown[-2:] == ['{"a": ', "1}"]
    assert cli("show", odd).stdout.splitlines()[-2:] == [
        "78797a7b 7c7d7e7f 80818283 84858687 88898a8b 8c8d8e8f 90919293 94959697", "98999a9b 9c9d9e9f",
    ]  # fmt: skip
    assert cli("show", odd, "--raw").stdout_bytes == bytes(range(120, 160))
    assert json.loads(cli("show", text, "--json").stdout)["raw"] == '{"a":\x1b\n1}'
    assert json.loads(cli("show", odd, "--json").stdout)["raw_hex"].startswith("7879")
    for nobody in ("0-1-1", "nonsense", "7-1-1", f"0-{2**64}-0"):
        assert cli("show", nobody).exit_code == 1


@pytest.mark.parametrize(("answer", "left"), [("n\n", 2), ("y\n", 1)])
def test_drop_asks_at_a_terminal(
    cli: Cli, park: Park, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:  # fmt: skip
    """What is answered counts; a record of another source stays."""
    park()
    park(source="t", partition=1)
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    assert "Drop 1 parked records for good?" in cli("drop", "--all", "--source", "t", answer=answer).output
    assert len(lines(cli("list", "--json"))) == left


def test_refused(cli: Cli, park: Park) -> None:
    """Nothing is dropped or asked for without saying which, nor dropped where nobody can be asked."""
    id_ = park()
    for arguments in (("drop", "--yes"), ("retry",), ("drop", id_, "--all", "--yes"), ("drop", id_)):
        assert cli(*arguments).exit_code == 2
    missing = cli("drop", id_, "0-1-1", "--yes")
    assert (missing.exit_code, missing.stderr) == (
        1, "dropped 1 parked records\nrunbridge parked drop: no parked record has the id 0-1-1\n",
    )  # fmt: skip
    assert cli("retry", "--all").stderr == "no parked records\n"


async def test_retry(stage: Stage, park: Park) -> None:
    """A running bridge reads them again: what it can read is in the log, once; the rest stays, with why."""
    stage.upstream.on(V2, stream(frame("e1"), then=HANG))
    good, bad, strange, twice = park(), park(b"garbage"), park(source="gone"), park()
    async with stage.daemon(stream_source("s")) as daemon:
        await stage.log.has("e1")
        arguments = ("parked", "retry", "--all", "--config", str(daemon.config))
        async with Command(daemon.config.parent, *arguments) as command:
            assert await command.end() == 1
        assert command.lines == [
            f"{good}  in the log as e7",
            f"{bad}  stays: not JSON",
            f"{strange}  stays: source gone, which brought {strange}, does not run here",
            f"{twice}  in the log as e7, which the log had already",
        ]
        assert [event["id"] for event in stage.log.events() if event["type"] == "ai.bctrl.navigation"] == ["e1", "e7"]
        assert [raw for _, raw in stage.log.parked()] == [b"garbage", EVENT]
