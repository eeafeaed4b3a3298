"""The daemon's life: how it starts, what it says and to whom, and how it ends."""

import asyncio
import json
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import ANCHOR_KEY, BCTRL_KEY, Daemon, Log, configuration, package, stream_source, wait_source
from servers import RedisServer
from upstream import HANG, Upstream, after, answer, counting, frame, stream
from waiting import wait_until

PATH = "/v2/runs/r/events/stream"
WAIT = "/v1/events/otp/wait"


async def test_stop_stores_what_was_read(
    tmp_path: Path, start_server: Callable[..., RedisServer], upstream: Upstream
) -> None:
    """SIGTERM lets the log take what was read while Redis was slow, and the exit code is 0."""
    redis = start_server("valkey")
    more = asyncio.Event()
    upstream.on(PATH, stream(frame("e1"), more, frame("e2"), 0.1, frame("e3"), then=HANG))
    async with Daemon(tmp_path, configuration(redis.url, stream_source(), bctrl=upstream.url)) as running:
        await Log(redis).has("e1")
        redis.pause()
        more.set()
        await asyncio.sleep(0.4)  # e2 is on its way to a frozen Redis, e3 behind it: nobody can see it
        running.signal(signal.SIGTERM)
        await running.line("bridge.stopping")
        redis.resume()
        assert await running.end() == 0
        assert running.lines("bridge.stopped", drained=True)
    assert Log(redis).ids() == ["e1", "e2", "e3"]


async def test_restarts_lose_and_repeat_nothing(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Stopped politely twice in the middle of a stream, each time within a second, it has every event once."""
    upstream.on(PATH, counting(300, 0.005))
    async with daemon(stream_source()) as running:
        for number in (50, 150):
            await log.longer(number)
            started = time.monotonic()
            assert await running.stop() == 0
            assert time.monotonic() - started < 1.0
            running.start()
        await log.longer(299)
    assert log.ids() == [f"e{number}" for number in range(300)]


async def test_grace_is_the_limit(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A wait that does not end within the grace is cut off: the exit code is 0, and the next life says so."""
    upstream.on(WAIT, HANG)
    async with daemon(wait_source(), more="grace = 2") as running:
        await upstream.asked(WAIT)
        started = time.monotonic()
        assert await running.stop() == 0
        assert 1.9 <= time.monotonic() - started < 3.0
        assert running.lines("bridge.stopped", drained=False)
        running.start()
        await log.count("source.gap", 1)
        running.kill()


@pytest.mark.parametrize(("first", "second"), [("SIGTERM", "SIGTERM"), ("SIGTERM", "SIGINT")])
async def test_second_signal_ends_at_once(
    daemon: Callable[..., Daemon], upstream: Upstream, first: str, second: str
) -> None:
    """Whoever signals twice is not kept waiting; the exit code names the second signal."""
    upstream.on(WAIT, HANG)
    async with daemon(wait_source()) as running:
        await upstream.asked(WAIT)
        running.signal(signal.Signals[first])
        await running.line("bridge.stopping")
        started = time.monotonic()
        running.signal(signal.Signals[second])
        assert await running.end() == 128 + signal.Signals[second]
        assert time.monotonic() - started < 0.5


async def test_starts_and_stops_without_redis(tmp_path: Path, upstream: Upstream) -> None:
    """Without Redis the bridge starts, asks nobody for anything, says so once, and stops at once."""
    sources = stream_source() + wait_source()
    nowhere = f"unix://{tmp_path}/nobody.sock"
    text = configuration(nowhere, sources, bctrl=upstream.url, anchor=upstream.url)
    async with Daemon(tmp_path, text) as running:
        await running.line("log.blocked", code="CONNECTION")
        assert running.lines("bridge.started", sources=2)
        assert len(running.lines("log.blocked")) == 1
        started = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - started < 1.0
    assert upstream.requests == []


async def test_pauses_end_at_a_stop(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """Sources that wait for their next look, or for Retry-After, don't hold up the end."""
    upstream.on(PATH, answer(401))
    upstream.on(WAIT, answer(503, b"", {"Retry-After": "100"}))
    upstream.on("/v1/events/refused/wait", answer(403))
    async with daemon(stream_source(), wait_source(), wait_source("x", event="refused")) as running:
        for event, source in (("source.failed", "s"), ("source.interrupted", "w"), ("source.failed", "x")):
            await running.line(event, source=source)
        started = time.monotonic()
        assert await running.stop() == 0
        assert time.monotonic() - started < 1.0


async def test_redis_that_comes_later(tmp_path: Path, upstream: Upstream, start_server: Callable[..., RedisServer]
                                      ) -> None:  # fmt: skip
    """A Redis that comes, goes and comes again is taken as it comes."""
    redis = start_server("valkey", appendonly="yes", appendfsync="always")
    redis.stop()
    upstream.on(PATH, counting(200, 0.01))
    async with Daemon(tmp_path, configuration(redis.url, stream_source(), bctrl=upstream.url)) as running:
        await running.line("log.blocked")
        redis.start()
        await running.line("log.restored")
        await Log(redis).longer(20)
        redis.kill()
        redis.start()
        await Log(redis).has(*(f"e{number}" for number in range(200)))


async def refused(directory: Path, text: str, **environment: str) -> tuple[int, str]:
    """Exit code and words of a daemon that can't start; it is no stack trace."""
    daemon = Daemon(directory, text, **environment).start()
    code = await daemon.end()
    assert "Traceback" not in daemon.text
    return code, daemon.text


async def test_configuration_errors_exit_78(tmp_path: Path) -> None:
    """A configuration that can't be used is told with its keys and no value of a secret, and exits 78."""
    text = configuration("redis://127.0.0.1:1", stream_source(idle="1s") + wait_source(event=".."), anchor="ftp://x")
    code, said = await refused(tmp_path, text.replace(f'api_key = "{ANCHOR_KEY}"', f'api_kee = "{ANCHOR_KEY}"'))
    assert code == 78
    for path in ("sources.s.idle", "sources.s.account", "sources.w.event", "accounts.anchor.base_url",
                 "accounts.anchor.api_kee"):  # fmt: skip
        assert path in said
    assert ANCHOR_KEY not in said


@pytest.mark.parametrize("text", ["[redis", ""])
async def test_files_that_are_no_configuration_exit_78(tmp_path: Path, text: str) -> None:
    """What is no TOML, or nothing, is a configuration error too."""
    code, said = await refused(tmp_path, text)
    assert code == 78
    assert said.startswith("runbridge: ")


async def test_what_shows_only_at_the_start_exits_78(tmp_path: Path, log: Log) -> None:
    """A spool that can't be made and an address that is taken are configuration errors with their keys."""
    (tmp_path / "file").touch()
    text = configuration(log.server.url, wait_source(), prefix=log.prefix, anchor="http://127.0.0.1:1")
    code, said = await refused(tmp_path, f'spool = "{tmp_path}/file/spool"\n' + text)
    assert (code, "spool" in said) == (78, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "{}:{}".format(*taken.getsockname())
        code, said = await refused(tmp_path, text.replace('listen = ""', f'listen = "{address}"'))
    assert (code, "http.listen" in said, address in said) == (78, True, True)


async def test_logs_are_json_on_standard_error(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """Where nobody sits, each line is JSON with time, level and name first, and nothing goes to standard output."""
    upstream.on(PATH, stream(frame("e1"), b"event: run.event\nid: x\ndata: oops\n\n", then=HANG))
    async with daemon(stream_source()) as running:
        await running.line("record.parked", source="s")
    out, err = (path.read_text() for path in sorted((running.config.parent / "said").iterdir(), reverse=True))
    assert out == ""
    for line in map(json.loads, err.splitlines()):
        assert list(line)[:3] == ["timestamp", "level", "event"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["timestamp"])
        assert line["level"] in ("info", "warning", "error")


def on_a_terminal(config: Path) -> str:
    """What a daemon writes to a terminal until its first line is there, and then to its end by Ctrl-C."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge", "run", "--config", str(config)], cwd=config.parent,
        env={**os.environ, "PYTHONPATH": str(package())}, stdin=other, stdout=other, stderr=other,
    )  # fmt: skip
    os.close(other)
    said = b""
    try:
        while b"bridge.started" not in said:
            said += os.read(main, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        while b"bridge.stopped" not in said:
            said += os.read(main, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(main)
    return said.decode()


@pytest.mark.parametrize(("form", "is_json"), [("auto", False), ("json", True)])
async def test_logs_are_for_people_on_a_terminal(daemon: Callable[..., Daemon], form: str, *, is_json: bool) -> None:
    """On a terminal the lines are in the console's form, unless told otherwise."""
    running = daemon(stream_source(), BRIDGE_LOGGING__FORMAT=form)
    running.config.write_text(running.config.read_text() + f'\n[logging]\nformat = "{form}"\n')
    said = await asyncio.to_thread(on_a_terminal, running.config)
    lines = [line for line in said.splitlines() if line.startswith("{")]
    assert len(lines) == (len(said.splitlines()) if is_json else 0)
    assert "bridge.started" in said


async def test_console_form_elsewhere_and_levels(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """Form and level of the lines are as they are configured, by the environment too."""
    upstream.on(PATH, answer(500))
    environment = {"BRIDGE_LOGGING__FORMAT": "console", "BRIDGE_LOGGING__LEVEL": "warning"}
    async with daemon(stream_source(), **environment) as running:
        await wait_until(lambda: "source.interrupted" in running.text, "a line")
    assert "{" not in running.text
    assert "bridge.started" not in running.text


async def test_no_secret_in_any_line(
    tmp_path: Path, start_server: Callable[..., RedisServer], upstream: Upstream
) -> None:
    """Passwords, keys, tokens and webhook secrets are in no line, whatever Redis, upstream and receivers do."""
    redis = start_server("valkey")
    redis.call("CONFIG", "SET", "requirepass", "redis-pass-41ac")
    key, secret, token = "bctrl-key-ff03", "d2hzZWMtYmFzZTY0LTQ0ZTEtMDEyMzQ1Njc4OQ==", "http-token-9d1c"
    (tmp_path / "token").write_text(token)
    upstream.on(PATH, stream(frame("e1"), then=HANG))
    upstream.on(WAIT, answer(401, b"anchor-key"), HANG)
    upstream.on("/hook-path-5be2", after(0.1, answer(500, b"no")))
    hook = f"{upstream.url}/hook-path-5be2?k=query-77aa"
    destination = (
        f'[destinations.d]\nurl = "{hook}"\nsecrets = ["whsec_{secret}"]\nallow_networks = ["127.0.0.0/8"]\n'
        'max_attempts = 2\nretry_schedule = ["100ms"]\n[logging]\nlevel = "debug"\n'
    )
    text = configuration("unix://", stream_source() + wait_source(recheck="1s") + destination, bctrl=upstream.url,
                         anchor=upstream.url)  # fmt: skip
    text = text.replace("unix://", redis.url.replace("unix://", "unix://:redis-pass-41ac@"))
    text = text.replace(BCTRL_KEY, key).replace('listen = ""', 'listen = "127.0.0.1:0"\ntoken_file = "token"')
    async with Daemon(tmp_path, text) as running:
        await running.line("dead.lettered", destination="d")
        await running.line("source.failed", source="w")
        redis.call("CONFIG", "SET", "requirepass", "other")
        redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await running.line("log.blocked")
        assert await running.stop() == 0
        redis.kill()
        running.start()
        await running.line("log.blocked", code="CONNECTION")
        running.kill()
        said = running.text
    for known in (key, secret, secret[:20], token, ANCHOR_KEY, "redis-pass-41ac", "query-77aa", "hook-path-5be2"):
        assert known not in said, known


async def test_leaves_no_process_behind(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """The daemon is one process, and it is gone when it has ended."""
    upstream.on(PATH, HANG)
    async with daemon(stream_source()) as running:
        await upstream.asked(PATH)
        assert Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text() == ""
        assert await running.stop() == 0
    assert len(running.lines("bridge.started")) == 1


async def test_takes_all_open_files_that_are_allowed(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """The usual limit of 1,024 open files is raised to what the system allows: each source holds a socket."""
    upstream.on(PATH, stream(frame("e1"), then=HANG))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 512), hard))
    try:
        running = daemon(stream_source()).start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        await upstream.asked(PATH, 1)
        assert resource.prlimit(running.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        assert await running.stop() == 0
