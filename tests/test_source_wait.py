"""`anchor.event.wait` as the real daemon holds it against a scripted upstream, and against the official SDK."""

import asyncio
import gzip
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from anchorbrowser import Anchorbrowser
from daemon import ANCHOR_KEY, Daemon, Log, configuration, never, wait_source
from servers import RedisServer
from upstream import HANG, Exchange, Script, Upstream, after, answer, at_once, gaps
from waiting import wait_until

from bridge.emulator import Emulator, Options
from bridge.errors import OutcomeUnknown
from bridge.event import Position
from bridge.http_client import HttpClient
from bridge.normalize.resource import segment
from bridge.sources.account import Account
from bridge.sources.event_wait import MARGIN, EventWait

WAIT = "/v1/events/{}/wait"
PATH = WAIT.format("otp")
TIMED_OUT = answer(408, {"error": {"code": 408, "message": "Event was not signaled within the specified timeout"}})


def signaled(data: Any) -> Script:
    """The answer that brings a signal."""
    return answer(200, {"data": data})


async def test_client_waits_longer_than_the_server() -> None:
    """A wait without any answer is given up fifteen seconds after the server should have, and its outcome is open."""
    assert MARGIN == 15.0
    async with Upstream() as silent, HttpClient() as client:
        silent.on(PATH, HANG)
        account = Account("anchor", silent.url, {"anchor-api-key": ANCHOR_KEY}, client)
        source = EventWait("w", account, event="otp", wait_timeout=0.5 - MARGIN)  # so that it is half a second here
        with pytest.raises(OutcomeUnknown, match="no byte within the time allowed"):
            await anext(source.batches(Position()))
        (request,) = silent.requests
        await wait_until(lambda: request.until, "its end")
    assert 0.45 <= (request.until or 0.0) - request.at < 1.5


@pytest.fixture
def redis(start_server: Callable[..., RedisServer]) -> RedisServer:
    """A server of the test's own, to be killed: what it has acknowledged it has after its next start."""
    return start_server("valkey", appendonly="yes", appendfsync="always")


@pytest.fixture
def alone(tmp_path: Path, redis: RedisServer, upstream: Upstream) -> Callable[..., Daemon]:
    """`alone(more=...)`: a daemon with one wait on the server of the test's own."""

    def make(more: str = "") -> Daemon:
        return Daemon(tmp_path, configuration(redis.url, wait_source(), anchor=upstream.url, more=more))

    return make


def reasons(log: Log) -> list[str]:
    """Why something may have been lost, as the log says."""
    return [data["reason"] for data in log.data("dev.runbridge.source.gap")]


async def test_waits_one_after_the_other(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """One wait at a time, with `timeoutMs` and the key; a 408 and a 200 both re-arm it at once."""
    late = after(0.7, TIMED_OUT)
    upstream.on(PATH, late, late, after(0.2, signaled({"code": "1"})), signaled({"code": "2"}), late, HANG)
    async with daemon(wait_source()) as running:
        await upstream.asked(PATH, 6)
        running.kill()
    assert log.data("io.anchorbrowser.event.signaled") == [{"code": "1"}, {"code": "2"}]
    assert at_once(gaps(upstream.of(PATH)))
    assert upstream.most_at_once == {PATH: 1}
    for request in upstream.requests:
        assert (request.method, json.loads(request.body)) == ("POST", {"timeoutMs": 1000})
        assert request.headers["anchor-api-key"] == ANCHOR_KEY
        assert request.headers["content-type"] == "application/json"
        assert "authorization" not in request.headers


async def test_signal_is_stored_before_the_next_wait(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Whenever a wait arrives, all signals before it are in the log: each once, in order, with an id of its own."""
    stored: list[int] = []

    def brings(number: int) -> Script:
        async def script(exchange: Exchange) -> None:
            stored.append(len(log.events()))
            await signaled({"n": number})(exchange)

        return script

    upstream.on(PATH, *(brings(number) for number in range(20)), HANG)
    async with daemon(wait_source()) as running:
        await upstream.asked(PATH, 21)
        running.kill()
    assert stored == list(range(20))
    assert [event["data"]["n"] for event in log.events()] == list(range(20))
    assert len(set(log.ids())) == 20
    first = log.events()[0]
    assert (first["type"], first["subject"]) == ("io.anchorbrowser.event.signaled", "otp")
    assert first["source"] == f"{upstream.url}/events/otp"


async def test_any_data_is_kept_verbatim(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Equal signals are signals of their own; null, numbers and spaces of the upstream stay; gzip is unpacked."""
    texts = ['{"a":1}', '{"a":1}', "null", "[1, 2]", '"x"', "12345678901234567890.10", '{ "é" :  1.0 }', "{}"]
    bodies = [f'{{"data":{text},"more":1}}'.encode() for text in texts]
    packed = answer(200, gzip.compress(bodies[0]), {"Content-Encoding": "gzip"})
    upstream.on(PATH, *(answer(200, body) for body in bodies), packed, HANG)
    async with daemon(wait_source()) as running:
        await upstream.asked(PATH, 10)
        running.kill()
    entries = log.server.call("XRANGE", f"{log.prefix}:{{0}}:events", "-", "+")
    found = [fields["event"].partition('"data":')[2].removesuffix("}") for _, fields in entries]
    assert found == [*texts, texts[0]]


async def test_nothing_is_armed_while_redis_is_down(
    alone: Callable[..., Daemon], upstream: Upstream, redis: RedisServer
) -> None:
    """A wait under way when Redis dies may end; the next is armed when the log takes writes again."""
    dies = asyncio.Event()
    upstream.on(PATH, after(dies, TIMED_OUT), after(0.7, TIMED_OUT))
    async with alone() as running:
        await upstream.asked(PATH)
        await wait_until(lambda: Log(redis).source("w").get("armed") == "1", "its mark")
        redis.kill()
        await asyncio.sleep(0.6)  # the wait must not end too early to be a time-out
        dies.set()
        await never(lambda: len(upstream.of(PATH)) > 1, "a wait without a log", 1.0)
        redis.start()
        await upstream.asked(PATH, 2)
        assert running.lines("log.blocked", code="CONNECTION")
        await running.line("log.restored")
    assert Log(redis).events() == []


async def test_nothing_is_armed_while_redis_is_full(
    alone: Callable[..., Daemon], upstream: Upstream, redis: RedisServer
) -> None:
    """A Redis out of memory stops the waiting; a signal that was under way is stored when there is room, once."""
    fills = asyncio.Event()
    upstream.on(PATH, after(fills, signaled({"code": "1"})), HANG)
    async with alone() as running:
        await upstream.asked(PATH)
        redis.call("CONFIG", "SET", "maxmemory", "1")
        fills.set()
        await running.line("log.blocked", code="OOM")
        await never(lambda: len(upstream.of(PATH)) > 1, "a wait without room", 1.0)
        redis.call("CONFIG", "SET", "maxmemory", "0")
        await upstream.asked(PATH, 2)
        running.kill()
    assert Log(redis).data("signaled") == [{"code": "1"}]


async def test_signal_waits_in_memory_for_redis(
    alone: Callable[..., Daemon], upstream: Upstream, redis: RedisServer
) -> None:
    """A signal that comes while Redis is dead is in the log when it is back, before the next wait, once."""
    dies = asyncio.Event()
    upstream.on(PATH, after(dies, signaled({"code": "1"})), after(0.7, TIMED_OUT))
    async with alone() as running:
        await upstream.asked(PATH)
        redis.kill()
        dies.set()
        await running.line("log.blocked", code="CONNECTION")
        await never(lambda: len(upstream.of(PATH)) > 1, "a wait without a log", 0.5)
        redis.start()
        await upstream.asked(PATH, 2)
        assert Log(redis).data("signaled") == [{"code": "1"}]
    assert len(Log(redis).events()) == 1


async def test_signal_in_the_spool_survives(
    alone: Callable[..., Daemon], upstream: Upstream, redis: RedisServer, tmp_path: Path
) -> None:
    """With `spool` a signal that could not be stored survives kill -9, is stored once, and is no loss."""
    dies, spool = asyncio.Event(), tmp_path / "spool"
    upstream.on(PATH, after(dies, signaled({"code": "1"})), after(0.7, TIMED_OUT))
    async with alone(f'spool = "{spool}"') as running:
        await upstream.asked(PATH)
        redis.kill()
        dies.set()
        await running.line("signal.spooled", source="w")
        assert len(list(spool.iterdir())) == 1
        running.kill()
        redis.start()
        running.start()
        await upstream.asked(PATH, 2)
        assert Log(redis).data("signaled") == [{"code": "1"}]
        assert list(spool.iterdir()) == []
    assert len(Log(redis).events()) == 1


async def test_signal_without_spool_is_missed_aloud(
    alone: Callable[..., Daemon], upstream: Upstream, redis: RedisServer
) -> None:
    """Without a spool, a stop while Redis is dead loses the signal in hand and says so, then and at the next start."""
    dies = asyncio.Event()
    upstream.on(PATH, after(dies, signaled({"code": "1"})), after(0.7, TIMED_OUT))
    async with alone("grace = 2") as running:
        await upstream.asked(PATH)
        redis.kill()
        dies.set()
        await running.line("log.blocked", code="CONNECTION")
        assert await running.stop(timeout=5.0) == 0
        assert running.lines("signal.unsaved")[0] | {"source": "w", "count": 1} == running.lines("signal.unsaved")[0]
        assert running.lines("bridge.stopped", drained=False)
        redis.start()
        running.start()
        await Log(redis).count("gap", 1)


async def test_stop_lets_the_wait_end(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """SIGTERM waits for the wait under way, stores what it brings, arms no other, and leaves no doubt behind."""
    stopped = asyncio.Event()
    upstream.on(PATH, after(stopped, after(0.5, signaled({"code": "1"}))), HANG)
    async with daemon(wait_source()) as running:
        await upstream.asked(PATH)
        running.signal(signal.SIGTERM)
        stopped.set()
        assert await running.end() == 0
        assert running.lines("bridge.stopped", drained=True)
        assert log.data("signaled") == [{"code": "1"}]
        assert log.source("w")["armed"] == "0"
        assert len(upstream.of(PATH)) == 1
        running.start()
        await upstream.asked(PATH, 2)
        running.kill()
    assert reasons(log) == []


async def test_kill_mid_wait_is_said(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """After kill -9 with a wait under way the next life says that a signal may be lost, once, and waits on."""
    upstream.on(PATH, HANG, signaled({"code": "1"}), HANG)
    async with daemon(wait_source()) as running:
        await upstream.asked(PATH, 1)
        running.kill()
        await wait_until(lambda: upstream.of(PATH)[0].until, "its end")
        running.start()
        await upstream.asked(PATH, 3)
        running.kill()
    assert [event["type"].rpartition(".")[2] for event in log.events()] == ["gap", "signaled"]
    assert reasons(log) == ["the bridge ended while a wait was under way"]
    assert upstream.most_at_once == {PATH: 1}


NAMES = ("a/b c", "ü €", "..x", "%2e%2e", 'q"\\', "a?b#c", "a+b&c=d", "a:b.c-d_e", "...", "x" * 128)


def test_dots_alone_are_encoded_too() -> None:
    """Names that the configuration refuses, because they mean a step in a path, would not climb either."""
    assert [segment(name) for name in (".", "..", "...", "a/..", "")] == ["%2E", "%2E%2E", "...", "a%2F..", ""]


async def test_names_are_one_segment(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """Whatever is in an event's name, it is percent-encoded as one segment of the path, and stays what it is."""
    default = '[sources.w]\naccount = "anchor"\nkind = "anchor.event.wait"\nevent = "otp"'
    upstream.on(PATH, HANG)
    async with daemon(*(wait_source(f"s{at}", event=name) for at, name in enumerate(NAMES)), default) as running:
        await wait_until(lambda: len(upstream.requests) > len(NAMES), "a wait for each name")
        running.kill()
    assert json.loads(upstream.of(PATH)[0].body) == {"timeoutMs": 15_000}, "the time where none is configured"
    assert all(request.path.isascii() and request.target == request.path for request in upstream.requests)
    segments = [request.path.split("/") for request in upstream.requests]
    assert all(parts[:3] == ["", "v1", "events"] and parts[4:] == ["wait"] for parts in segments)
    assert {unquote(parts[3]) for parts in segments} == {*NAMES, "otp"}


async def test_signals_of_the_official_sdk(tmp_path: Path, log: Log) -> None:
    """Signals sent by the vendor's SDK reach the log in order, before and while the bridge waits, and over kill -9."""
    names = ("otp", "zwei/drei vier")
    async with Emulator(Options()) as emulator:
        sdk = Anchorbrowser(api_key="k", base_url=emulator.url, max_retries=0, timeout=10.0)

        async def signal_event(name: str, number: int) -> None:
            data = {"n": number, "text": "é"}
            await asyncio.to_thread(lambda: sdk.events.signal_event(name, data=data))

        sources = "\n".join(wait_source(f"s{at}", event=name) for at, name in enumerate(names))
        text = configuration(log.server.url, sources, prefix=log.prefix, anchor=emulator.url)
        async with Daemon(tmp_path, text) as running:
            for number in range(5):
                for name in names:
                    await signal_event(name, number)
            await log.count("signaled", 10)
            running.kill()
            await wait_until(lambda: not emulator.named_events["waiting"], "the emulator sees that nobody waits")
            for name in names:
                await signal_event(name, 5)
            running.start()
            await log.count("signaled", 12)
        sdk.close()
    for name in names:
        found = [event["data"] for event in log.events("signaled") if event["subject"] == name]
        assert found == [{"n": number, "text": "é"} for number in range(6)]
