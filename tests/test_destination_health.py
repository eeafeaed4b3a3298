"""Holds a destination's health to what others see of it: requests, events in the log, lines and metrics."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from delivering import QUICK, Stage, destination, spread
from receiver import Hook, Receiver, accept, status
from servers import RedisServer
from structlog.testing import capture_logs
from waiting import wait_until

from bridge.app import App

TYPES = ["ai.bctrl.*"]
"""What the log says about destinations goes to none of these."""


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


def crm(receiver: Receiver, **keys: Any) -> str:
    """The destination of these tests."""
    return destination("crm", receiver.url, types=TYPES, **{"retry_schedule": QUICK, **keys})


def changes(app: App, what: str) -> int:
    """What the metric says."""
    return app.observe.live.destination("crm").changes[what]


async def test_410_disables_at_once_and_enable_goes_on(stage: Stage, receiver: Receiver) -> None:
    """An event, a line and a metric, no further request, over a restart too; then all of it, in order, none twice."""
    receiver.answer = status(410)
    stage.put([("e0", "run-0"), ("e1", "run-0")])
    with capture_logs() as lines:
        async with stage.bridge(crm(receiver)) as app:
            await wait_until(lambda: stage.told("crm") == ["disabled"], "the event")
            assert changes(app, "disabled") == 1
            events = spread(3, 5)
            stage.put(events)
            before = len(receiver.hooks)
    (line,) = [line for line in lines if line["event"] == "destination.changed"]
    assert (line["destination"], line["what"], line["status"]) == ("crm", "disabled", 410)
    receiver.answer = accept
    stage.put([("late", "run-0")])
    async with Receiver() as sign, stage.bridge(crm(receiver), destination("other", sign.url, types=TYPES)) as app:
        await stage.all_settled("other")
        assert len(receiver.hooks) == before == 1
        stage.ask("crm", "enable")
        await wait_until(lambda: "late" in receiver.ids(), "what came last")
        await stage.all_settled("crm")
        assert changes(app, "enabled") == 1
    assert stage.told("crm") == ["disabled", "enabled"]
    assert stage.dead("crm") == []
    for subject in ("run-0", "run-1", "run-2"):
        first = ["e0", "e0", "e1"] if subject == "run-0" else []
        last = ["late"] if subject == "run-0" else []
        assert receiver.ids(subject) == [*first, *(id_ for id_, of in events if of == subject), *last]


async def test_a_failing_destination_is_probed_and_recovers(stage: Stage, receiver: Receiver) -> None:
    """After ten failures one request at a time, seconds apart; what is held back uses up no attempt; then all flows."""
    receiver.answer = status(500)
    stage.put([(f"e{number:02d}", f"run-{number}") for number in range(40)])
    async with stage.bridge(crm(receiver, max_in_flight=10, max_attempts=5)) as app:
        await wait_until(lambda: stage.told("crm") == ["probing"], "the breaker")
        hammered = len(receiver.hooks)
        receiver.most_at_once = 0
        await wait_until(lambda: len(receiver.hooks) > hammered, "a probe")
        assert hammered < 25
        assert sum(stage.attempts("crm", f"run-{number}") <= 1 for number in range(40)) >= 37
        receiver.answer = accept
        await wait_until(lambda: len(receiver.hooks) >= hammered + 2, "another probe")
        assert receiver.most_at_once == 1
        probes = [hook.at for hook in receiver.hooks[hammered - 1 : hammered + 2]]
        assert [later - earlier > wait for wait, (earlier, later) in zip((0.7, 1.5), pairwise(probes), strict=True)]
        await stage.all_settled("crm")
        assert (changes(app, "probing"), changes(app, "recovered")) == (1, 1)
    assert stage.told("crm") == ["probing", "recovered"]
    assert stage.dead("crm") == []


async def test_nothing_but_failure_disables_after_warnings(stage: Stage, receiver: Receiver) -> None:
    """After `disable_after`, however few attempts there were, and never without a warning; nothing is given up."""
    receiver.answer = status(503)
    stage.put([("e1", "run-1"), ("e2", "run-1")])
    keys = {"retry_schedule": [0.1], "disable_after": "1s", "max_attempts": 100, "max_in_flight": 1}
    async with stage.bridge(crm(receiver, **keys)) as app:
        await wait_until(lambda: "disabled" in stage.told("crm"), "the end")
        failing = changes(app, "failing")
        made = len(receiver.hooks)
        stage.ask("crm", "enable")
        receiver.answer = accept
        await stage.all_settled("crm")
    told = [what for what in stage.told("crm") if what != "probing"]
    assert told[:-2] == ["failing"] * int(failing)
    assert failing >= 1
    assert told[-2:] == ["disabled", "enabled"]
    assert receiver.ids() == ["e1"] * (made + 1) + ["e2"]
    assert stage.dead("crm") == []


async def test_a_rate_limit_is_kept(stage: Stage, receiver: Receiver) -> None:
    """A second's worth at once and then so many a second, over all subjects."""
    stage.put([(f"e{number}", f"run-{number}") for number in range(80)])
    async with stage.bridge(crm(receiver, rate_limit="20/s")):
        await stage.all_settled("crm")
    first, *_, last = sorted(hook.at for hook in receiver.hooks)
    assert len(receiver.hooks) == 80
    assert 2.9 <= last - first < 5  # 20 at once, then 60 at 20/s


async def test_places_are_taken_up_to_the_last(stage: Stage, receiver: Receiver) -> None:
    """32 requests that the receiver holds, and no 33rd; a place that gets free is taken."""
    free = asyncio.Semaphore(0)

    async def held(hook: Hook) -> int:
        await free.acquire()
        return 204

    receiver.answer = held
    stage.put([(f"e{number}", f"run-{number}") for number in range(60)])
    async with Receiver() as sign, stage.bridge(crm(receiver), destination("other", sign.url, types=TYPES)):
        await wait_until(lambda: len(receiver.hooks) == 32, "32 requests")
        await stage.all_settled("other")
        assert len(receiver.hooks) == 32
        free.release()
        await wait_until(lambda: len(receiver.hooks) == 33, "one more")
        for _ in range(60):
            free.release()
        await stage.all_settled("crm")
    assert receiver.most_at_once == 32
    assert len(set(receiver.ids())) == len(receiver.hooks) == 60


async def test_without_order_a_subject_is_parallel_and_a_failure_holds_nobody(
    stage: Stage, receiver: Receiver
) -> None:  # fmt: skip
    """`order = "none"`: events of one subject go side by side, and behind a failing one come all the others."""
    together = asyncio.Event()

    async def answer(hook: Hook) -> int:
        if hook.id == "e0":
            return 204 if len(receiver.of("e0")) > 2 else 500
        if receiver.most_of_one_subject >= 4:
            together.set()
        await together.wait()
        return 204

    receiver.answer = answer
    events = [(f"e{number}", "run") for number in range(30)]
    stage.put(events)
    async with stage.bridge(crm(receiver, order="none", max_in_flight=4, retry_schedule=[0.5])):
        await wait_until(lambda: {id_ for id_, _ in events} <= set(receiver.ids()), "all of them")
        assert len(receiver.of("e0")) == 1
        await stage.all_settled("crm")
    assert receiver.most_of_one_subject == 4
    assert len(receiver.of("e0")) == 3
    assert len(receiver.hooks) == 32


async def test_two_destinations_at_one_receiver_do_not_disturb_each_other(stage: Stage, receiver: Receiver) -> None:
    """One that fails and is probed there takes nothing from the other, which has connections of its own."""

    async def by_path(hook: Hook) -> int:
        return 500 if hook.target == "/bad" else 204

    receiver.answer = by_path
    stage.put([(f"e{number}", f"run-{number}") for number in range(30)])
    bad = destination("bad", receiver.url + "/bad", types=TYPES, retry_schedule=QUICK)
    async with stage.bridge(bad, destination("good", receiver.url + "/good", types=TYPES)):
        await wait_until(lambda: stage.told("bad") == ["probing"], "the breaker of the other")
        stage.put([("last", "run-0")])
        await wait_until(lambda: ("/good", "last") in {(hook.target, hook.id) for hook in receiver.hooks}, "the last")
        await wait_until(lambda: len([hook for hook in receiver.hooks if hook.target == "/good"]) == 31, "all")
    assert stage.told("good") == []
    good = [hook.id for hook in receiver.hooks if hook.target == "/good"]
    assert sorted(good) == sorted([f"e{number}" for number in range(30)] + ["last"])
