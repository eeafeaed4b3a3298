"""The log in a cluster and behind Sentinel: found, followed when it moves, waited for while nobody serves it."""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from destination import AT_ONCE, Receiver, delivering
from redis.crc import key_slot
from redis.exceptions import RedisError
from running_log import RESOURCE, Upstream, batch, ids, reading, running_log, store
from servers import RedisServer, free_port
from waiting import wait_until

from bridge.facts import LogBlocked
from bridge.redis_log import Keys, partition_of

StartServer = Callable[..., RedisServer]
RANGES = [(0, 5460), (5461, 10922), (10923, 16383)]


def start_node(start_server: StartServer, flavour: str) -> RedisServer:
    """One node of a cluster, without slots."""
    return start_server(flavour, port=free_port(), cluster_enabled="yes", cluster_node_timeout="2000")


async def start_cluster(start_server: StartServer, flavour: str) -> list[RedisServer]:
    """Three nodes that know each other and serve all slots."""
    nodes = [start_node(start_server, flavour) for _ in RANGES]
    for epoch, (node, (first, last)) in enumerate(zip(nodes, RANGES, strict=True), 1):
        node.call("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        node.call("CLUSTER", "ADDSLOTSRANGE", first, last)
    for node, other in pairwise(nodes):
        node.call("CLUSTER", "MEET", "127.0.0.1", other.port)
    for node in nodes:
        await wait_until(partial(_complete, node), "the cluster is complete", 20.0)
    return nodes


def _complete(node: RedisServer) -> bool:
    info = node.call("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == "3")


def login(server: RedisServer, url: str) -> str:
    """Make a user whose name and password need percent-encoding on this server; the URL with them."""
    server.call("ACL", "SETUSER", "us:er", "on", ">p@ss,w/rd:%", "~*", "+@all")
    scheme, _, rest = url.partition("://")
    return f"{scheme}://us%3Aer:p%40ss%2Cw%2Frd%3A%25@{rest}"


def home(nodes: list[RedisServer], keys: Keys) -> RedisServer:
    """The node that serves a partition."""
    slot = key_slot(keys.events.encode())
    return next(node for node, (first, last) in zip(nodes, RANGES, strict=True) if first <= slot <= last)


@pytest.mark.parametrize("flavour", ["valkey", "redis"])
async def test_every_partition_is_found_in_a_cluster(start_server: StartServer, flavour: str) -> None:
    """Each partition lies whole on the node of its slot, whichever node the URL names; delivery reads it there."""
    nodes = await start_cluster(start_server, flavour)
    urls = [node.url.replace("redis://", "redis+cluster://") for node in nodes]
    names = [next(f"s{at}" for at in range(100) if partition_of(f"s{at}", 4) == partition) for partition in range(4)]
    for turn, url in enumerate(urls):
        async with running_log(url, "bridge", partitions=4) as running:
            for name in names:
                await store(await running.log.open(name, RESOURCE), batch(f"{name}-{turn}"))
    for partition, name in enumerate(names):
        keys = Keys("bridge", partition)
        assert ids(home(nodes, keys), keys) == [f"{name}-{turn}" for turn in range(3)]
    assert len({home(nodes, Keys("bridge", partition)).port for partition in range(4)}) > 1, "they are spread"
    receiver = Receiver(refused={f"{names[0]}-0"})
    async with delivering(urls[2], "bridge", receiver, AT_ONCE):
        await wait_until(lambda: len(receiver.attempts) > 2, "the first one fails")
        receiver.refused.clear()
        await wait_until(lambda: receiver.taken == [f"{names[0]}-{turn}" for turn in range(3)], "all of partition 0")


@pytest.mark.parametrize("flavour", ["valkey"])
async def test_a_partition_that_moves_to_another_node_is_followed(start_server: StartServer, flavour: str) -> None:
    """The slot of a partition is migrated under a live log: it is looked up again, and everything is there once."""
    nodes = await start_cluster(start_server, flavour)
    keys = Keys("bridge", 0)
    slot, old = key_slot(keys.events.encode()), home(nodes, keys)
    new = next(node for node in nodes if node is not old)
    upstream = Upstream("s")
    url = old.url.replace("redis://", "redis+cluster://")
    async with running_log(url, "bridge") as running, reading(running, upstream):
        upstream.grow(20)
        await wait_until(lambda: len(ids(old, keys)) == 20, "the first twenty")
        old_id, new_id = old.call("CLUSTER", "MYID"), new.call("CLUSTER", "MYID")
        new.call("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        old.call("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        upstream.grow(20)
        names = old.call("CLUSTER", "GETKEYSINSLOT", slot, 100)
        old.call("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *names)
        upstream.grow(20)
        for node in (new, old, *nodes):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", new_id)
        await wait_until(lambda: len(ids(new, keys)) >= 60, "everything at its new place", 20.0)
    assert ids(new, keys) == upstream.ids


@pytest.mark.parametrize("flavour", ["redis"])
async def test_a_slot_that_nobody_serves_is_waited_for(start_server: StartServer, flavour: str) -> None:
    """While nobody serves the partition's slot, readiness says CLUSTERDOWN, and then the log begins."""
    node = start_node(start_server, flavour)
    async with running_log(login(node, f"redis+cluster://127.0.0.1:{node.port}"), "bridge") as running:
        opening = asyncio.ensure_future(running.log.open("s", RESOURCE))
        await wait_until(lambda: running.log.blocked == "CLUSTERDOWN", "readiness says why")
        node.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await store(await opening, batch("a"))
    assert ids(node, Keys("bridge", 0)) == ["a"]


@pytest.mark.parametrize("flavour", ["valkey", "redis"])
async def test_a_failover_by_sentinel_is_followed(start_server: StartServer, flavour: str) -> None:
    """The main server dies and Sentinel makes its replica the new one: everything is there once, delivery goes on."""
    main = start_server(flavour, port=free_port(), repl_diskless_sync_delay="0")
    replica = start_server(flavour, port=free_port(), replicaof=f"127.0.0.1 {main.port}")
    sentinel = start_server(flavour, port=free_port(), sentinel=True)
    url = login(main, f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/mymaster/0")
    login(replica, url)
    keys, upstream, receiver = Keys("bridge", 0), Upstream("s"), Receiver()
    async with delivering(url, "bridge", receiver) as life, reading(life.running, upstream):
        running = life.running
        await wait_until(lambda: running.log.blocked == "SENTINEL", "no sentinel knows the name yet")
        assert "mymaster" in running.of(LogBlocked)[0].reason
        sentinel.call("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", main.port, 1)
        sentinel.call("SENTINEL", "SET", "mymaster", "down-after-milliseconds", 300, "failover-timeout", 3000)
        upstream.grow(20)
        await wait_until(lambda: len(ids(main, keys)) == 20, "the first twenty")
        await wait_until(lambda: _replicas(sentinel) == 1, "sentinel knows the replica", 20.0)
        await wait_until(lambda: ids(replica, keys) == upstream.ids, "the replica has them")
        main.kill()
        upstream.grow(20)
        await wait_until(lambda: _holds(replica, upstream), "everything at the new main server", 40.0)
        await wait_until(lambda: receiver.taken == upstream.ids, "delivered, once and in order")


def _holds(server: RedisServer, upstream: Upstream) -> bool:
    with contextlib.suppress(RedisError):  # Sentinel cuts all clients of a server that it promotes
        return ids(server, Keys("bridge", 0)) == upstream.ids
    return False


def _replicas(sentinel: RedisServer) -> int:
    return int(sentinel.call("SENTINEL MASTER", "mymaster")["num-slaves"])
