"""The fan-out's exactly once: cut off anywhere, answers lost, servers put back, two owners; and without its guards."""

import re
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from fanning import NAME, Cut, by_stream, dead, fanning, group, life, put, spread, streams
from proxy import Answers, Proxy
from servers import RedisServer
from waiting import wait_until

from bridge.facts import DeliveryBlocked, DestinationFenced, FanOutAhead, FanOutRewound
from bridge.redis_log import Keys, Server
from bridge.redis_log.fan_out import position_key
from bridge.redis_log.link import Link, Script
from bridge.redis_log.scripts import FAN_OUT


@pytest.fixture(scope="module")
def start_target() -> Iterator[Callable[..., RedisServer]]:
    """`start_target(flavour, **options)`: a server whose keys are a test's own; one for all tests here."""
    with TemporaryDirectory(prefix="target-") as directory, ExitStack() as stack:
        servers: dict[str, RedisServer] = {}

        def start(flavour: str, **options: Any) -> RedisServer:
            name = f"{flavour}-{len(options)}"
            if name not in servers:
                servers[name] = RedisServer(flavour, Path(directory) / name, **options).start()
                stack.callback(servers[name].kill)
            servers[name].call("FLUSHALL")
            return servers[name]

        yield start


@pytest.fixture
def target(start_target: Callable[..., RedisServer], flavour: str) -> RedisServer:
    """An empty target, another server than the log's."""
    return start_target(flavour)


@pytest.fixture
def valkey(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A server for logs, where one kind is enough."""
    return shared_servers["valkey"]


@pytest.fixture
def there(start_target: Callable[..., RedisServer]) -> RedisServer:
    """An empty target, where one kind is enough."""
    return start_target("valkey")


def complete(server: RedisServer, prefix: str, entry: str) -> bool:
    """Whether the log knows that the target has everything up to this entry."""
    return group(server, prefix).get("last-delivered-id") == entry


async def settled(server: RedisServer, prefix: str, entry: str, timeout: float = 10.0) -> None:
    """Wait for that."""
    await wait_until(lambda: complete(server, prefix, entry), f"settled up to {entry}", timeout)


@pytest.mark.parametrize("late", [False, True], ids=["unanswered", "answered"])
async def test_cut_off_at_every_await_point(
    valkey: RedisServer, there: RedisServer, prefix: str, *, late: bool
) -> None:
    """Cut off once more, one await point later each time, until a life gets to its end: all once and in order."""
    events = spread(20, 4)
    cuts = 0
    for at in range(200):
        there.call("FLUSHALL")
        there.call("SET", "runs:s1", "x")
        name = f"{prefix}-{at}"
        entries = put(valkey, name, events)
        async with life(valkey.url, there.url, name) as cut:
            await Cut(cut.loop.run(), at, late=late)
        if complete(valkey, name, entries[-1]):
            break
        cuts += 1
        async with fanning(valkey.url, there.url, name, instance="two"):
            await settled(valkey, name, entries[-1])
        expected = by_stream(events)
        closed = expected.pop("runs:s1")
        assert streams(there) == expected, at
        assert [letter["id"] for letter in dead(valkey, name)] == closed, at
    assert 10 < cuts < 199


@pytest.mark.parametrize("side", ["target", "log"])
async def test_lost_answers(valkey: RedisServer, there: RedisServer, prefix: str, side: str) -> None:
    """What was written but never answered is not written again, on whichever side the answer was lost."""
    async with Proxy(valkey) as log, Proxy(there) as target:
        proxy = target if side == "target" else log
        entries = put(valkey, prefix, spread(10, 2))
        async with fanning(log.url, target.url, prefix) as found:
            await settled(valkey, prefix, entries[-1])
            for turn in range(1, 5):
                proxy.answers = Answers.SWALLOW
                entries = put(valkey, prefix, spread(10, 2, first=10 * turn))
                found.wake()
                if side == "target":
                    await wait_until(lambda: sum(map(len, streams(there).values())) == 10 * turn + 10, "written")  # noqa: B023
                proxy.cut()
                proxy.answers = Answers.PASS
                await settled(valkey, prefix, entries[-1])
            assert found.of(DeliveryBlocked)
    assert streams(there) == by_stream(spread(50, 2))


async def test_a_target_put_back_gets_what_it_lost_once(
    start_target: Callable[..., RedisServer], server: RedisServer, flavour: str, prefix: str, tmp_path: Path
) -> None:
    """A target killed and put back to an older copy of its files: every event is there once and in order."""
    target = start_target(flavour, appendonly="yes", appendfsync="always")
    async with fanning(server.url, target.url, prefix) as found:
        entries = put(server, prefix, spread(600, 3))
        found.wake()
        await settled(server, prefix, entries[-1])
        target.save_files(tmp_path / "copy")
        entries = put(server, prefix, spread(60, 3, first=600))
        found.wake()
        await settled(server, prefix, entries[-1])
        target.kill()
        target.put_back_files(tmp_path / "copy")
        target.start()
        assert streams(target) == by_stream(spread(600, 3)), "the older copy is in place"
        await wait_until(lambda: streams(target) == by_stream(spread(660, 3)), "without any new event")
        assert found.of(FanOutRewound)[0].confirmed == entries[-1]
        put(server, prefix, spread(9, 3, first=660))
        found.wake()
        await wait_until(lambda: streams(target) == by_stream(spread(669, 3)), "and what is new")


@pytest.mark.parametrize(("how", "idle"), [("emptied", True), ("emptied", False), ("reloaded", False)])
async def test_a_target_put_back_under_a_live_connection(
    valkey: RedisServer, there: RedisServer, prefix: str, how: str, *, idle: bool
) -> None:
    """No connection breaks, and yet the target is found to be older: everything is there once."""
    async with fanning(valkey.url, there.url, prefix) as found:
        await wait_until(lambda: there.call("EXISTS", position_key(prefix, 0, NAME)), "it follows")
        there.call("SAVE")
        entries = put(valkey, prefix, spread(30, 3))
        found.wake()
        await settled(valkey, prefix, entries[-1])
        there.call(*(["FLUSHALL"] if how == "emptied" else ["DEBUG", "RELOAD", "NOSAVE"]))
        assert streams(there) == {}
        if not idle:
            put(valkey, prefix, spread(3, 3, first=30))
            found.wake()
        await wait_until(lambda: streams(there) == by_stream(spread(30 if idle else 33, 3)), "everything again")


async def test_a_target_ahead_of_the_log(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """The log was emptied and its clock is behind: it is said once, and all that is new is copied once."""
    far = 32_000_000_000_000
    valkey.call("XADD", Keys(prefix, 0).events, f"{far}-7", "id", "old", "type", "t", "subject", "s0")
    async with fanning(valkey.url, there.url, prefix) as found:
        await settled(valkey, prefix, f"{far}-7")
        valkey.call("DEL", Keys(prefix, 0).events)
        found.wake()
        await wait_until(lambda: found.of(FanOutAhead), "it is said")
        entries = put(valkey, prefix, spread(30, 3))
        found.wake()
        await settled(valkey, prefix, entries[-1])
        assert found.of(FanOutAhead) == [FanOutAhead(NAME, f"{far}-7", "0-0")]
    expected = by_stream(spread(30, 3))
    assert streams(there) == expected | {"runs:s0": ["old", *expected["runs:s0"]]}


async def test_the_older_of_two_owners_ends(server: RedisServer, target: RedisServer, prefix: str) -> None:
    """A second bridge takes over in the middle of the flow: the older loop ends, and nothing is there twice."""
    async with fanning(server.url, target.url, prefix) as old:
        await wait_until(lambda: group(server, prefix), "it follows")
        put(server, prefix, spread(3000, 3))
        old.wake()
        async with fanning(server.url, target.url, prefix, instance="two") as new:
            entries = put(server, prefix, spread(300, 3, first=3000))
            task = old.task
            assert task is not None
            await wait_until(task.done, "the older one ends")
            assert old.of(DestinationFenced) == [DestinationFenced(NAME, "two:2")]
            new.wake()
            await settled(server, prefix, entries[-1])
            assert not new.of(DestinationFenced)
    assert streams(target) == by_stream(spread(3300, 3))


async def test_of_several_that_start_together_one_goes_on(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """However the steps of eight starts mingle, exactly one is left, and it copies everything once."""
    entries = put(valkey, prefix, spread(3000, 3))
    async with AsyncExitStack() as stack:
        lives = [
            await stack.enter_async_context(fanning(valkey.url, there.url, prefix, instance=f"i{number}"))
            for number in range(8)
        ]
        await wait_until(lambda: sum(len(one.of(DestinationFenced)) for one in lives) == 7, "seven are fenced")
        await settled(valkey, prefix, entries[-1])
    assert streams(there) == by_stream(spread(3000, 3))


async def test_a_log_that_counts_its_owners_anew(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """A log put back has older epochs than the target has seen: who starts then is not taken for an older owner."""
    for instance in ("a", "b", "c"):
        entries = put(valkey, prefix, [(instance, "s")])
        async with fanning(valkey.url, there.url, prefix, instance=instance):
            await settled(valkey, prefix, entries[-1])
    valkey.call("HSET", Keys(prefix, 0).destination(NAME), "owner", "a:1", "epoch", 1)
    entries = put(valkey, prefix, [("d", "s")])
    async with fanning(valkey.url, there.url, prefix, instance="d") as found:
        await settled(valkey, prefix, entries[-1])
        assert not found.of(DestinationFenced)
    assert streams(there) == {"runs:s": ["a", "b", "c", "d"]}
    assert valkey.call("HGET", Keys(prefix, 0).destination(NAME), "owner") == "d:4"


async def test_a_target_frozen_in_the_middle_of_a_call(valkey: RedisServer, there: RedisServer, prefix: str) -> None:
    """Cut off while the target is frozen: whoever goes on when it wakes has each event there once."""
    async with fanning(valkey.url, there.url, prefix) as found:
        await wait_until(lambda: group(valkey, prefix), "it follows")
        there.pause()
        entries = put(valkey, prefix, spread(100, 2))
        found.wake()
        await wait_until(found.target._link._lock.locked, "the call is on its way")
    async with fanning(valkey.url, there.url, prefix, instance="two"):
        there.resume()
        await settled(valkey, prefix, entries[-1])
    assert streams(there) == by_stream(spread(100, 2))


# -- the guards themselves, and what happens without them


def without(guard: str) -> Script:
    """The script without one of its guards."""
    text = re.sub(rf"-- guard: {guard}\n.*?-- end guard\n", "", FAN_OUT.text, flags=re.DOTALL)
    assert text.count("-- guard") == FAN_OUT.text.count("-- guard") - 1
    return Script(text, "0" * 40, FAN_OUT.keys)


@pytest.mark.parametrize(("guarded", "copies"), [(True, 1), (False, 2)])
async def test_the_compare_stops_a_batch_that_comes_twice(
    target: RedisServer, prefix: str, *, guarded: bool, copies: int
) -> None:
    """A batch that reaches the target again is refused by the compare; without the compare it is there twice."""
    key = position_key(prefix, 0, NAME)
    target.call("HSET", key, "owner", "one:1", "epoch", 1, "position", "0-0")
    link = Link(Server(target.url), key)
    script = FAN_OUT if guarded else without("compare")
    args = (key, "one:1", "0-0", "5-0", 0, "runs:none", "", "5-0", "runs:s", "e", "t", "s", "{}")
    answers = [await link.script(script, *args) for _ in range(2)]
    await link.close()
    assert answers == [[b"OK"], [b"MOVED", b"5-0"] if guarded else [b"OK"]]
    assert streams(target) == {"runs:s": ["e"] * copies}


@pytest.mark.parametrize(("guarded", "written"), [(True, {}), (False, {"runs:s": ["e"]})])
async def test_the_fence_stops_an_older_owner(
    target: RedisServer, prefix: str, *, guarded: bool, written: dict[str, list[str]]
) -> None:
    """An owner that was taken over is refused even where the position still fits; without the fence it writes."""
    key = position_key(prefix, 0, NAME)
    target.call("HSET", key, "owner", "two:2", "epoch", 2, "position", "0-0")
    link = Link(Server(target.url), key)
    args = (key, "one:1", "0-0", "5-0", 0, "runs:none", "", "5-0", "runs:s", "e", "t", "s", "{}")
    answer = await link.script(FAN_OUT if guarded else without("fence"), *args)
    await link.close()
    assert answer == ([b"FENCED", b"two:2"] if guarded else [b"OK"])
    assert streams(target) == written
