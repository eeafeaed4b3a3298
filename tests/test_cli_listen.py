"""`runbridge listen` as its user sees it: a real log, a real receiver, what is sent, said and left behind."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from certified import secure, server_side
from command import Command
from daemon import never
from delivering import SECRET, Stage, body, destination
from posting import NO_CONTENT, answering, serving
from receiver import Hook, Receiver, status
from servers import RedisServer
from standardwebhooks import Webhook
from typer.testing import CliRunner
from waiting import wait_until

from bridge.cli import app

Listen = Callable[..., Command]


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log with two partitions on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix, partitions=2)


@pytest.fixture
def config(stage: Stage, tmp_path: Path) -> Path:
    """A configuration of that log; no bridge runs on it."""
    path = tmp_path / "bridge.toml"
    path.write_text(stage.config(destination("crm", "http://127.0.0.1:1/")))
    return path


@pytest.fixture
def listen(config: Path) -> Listen:
    """Starts one; from the beginning of the log unless told."""

    def start(*arguments: str, stdout: int | None = None) -> Command:
        start = () if "--from" in arguments else ("--from", "start")
        return Command(config.parent, "listen", "--config", str(config), *start, *arguments, stdout=stdout)

    return start


def keys_of(stage: Stage) -> dict[str, Any]:
    """Every key of the log and what it holds, but for how often a stream was read."""
    client = stage.server.client()
    return {key: client.dump(key) for key in client.scan_iter(f"{stage.prefix}:*")}


async def test_forwards_until_it_is_ended(stage: Stage, listen: Listen) -> None:
    """Each event comes once, in order, signed by the secret that was printed; nothing of it is left in the log.

    Ctrl-C ends it with a count of the answers, and exit code 0.
    """
    stage.put([("old", "run-1")])
    async with Receiver() as receiver:
        port = receiver.port
        async with listen("--forward-to", f"localhost:{port}/hook?x=1", "--from", "now", "-H", "X-Who: me") as command:
            await wait_until(lambda: "Ready." in command.err, "the line that it is ready", 20)
            before = keys_of(stage)
            events = [(f"e{number}", f"run-{number % 3}") for number in range(30)]
            stage.put(events)
            after = keys_of(stage)
            await wait_until(lambda: len(command.lines) == 30, "thirty lines")
            command.signal(signal.SIGINT)
            assert await command.end() == 0
        assert keys_of(stage) == after
        assert after.keys() == before.keys()
    assert receiver.ids() == [id_ for id_, _ in events]
    assert receiver.most_at_once == 1
    secret = command.err.split("Your signing secret is ")[1].split(" ")[0]
    for hook in receiver.hooks:
        assert Webhook(secret).verify(hook.body, hook.headers)["id"] == hook.id
        assert (hook.target, hook.headers["x-who"]) == ("/hook?x=1", "me")
    assert command.lines[0].split()[:5] == ["12:00:05.000", "ai.bctrl.navigation", "run-0", "->", "204"]
    assert command.err.splitlines()[1:] == ["runbridge listen: 30 events: 30 delivered, 0 not (204: 30)"]


async def test_failures_are_said_and_it_goes_on(stage: Stage, listen: Listen) -> None:
    """What a receiver refuses is told with what it said, and nobody there is told too; neither is sent again."""
    stage.put([("a", "run-1"), ("b", "run-1")])

    async def refuse(hook: Hook) -> web.Response:
        return web.Response(status=422, text="no such\x1b[2J customer")

    async with Receiver(refuse) as receiver:
        port = receiver.port
        async with listen("-f", f"http://127.0.0.1:{port}/", "--count", "2", "--secret", SECRET) as command:
            assert await command.end() == 0
        assert receiver.ids() == ["a", "b"]
        assert Webhook(SECRET).verify(receiver.hooks[0].body, receiver.hooks[0].headers)
    assert "-> 422 in " in command.lines[0]
    assert command.lines[1] == "    answered 422: the receiver refuses this event: no such [2J customer"
    assert SECRET not in command.err + command.out
    async with listen("-f", f"http://127.0.0.1:{port}/", "--count", "2", "--json") as command:
        assert await command.end() == 0
    first, second = map(json.loads, command.lines)
    assert (first["id"], first["status"], first["result"], first["attempts"]) == ("a", None, "failed", 1)
    assert "can't connect" in second["error"]
    assert "0 delivered, 2 not (no answer: 2)" in command.err


async def test_retries_keep_the_order(stage: Stage, listen: Listen) -> None:
    """With --retries an event is tried again before the next one goes, with the same id."""
    stage.put([("a", "run-1"), ("b", "run-1")])
    async with Receiver(status(503)) as receiver:

        async def second_time(hook: Hook) -> int:
            return 503 if hook.id == "a" and len(receiver.of("a")) == 1 else 200

        receiver.answer = second_time
        async with listen("-f", receiver.url, "--retries", "2", "--count", "2", "--json") as command:
            assert await command.end() == 0
        assert receiver.ids() == ["a", "a", "b"]
        assert len({hook.headers["webhook-id"] for hook in receiver.of("a")}) == 1
    assert [(said["id"], said["attempts"], said["status"]) for said in map(json.loads, command.lines)] == [
        ("a", 2, 200), ("b", 1, 200),
    ]  # fmt: skip


def reads(stage: Stage) -> int:
    """How many reads of streams the server has answered."""
    return int(stage.server.call("INFO", "commandstats").get("cmdstat_xread", {"calls": 0})["calls"])


async def test_a_slow_receiver_slows_the_reading(stage: Stage, listen: Listen) -> None:
    """No more than --in-flight requests are under way, no further page is read meanwhile, and all come in the end."""
    stage.put([(f"e{number:03d}", "run-1") for number in range(300)])
    before = reads(stage)
    gate = asyncio.Event()

    async def slow(hook: Hook) -> int:
        await gate.wait()
        return 204

    async with Receiver(slow) as receiver:
        async with listen("-f", receiver.url, "--in-flight", "4", "--count", "300") as command:
            await wait_until(lambda: len(receiver.hooks) == 4, "four requests", 20)
            await never(lambda: len(receiver.hooks) > 4, "a fifth request", 0.3)
            assert reads(stage) - before <= 4, "one page of six, and a look or two at the empty partition"
            gate.set()
            assert await command.end() == 0
        assert receiver.most_at_once == 4
        assert sorted(receiver.ids()) == [f"e{number:03d}" for number in range(300)]


async def test_ends_when_nobody_reads(stage: Stage, listen: Listen) -> None:
    """Once its output goes nowhere it ends by itself, without a word about that."""
    stage.put([(f"e{number}", "run-1") for number in range(20)])
    reading, writing = os.pipe()
    os.close(reading)
    async with Receiver() as receiver:
        command = listen("-f", receiver.url, "--in-flight", "4", stdout=writing)
        os.close(writing)
        async with command:
            assert await command.end() == 0
        assert len(command.err.splitlines()) == 2, command.err


async def test_what_is_wanted(stage: Stage, listen: Listen) -> None:
    """Type, subject and expression each narrow what is sent; the body can be printed as it went out."""
    stage.put([("a", "run-1"), ("b", "run-2")])
    stage.put([("c", "run-1")], kind="ai.bctrl.run.ended")
    stage.put_raw(id="d", type="ai.bctrl.run.ended", subject="run-1", event=body("d", "run-1", status=500))
    narrow = ("--type", "*.ended", "--subject", "run-1", "--filter", "data.status >= 500")
    async with Receiver() as receiver:
        async with listen("-f", receiver.url, *narrow, "--count", "1", "--print-body", "--format", "binary") as command:
            assert await command.end() == 0
        assert [hook.headers["ce-id"] for hook in receiver.hooks] == ["d"]
    assert command.lines[1:] == ["    {", '      "id": "d",', '      "status": 500', "    }"]


async def test_only_shows_without_an_address(stage: Stage, listen: Listen) -> None:
    """Without --forward-to it prints what tail prints."""
    stage.put([("a", "run-1")])
    async with listen("--count", "1") as command:
        assert await command.end() == 0
    assert command.lines[0].split()[1:4] == ["ai.bctrl.navigation", "run-1", "a"]
    assert command.err == ""


async def test_https_on_this_machine(
    stage: Stage, listen: Listen, authority: trustme.CA, tmp_path: Path
) -> None:  # fmt: skip
    """A certificate that nobody knows is refused, taken with --skip-verify, and with --ca-file where it fits."""
    stage.put([("a", "run-1")])
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with serving(answering(NO_CONTENT), tls=server_side(authority, "localhost")) as server:
        url = secure(server)
        for options, delivered in (((), 0), (("--skip-verify",), 1), (("--ca-file", str(tmp_path / "ca.pem")), 1)):
            async with listen("-f", url, "--count", "1", *options) as command:
                assert await command.end() == 0
            assert f"{delivered} delivered" in command.err, command.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-f", "http://"), "the URL is not valid"),
        (("-f", "ftp://here/"), "starts with https:// or http://"),
        (("-f", "localhost", "--secret", "whsec_short"), "--secret: "),
        (("-f", "localhost", "--secret", SECRET, "--secret-file", "x"), "exclude each other"),
        (("-f", "localhost", "-H", "nonsense"), "expected 'NAME: VALUE'"),
        (("-f", "localhost", "-H", "webhook-id: 1"), "'webhook-id' can't be added"),
        (("-f", "localhost", "--filter", "data.status >"), "--filter: "),
        (("-f", "localhost", "--format", "thin"), "needs links to the events"),
        (("-f", "http://localhost/", "--skip-verify"), "for https:// alone"),
        (("-f", "https://example.com/", "--skip-verify"), "for a server on this machine"),
        (("-f", "https://localhost/", "--ca-file", "/nowhere"), "can't be used"),
        (("--retries", "1"), "without --forward-to"),
    ],
)
def test_refused(config: Path, arguments: tuple[str, ...], said: str) -> None:
    """What can't be is told before anything is read, without the secret, and ends with 2."""
    result = CliRunner().invoke(app, ["listen", "--config", str(config), *arguments])
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
    assert result.stderr.startswith("runbridge listen: ")
    assert "short" not in result.stderr
    assert SECRET not in result.stderr


def test_all_mistakes_are_told_at_once(config: Path) -> None:
    """One a line, each with its option."""
    wrong = (
        "-f",
        "ftp://here/",
        "--from",
        "yesterdayish",
        "--filter",
        "data.status >",
        "-H",
        "nonsense",
        "--secret",
        "x",
    )
    result = CliRunner().invoke(app, ["listen", "--config", str(config), *wrong])
    said = [line.split(":")[0] for line in result.stderr.splitlines() if line.startswith("  --")]
    assert (result.exit_code, said) == (2, ["  --forward-to", "  --secret", "  --header", "  --filter", "  --from"])
    assert result.stderr.startswith("runbridge listen: 5 mistakes:\n")
