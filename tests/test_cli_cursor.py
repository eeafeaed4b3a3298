"""`runbridge cursor` as its user sees it: a real bridge is sent elsewhere while it runs, and goes on there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Command
from daemon import Daemon, Log, configuration, durable_source, stream_source, wait_source
from following import V2, Stage
from servers import RedisServer
from typer.testing import CliRunner, Result
from upstream import HANG, answer, ended, frame, stream
from waiting import wait_until

from bridge.cli import app
from bridge.emulator import Emulator, Options, RunOption, RunScript

RESOURCE = "https://api.bctrl.example/runs/r"


async def cursor(daemon: Daemon, *arguments: str) -> Command:
    """A command that has ended well."""
    async with Command(daemon.config.parent, "cursor", *arguments, "--config", str(daemon.config)) as command:
        assert await command.end() == 0
    return command


@pytest.mark.parametrize("again", [False, True])
async def test_a_busy_stream_goes_on_elsewhere(tmp_path: Path, log: Log, again: bool) -> None:
    """Sent back while events flow, the bridge reads on from there: none is missing and none doubled, unless asked for.

    With --again the log holds once more what comes after the cursor, in its order and up to now.
    """
    runs = (RunOption(id="r", script=RunScript(rate=400)),)
    async with Emulator(Options(runs=runs)) as emulator:
        text = configuration(log.server.url, stream_source("s"), prefix=log.prefix, bctrl=emulator.url)
        async with Daemon(tmp_path, text) as daemon:
            await log.longer(60)
            told = log.ids()
            asked = emulator.counts["stream"]
            await cursor(daemon, "set", "s", told[19], "--yes", *(["--again"] if again else []))
            await wait_until(lambda: emulator.counts["stream"] > asked, "a connection from there", 4.0)
            await log.longer(log.length() + 100)
    found = log.ids()
    if not again:
        assert len(set(found)) == len(found)
        order = found
    else:
        back = next(at for at, id_ in enumerate(found) if id_ in found[:at])
        order = found[:20] + found[back:]
        assert found[:back] == order[:back]
        assert len(set(order)) == len(order)
    run = emulator.runs.get("r")
    assert order == [run.made_id(index) for index in range(len(order))]


@pytest.mark.parametrize("state", ["ended", "failed"])
async def test_a_source_that_stands_still_goes_on(stage: Stage, state: str) -> None:
    """One that has ended, or that the upstream refuses, asks again within some two seconds, after the new cursor."""
    refused = answer(401, {"code": "auth", "error": "no"})
    stage.upstream.on(V2, stream(frame("e1"), frame("e2"), ended()) if state == "ended" else refused)
    stage.upstream.on("/v1/runs/r", answer(200, {"id": "r", "status": "running"}))
    async with stage.daemon(stream_source("s")) as daemon:
        await stage.log.state(state)
        before = len(stage.upstream.of(V2))
        stage.upstream.on(V2, stream(frame("e7"), then=HANG))
        await cursor(daemon, "set", "s", "e6", "--yes")
        await wait_until(lambda: "e7" in stage.log.ids(), "what comes after the new cursor", 5.0)
    assert stage.upstream.of(V2)[before].cursor == ("e6", "e6")
    assert stage.log.source()["state"] == "running"
    assert stage.cursor() == "e7"


@pytest.mark.parametrize("way", ["stopped", "killed"])
async def test_a_bridge_that_starts_begins_there(stage: Stage, way: str) -> None:
    """Set while no bridge runs, or with a bridge killed right after: the next one begins at the new cursor."""
    stage.upstream.on(V2, stream(frame("e1"), frame("e2"), then=HANG))
    async with stage.daemon(stream_source("s")) as daemon:
        await stage.log.has("e1", "e2")
        if way == "stopped":
            await daemon.stop()
            await cursor(daemon, "set", "s", "--drop", "--yes")
        else:
            await cursor(daemon, "set", "s", "--drop", "--yes")
            daemon.kill()
        before = len(stage.upstream.of(V2))
        stage.upstream.on(V2, stream(frame("e0"), frame("e1"), frame("e3"), then=HANG))
        daemon.start()
        await stage.log.has("e1", "e2", "e0", "e3")
    assert stage.upstream.of(V2)[before].cursor == (None, None)


Cli = Callable[..., Result]


@pytest.fixture
def server(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A shared Valkey."""
    return shared_servers["valkey"]


@pytest.fixture
def cli(server: RedisServer, prefix: str, tmp_path: Path) -> Cli:
    """Runs `runbridge cursor` in this process, with a source of each kind that matters configured."""
    path = tmp_path / "bridge.toml"
    sources = [stream_source("s"), wait_source("otp"), durable_source("work")]
    bctrl, anchor = "https://api.bctrl.example", "https://api.anchor.example"
    path.write_text(configuration(server.url, "\n".join(sources), prefix=prefix, bctrl=bctrl, anchor=anchor))

    def run(*arguments: str, answer: str | None = None) -> Result:
        found = CliRunner().invoke(app, ["cursor", *arguments, "--config", str(path)], input=answer)
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found

    return run


@pytest.fixture
def stored(server: RedisServer, prefix: str) -> Callable[..., dict[str, Any]]:
    """What is stored about a source; keywords are stored first."""

    def look(source: str = "s", **fields: str) -> dict[str, Any]:
        key = f"{prefix}:{{0}}:source:{source}"
        if fields:
            server.call("HSET", key, *(part for pair in fields.items() for part in pair))
        found: dict[str, Any] = server.call("HGETALL", key)
        return found

    return look


def test_get(cli: Cli, stored: Callable[..., dict[str, Any]]) -> None:
    """Everything that is stored is told, one line each; what never ran is told as such, and nobody's is an error."""
    stored(cursor="e\x1b7", sequence="12", state="failed", reason="401", resource=RESOURCE, time="2026-11-22T08:00:00Z")
    result = cli("get", "s")
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            "source    s (bctrl.run-events.stream)", "cursor    e 7", "sequence  12", "state     failed (401)",
            f"resource  {RESOURCE}", "stored    2026-11-22T08:00:00Z",
        ],
    )  # fmt: skip
    assert json.loads(cli("get", "s", "--json").stdout)["cursor"] == "e\x1b7"
    assert "has never run" in cli("get", "work").stdout
    nobody = cli("get", "nobody")
    assert (nobody.exit_code, "those that are: s, otp, work" in nobody.stderr) == (2, True)


def test_added_while_running(
    cli: Cli, server: RedisServer, prefix: str, stored: Callable[..., dict[str, Any]]
) -> None:  # fmt: skip
    """A source that no file knows, but Redis, is one like others."""
    spec = {"account": "bctrl", "kind": "bctrl.run-events.stream", "run": "other"}
    server.call("HSET", f"{prefix}:{{0}}:definitions", "sources added", json.dumps({"spec": spec}))
    done = cli("set", "added", "e5", "--yes")
    assert done.exit_code == 0, done.stderr
    assert (stored("added")["cursor"], stored("added")["resource"]) == ("e5", "https://api.bctrl.example/runs/other")
    assert "bctrl.run-events.stream" in cli("get", "added").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("s", "e1"), "no terminal to ask at"),
        (("s", "--yes"), "say after which CURSOR to go on, or --drop"),
        (("s", "e1", "--drop", "--yes"), "one of the two"),
        (("s", "e\n1", "--yes"), "no control characters"),
        (("otp", "e1", "--yes"), "has no cursor: reading a signal takes it away"),
        (("otp", "--drop", "--yes"), "has no cursor: reading a signal takes it away"),
        (("work", "e1", "--yes"), "has no cursor: it tells the present state"),
        (("old", "e1", "--yes"), "no longer configured"),
        (("s", "e1", "--yes"), "was read from https://elsewhere.example/"),
    ],
)
def test_refused(cli: Cli, stored: Callable[..., dict[str, Any]], arguments: tuple[str, ...], said: str) -> None:
    """What would do harm or nothing is refused with the reason, and nothing is changed."""
    stored("old", cursor="e9", state="running")
    before = stored(cursor="e9", state="running", resource="https://elsewhere.example/")
    result = cli("set", *arguments)
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert stored() == before


def test_set_without_a_bridge(cli: Cli, stored: Callable[..., dict[str, Any]]) -> None:
    """The bookmark and the reason go, the state is running; an operator's name stands where the owner's did."""
    stored(
        cursor="e9", sequence="9", state="failed", reason="401", resource=RESOURCE, bookmark='{"page":"x"}', epoch="4",
        owner="one:4", scope="v2:f",
    )  # fmt: skip
    result = cli("set", "s", "e5", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "s goes on after e5" in result.stderr
    found = stored()
    assert found.pop("time")
    assert found == {
        "cursor": "e5", "sequence": "9", "state": "running", "resource": RESOURCE, "epoch": "3", "owner": "operator:3",
    }  # fmt: skip


@pytest.mark.parametrize(("answer", "cursor"), [("n\n", "e9"), ("y\n", "e5")])
def test_asks_at_a_terminal(
    cli: Cli, stored: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, answer: str, cursor: str
) -> None:  # fmt: skip
    """Old and new place are shown; what is answered counts."""
    stored(cursor="e9", sequence="9", state="ended", resource=RESOURCE)
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    result = cli("set", "s", "e5", "--again", answer=answer)
    assert "now       e9 (sequence 9, ended)\nthen      e5\nagain " in result.stderr
    assert result.exit_code == (answer == "n\n")
    assert stored()["cursor"] == cursor
