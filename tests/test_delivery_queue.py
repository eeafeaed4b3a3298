"""What is in memory of the log and what goes out next, method by method; `test_delivery_model` plays all of it."""

import math

import pytest

from bridge.delivery.lane import Head, Limits, Outcome, Result, Settlement, Together, Unit, Verdict
from bridge.delivery.queue import LEAST, MOST_BYTES, SLOW, Queue
from bridge.event import Entry

FAILED = Outcome(Result.FAILED, 503)
BATCHES = Limits(together=Together(3, 100, 1.0))


def entry(number: int, subject: str = "s", size: int = 10) -> Entry:
    """The log's entry of this number."""
    return Entry(f"1-{number}", f"e{number}", "t", subject, b"x" * size)


def queue_of(limits: Limits, *entries: Entry) -> Queue:
    """A queue that these have come to."""
    queue = Queue(limits)
    for one in entries:
        queue.add(one, 0.0)
    return queue


def names(unit: Unit) -> list[str]:
    """The event ids that go out together."""
    return [one.id for one in unit.entries]


def test_one_of_a_subject_is_ready_and_the_others_are_behind_it() -> None:
    """Subjects go side by side; what is behind the first of one is ready once that is delivered or dead."""
    queue = queue_of(Limits(), entry(1), entry(2), entry(3, "other"), entry(4))
    assert queue.ready == 2
    first, other = queue.pop(0.0), queue.pop(0.0)
    assert (names(first), names(other), queue.ready, queue.unsent) == (["e1"], ["e3"], 0, 2)
    queue.delivered(first, 0.0)
    second = queue.pop(0.0)
    queue.dead(second, 9, FAILED, 0.0)
    assert names(queue.pop(0.0)) == ["e4"]
    settled, (dead,) = queue.told()
    assert settled == ["1-1"]
    assert (dead.lane, dead.ids, dead.verdict, dead.attempts) == ("s", ("1-2",), Verdict.DEAD, 9)
    assert queue.told() == ([], [])


def test_without_an_order_everything_is_ready() -> None:
    """Nothing waits for anything; each failed one waits in a lane of its own."""
    queue = queue_of(Limits(ordered=False), entry(1), entry(2))
    assert queue.ready == 2
    for number in (1, 2):
        queue.retry(queue.pop(0.0), 1, 0, 5.0, FAILED)
        assert [(one.lane, one.ids, one.behind) for one in queue.told()[1]] == [(f"1-{number}", (f"1-{number}",), [])]


def test_a_failed_one_takes_all_of_its_subject_to_the_log() -> None:
    """Also what arrives before the log has heard of it; then the log says what waits, and forgetting it is an error."""
    queue = queue_of(Limits(), entry(1), entry(2))
    queue.retry(queue.pop(0.0), 2, 1, 7.0, FAILED)
    queue.add(entry(3), 0.0)
    assert (queue.unsent, queue.ready) == (0, 0)
    (one,) = queue.told()[1]
    assert one.behind == [("s", "1-2"), ("s", "1-3")]
    assert (one.verdict, one.attempts, one.refusals, one.delay) == (Verdict.RETRY, 2, 1, 7.0)
    queue.add_head(Head("s", ("1-1",), 2, 1, (entry(1),)))
    assert list(queue.held) == ["s"]
    with pytest.raises(LookupError, match="s"):
        queue.add(entry(4), 0.0)


def test_a_waiting_lanes_first_is_followed_without_asking() -> None:
    """Those handed out with it go one after another; each is settled on its own, and a failure ends it."""
    queue = queue_of(Limits())
    queue.add_head(Head("s", ("1-1",), 0, 0, (entry(1),), (entry(2), entry(3))))
    for number in (1, 2):
        unit = queue.pop(0.0)
        assert names(unit) == [f"e{number}"]
        assert queue.ready == 0
        queue.delivered(unit, 0.0)
    queue.retry(queue.pop(0.0), 1, 0, 1.0, FAILED)
    assert [(one.ids, one.verdict) for one in queue.told()[1]] == [
        (("1-1",), Verdict.DONE), (("1-2",), Verdict.DONE), (("1-3",), Verdict.RETRY),
    ]  # fmt: skip
    assert not queue.held


def test_what_follows_is_forgotten_once_the_log_may_put_something_before_it() -> None:
    """After `hold` a waiting lane's first is the last that goes out without the log's word."""
    queue = queue_of(Limits())
    queue.add_head(Head("s", ("1-1",), 0, 0, (entry(1),), (entry(2),)))
    unit = queue.pop(0.0)
    assert queue.hold("s")
    queue.delivered(unit, 0.0)
    assert (queue.ready, queue.held) == (0, {})


def test_hold_sends_what_flows_to_the_log_but_not_what_is_not_in_a_batch_yet() -> None:
    """A subject at rest can be held, one in flight too; one whose first waits for a batch can't be yet."""
    queue = queue_of(Limits(), entry(1), entry(2))
    assert queue.hold("nobody")
    assert queue.hold("s")
    assert [(one.verdict, one.behind) for one in queue.told()[1]] == [(Verdict.HOLD, [("s", "1-2")])]
    assert not queue_of(BATCHES, entry(1)).hold("s")


def test_a_head_that_is_gone_is_settled_at_once() -> None:
    """The log has lost all of a lane's first entries: nothing goes out. Has it lost some, the others go."""
    queue = queue_of(Limits())
    queue.add_head(Head("s", ("1-1",), 3, 0, ()))
    assert queue.told()[1] == [Settlement("s", ("1-1",), Verdict.DONE)]
    assert not queue.ready
    queue = queue_of(BATCHES)
    queue.add_head(Head("1-1", ("1-1", "1-2"), 1, 0, (entry(2),)))
    unit = queue.pop(0.0)
    queue.delivered(unit, 0.0)
    assert queue.told()[1] == [Settlement("1-1", ("1-1", "1-2"), Verdict.DONE)]


def test_a_batch_is_in_the_logs_order_and_so_is_what_waits_behind_it() -> None:
    """However the subjects lie: first of each subject, then what is behind them, sorted; a failure keeps that order."""
    queue = queue_of(BATCHES, entry(1, "a"), entry(2, "b"), entry(3, "a"))
    for number, subject in enumerate(("b", "a", "b", "a", "c"), 4):
        queue.add(entry(number, subject), 0.0)
    unit = queue.pop(0.0)
    assert names(unit) == ["e1", "e3", "e5"], "all of the first subject that there is room for"
    other = queue.pop(0.0)
    assert names(other) == ["e2", "e4", "e6"]
    third = queue_of(BATCHES, entry(1, "a"), entry(2, "b"), entry(3, "a")).pop(0.0)
    assert names(third) == ["e1", "e2", "e3"]
    mixed = queue_of(BATCHES, entry(1, "a"), entry(2, "b"), entry(3, "c"))
    unit = mixed.pop(0.0)
    for number, subject in enumerate("cbacb", 4):
        mixed.add(entry(number, subject), 0.0)
    mixed.retry(unit, 1, 0, 1.0, FAILED)
    (one,) = mixed.told()[1]
    assert (one.lane, one.ids) == ("1-1", ("1-1", "1-2", "1-3"))
    assert one.behind == [
        ("a", ""), ("b", ""), ("c", ""), ("c", "1-4"), ("b", "1-5"), ("a", "1-6"), ("c", "1-7"), ("b", "1-8"),
    ]  # fmt: skip


def test_a_batch_goes_when_it_is_full_or_has_waited() -> None:
    """Full is: as many events, or as many bytes. One event that is larger alone goes alone."""
    queue = queue_of(BATCHES)
    assert queue.wait(0.0) == math.inf
    queue.add(entry(1, "a"), 5.0)
    assert queue.wait(5.25) == 0.75
    assert queue.wait(6.5) == 0.0
    queue.add(entry(2, "a"), 5.5)
    queue.add(entry(3, "b"), 5.5)
    assert queue.wait(5.5) == 0.0
    assert names(queue.pop(5.5)) == ["e1", "e2", "e3"]
    large = queue_of(BATCHES, entry(1, "a", 60), entry(2, "b", 41), entry(3, "c", 101), entry(4, "d", 100))
    assert large.wait(0.0) == 0.0
    assert [names(large.pop(0.0)) for _ in range(4)] == [["e1"], ["e2"], ["e3"], ["e4"]]


def test_memory_is_bounded_by_entries_and_bytes() -> None:
    """There is room for so many entries, and for none once their bytes are too many; what goes out makes room."""
    queue = Queue(Limits(max_in_flight=1))
    assert queue.room == LEAST
    for number in range(LEAST):
        queue.add(entry(number, f"s{number}"), 0.0)
    assert queue.room == 0
    queue.pop(0.0)
    assert queue.room == 1
    queue = queue_of(Limits(), entry(1, "a", MOST_BYTES), entry(2, "b"))
    assert queue.room == 0
    queue.pop(0.0)
    assert queue.room > 0
    queue.clear()
    assert (queue.room, queue.ready, queue.unsent) == (LEAST, 0, 0)


def test_only_full_memory_and_a_slow_first_send_a_lane_to_the_log() -> None:
    """A lane behind one that takes long makes room where there is none; others, and those just sent, stay."""
    queue = queue_of(Limits(max_in_flight=1), entry(0, "slow"), entry(1, "quick"), *(entry(n, "slow") for n in (2, 3)))
    slow = queue.pop(1.0)
    queue.relieve(9.0)
    assert queue.told()[1] == [], "there is room"
    for number in range(4, LEAST + 1):
        queue.add(entry(number, "quick"), 9.0)
    queue.pop(9.0)
    queue.add(entry(LEAST + 1, "quick"), 9.0)
    assert queue.room == 0
    queue.relieve(9.0 + SLOW / 2)
    (held,) = queue.told()[1]
    assert (held.lane, held.verdict, held.behind) == ("slow", Verdict.HOLD, [("slow", "1-2"), ("slow", "1-3")])
    assert queue.room == 2
    queue.delivered(slow, 9.0)
    assert queue.told()[1] == [Settlement("slow", ("1-0",), Verdict.DONE)]
