"""A process never fences itself: an opening of its own that comes late, or whose answer was lost, is nobody newer."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import Daemon, Log, configuration, stream_source, wait_source
from delivering import destination
from receiver import Receiver
from servers import RedisServer
from upstream import HANG, Upstream, after, answer, frame, stream
from waiting import wait_until


def come_late(log: Log, key: str) -> str:
    """What an opening that was under way on a broken connection does to a place in the log; the owner before it."""
    place = f"{log.prefix}:{{0}}:{key}"
    owner: str = log.server.call("HGET", place, "owner")
    instance, _, epoch = owner.rpartition(":")
    newer = int(epoch) + 1
    log.server.call("HSET", place, "owner", f"{instance}:{newer}", "epoch", newer)
    return owner


@pytest.mark.parametrize("kind", ["webhook", "stream"])
async def test_a_destination_goes_on(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, kind: str
) -> None:  # fmt: skip
    """It opens itself again, and everything arrives in order."""
    more = asyncio.Event()
    upstream.on("/v2/runs/r/events/stream", stream(frame("e1"), more, frame("e2"), then=HANG))
    async with Receiver() as receiver:
        hook = destination("d", receiver.url, types=["ai.*"])
        copy = f'[destinations.d]\nurl = "{log.server.url}"\nstream = "copy"\n'

        def came() -> list[str]:
            if kind == "webhook":
                return [hook.id for hook in receiver.hooks]
            return [fields["id"] for _, fields in log.server.call("XRANGE", "copy", "-", "+")]

        async with daemon(stream_source(), hook if kind == "webhook" else copy) as running:
            await wait_until(lambda: came() == ["e1"], "the first event")
            before = come_late(log, "destination:d")
            more.set()
            await wait_until(lambda: came() == ["e1", "e2"], "the second event")
            assert not running.lines("destination.fenced")
            assert log.server.call("HGET", f"{log.prefix}:{{0}}:destination:d", "owner") != before
    log.server.call("DEL", "copy", *log.server.client().scan_iter("*:position:*"))


async def test_a_source_goes_on(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """It reads its place again, and nothing is lost or doubled."""
    more = asyncio.Event()
    upstream.on("/v2/runs/r/events/stream", stream(frame("e1"), more, frame("e2"), then=HANG),
                stream(frame("e2"), frame("e3"), then=HANG))  # fmt: skip
    async with daemon(stream_source()) as running:
        await log.has("e1")
        come_late(log, "source:s")
        more.set()
        await log.has("e1", "e2", "e3")
        assert not running.lines("source.fenced")


async def test_a_wait_goes_on(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A source that consumes arms its next wait again."""
    more = asyncio.Event()
    upstream.on(
        "/v1/events/otp/wait",
        answer(200, {"data": {"code": 1}}),
        after(more, answer(200, {"data": {"code": 3}})),
        answer(200, {"data": {"code": 2}}),
        HANG,
    )
    async with daemon(wait_source()) as running:
        await log.count("event.signaled", 1)
        come_late(log, "source:w")
        more.set()
        await log.count("event.signaled", 3)
        assert [event["data"]["code"] for event in log.events("event.signaled")] == [1, 3, 2]
        assert not running.lines("source.fenced")


async def test_a_redis_that_hangs_fences_nobody(
    tmp_path: Path, upstream: Upstream, start_server: Callable[..., RedisServer]
) -> None:
    """Frozen for longer than an answer may take, Redis finds the same owners when it goes on."""
    server = start_server("valkey")
    more = asyncio.Event()
    upstream.on("/v2/runs/r/events/stream", stream(frame("e1"), more, frame("e2"), then=HANG))
    async with Receiver() as receiver:
        hooks = [destination(f"d{number}", receiver.url, types=["ai.*"]) for number in range(6)]
        running = Daemon(tmp_path, configuration(server.url, "\n".join([stream_source(), *hooks]), bctrl=upstream.url))
        async with running:
            await wait_until(lambda: len(receiver.hooks) == 6, "the first event at all six")
            server.pause()
            await asyncio.sleep(13)  # two answers' time: who opens again has sent it twice by then
            server.resume()
            more.set()
            await Log(server).has("e1", "e2", timeout=20)
            await wait_until(lambda: len(receiver.hooks) >= 12, "the second event at all six", 20)
            assert not running.lines("destination.fenced")
            assert not running.lines("source.fenced")
