"""What the scripts do for batches and for dead letters that join lanes: wholly or not at all."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from destination import Destination, Receiver, delivering, destination, fill
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.lane import Outcome, Request, Result, Settlement, Together, Verdict
from bridge.errors import LogUnavailable
from bridge.event import Entry
from bridge.redis_log import Keys
from bridge.redis_log.scripts import MARK, SETTLE

FAILED = Outcome(Result.FAILED, 503, "busy", answer=b"no")
TOGETHER = Together(2, 20)
COMMANDS = [
    "del", "exists", "hdel", "hexists", "hget", "hmget", "hset", "lindex", "linsert", "llen", "lpop", "lpush", "lrem",
    "rpush", "sadd", "smembers", "srem", "xack", "xadd", "xdel", "xrange", "zadd", "zrem",
]  # fmt: skip
"""All that the scripts of this test run."""


def state(server: RedisServer) -> dict[str, Any]:
    """Every key and what it holds."""
    client = server.client()
    look: dict[str, Callable[[str], Any]] = {
        "hash": client.hgetall, "list": lambda key: client.lrange(key, 0, -1), "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True), "string": client.get,
        "stream": lambda key: (client.xrange(key), client.xinfo_groups(key)),
    }  # fmt: skip
    return {key: look[str(client.type(key))](key) for key in map(str, client.keys("*"))}


async def settle(crm: Destination, *settlements: Settlement) -> None:
    """The settlements alone, without the taking that goes with them."""
    lanes = crm.lanes
    for one in settlements:
        await lanes._call(
            SETTLE, lanes._owner, "crm", lanes._lane, lanes.clock.milliseconds(), *lanes._settlement(one)
        )  # fmt: skip


def retry(entries: list[Entry], behind: list[tuple[str, str]], delay: float = 0.0) -> Settlement:
    """A batch that failed."""
    ids = tuple(entry.entry for entry in entries)
    return Settlement(ids[0], ids, Verdict.RETRY, 1, 0, delay, FAILED, behind=behind)


def dead(lane: str, ids: tuple[str, ...], entries: list[Entry]) -> Settlement:
    """A batch that is given up."""
    return Settlement(lane, ids, Verdict.DEAD, 3, outcome=FAILED, dead=tuple(entries))


async def waiting(crm: Destination) -> list[Entry]:
    """Two subjects of which a batch waits, with three entries behind it that don't fit into one."""
    entries = (await crm.take()).entries
    members = [("a", ""), ("b", "")]
    await settle(crm, retry(entries[:2], members + [(one.subject, one.entry) for one in entries[2:]]))
    return entries


async def letters(crm: Destination) -> tuple[list[Entry], list[Request]]:
    """As `waiting`, with the first batch among the dead letters, and a request for each of these."""
    entries = await waiting(crm)
    lane, ids = entries[0].entry, tuple(entry.entry for entry in entries[:2])
    await settle(crm, dead(lane, ids, entries[:2]))
    client, keys = crm.lanes._link, Keys(crm.lanes._events.rpartition(":{")[0], 0)
    found = await client.call("XRANGE", keys.dead("crm"), "-", "+")
    requests = [
        Request(f"retry {id_.decode()}", id_.decode(), entry.subject)
        for (id_, _), entry in zip(found, entries, strict=False)
    ]
    for request in requests:
        await client.call("RPUSH", keys.requests("crm"), request.text)
    await client.call("SADD", keys.requests(), "crm")
    return entries, requests


Step = Callable[[], Awaitable[Any]]


async def a_batch_fails(crm: Destination) -> Step:
    """The lanes of its subjects are made."""
    entries = (await crm.take()).entries
    members = [("a", ""), ("b", "")]
    return lambda: settle(crm, retry(entries[:2], members + [(one.subject, one.entry) for one in entries[2:]]))


async def a_batch_is_done(crm: Destination) -> Step:
    """The next ones come up, of which one is put back."""
    entries = await waiting(crm)
    ids = tuple(entry.entry for entry in entries[:2])
    return lambda: settle(crm, Settlement(ids[0], ids, Verdict.DONE))


async def the_last_batch_is_dead(crm: Destination) -> Step:
    """The lane goes."""
    entries = (await crm.take()).entries
    ids = tuple(entry.entry for entry in entries[:2])
    await settle(crm, retry(entries[:2], [("a", ""), ("b", "")]))
    return lambda: settle(crm, dead(ids[0], ids, entries[:2]))


async def letters_join(crm: Destination) -> Step:
    """Before what waits."""
    _, requests = await letters(crm)
    return lambda: crm.lanes.again(requests, ordered=True)


async def letters_make_a_lane(crm: Destination) -> Step:
    """Where nothing has an order, each in one of its own; one that is gone makes none."""
    _, requests = await letters(crm)
    return lambda: crm.lanes.again([*requests, Request("retry 1-1", "1-1", "a")], ordered=False)


async def a_letter_dies_again(crm: Destination) -> Step:
    """It takes the place of the one it was."""
    entries, requests = await letters(crm)
    await crm.lanes.again(requests[:1], ordered=False)
    reference = f"d{requests[0].letter}:{entries[0].entry}"
    again = Entry(reference, entries[0].id, "t", "a", entries[0].event)
    return lambda: settle(crm, dead(reference, (reference,), [again]))


async def something_is_said(crm: Destination) -> Step:
    """What became of the destination, and an event."""
    lanes = crm.lanes
    said = (lanes._owner, b"standing", "id", "type", "subject", b"{}")
    return lambda: lanes._link.script(MARK, *lanes._keys[:2], *said)


@pytest.mark.parametrize(
    "scene",
    [a_batch_fails, a_batch_is_done, the_last_batch_is_dead, letters_join, letters_make_a_lane, a_letter_dies_again,
     something_is_said],
)  # fmt: skip
async def test_a_script_that_may_not_do_all_does_nothing(
    server: RedisServer, prefix: str, scene: Callable[[Destination], Awaitable[Step]]
) -> None:
    """For each command that a user lacks: either the script needs none of it, or all is as it was before."""
    refused = 0
    for command in COMMANDS:
        user, name = f"{prefix}-{command}", f"{prefix}-{command}"
        fill(server, name, [(f"e{number}", "ab"[number % 2]) for number in range(5)])
        server.call("ACL", "SETUSER", user, "on", "nopass", "~*", "+@all")
        async with destination(_as(server, user), name, together=TOGETHER) as crm:
            step = await scene(crm)
            before = state(server)
            server.call("ACL", "SETUSER", user, f"-{command}")
            try:
                await step()
            except LogUnavailable:
                assert state(server) == before, command
                refused += 1
                server.call("ACL", "SETUSER", user, f"+{command}")
                await step()
            assert state(server) != before
        server.call("ACL", "DELUSER", user)
        server.call("FLUSHALL")
    assert refused >= 2


def _as(server: RedisServer, user: str) -> Any:
    """The server as one of its users sees it."""

    class As:
        url = f"unix://{user}:any@{urlsplit(server.url).path}"

    return As()


async def test_strange_requests_are_passed_over(shared_servers: dict[str, RedisServer], prefix: str) -> None:
    """What is no request, names no letter or no id at all goes off the list and does nothing; the rest goes on."""
    server, receiver, keys = shared_servers["valkey"], Receiver(), Keys(prefix, 0)
    fill(server, prefix, [("a", "s")])
    strange = ["", "frobnicate", "retry", "retry ", "retry x", "retry 99999999999999999999-0", "retry 1-1", "\xff\n"]
    async with delivering(server.url, prefix, receiver) as life:
        server.call("RPUSH", keys.requests("crm"), *strange)
        server.call("SADD", keys.requests(), "crm")
        await wait_until(lambda: not server.call("EXISTS", keys.requests("crm"), keys.requests()), "they are done", 4.0)
        await wait_until(lambda: receiver.taken == ["a"], "it goes on")
        assert not life.task.done()
    assert not [name for name in server.call("HGETALL", keys.destination("crm")) if name.startswith("again")]
