"""SIGHUP puts the file in force as a whole: what changed is restarted, the rest goes on, a bad file changes nothing."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from daemon import BCTRL_KEY, Daemon, Log, configuration, stream_source
from delivering import destination
from receiver import Receiver
from servers import RedisServer, free_port
from upstream import HANG, Upstream, counting, frame, stream
from waiting import wait_until


def path(run: str) -> str:
    """Where a run's stream is."""
    return f"/v2/runs/{run}/events/stream"


async def reload(
    running: Daemon, *changes: tuple[str, str], event: str = "configuration.reloaded"
) -> dict[str, object]:
    """Change the file's text, ask for a reload, and wait for what is said about it."""
    text = running.config.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    running.config.write_text(text)
    said = len(running.lines(event))
    running.signal(signal.SIGHUP)
    return await running.line(event, count=said + 1)


async def test_only_what_changed_is_restarted(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Of three sources one is left alone, one is changed, one goes and one comes; each goes on at its cursor."""
    for run in "abcd":
        upstream.on(path(run), stream(frame(f"{run}1"), then=HANG), stream(frame(f"{run}2"), then=HANG))
    async with daemon(*(stream_source(name, run=name) for name in "abc")) as running:
        await wait_until(lambda: sorted(log.ids()) == ["a1", "b1", "c1"], "the first events")
        said = await reload(
            running,
            (stream_source("b", run="b"), stream_source("b", run="b", idle_timeout="50s")),
            (stream_source("c", run="c"), stream_source("d", run="d")),
        )
        assert said["changed"] == ["sources.b", "sources.c", "sources.d"]
        await wait_until(lambda: sorted(log.ids()) == ["a1", "b1", "b2", "c1", "d1"], "the others' events")
        assert len(upstream.of(path("a"))) == 1
        assert upstream.of(path("b"))[1].cursor[0] == "b1"
        assert upstream.of(path("c"))[0].until is not None
        assert (await reload(running))["changed"] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[http]", "[http]\ntypo = 1"), ["http.typo: there is no such key"]),
        (('run = "a"', 'run = ""'), ["sources.a.run: "]),
        (('run = "a"', "run = "), ["is not valid TOML"]),
        (('[log]\nprefix = "', '[log]\npartitions = 3\nprefix = "x'), ["log.partitions: can't", "log.prefix: can't"]),
        (('listen = ""', 'listen = "127.0.0.1:{taken}"'), ["http.listen: can't listen on"]),
    ],
    ids=["key", "value", "TOML", "fixed", "taken"],
)  # fmt: skip
async def test_a_bad_file_changes_nothing_and_says_why(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, change: tuple[str, str], says: list[str]
) -> None:
    """Every problem at once; the sources that run go on as they were, and the next good file is taken."""
    upstream.on(path("a"), stream(frame("a1"), then=HANG))
    upstream.on(path("b"), stream(frame("b1"), then=HANG))
    async with Receiver() as receiver, daemon(stream_source("a", run="a")) as running:
        await log.has("a1")
        taken = receiver.url.rpartition(":")[2]
        good = running.config.read_text()
        bad = change[0], change[1].replace("{taken}", taken)
        also = stream_source("a", run="a"), stream_source("a", run="a") + stream_source("b", run="b")
        refused = await reload(running, also, bad, event="reload.refused")
        problems = refused["problems"]
        assert isinstance(problems, list)
        assert all(any(part in problem for problem in problems) for part in says), problems
        assert log.ids() == ["a1"]
        assert len(upstream.of(path("a"))) == 1
        assert not upstream.of(path("b"))
        running.config.write_text(good)
        await reload(running, also)
        await log.has("a1", "b1")


async def test_files_with_secrets_are_read_again(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, tmp_path: Path
) -> None:
    """A new key in the file that the configuration names is used from the reload on."""
    key = tmp_path / "key"
    key.write_text("first-key")
    upstream.on(path("a"), stream(frame("a1"), then=HANG))
    running = daemon(stream_source("a", run="a"))
    text = running.config.read_text().replace(f'api_key = "{BCTRL_KEY}"', 'api_key_file = "key"')
    running.config.write_text(text)
    async with running:
        await log.has("a1")
        key.write_text("second-key")
        assert (await reload(running))["changed"] == ["sources.a"]
        await wait_until(lambda: len(upstream.of(path("a"))) == 2, "the second request")
        keys = [request.headers["authorization"] for request in upstream.of(path("a"))]
        assert keys == ["Bearer first-key", "Bearer second-key"]
        assert "second-key" not in running.text


async def test_under_load_nothing_is_lost_or_doubled(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Source and destination are restarted over and over in mid-stream; the receiver has each event once, in order."""
    total = 2000
    upstream.on(path("a"), counting(total, 0.001))
    async with Receiver() as receiver:
        source = stream_source("a", run="a", idle_timeout="60s")
        hook = destination("d", receiver.url, types=["ai.bctrl.*"], max_in_flight=8)
        async with daemon(source, hook) as running:
            for turn in range(8):
                await log.longer(total * turn // 10)
                before = running.config.read_text()
                changed = [("max_in_flight = 8", "max_in_flight = 9"), ('"60s"', '"61s"')]
                back = [(after, then) for then, after in changed]
                await reload(running, *(changed if "max_in_flight = 8" in before else back))
            await wait_until(lambda: log.length() >= total, "all events in the log", 30)
            await wait_until(lambda: len(receiver.hooks) >= total, "all events at the receiver", 30)
            ids = [hook.id for hook in receiver.hooks]
            assert ids == log.ids()
            assert len(set(ids)) == total
            assert len(upstream.of(path("a"))) > 4, "the source was never restarted"


async def test_a_new_destination_misses_nothing_of_a_new_source(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Where both come with one reload, the destination has its place in the log before the source's first event."""
    upstream.on(path("a"), stream(frame("a1"), then=HANG))
    upstream.on(path("b"), stream(frame("b1"), frame("b2"), then=HANG))
    async with Receiver() as receiver, daemon(stream_source("a", run="a")) as running:
        await log.has("a1")
        hook = destination("d", receiver.url, types=["ai.bctrl.*"], **{"from": "now"})
        source = stream_source("a", run="a")
        await reload(running, (source, source + stream_source("b", run="b") + hook))
        await wait_until(lambda: [hook.id for hook in receiver.hooks] == ["b1", "b2"], "the source's events")


async def test_the_server_moves_and_its_token_changes(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Another `http.listen` is served, the old one no more; a new token counts at once, without a restart."""
    first, second = free_port(), free_port()
    upstream.on(path("a"), stream(frame("a1"), then=HANG))
    running = daemon(stream_source("a", run="a"))
    text = running.config.read_text()
    running.config.write_text(text.replace('listen = ""', f'listen = "127.0.0.1:{first}"\ntoken = "token-one"'))
    async with running, aiohttp.ClientSession() as session:

        async def status(port: int, token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            try:
                async with session.get(f"http://127.0.0.1:{port}/v1/status", headers=headers) as response:
                    return response.status
            except aiohttp.ClientConnectionError:
                return 0

        await log.has("a1")
        assert (await status(first, "token-one"), await status(first, "token-two")) == (200, 401)
        assert (await reload(running, ("token-one", "token-two")))["changed"] == ["http.token"]
        assert (await status(first, "token-one"), await status(first, "token-two")) == (401, 200)
        said = await reload(running, (f":{first}", f":{second}"), ("token-two", "token-three"))
        assert said["changed"] == ["http.listen", "http.token"]
        assert await status(first, "token-two") == 0
        assert (await status(second, "token-two"), await status(second, "token-three")) == (401, 200)
        assert len(upstream.of(path("a"))) == 1


async def test_a_new_password_of_redis_is_used_for_new_connections(
    tmp_path: Path, start_server: Callable[..., RedisServer], upstream: Upstream
) -> None:
    """A password that is rotated in Redis and in its file needs no restart."""
    redis = start_server("valkey")
    redis.call("CONFIG", "SET", "requirepass", "pass-one")
    (tmp_path / "password").write_text("pass-one")
    more = asyncio.Event()
    upstream.on(path("a"), stream(frame("a1"), more, frame("a2"), then=HANG))
    text = configuration(redis.url, stream_source("a", run="a"), bctrl=upstream.url)
    text = text.replace("[log]", 'password_file = "password"\n[log]')
    async with Daemon(tmp_path, text) as running:
        await running.line("source.connected")
        redis.call("CONFIG", "SET", "requirepass", "pass-two")
        (tmp_path / "password").write_text("pass-two")
        await reload(running)
        redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        more.set()
        await Log(redis).has("a1", "a2")
        assert "pass-" not in running.text


async def test_what_was_added_while_running_survives_a_reload(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """A reload knows the file only as one of two places; what Redis has goes on undisturbed."""
    upstream.on(path("a"), stream(frame("a1"), then=HANG))
    upstream.on(path("b"), stream(frame("b1"), then=HANG))
    async with daemon(stream_source("a", run="a")) as running:
        await log.has("a1")
        spec = json.dumps({"account": "bctrl", "kind": "bctrl.run-events.stream", "run": "b"})
        log.server.call("XADD", f"{log.prefix}:{{0}}:commands", "*", "do", "source.add", "id", "b", "spec", spec)
        await wait_until(lambda: "b1" in log.ids(), "the added source's event")
        await reload(running, (stream_source("a", run="a"), stream_source("a", run="a", recheck="9s")))
        assert len(upstream.of(path("b"))) == 1
