"""`runbridge replay` as its user sees it: the real process on a real server, its lines, its exit codes."""

import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command import Command
from daemon import Daemon
from delivering import Stage, destination, spread
from receiver import Receiver, status
from servers import RedisServer
from waiting import wait_until

from bridge.cli.replay_work import span
from bridge.redis_log.replays import place

HEADER = "runbridge-replay"
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)
MOST = 2**64 - 1


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey, with two subjects of five events each."""
    found = Stage(shared_servers["valkey"], prefix)
    found.put(spread(2, 5))
    return found


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything."""
    async with Receiver() as found:
        yield found


@pytest.fixture
def config(stage: Stage, receiver: Receiver, tmp_path: Path) -> Path:
    """A configuration with a webhook, `crm`, and a stream, `copy`."""
    path = tmp_path / "bridge.toml"
    copy = f'[destinations.copy]\nurl = "{stage.server.url}"\nstream = "runs:{{subject}}"\n'
    path.write_text(stage.config(destination("crm", receiver.url), copy))
    return path


def bridge(directory: Path, stage: Stage, receiver: Receiver) -> Daemon:
    """A daemon with the webhook alone."""
    (directory / "daemon").mkdir()
    return Daemon(directory / "daemon", stage.config(destination("crm", receiver.url)))


async def ended(config: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one."""
    async with Command(config.parent, "replay", "--config", str(config), *arguments) as command:
        return await command.end(), command.out, command.err


async def test_follows_a_running_bridge(stage: Stage, receiver: Receiver, config: Path, tmp_path: Path) -> None:
    """Says how many it will be, has the bridge send them, and ends when they are there."""
    async with bridge(tmp_path, stage, receiver):
        await stage.all_settled("crm", 20)
        code, out, err = await ended(config, "-d", "crm", "--from", "10m", "--subject", "run-1", "--rate", "100")
        assert code == 0, err
    first, last = out.splitlines()
    id_ = first.split()[1].rstrip(":")
    assert first == f"replay {id_}: 5 of 10 entries to crm, at most 100 a second"
    assert last == f"replay {id_} is done"
    came = [hook.id for hook in receiver.hooks if hook.headers.get(HEADER) == id_]
    assert came == [f"1-{n:03d}" for n in range(5)]


async def test_waits_for_a_bridge(stage: Stage, receiver: Receiver, config: Path, tmp_path: Path) -> None:
    """Without a bridge it says so; Ctrl-C leaves the replay for the next one, and --list shows it."""
    stage.server.call("XGROUP", "CREATE", stage.keys.events, "crm", "$")
    async with Command(tmp_path, "replay", "-c", str(config), "-d", "crm", "--from", "start") as command:
        await wait_until(lambda: "no bridge has taken" in command.err, "the hint", 20)
        id_ = command.lines[0].split()[1].rstrip(":")
        command.signal(signal.SIGINT)
        assert await command.end() == 0
        assert f"--cancel {id_}" in command.err
    code, out, _ = await ended(config, "--list")
    assert code == 0
    assert out.startswith(f"{id_}  crm  waiting  0 of 10  50/s  ")
    code, out, _ = await ended(config, "--list", "--json")
    assert json.loads(out)["left"] == 10
    async with bridge(tmp_path, stage, receiver) as daemon:
        await daemon.line("replay.ended", outcome="done", replay=id_, timeout=20)
    assert len(receiver.hooks) == 10
    assert {hook.headers[HEADER] for hook in receiver.hooks} == {id_}
    assert (await ended(config, "--list"))[:2] == (0, "")


async def test_says_why_nothing_happens_and_cancels(
    stage: Stage, receiver: Receiver, config: Path, tmp_path: Path
) -> None:
    """A destination that is disabled pauses its replay: that is said; cancelled elsewhere, following it ends."""
    receiver.answer = status(410)
    async with bridge(tmp_path, stage, receiver) as daemon:
        await daemon.line("destination.changed", what="disabled", timeout=20)
        sent = len(receiver.hooks)
        async with Command(tmp_path, "replay", "-c", str(config), "-d", "crm", "--from", "start", "--json") as command:
            await wait_until(lambda: "crm is disabled" in command.err, "the hint", 20)
            id_ = json.loads(command.lines[0])["id"]
            code, out, err = await ended(config, "--cancel", id_)
            assert (code, out) == (0, f"replay {id_} is cancelled\n"), err
            assert await command.end() == 0
            assert json.loads(command.lines[1]) == {"destination": "crm", "id": id_, "outcome": "cancelled"}
        await daemon.line("replay.ended", outcome="cancelled", replay=id_, timeout=20)
        assert len(receiver.hooks) == sent
    code, _, err = await ended(config, "--cancel", id_)
    assert code == 1
    assert "--list" in err


async def test_dry_run_asks_for_nothing(stage: Stage, config: Path) -> None:
    """It only counts: one entry by its id, what a type leaves, in JSON too."""
    entry, _ = stage.entries()["1-002"]
    for code, arguments, expected in (
        (0, ("--from", entry, "--to", entry), "1 of 1 entries would be sent to crm again\n"),
        (1, ("--from", "start", "--type", "io.*"), "0 of 10 entries would be sent to crm again\n"),
    ):
        assert (await ended(config, "-d", "crm", "--dry-run", *arguments))[:2] == (code, expected)
    code, out, _ = await ended(config, "-d", "crm", "--dry-run", "--json", "--from", "start", "--to", entry)
    assert (code, json.loads(out)) == (0, {"destination": "crm", "events": 6, "entries": 6})
    assert not [key for key in stage.server.client().scan_iter() if "request" in key]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--from", "start"), 2, "say which webhook by --destination; those that are: crm"),
        (("-d", "cmr", "--from", "start"), 2, "no destination 'cmr' is configured; those that are: crm"),
        (("-d", "copy", "--from", "start"), 2, "copy is a stream in Redis, which has each event exactly once"),
        (("-d", "crm"), 2, "say where it begins by --from"),
        (("-d", "crm", "--from", "1m", "--to", "2m"), 2, "--from 1m is after --to 2m"),
        (("-d", "crm", "--from", "soon"), 2, "--from: expected start, now"),
        (("-d", "crm", "--from", "start", "--to", "1h"), 1, "; what is older has been trimmed"),
        (("-d", "crm", "--from", "now"), 1, "nothing has come since: the newest entry is of 20"),
        (("-d", "crm", "--from", "start", "--type", "io.*"), 1, "none of the 10 entries there is wanted"),
        (("-d", "crm", "--from", "now", "--dry-run"), 1, "nothing has come since: the newest entry is of 20"),
        (("--cancel", "nothing"), 1, "no replay 'nothing' is under way or waiting"),
    ],
)
async def test_says_what_is_wrong(config: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """What can't be asked for, and what would be nothing, each with its reason and exit code."""
    found = await ended(config, *arguments)
    assert found[0] == code
    assert said in found[2]
    assert "Traceback" not in found[2]


def test_a_range_has_both_its_ends() -> None:
    """An id, a millisecond, a time and a duration stand for all that lies there, at either end."""
    for start, end, after, last in (
        ("5-3", "5-3", "5-2", "5-3"),
        (str(MS), str(MS), f"{MS - 1}-{MOST}", f"{MS}-{MOST}"),
        ("2026-11-21T11:00:00Z", "1h", f"{MS - 3_600_001}-{MOST}", f"{MS - 3_600_000}-{MOST}"),
    ):
        assert span(start, end, NOW) == (after, last)
    after, last = span("start", "now", NOW)
    assert place(after) == (0, 0)
    assert place(last) > place(f"{MS}-{MOST}")
    wrong: Any = [("now", "1s"), ("5-3", "5-2"), ("2026-11-21T13:00:00Z", "2026-11-21T12:00:00Z")]
    for start, end in wrong:
        with pytest.raises(ValueError, match="is after"):
            span(start, end, NOW + timedelta(seconds=0))
