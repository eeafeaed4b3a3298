"""The log as one destination sees it, against every real server: what flows, what waits, who owns it, what is gone."""

from collections.abc import Iterable

import pytest
from destination import Came, Destination, destination, fill, pending, settle
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.lane import Head, Verdict
from bridge.errors import Fenced, LogUnavailable
from bridge.event import Entry
from bridge.redis_log import Keys


def names(entries: Iterable[Entry]) -> list[str]:
    """Their event ids."""
    return [entry.id for entry in entries]


def head_names(heads: Iterable[Head]) -> list[str]:
    """The event ids of heads that the log still has."""
    return [entry.id for head in heads for entry in head.entries]


async def test_entries_come_in_order_and_are_settled(server: RedisServer, prefix: str) -> None:
    """New entries come once, in the log's order and whole; settled ones are acknowledged in the group."""
    stream_ids = fill(server, prefix, [("a", "s1"), ("b", "s2"), ("c", "s1")])
    async with destination(server, prefix) as crm:
        taken = await crm.take(want=2)
        assert taken.entries == [
            Entry(stream_ids[0], "a", "t", "s1", b'{"id":"a"}'),
            Entry(stream_ids[1], "b", "t", "s2", b'{"id":"b"}'),
        ]
        assert (taken.heads, taken.next_due, taken.missing) == ([], None, 0)
        assert names((await crm.take(settled=stream_ids[:2])).entries) == ["c"]
        assert pending(server, prefix) == 1
        assert (await crm.take(settled=stream_ids[2:])).entries == []
        assert pending(server, prefix) == 0


@pytest.mark.parametrize(("start", "expected"), [("start", ["old", "new"]), ("now", ["new"])])
async def test_a_new_destination_begins_where_it_is_told(
    server: RedisServer, prefix: str, start: str, expected: list[str]
) -> None:
    """A new destination gets the whole log or only what comes; one that exists goes on where it was."""
    fill(server, prefix, [("old", "s")])
    async with destination(server, prefix, start=start) as crm:
        fill(server, prefix, [("new", "s")])
        assert names((await crm.take()).entries) == expected
    async with destination(server, prefix, start="start") as crm:
        assert (await crm.take()).entries == []


async def test_destinations_do_not_touch_each_other(server: RedisServer, prefix: str) -> None:
    """Two destinations read the same entries; what waits at one waits at no other."""
    (first, _) = fill(server, prefix, [("a", "s"), ("b", "s")])
    async with destination(server, prefix) as crm, destination(server, prefix, name="erp") as erp:
        assert names((await crm.take(want=1)).entries) == ["a"]
        await crm.take(settle("s", first, Verdict.RETRY, 1, 60.0), want=0)
        assert names((await erp.take()).entries) == ["a", "b"]
        assert (await crm.take()).entries == []


async def test_a_failed_entry_comes_again_when_it_is_due(server: RedisServer, prefix: str) -> None:
    """A retry is handed out as its subject's head when it is due, with its attempts, and not before."""
    (entry,) = fill(server, prefix, [("a", "s")])
    async with destination(server, prefix) as crm:
        await crm.take()
        taken = await crm.take(settle("s", entry, Verdict.RETRY, 3, 0.15, status=503, error="busy"))
        assert taken.heads == []
        assert taken.next_due is not None
        assert 0 < taken.next_due <= 0.15
        assert pending(server, prefix) == 0, "what waits is no longer the group's"
        (head,) = (await wait_until(lambda: _due(crm), "it is due")).heads
        assert (head.lane, head.ids[0], head.attempts) == ("s", entry, 3)
        assert head.entries[0] == Entry(entry, "a", "t", "s", b'{"id":"a"}')
        assert (await crm.take(busy=["s"])).heads == [], "in flight: not handed out twice"
        assert (await crm.take(settle("s", entry, Verdict.DONE))).next_due is None
    assert server.call("KEYS", f"{Keys(prefix, 0).held('crm')}*") == []


async def _due(crm: Destination) -> Came | None:
    taken = await crm.take()
    return taken if taken.heads else None


async def test_entries_behind_a_waiting_one_wait_in_order(server: RedisServer, prefix: str) -> None:
    """Behind a failed entry wait those that were in memory and those that come later, in order; others go on."""
    entries = fill(server, prefix, [(name, "s") for name in "abc"])
    async with destination(server, prefix) as crm:
        await crm.take()
        await crm.take(settle("s", entries[0], Verdict.RETRY, 1, 0.0, waiting=entries[1:]), heads=0)
        fill(server, prefix, [("d", "s"), ("x", "other"), ("e", "s")])
        assert names((await crm.take(heads=0)).entries) == ["x"]
        assert server.call("LRANGE", Keys(prefix, 0).lane("crm") + "s", 0, 1) == entries[1:]
        came = []
        taken = await crm.take()
        while taken.heads:
            (head,) = taken.heads
            came += head_names([head])
            assert head.attempts == (1 if came == ["a"] else 0)
            taken = await crm.take(settle("s", head.ids[0], Verdict.DONE))
    assert came == list("abcde")


async def test_a_held_lane_waits_in_redis_while_its_first_is_in_flight(server: RedisServer, prefix: str) -> None:
    """HOLD sends what is behind an entry in flight to the log; DONE brings up the next, RETRY keeps the first."""
    entries = fill(server, prefix, [(name, "s") for name in "abc"])
    async with destination(server, prefix) as crm:
        await crm.take()
        taken = await crm.take(settle("s", entries[0], Verdict.HOLD, waiting=entries[1:]), busy=["s"])
        assert (taken.entries, taken.heads, pending(server, prefix)) == ([], [], 0)
        assert names((await crm.left()).entries) == []
        taken = await crm.take(settle("s", entries[0], Verdict.RETRY, 1, 0.0))
        assert [(head.ids[0], head.attempts) for head in taken.heads] == [(entries[0], 1)]
        taken = await crm.take(settle("s", entries[0], Verdict.DONE))
        assert [(head.ids[0], head.attempts) for head in taken.heads] == [(entries[1], 0)]


async def test_attempts_and_due_times_survive_a_restart(server: RedisServer, prefix: str) -> None:
    """A new life of a destination finds attempts, due time and order as the old one left them."""
    entries = fill(server, prefix, [("a", "s"), ("b", "s"), ("c", "later")])
    async with destination(server, prefix) as crm:
        await crm.take()
        await crm.take(settle("s", entries[0], Verdict.RETRY, 7, 0.2, waiting=entries[1:2]))
        await crm.take(settle("later", entries[2], Verdict.RETRY, 2, 60.0))
    async with destination(server, prefix) as crm:
        taken = await crm.left()
        assert (taken.entries, taken.heads) == ([], [])
        assert taken.next_due is not None
        assert taken.next_due <= 0.2
        (head,) = (await wait_until(lambda: _due(crm), "the first is due")).heads
        assert (head.ids[0], head.attempts) == (entries[0], 7)
        taken = await crm.take(settle("s", entries[0], Verdict.DONE))
        assert head_names(taken.heads) == ["b"]
        taken = await crm.take(settle("s", entries[1], Verdict.DONE))
        assert taken.next_due is not None
        assert 50 < taken.next_due <= 60


async def test_ten_thousand_waiting_entries_stay_in_redis_and_come_in_order(server: RedisServer, prefix: str) -> None:
    """A subject's backlog goes to its lane without passing through memory again, and comes out in the log's order."""
    entries = fill(server, prefix, ((f"e{number}", "s") for number in range(10_000)))
    async with destination(server, prefix) as crm:
        await crm.take(want=1)
        await crm.take(settle("s", entries[0], Verdict.RETRY, 1, 0.0), want=0, heads=0)
        while (await crm.take(want=1000, heads=0)).last:
            pass
        assert server.call("LLEN", Keys(prefix, 0).lane("crm") + "s") == 9999
        assert pending(server, prefix) == 0
    async with destination(server, prefix) as crm:
        (head,) = (await crm.take()).heads
        assert head.ids[0] == entries[0]
        for at in range(500, 10_001, 500):
            done = [settle("s", entry, Verdict.DONE) for entry in entries[at - 500 : at]]
            heads = (await crm.take(*done)).heads
            assert [head.ids[0] for head in heads] == entries[at : at + 1]
    assert server.call("EXISTS", Keys(prefix, 0).lane("crm") + "s", Keys(prefix, 0).held("crm")) == 0


async def test_a_dead_letter_keeps_everything(server: RedisServer, prefix: str) -> None:
    """A dead letter has the log entry's fields, its id in the log, attempts, last status and error, and the time."""
    entries = fill(server, prefix, [("a", "s"), ("b", "s"), ("c", "s")])
    keys = Keys(prefix, 0)
    async with destination(server, prefix) as crm:
        first, second, _ = (await crm.take()).entries
        dead = settle("s", first.entry, Verdict.DEAD, 10, status=503, error="over", dead=first)
        assert (await crm.take(dead)).heads == [], "its lane was in memory and stays there"
        await crm.take(settle("s", second.entry, Verdict.RETRY, 9, 0.0, waiting=entries[2:]))
        dead = settle("s", second.entry, Verdict.DEAD, 10, error="no answer", dead=second)
        assert head_names((await crm.take(dead)).heads) == ["c"], "its lane was in the log: the next comes up"
        assert pending(server, prefix) == 0
    (_, one), (_, two) = server.call("XRANGE", keys.dead("crm"), "-", "+")
    assert list(one) == [
        "id", "type", "subject", "event", "entry", "attempts", "last_status", "last_error", "time"
    ]  # fmt: skip
    assert one.pop("time").endswith("Z")
    assert one == {
        "id": "a", "type": "t", "subject": "s", "event": '{"id":"a"}', "entry": entries[0], "attempts": "10",
        "last_status": "503", "last_error": "over",
    }  # fmt: skip
    assert (two["id"], two["last_status"], two["last_error"]) == ("b", "", "no answer")


async def test_entries_read_and_not_settled_come_again(server: RedisServer, prefix: str) -> None:
    """After a crash the entries that were in memory come first, page by page, in their order."""
    entries = fill(server, prefix, ((f"e{number}", f"s{number % 3}") for number in range(25)))
    async with destination(server, prefix) as crm:
        assert len((await crm.take(want=20)).entries) == 20
        await crm.take(settled=[entries[3], entries[7]], want=0)
        await crm.take(settle("s2", entries[2], Verdict.RETRY, 1, 60.0), want=0)
    async with destination(server, prefix) as crm:
        came, after = [], "0"
        while after:
            taken = await crm.left(after, count=6, heads=0)
            came += names(taken.entries)
            after = taken.last
        assert came == [f"e{number}" for number in range(20) if number not in (3, 7) and number % 3 != 2]
        lane = server.call("LRANGE", Keys(prefix, 0).lane("crm") + "s2", 0, -1)
        assert lane == [entries[number] for number in range(5, 20, 3)], "a waiting subject's entries join its lane"
        assert names((await crm.take(heads=0)).entries) == ["e21", "e22", "e24"]


async def test_entries_gone_from_the_log_are_counted_and_passed_over(server: RedisServer, prefix: str) -> None:
    """What was trimmed before it was settled is counted, wherever it waited, and stops nothing."""
    entries = fill(server, prefix, [(str(number), "waits" if number < 5 else "flows") for number in range(10)])
    async with destination(server, prefix) as crm:
        await crm.take(want=9)
        waiting = entries[1:5]
        await crm.take(settle("waits", entries[0], Verdict.RETRY, 1, 0.0, waiting=waiting), want=0, heads=0)
    server.call("XDEL", Keys(prefix, 0).events, *entries[:4], entries[5], entries[6])
    async with destination(server, prefix) as crm:
        taken = await crm.left()
        assert (names(taken.entries), taken.missing) == (["7", "8"], 2)
        (head,) = taken.heads
        assert (head.ids[0], head.entries) == (entries[0], ())
        taken = await crm.take(settle("waits", entries[0], Verdict.DONE))
        assert (head_names(taken.heads), taken.missing) == (["4"], 3)
        assert (await crm.left()).missing == 0, "counted once"


async def test_the_older_owner_of_a_delivery_is_refused(server: RedisServer, prefix: str) -> None:
    """Opening takes the delivery over: the older owner neither reads nor settles any more, nor takes it back."""
    entries = fill(server, prefix, [("a", "s"), ("b", "s")])
    async with destination(server, prefix) as old, destination(server, prefix, name="erp") as other:
        await old.take(want=1)
        async with destination(server, prefix, instance="two") as new:
            for settlement in (
                settle("s", entries[0], Verdict.DONE), settle("s", entries[0], Verdict.DEAD),
                settle("s", entries[0], Verdict.RETRY, 1, 0.0), settle("s", entries[0], Verdict.HOLD),
            ):  # fmt: skip
                with pytest.raises(Fenced) as fenced:
                    await old.take(settlement, settled=entries[:1])
                assert fenced.value.owner == "two:2"
            with pytest.raises(Fenced):
                await old.open()
            assert pending(server, prefix) == 1
            assert server.call("KEYS", f"{Keys(prefix, 0).root}:dead:*") == []
            assert names((await new.left()).entries) == ["a"]
            assert names((await other.take()).entries) == ["a", "b"]


async def test_a_redis_from_an_older_copy_is_taken_over_again(server: RedisServer, prefix: str) -> None:
    """Where an older owner, or none, is stored, the exchange fails in passing and the next open goes on."""
    fill(server, prefix, [("a", "s")])
    async with destination(server, prefix) as crm:
        await crm.open()
        await crm.take()
        server.call("HSET", Keys(prefix, 0).destination("crm"), "owner", "one:1", "epoch", 1)
        with pytest.raises(LogUnavailable) as error:
            await crm.take()
        assert error.value.code == "ROLLEDBACK"
        await crm.open()
        assert names((await crm.left()).entries) == ["a"]
        server.call("FLUSHALL")
        fill(server, prefix, [("b", "s")])
        with pytest.raises(LogUnavailable):
            await crm.take()
        await crm.open()
        assert names((await crm.take()).entries) == ["b"], "a group that is gone starts at the beginning"


async def test_a_group_that_was_removed_starts_at_the_beginning(server: RedisServer, prefix: str) -> None:
    """Somebody removed the consumer group: everything still in the log comes again, nothing is left out."""
    fill(server, prefix, [("a", "s"), ("b", "s")])
    async with destination(server, prefix, start="now") as crm:
        server.call("XGROUP", "DESTROY", Keys(prefix, 0).events, "crm")
        fill(server, prefix, [("c", "s")])
        with pytest.raises(LogUnavailable) as error:
            await crm.take()
        assert error.value.code == "NOGROUP"
        await crm.open()
        assert names((await crm.take()).entries) == ["a", "b", "c"]


async def test_a_new_connection_is_reported_before_anything_is_handed_out(server: RedisServer, prefix: str) -> None:
    """A connection that broke and came back may lead to an older copy: the exchange fails once, then open again."""
    fill(server, prefix, [("a", "s")])
    async with destination(server, prefix) as crm:
        server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for _ in range(2):
            with pytest.raises(LogUnavailable):
                await crm.take()
        await crm.open()
        assert names((await crm.take()).entries) == ["a"]


async def test_fields_that_others_write_are_tolerated(server: RedisServer, prefix: str) -> None:
    """Entries that others put into the log, with fields left out or not UTF-8, are handed out all the same."""
    server.call("XADD", Keys(prefix, 0).events, "*", "id", "a")
    server.call("XADD", Keys(prefix, 0).events, "*", "more", "x", "subject", b"\xff", "id", b"\xfe", "event", b"\xfd")
    async with destination(server, prefix) as crm:
        first, second = (await crm.take()).entries
        assert (first.id, first.type, first.subject, first.event) == ("a", "", "", b"")
        assert (second.id, second.subject, second.event) == ("\ufffd", "\ufffd", b"\xfd")
        await crm.take(settled=[first.entry, second.entry])
        assert pending(server, prefix) == 0
