"""Holds the log to what release 0.1 left there: waiting lanes, what was in flight, and what nobody has read yet."""

import time

import pytest
from destination import destination, fill, settle
from servers import RedisServer

from bridge.delivery.lane import Verdict
from bridge.redis_log import Keys

LEFT = {
    "answered": "{id} 2 503 answered 503",
    "refused": "{id} 3 400 answered 400",
    "away": "{id} 4  can't connect: Connection refused",
    "hung": "{id} 0  ",
}
"""Subject -> what 0.1 kept of its first entry: id, attempts, status and error."""


@pytest.fixture
def server(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """A shared Valkey."""
    return shared_servers["valkey"]


async def test_what_0_1_left_is_taken_up(server: RedisServer, prefix: str) -> None:
    """Heads come with their attempts and no refusals, what waits behind them after them, the rest flows once."""
    keys, client = Keys(prefix, 0), server.client()
    firsts = fill(server, prefix, [(f"{subject}-1", subject) for subject in LEFT])
    seconds = fill(server, prefix, [(f"{subject}-2", subject) for subject in LEFT])
    (pending,) = fill(server, prefix, [("flight-1", "flight")])
    client.xgroup_create(keys.events, "crm", "0")
    client.xreadgroup("crm", "bridge", {keys.events: ">"})
    client.xack(keys.events, "crm", *firsts, *seconds)
    client.hset(keys.destination("crm"), mapping={"owner": "old:1", "epoch": "1"})
    for (subject, value), first, second in zip(LEFT.items(), firsts, seconds, strict=True):
        client.hset(keys.held("crm"), subject, value.format(id=first))
        client.zadd(keys.due("crm"), {subject: int(time.time() * 1000) - 1000})
        client.zadd(keys.oldest("crm"), {subject: int(first.partition("-")[0])})
        client.rpush(keys.lane("crm") + subject, second)
    fill(server, prefix, [("flight-2", "flight"), ("answered-3", "answered")])

    async with destination(server, prefix) as crm:
        left = await crm.left()
        heads = {head.lane: head for head in left.heads}
        assert [entry.entry for entry in left.entries] == [pending]
        assert {lane: (head.attempts, head.refusals) for lane, head in heads.items()} == {
            "answered": (2, 0), "refused": (3, 0), "away": (4, 0), "hung": (0, 0),
        }  # fmt: skip
        assert [entry.id for entry in (*heads["hung"].entries, *heads["hung"].following)] == ["hung-1", "hung-2"]

        done = settle("answered", firsts[0], Verdict.DONE)
        came = await crm.take(done, settled=[pending], busy=["refused", "away", "hung"])
        assert [entry.id for entry in came.entries] == ["flight-2"]
        (head,) = came.heads
        assert (head.attempts, [entry.id for entry in (*head.entries, *head.following)]) == (
            0, ["answered-2", "answered-3"],
        )  # fmt: skip
