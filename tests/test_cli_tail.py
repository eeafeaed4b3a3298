"""`runbridge tail` as its user sees it: the real process on a real server, its lines, its exit codes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from command import Command
from daemon import Daemon, package, wait_source
from servers import RedisServer
from waiting import wait_until

from bridge.cli.tail import start_after
from bridge.emulator import Emulator
from bridge.settings import load
from bridge.subscriptions import resource_of

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
RUNS = "https://api.bctrl.example/runs"
EVENTS = "https://api.anchor.example/events"

CONFIGURATION = """
[redis]
url = "{url}"
[log]
partitions = {partitions}
[http]
listen = ""
[accounts.b]
provider = "bctrl"
base_url = "https://api.bctrl.example/"
api_key = "k"
[accounts.a]
provider = "anchor"
base_url = "https://api.anchor.example"
api_key = "k"
[sources.checkout]
account = "b"
kind = "bctrl.run-events.stream"
run = "run/1"
[sources.code]
account = "a"
kind = "anchor.event.wait"
event = "otp"
"""


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server of the test's own that keeps its data over a restart, on a port."""
    with TemporaryDirectory(prefix="t-") as directory:
        server = RedisServer("valkey", Path(directory), appendonly="yes", appendfsync="always").start()
        yield server
        server.stop()


@pytest.fixture
def config(tmp_path: Path, own: RedisServer) -> Path:
    """A configuration on that server with one partition and two sources, `checkout` and `code`."""
    path = tmp_path / "bridge.toml"
    path.write_text(CONFIGURATION.format(url=own.url, partitions=1))
    return path


def add(
    server: RedisServer, id_: str, *, type_: str = "ai.bctrl.navigation", source: str = f"{RUNS}/run_1",
    data: str = "{}", entry: str = "*", partition: int = 0, event: str | None = None,
) -> str:  # fmt: skip
    """Writes one entry as the bridge does; the subject is the source's last segment. Its id in the stream."""
    subject = source.rpartition("/")[2]
    if event is None:
        attributes = {
            "specversion": "1.0", "id": id_, "source": source, "type": type_, "subject": subject,
            "time": "2026-11-21T11:59:58.5Z", "partitionkey": subject,
        }  # fmt: skip
        event = f'{json.dumps(attributes)[:-1]},"data":{data}}}'
    fields = ("id", id_, "type", type_, "subject", subject, "event", event)
    return str(server.call("XADD", f"bridge:{{{partition}}}:events", entry, *fields))


def tail(config: Path, *arguments: str, **more: Any) -> Command:
    """Starts one."""
    return Command(config.parent, "tail", "--config", str(config), *arguments, **more)


async def following(server: RedisServer, count: int = 1) -> None:
    """Waits until so many readers wait for more."""
    await wait_until(lambda: server.call("CLIENT", "LIST").count("cmd=xread"), f"{count} readers", 20)


async def several_attempts(server: RedisServer) -> None:
    """Waits until somebody has tried three times to connect to a server that is down."""
    attempts = 0

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    socket = server.url.removeprefix("unix://")
    Path(socket).unlink()
    async with await asyncio.start_unix_server(hang_up, socket):
        await wait_until(lambda: attempts >= 3, "three attempts", 20)


async def ids(config: Path, *arguments: str, count: int) -> list[str]:
    """The ids of the first events that a tail shows."""
    async with tail(config, *arguments, "--json", "--count", str(count)) as command:
        assert await command.end() == 0
        return [json.loads(line)["event"]["id"] for line in command.lines]


async def test_follows_from_now(own: RedisServer, config: Path) -> None:
    """Without options it shows what comes from now on, one line each with all five parts, until Ctrl-C: exit 0."""
    add(own, "e1")
    async with tail(config) as command:
        await following(own)
        data = '{"id":"e2","status":"finished","name":"GET /cart","data":{"statusCode":200,"ok":true,"x":{"y":1}}}'
        add(own, "e2", type_="ai.bctrl.network.response", data=data)
        add(own, "e3", type_="io.anchorbrowser.event.signaled", source=f"{EVENTS}/otp", data='{"code":"123456"}')
        await wait_until(lambda: len(command.lines) == 2, "two lines")
        command.signal(signal.SIGINT)
        assert await command.end() == 0
    first, second = (line.split(maxsplit=4) for line in command.lines)
    assert first == [
        "2026-11-21T11:59:58.500Z", "ai.bctrl.network.response", "run_1", "e2",
        "finished GET /cart statusCode=200 ok=true",
    ]  # fmt: skip
    assert second[1:] == ["io.anchorbrowser.event.signaled", "otp", "e3", "code=123456"]
    assert command.err == ""
    assert "\x1b" not in command.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["run", "ended", "other", "signal", "odd"]),
        (("--type", "ai.bctrl.run.*"), ["ended"]),
        (("--type", "ai.bctrl.run.ended", "--type", "io.*"), ["ended", "signal"]),
        (("--type", "ai.bctrl.nav?gation"), ["run", "other", "odd"]),
        (("--subject", "run_1"), ["run", "ended"]),
        (("--subject", "run_1", "--subject", "otp"), ["run", "ended", "signal"]),
        (("--source", f"{RUNS}/run_2"), ["other"]),
        (("--source", "run_2"), ["other"]),
        (("--source", "runs/run_2"), ["other"]),
        (("--source", "checkout"), ["odd"]),
        (("--source", "code", "--source", "/runs/run_2"), ["other", "signal"]),
        (("--source", "run_1", "--type", "*.ended"), ["ended"]),
    ],
)
async def test_filters(own: RedisServer, config: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    """Types are globs; a source is named by URI, its last segments or its id here; each kind of option narrows."""
    add(own, "run")
    add(own, "ended", type_="ai.bctrl.run.ended")
    add(own, "other", source=f"{RUNS}/run_2")
    add(own, "signal", type_="io.anchorbrowser.event.signaled", source=f"{EVENTS}/otp")
    add(own, "odd", source=f"{RUNS}/run%2F1")
    add(own, "last", type_="ai.bctrl.run.ended", source=f"{RUNS}/run_1")  # matches some: --count must end before it
    assert await ids(config, "--from", "start", *arguments, count=len(expected)) == expected


def test_resource_is_what_the_source_writes(config: Path) -> None:
    """A configured source's id stands for the resource that its events carry, whose odd characters are encoded."""
    settings = load(config, {})
    assert resource_of(settings, "checkout") == f"{RUNS}/run%2F1"
    assert resource_of(settings, "code") == f"{EVENTS}/otp"


async def test_from(own: RedisServer, config: Path) -> None:
    """`--from` begins at the start, after an entry, or at a moment, which it includes."""
    now = datetime.now(UTC)
    times = [now - timedelta(hours=2), now - timedelta(minutes=5), now - timedelta(seconds=1)]
    entries = [add(own, f"e{at}", entry=f"{int(time.timestamp() * 1000)}-7") for at, time in enumerate(times)]
    assert await ids(config, "--from", "start", count=3) == ["e0", "e1", "e2"]
    assert await ids(config, "--from", entries[0], count=2) == ["e1", "e2"]
    assert await ids(config, "--from", "1h", count=2) == ["e1", "e2"]
    exactly = datetime.fromtimestamp(int(entries[1].partition("-")[0]) / 1000, UTC)
    assert await ids(config, "--from", exactly.isoformat(timespec="milliseconds"), count=2) == ["e1", "e2"]


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("start", "0-0"),
        ("now", "$"),
        ("1795262400000-3", "1795262400000-3"),
        ("1795262400000", "1795262400000"),
        ("10m", "1795261799999-18446744073709551615"),
        ("250ms", "1795262399749-18446744073709551615"),
        ("2026-11-21T12:00:00Z", "1795262399999-18446744073709551615"),
        ("2026-11-21T13:00:00+01:00", "1795262399999-18446744073709551615"),
        ("2026-11-21T12:00:00", "1795262399999-18446744073709551615"),
        ("2026-11-21", "1795219199999-18446744073709551615"),
        ("3650d", "1479902399999-18446744073709551615"),
        ("1969-12-31T00:00:00Z", "0-18446744073709551615"),
    ],
)
def test_where_to_begin(text: str, after: str) -> None:
    """Every form of `--from` is one stream id to begin after; a moment is included, and without a zone it is UTC."""
    assert start_after(text, NOW) == after


@pytest.mark.parametrize("text", ["", "yesterday", "10", "5 parsecs", "-1m", "1-2-3", f"{2**64}-0", "9999-99-99"])
def test_where_it_cannot_begin(text: str) -> None:
    """Anything else is an error that names the forms."""
    with pytest.raises(ValueError, match="a duration such as 10m"):
        start_after(text, NOW)


async def test_json(own: RedisServer, config: Path) -> None:
    """`--json` prints one object a line with entry, partition and the event as it is, however its data is laid out."""
    entry = add(own, "e1", data='{\r\n  "a": [1.0, "\\n\\u001b"],\n\n "b": "é"}')
    add(own, "e2", event="no JSON \n at all")
    add(own, "e3", event="[" * 5000)
    async with tail(config, "--from", "start", "--json", "--count", "3") as command:
        assert await command.end() == 0
        first, second, third = (json.loads(line) for line in command.lines)
        assert (first["entry"], first["partition"]) == (entry, 0)
        assert first["event"]["data"] == {"a": [1.0, "\n\x1b"], "b": "é"}
        assert '"a": [1.0, "\\n\\u001b"]' in command.lines[0]
        assert second["event"] == "no JSON \n at all"
        assert third["event"] == "[" * 5000


async def test_all_partitions(tmp_path: Path, own: RedisServer) -> None:
    """The log is followed over all its partitions, and a line of --json says which."""
    config = tmp_path / "bridge.toml"
    config.write_text(CONFIGURATION.format(url=own.url, partitions=3))
    async with tail(config, "--json", "--count", "3") as command:
        await wait_until(lambda: own.call("CLIENT", "LIST").count("cmd=xread") == 3, "three readers", 20)
        for partition in (2, 0, 1):
            add(own, f"e{partition}", partition=partition)
        assert await command.end() == 0
        shown = {(line["partition"], line["event"]["id"]) for line in map(json.loads, command.lines)}
    assert shown == {(0, "e0"), (1, "e1"), (2, "e2")}


async def test_waits_for_redis(own: RedisServer, config: Path) -> None:
    """When Redis goes away it says so once, and goes on behind the last event when Redis is back."""
    async with tail(config, "--from", "start", "--json") as command:
        add(own, "e1")
        await wait_until(lambda: len(command.lines) == 1, "the first event", 20)
        own.kill()
        await wait_until(lambda: "Redis is away" in command.err, "it is said")
        await several_attempts(own)
        own.start()
        add(own, "e2")
        await wait_until(lambda: len(command.lines) == 2, "the event after", 20)
        own.kill()
        own.start()
        add(own, "e3")
        await wait_until(lambda: len(command.lines) == 3, "the event after the second time", 20)
        command.signal(signal.SIGTERM)
        assert await command.end() == 0
        assert [json.loads(line)["event"]["id"] for line in command.lines] == ["e1", "e2", "e3"]
        assert command.err.count("Redis is away, waiting for it (CONNECTION: ") == 2
        assert command.err.count("Redis is back") == 2
        assert len(command.err.splitlines()) == 4


async def test_ctrl_c_while_redis_is_away(own: RedisServer, config: Path) -> None:
    """Ctrl-C ends it with 0 while it waits for Redis, too."""
    async with tail(config) as command:
        await following(own)
        own.kill()
        await wait_until(lambda: "Redis is away" in command.err, "it is said")
        command.signal(signal.SIGINT)
        assert await command.end() == 0


async def test_redis_that_is_not_there(tmp_path: Path) -> None:
    """A Redis that can't be reached at the start is an error with its address and without its password: exit 69."""
    config = tmp_path / "bridge.toml"
    config.write_text(CONFIGURATION.format(url="redis://user:hunter2@127.0.0.1:1/0", partitions=1))
    async with tail(config) as command:
        assert await command.end() == 69
    assert "redis://127.0.0.1:1/0 can't be read: CONNECTION" in command.err
    assert "hunter2" not in command.err
    assert "Traceback" not in command.err


async def test_embedded_without_a_bridge(tmp_path: Path) -> None:
    """On `embedded:` where no bridge runs the error says so, and nothing is started or made there: exit 69."""
    config = tmp_path / "bridge.toml"
    config.write_text(CONFIGURATION.format(url="embedded:data", partitions=1))
    async with tail(config) as command:
        assert await command.end() == 69
    assert "no bridge runs on embedded:" in command.err
    assert "start `runbridge run`" in command.err
    assert not (tmp_path / "data").exists()


async def test_embedded_beside_its_bridge() -> None:
    """On `embedded:` it reads beside the running bridge, through the socket of its server."""
    with TemporaryDirectory(prefix="t-") as directory:
        place = Path(directory)
        async with Emulator() as upstream:
            config = f"""
grace = "5s"
[redis]
url = "embedded:data"
[http]
listen = ""
[accounts.anchor]
provider = "anchor"
base_url = "{upstream.url}"
api_key = "k"
{wait_source("w", wait_timeout="1s")}"""
            async with Daemon(place, config) as daemon:
                await wait_until(lambda: upstream.named_events["waiting"], "the bridge waits", 30)
                async with tail(daemon.config, "--from", "start", "--source", "w", "--count", "1") as command:
                    upstream.signal("otp", {"code": "987654"})
                    assert await command.end() == 0
                    assert "code=987654" in command.out


@pytest.mark.parametrize("arguments", [(), ("--json",)])
async def test_closed_pipe(own: RedisServer, config: Path, arguments: tuple[str, ...]) -> None:
    """When the reader of its output has gone (`| head -1`) it ends with 0 and without a word, though nothing comes."""
    reader, writer = os.pipe()
    async with tail(config, "--from", "start", *arguments, stdout=writer) as command:
        os.close(writer)
        add(own, "e1")
        with os.fdopen(reader) as lines:
            assert "e1" in lines.readline()
        assert await command.end(10) == 0
    assert command.err == ""


async def test_control_characters_stay_out(own: RedisServer, config: Path) -> None:
    """Nothing that an event says can steer a terminal or break the line."""
    data = json.dumps({"name": "\x1b[2J\x07\u202eevil\u2028\x9b31m", "data": {"text": "a\nb"}})
    add(own, "\x1b]0;id\x07", type_="ai.bctrl.\x1b[31m", data=data)
    async with tail(config, "--from", "start", "--count", "1") as command:
        assert await command.end() == 0
        (line,) = command.out.splitlines()
        assert line.isprintable()
        assert "evil" in line
        assert "text=a b" in line


async def test_mistakes(config: Path) -> None:
    """A mistake in the configuration is 78, one in an option 2; both name what is wrong."""
    async with tail(config, "--from", "soon") as command:
        assert await command.end() == 2
    assert "--from" in command.err
    assert "a duration such as 10m" in command.err
    config.write_text('[redis]\nurl = "http://x"\n')
    async with tail(config) as command:
        assert await command.end() == 78
    assert "redis.url" in command.err


def test_terminal_gets_colours(own: RedisServer, config: Path) -> None:
    """On a terminal lines are coloured and as wide as it is."""
    add(own, "e1", data=json.dumps({"text": "x" * 200}))
    ours, theirs = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "tail", "--config", str(config), "--from", "start", "--count", "1"],
        env={**os.environ, "PYTHONPATH": str(package()), "TERM": "xterm", "COLUMNS": "100"}, cwd=config.parent,
        stdout=theirs, timeout=60, check=True,
    )  # fmt: skip
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "\x1b[" in text
    assert "…" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("name", ["check", "demo", "emulator", "tail"])
def test_help_has_examples(name: str) -> None:
    """The help of a command shows examples, one a line."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge", name, "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert len([line for line in done.stdout.splitlines() if line.startswith(f"    runbridge {name}")]) >= 2
    assert "\\b" not in done.stdout
