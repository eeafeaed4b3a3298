"""The delivery loop over the log on every real server: order, isolation, restarts, outages."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from destination import Receiver, delivering, destination, fill, pending, settle
from proxy import Answers, Proxy
from running_log import RESOURCE, batch, script_calls, store
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.lane import Limits, Verdict
from bridge.delivery.schedule import Schedule
from bridge.errors import LogUnavailable
from bridge.facts import DeadLettered, DestinationFenced, EntriesMissing
from bridge.redis_log import Keys

TWICE = Limits(max_attempts=2, schedule=Schedule.listed([0.01]))
LATER = Limits(max_in_flight=2, schedule=Schedule.listed([0.3]))


async def test_in_order_per_subject_and_parallel_over_subjects(server: RedisServer, prefix: str) -> None:
    """One subject's entries go one after another; another subject does not wait for them."""
    receiver = Receiver()
    gate = receiver.hold("slow-1")
    fill(server, prefix, [(f"{subject}-{number}", subject) for number in range(4) for subject in ("slow", "fast")])
    async with delivering(server.url, prefix, receiver):
        await wait_until(lambda: len(receiver.taken) == 5, "all of the fast one, the first of the slow one")
        assert receiver.attempts[-1][0] != "slow-2"
        gate.set()
        await wait_until(lambda: pending(server, prefix) == 0 and len(receiver.taken) == 8, "everything settled")
    for subject in ("slow", "fast"):
        assert [id_ for id_ in receiver.taken if id_.startswith(subject)] == [f"{subject}-{at}" for at in range(4)]
    assert {number for _, number in receiver.attempts} == {1}


async def test_one_failing_run_delays_no_other(server: RedisServer, prefix: str) -> None:
    """A subject that fails, with a long backlog in the log before and between the others, holds nobody up."""
    receiver = Receiver(refused={"bad"})
    bad = [(f"bad-{number}", "bad") for number in range(5000)]
    good = [(f"good-{number}", f"run-{number % 5}") for number in range(100)]
    fill(server, prefix, [*bad[:4000], *good[:50], *bad[4000:], *good[50:]])
    async with delivering(server.url, prefix, receiver, Limits(max_in_flight=4, schedule=Schedule.listed([60.0]))):
        started = time.monotonic()
        await wait_until(lambda: len(receiver.taken) == 100, "all others", 20.0)
        assert time.monotonic() - started < 3.0
    assert receiver.numbers("bad-0") == [1]
    assert server.call("LLEN", Keys(prefix, 0).lane("crm") + "bad") == 4999


async def test_many_failing_runs_leave_room_for_others(server: RedisServer, prefix: str) -> None:
    """More failing subjects than there are slots: those that wait take up none."""
    receiver = Receiver(refused={f"bad-{number}" for number in range(100)})
    fill(server, prefix, [(f"e{number}", f"bad-{number}") for number in range(100)])
    fill(server, prefix, [(f"good-{number}", "good") for number in range(20)])
    async with delivering(server.url, prefix, receiver, Limits(max_in_flight=2, schedule=Schedule.listed([60.0]))):
        await wait_until(lambda: len(receiver.taken) == 20, "the good one")
    assert len(receiver.attempts) == 120


async def test_full_slots_make_no_busy_loop(shared_servers: dict[str, RedisServer], prefix: str) -> None:
    """While every slot is taken and something is due, the log is left alone."""
    server = shared_servers["valkey"]
    receiver = Receiver(refused={"due"})
    gate = receiver.hold("slow-1", "slow-2")
    async with delivering(
        server.url, prefix, receiver, Limits(max_in_flight=2, schedule=Schedule.listed([0.3]))
    ) as life:
        writer = await life.running.log.open("s", RESOURCE)
        await store(writer, batch("due", subject="s"))
        await wait_until(lambda: _attempts(server, prefix) == 1, "it has failed and waits")
        await store(writer, batch("slow-1", subject="s1"), batch("slow-2", subject="s2"))
        await wait_until(lambda: receiver.open == 2, "every slot is taken")
        waiting = Keys(prefix, 0).due("crm")
        await wait_until(lambda: server.call("ZSCORE", waiting, "s") < time.time() * 1000, "the first is due")
        before, started = script_calls(server), time.monotonic()
        await wait_until(lambda: time.monotonic() - started > 0.6, "some time")
        assert script_calls(server) <= before + 1
        gate.set()
        await wait_until(lambda: receiver.numbers("due")[1:], "the second attempt as soon as there is room")


async def test_attempts_and_due_times_survive_restarts(server: RedisServer, prefix: str) -> None:
    """Each life of the delivery goes on with the next attempt, when it is due; at the last one the event is dead."""
    receiver = Receiver(refused={"a"})
    fill(server, prefix, [("a", "s"), ("b", "s")])
    limits = Limits(max_attempts=4, schedule=Schedule.listed([0.15]))
    for life in range(1, 4):
        async with delivering(server.url, prefix, receiver, limits):
            await wait_until(partial(_attempted, server, prefix, life), "one more attempt, and it is in the log")
        assert receiver.numbers("a") == list(range(1, life + 1))
    assert receiver.taken == []
    async with delivering(server.url, prefix, receiver, limits) as last:
        await wait_until(lambda: receiver.taken == ["b"], "the one behind it")
        assert last.running.of(DeadLettered) == [DeadLettered("crm", "a", 4, "not now")]
        await wait_until(lambda: not server.call("EXISTS", Keys(prefix, 0).held("crm")), "nothing waits")
    assert receiver.numbers("a") == [1, 2, 3, 4]
    ((_, letter),) = server.call("XRANGE", Keys(prefix, 0).dead("crm"), "-", "+")
    assert (letter["id"], letter["attempts"], letter["last_status"]) == ("a", "4", "503")


def _attempts(server: RedisServer, prefix: str) -> int:
    stored = server.call("HGET", Keys(prefix, 0).held("crm"), "s")
    return int(stored.split(" ")[1]) if stored else 0


def _attempted(server: RedisServer, prefix: str, times: int) -> bool:
    return _attempts(server, prefix) == times


async def test_our_own_failures_use_up_no_attempt(server: RedisServer, prefix: str) -> None:
    """A failure that is this machine's own is tried again and again under the same attempt number."""
    receiver = Receiver(refused={"a"}, ours=True)
    fill(server, prefix, [("a", "s")])
    async with delivering(server.url, prefix, receiver, TWICE):
        await wait_until(lambda: len(receiver.attempts) >= 3, "more failures than attempts")
        receiver.refused.clear()
        await wait_until(lambda: receiver.taken == ["a"], "delivered")
    assert set(receiver.numbers("a")) == {1}


async def test_unwanted_types_are_settled_without_an_attempt(server: RedisServer, prefix: str) -> None:
    """What a destination does not want is settled at once, also behind an entry that waits."""
    receiver = Receiver(refused={"a"})
    keys = Keys(prefix, 0)
    for id_, kind in (("a", "yes"), ("b", "no"), ("c", "yes"), ("d", "no")):
        server.call("XADD", keys.events, "*", "id", id_, "type", kind, "subject", "s", "event", "{}")
    async with delivering(server.url, prefix, receiver, wants=lambda kind: kind == "yes"):
        await wait_until(lambda: len(receiver.attempts) > 2, "the first one fails")
        receiver.refused.clear()
        await wait_until(lambda: receiver.taken == ["a", "c"], "the wanted ones")
        await wait_until(lambda: not server.call("EXISTS", keys.held("crm")), "nothing waits")
        await wait_until(lambda: pending(server, prefix) == 0, "everything settled")
    assert {id_ for id_, _ in receiver.attempts} == {"a", "c"}


async def test_a_stop_lets_what_is_in_flight_end(server: RedisServer, prefix: str) -> None:
    """After the stop no attempt begins; those in flight end and are settled, then the loop ends."""
    receiver = Receiver()
    gate = receiver.hold("a")
    fill(server, prefix, [("a", "s1"), ("b", "s1")])
    async with delivering(server.url, prefix, receiver) as life:
        await wait_until(lambda: receiver.open == 1, "one is in flight")
        life.stop.set()
        fill(server, prefix, [("c", "s2")])
        gate.set()
        await wait_until(life.task.done, "the loop ends, without resting first", 0.9)
    assert receiver.attempts == [("a", 1)]
    assert pending(server, prefix) == 1, "b was read, and comes again after the restart"
    async with delivering(server.url, prefix, receiver):
        await wait_until(lambda: receiver.taken == ["a", "b", "c"], "the rest, once")


async def test_the_older_delivery_ends_when_a_newer_takes_over(server: RedisServer, prefix: str) -> None:
    """Two bridges with one destination: the newer one delivers, the older one's loop ends."""
    old, new = Receiver(), Receiver()
    gate = old.hold("a")
    ids = ["a", *(f"e{number}" for number in range(500))]
    fill(server, prefix, [(id_, "s") for id_ in ids])
    async with delivering(server.url, prefix, old) as older:
        await wait_until(lambda: old.open == 1, "the older one is at it")
        async with delivering(server.url, prefix, new, instance="two"):
            await wait_until(lambda: new.taken == ids, "the newer one delivers")
            gate.set()
            await wait_until(older.task.done, "the older one ends")
            assert older.running.of(DestinationFenced) == [DestinationFenced("crm", "two:2")]
    assert old.taken == ids[: len(old.taken)]
    assert len(old.taken) < 300, "at least once: what was in flight, and what began before it was told"


async def test_an_outage_of_redis_repeats_no_finished_attempt(
    start_server: Callable[..., RedisServer], flavour: str
) -> None:
    """Redis killed under attempts in flight: their outcomes are kept and settled later; order and count hold."""
    server = start_server(flavour, appendonly="yes", appendfsync="always")
    receiver = Receiver(refused={"e1"})
    gate = receiver.hold("e0", "e1", "e2")
    fill(server, "bridge", [(f"e{number}", f"s{number % 3}") for number in range(30)])
    async with delivering(server.url, "bridge", receiver):
        await wait_until(lambda: receiver.open == 3, "three are in flight")
        server.kill()
        gate.set()
        await wait_until(lambda: receiver.open == 0, "they end")
        server.start()
        await wait_until(lambda: len(receiver.taken) == 20, "two subjects go on")
        receiver.refused.clear()
        await wait_until(lambda: len(receiver.taken) == 30, "and the third")
        await wait_until(lambda: pending(server, "bridge") == 0, "everything settled")
    for subject in range(3):
        expected = [f"e{number}" for number in range(30) if number % 3 == subject]
        assert [id_ for id_ in receiver.taken if id_ in expected] == expected
    assert receiver.numbers("e1") == list(range(1, len(receiver.numbers("e1")) + 1))
    assert receiver.numbers("e0") == receiver.numbers("e2") == [1]


async def test_a_lost_answer_counts_an_attempt_once(server: RedisServer, prefix: str) -> None:
    """The log has taken a failure but its answer is lost: the next attempt is a real one, with the next number."""
    receiver = Receiver(refused={"a"})
    fill(server, prefix, [("a", "s")])
    async with (
        Proxy(server) as proxy,
        delivering(proxy.url, prefix, receiver, Limits(schedule=Schedule.listed([0.1]))) as life,
    ):
        gate = receiver.hold("a")
        (feed,) = life.running.log.feeds
        for attempt in range(1, 6):
            await wait_until(lambda: receiver.open == 1 and feed._resting, "an attempt is made, and nothing is read")
            proxy.answers = Answers.SWALLOW
            gate.set()
            await wait_until(partial(_attempted, server, prefix, attempt), "the log has taken it")
            gate = receiver.hold("a")
            proxy.cut()
            proxy.answers = Answers.PASS
        receiver.refused.clear()
        gate.set()
        await wait_until(lambda: receiver.taken == ["a"], "delivered")
    assert receiver.numbers("a") == [1, 2, 3, 4, 5, 6]


DENIED = [
    "xack",
    "xadd",
    "xclaim",
    "xgroup",
    "xreadgroup",
    "xrange",
    "hset",
    "hdel",
    "zadd",
    "zrem",
    "rpush",
    "lpop",
    "hlen",
]


async def test_a_user_without_one_permission_loses_no_delivery(server: RedisServer, prefix: str) -> None:
    """Where one command is denied nothing is left half done: granted, everything is delivered, and dead once."""
    await asyncio.gather(*(_denied(server, f"{prefix}-{command}", command) for command in DENIED))


async def _denied(server: RedisServer, prefix: str, command: str) -> None:
    keys, receiver = Keys(prefix, 0), Receiver(refused={"a"})
    fill(server, prefix, [("a", "s"), ("x", "other"), ("b", "s"), ("c", "s")])
    async with destination(server, prefix) as crm:
        (a, *_) = (await crm.take(want=2)).entries
        await crm.take(settle("s", a.entry, Verdict.RETRY, 1, 0.0), want=0, heads=0)
    server.call("ACL", "SETUSER", prefix, "on", "nopass", f"~{prefix}:*", "+@all", f"-{command}")
    url = f"unix://{prefix}:any@{urlsplit(server.url).path}"
    failures: list[LogUnavailable] = []
    async with delivering(url, prefix, receiver, TWICE, failures=failures):
        await wait_until(lambda: len(failures) >= 3, f"{command} is missed")
        server.call("ACL", "SETUSER", prefix, f"+{command}")
        await wait_until(lambda: {"b", "c", "x"} <= set(receiver.taken), f"everything, after {command} was missed")
        await wait_until(lambda: not server.call("EXISTS", keys.held("crm")), "nothing waits")
        await wait_until(lambda: pending(server, prefix) == 0, "everything settled")
    server.call("ACL", "DELUSER", prefix)
    assert [id_ for id_ in receiver.taken if id_ != "x"] == ["b", "c"], command
    assert server.call("XLEN", keys.dead("crm")) == 1, command
    assert not server.call("EXISTS", keys.lane("crm") + "s", keys.due("crm"), keys.oldest("crm")), command


async def test_entries_trimmed_before_their_time_are_counted(server: RedisServer, prefix: str) -> None:
    """What is no longer in the log is counted, wherever it waited, and what is left goes on."""
    receiver = Receiver(refused={"s"})
    entries = fill(server, prefix, [(f"e{number}", "s") for number in range(20)])
    async with delivering(server.url, prefix, receiver, Limits(schedule=Schedule.listed([0.2]))) as life:
        await wait_until(lambda: _attempts(server, prefix) >= 1, "the first one waits")
        server.call("XTRIM", Keys(prefix, 0).events, "MINID", entries[15])
        receiver.refused.clear()
        await wait_until(lambda: len(receiver.taken) >= 5, "what is left")
        missing = sum(fact.count for fact in life.running.of(EntriesMissing))
    assert receiver.taken[-5:] == [f"e{number}" for number in range(15, 20)]
    assert missing + len(receiver.taken) == 20


async def test_an_entry_trimmed_in_flight_strands_none_behind_it(server: RedisServer, prefix: str) -> None:
    """An entry vanishes from the log between being handed out and being sent: what comes after it still arrives."""
    receiver = Receiver(refused={"a"})
    entries = fill(server, prefix, [("a", "s"), ("b", "s"), ("c", "s")])
    b, c = receiver.hold("b"), receiver.hold("c")
    async with delivering(server.url, prefix, receiver) as life:
        writer = await life.running.log.open("s", RESOURCE)
        await wait_until(lambda: _attempts(server, prefix) >= 1, "the first one waits, the others behind it")
        receiver.refused.clear()
        await wait_until(lambda: receiver.numbers("b"), "the second one is in flight")
        server.call("XDEL", Keys(prefix, 0).events, entries[2])
        b.set()
        await wait_until(lambda: not server.call("EXISTS", Keys(prefix, 0).held("crm")), "the log knows of no other")
        await store(writer, batch("d", "e", subject="s"))
        await wait_until(lambda: pending(server, prefix) == 2 or "d" in receiver.taken, "the next ones are read")
        c.set()
        await wait_until(lambda: receiver.taken[-2:] == ["d", "e"], "and delivered")
        await wait_until(lambda: pending(server, prefix) == 0, "and settled")
    assert [id_ for id_ in receiver.taken if id_ != "c"] == ["a", "b", "d", "e"]


async def test_a_thousand_runs_arrive_once_and_in_order(server: RedisServer, prefix: str) -> None:
    """Many subjects, some failing now and then: every event is taken exactly once here, in its subject's order."""
    receiver = Receiver()
    unlucky = {f"e{number}" for number in range(0, 3000, 7)}
    receiver.refused |= unlucky
    fill(server, prefix, [(f"e{number}", f"s{number % 1000}") for number in range(3000)])
    async with delivering(server.url, prefix, receiver, Limits(max_in_flight=32, schedule=Schedule.listed([0.01]))):
        await wait_until(lambda: {id_ for id_, number in receiver.attempts if number == 2}, "second attempts", 20.0)
        receiver.refused.clear()
        await wait_until(lambda: len(receiver.taken) == 3000, "everything", 20.0)
    order = defaultdict(list)
    for id_ in receiver.taken:
        order[int(id_[1:]) % 1000].append(int(id_[1:]))
    assert all(numbers == [at, at + 1000, at + 2000] for at, numbers in order.items())
