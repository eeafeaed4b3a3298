"""How many attempts at a destination run, over all its partitions, and that no partition sleeps while it may work."""

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from destination import PATIENT, Receiver, Types
from running_log import beside, running_log
from servers import RedisServer
from waiting import wait_until

from bridge.deliver import Delivery
from bridge.delivery.gate import SAVE_AFTER, Gate
from bridge.delivery.health import Rules, Standing
from bridge.delivery.lane import Limits, Outcome, Result
from bridge.delivery.schedule import Schedule
from bridge.redis_log import Keys, RedisLog
from bridge.stop import Stop

OK, BAD = Outcome(Result.DELIVERED, 204), Outcome(Result.FAILED, None, "refused")
OURS, GONE = Outcome(Result.OURS, None, "no descriptors"), Outcome(Result.GONE, 410)
DISABLED = Standing("disabled", 1.0, 1.0, 2, "answered 410")


class Times:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        """Now."""
        return self.now


def gate(
    clock: Times, most: int = 4, *, rules: Rules = PATIENT, rate: float | None = None, stored: bytes | None = b""
) -> Gate:
    """A gate, opened with what was stored unless that is None."""
    found = Gate(rules, most, clock, Random(1), rate=rate)
    if stored is not None:
        found.adopt(stored)
    return found


def test_it_is_closed_until_it_is_known_what_was_stored() -> None:
    """Nothing may start before; then everybody who listens is told, and what comes later changes nothing."""
    clock, told = Times(), list[str]()
    shut = gate(clock, stored=None)
    for name in ("one", "two"):
        shut.listen(lambda name=name: told.append(name))  # type: ignore[misc]  # a default binds it
    assert (shut.limit, shut.enter(), shut.unsaved(), told) == (0, float("inf"), None, [])
    shut.adopt(b"")
    assert sorted(told) == ["one", "two"]
    shut.adopt(DISABLED.encode())
    assert not shut.disabled
    assert (shut.limit, shut.enter()) == (4, 0.0)


def test_all_partitions_share_the_places() -> None:
    """No more than `most` at once, whoever asks; each that ends makes room, and everybody is told of it."""
    clock, told = Times(), list[int]()
    shared = gate(clock)
    for number in (1, 2):
        shared.listen(lambda number=number: told.append(number))  # type: ignore[misc]  # a default binds it
    assert [shared.enter() for _ in range(5)] == [0.0] * 4 + [float("inf")]
    shared.leave(OK)
    assert sorted(told) == [1, 2]
    assert (shared.in_flight, shared.enter()) == (3, 0.0)


def test_a_rate_holds_over_all_partitions() -> None:
    """So many starts a second, whoever asks how often; a place that was waited for is used up once."""
    clock = Times()
    limited = gate(clock, most=1000, rate=10.0)
    starts = list[float]()
    while clock.now < 1e9 + 5.0:
        for _partition in range(2):
            if limited.enter() == 0.0:
                starts.append(clock.now)
                limited.leave(OK)
        clock.now += 0.01
    assert 50 <= len(starts) <= 61, "10 a second for 5 s, and as many at once in the beginning"
    late = [time for time in starts if time > 1e9 + 1.5]
    assert all(b - a >= 0.089 for a, b in pairwise(late))


def test_failures_of_ours_are_waited_for_longer_until_something_else_comes() -> None:
    """The waits grow while such failures are all there is; they change nothing of what is known of the destination."""
    clock = Times()
    one = gate(clock)
    waits = list[float]()
    for _ in range(9):
        one.enter()
        one.leave(OURS)
        waits.append(one.wait_for_ours())
        clock.now += waits[-1]
    assert waits[0] < 1.3
    assert waits[-1] > 40
    assert not one.changes
    one.enter()
    one.leave(OK)
    one.enter()
    one.leave(OURS)
    assert one.wait_for_ours() < 1.3


def test_a_change_is_announced_once_and_in_order() -> None:
    """What changed waits until it is stored; only then comes the next; an unannounced one is stored now and then."""
    clock = Times()
    one = gate(clock)
    one.enter()
    one.leave(GONE)
    assert one.disabled
    assert one.enable()
    assert not one.enable()
    first, second = one.changes
    assert (first.what, second.what) == ("disabled", "enabled")
    assert one.unsaved() is None, "it is stored with the announcement"
    one.saved(second.standing)
    assert list(one.changes) == [first, second]
    one.saved(first.standing)
    assert list(one.changes) == [second]
    one.saved(second.standing)
    assert not one.changes
    one.enter()
    one.leave(BAD)
    assert one.unsaved() is None
    clock.now += SAVE_AFTER
    standing = one.unsaved()
    assert standing is not None
    one.saved(standing)
    assert one.unsaved() is None


# -- partitions of a real log

QUICK = Limits(max_in_flight=2, schedule=Schedule.listed([0.0]))


def put(server: RedisServer, prefix: str, partition: int, *ids: str) -> None:
    """Events in one partition, each of a subject of its own."""
    for id_ in ids:
        server.call(
            "XADD", Keys(prefix, partition).events, "*", "id", id_, "type", "t", "subject", id_, "event", "{}"
        )  # fmt: skip


def workers(log: RedisLog, receiver: Receiver, shared: Gate, stop: Stop) -> list[Delivery]:
    """A worker for each partition."""
    lanes: list[Any] = log.lanes("crm", "start")
    return [
        Delivery(
            "crm", one, receiver, Types(), QUICK, gate=shared, observe=lambda _: None, stop=stop, keeper=number == 0
        )
        for number, one in enumerate(lanes)
    ]  # fmt: skip


@pytest.fixture
def valkey(shared_servers: dict[str, RedisServer]) -> RedisServer:
    """One kind of server: no partition knows which holds it."""
    return shared_servers["valkey"]


async def test_a_partition_that_was_first_works_once_the_gate_opens(valkey: RedisServer, prefix: str) -> None:
    """What waits there is due, and nothing else comes: the keeper of another partition opens, and it goes out."""
    receiver = Receiver(refused={"a"})
    put(valkey, prefix, 1, "a")
    async with running_log(valkey.url, prefix, partitions=2) as running:
        shared = Gate(PATIENT, 2, running.log.clock.seconds, Random())
        async with beside(*(one.run for one in workers(running.log, receiver, shared, Stop()))):
            await wait_until(lambda: valkey.call("EXISTS", Keys(prefix, 1).held("crm")), "it waits")
    receiver = Receiver()
    async with running_log(valkey.url, prefix, partitions=2) as running:
        shared = Gate(PATIENT, 2, running.log.clock.seconds, Random())
        keeper, other = workers(running.log, receiver, shared, Stop())
        async with beside(other.run):
            await wait_until(lambda: other._shut, "it rests, since the gate is closed")
            assert receiver.attempts == []
            async with beside(keeper.run):
                await wait_until(lambda: receiver.taken == ["a"], "it goes out", 2.0)


async def test_a_destination_that_is_enabled_goes_on_in_every_partition(valkey: RedisServer, prefix: str) -> None:
    """Each rests while it is disabled, without looking again and again; the keeper's word wakes all."""
    receiver = Receiver()
    put(valkey, prefix, 1, "a")
    valkey.call("HSET", Keys(prefix, 0).destination("crm"), "standing", DISABLED.encode())
    async with running_log(valkey.url, prefix, partitions=2) as running:
        shared = Gate(PATIENT, 2, running.log.clock.seconds, Random())
        both = workers(running.log, receiver, shared, Stop())
        async with beside(*(one.run for one in both)):
            await wait_until(lambda: shared.disabled and all(one._shut for one in both), "both rest")
            assert receiver.attempts == []
            valkey.call("RPUSH", Keys(prefix, 0).requests("crm"), "enable")
            valkey.call("SADD", Keys(prefix, 0).requests(), "crm")
            await wait_until(lambda: "a" in receiver.taken, "it goes on", 4.0)
    stored = valkey.call("HGET", Keys(prefix, 0).destination("crm"), "standing")
    assert Standing.decode(stored.encode()).state == "active"


async def test_what_another_partition_finds_is_announced_at_once(valkey: RedisServer, prefix: str) -> None:
    """A 410 to one partition's event is stored and said by the keeper of another, though it has nothing to do."""
    receiver = Receiver(refused={"a"}, result=Result.GONE)
    async with running_log(valkey.url, prefix, partitions=2) as running:
        shared = Gate(PATIENT, 2, running.log.clock.seconds, Random())
        keeper, other = workers(running.log, receiver, shared, Stop())
        async with beside(keeper.run, other.run):
            await wait_until(lambda: keeper._reader.resting and other._reader.resting, "both rest")
            put(valkey, prefix, 1, "a")
            await wait_until(lambda: shared.disabled, "the destination is gone")
            await wait_until(lambda: valkey.call("XLEN", Keys(prefix, 0).events) == 1, "it is said", 2.0)
    stored = valkey.call("HGET", Keys(prefix, 0).destination("crm"), "standing")
    assert Standing.decode(stored.encode()).state == "disabled"


async def test_partitions_take_turns_where_places_are_few(valkey: RedisServer, prefix: str) -> None:
    """Two places for two partitions with much to send: never more than two at once, and neither starves."""
    receiver = Receiver()
    for partition in (0, 1):
        put(valkey, prefix, partition, *(f"{partition}-{number}" for number in range(200)))
    peak = 0
    async with running_log(valkey.url, prefix, partitions=2) as running:
        shared = Gate(PATIENT, 2, running.log.clock.seconds, Random())
        async with beside(*(one.run for one in workers(running.log, receiver, shared, Stop()))):

            def done() -> bool:
                nonlocal peak
                peak = max(peak, receiver.open)
                return len(receiver.taken) == 400

            await wait_until(done, "everything")
    assert peak <= 2
    first = receiver.taken[:200]
    assert 40 < sum(id_.startswith("0") for id_ in first) < 160
