"""Holds delivery to what it remembers: over kill -9, a polite stop, another bridge, and a Redis that goes away."""

import asyncio
import signal
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from daemon import Daemon
from delivering import QUICK, SOURCE, Stage, destination, spread
from proxy import Answers, Proxy
from receiver import Hook, Receiver, accept, hang, status
from servers import RedisServer
from waiting import wait_until

from bridge.signing import message_id


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


async def test_attempts_and_due_times_survive_kill(stage: Stage, receiver: Receiver, tmp_path: Path) -> None:
    """After each failure kill -9: no attempt is forgotten, none comes early, the last one makes a dead letter."""
    receiver.answer = status(503)
    stage.put([("e1", "run-1"), ("e2", "run-1")])
    there = destination("crm", receiver.url, retry_schedule=[2.0], max_attempts=3)
    async with Daemon(tmp_path, stage.config(there)) as daemon:
        for attempt in (1, 2):
            await wait_until(lambda: stage.attempts("crm", "run-1") == attempt, "the failure in the log", 20)  # noqa: B023
            daemon.kill()
            assert len(receiver.hooks) == attempt
            daemon.start()
        await wait_until(lambda: stage.dead("crm"), "a dead letter", 20)
        receiver.answer = accept
        await stage.all_settled("crm")
    hooks = receiver.of("e1")
    assert receiver.ids() == ["e1"] * 3 + receiver.ids()[3:]
    for earlier, later in pairwise(hooks):
        assert later.at - earlier.at >= 2.0 * 0.8
    assert {hook.headers["webhook-id"] for hook in hooks} == {message_id(SOURCE + "run-1", "e1")}
    assert [(letter["id"], letter["attempts"]) for letter in stage.dead("crm")] == [("e1", "3")]
    assert set(receiver.ids()[3:]) == {"e2"}


@pytest.mark.parametrize("each", [5, 20], ids=["in-memory", "held-in-the-log"])
async def test_what_was_in_flight_at_kill_is_sent_again(
    stage: Stage, receiver: Receiver, tmp_path: Path, each: int
) -> None:
    """Killed while receivers were at work: everything comes again, with the same ids and in order."""
    receiver.answer = hang
    events = spread(3, each)
    stage.put(events)
    async with Daemon(tmp_path, stage.config(destination("crm", receiver.url))) as daemon:
        await wait_until(lambda: len(receiver.hooks) == 3, "one of each subject in flight", 20)
        daemon.kill()
        receiver.answer = accept
        daemon.start()
        await stage.all_settled("crm", 20)
    for subject in {subject for _, subject in events}:
        expected = [id_ for id_, of in events if of == subject]
        assert receiver.ids(subject) == [expected[0], *expected]
        first, second = receiver.of(expected[0])
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body


async def test_another_bridge_takes_over(stage: Stage, receiver: Receiver, tmp_path: Path) -> None:
    """A second bridge on the same log sends what the first had in hand, with the same id; the first stops sending."""
    receiver.answer = hang
    stage.put([("e1", "run-1"), ("e2", "run-1")])
    config = stage.config(destination("crm", receiver.url, timeout="2s", retry_schedule=QUICK), more='grace = "1s"')
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with Daemon(tmp_path / "one", config) as one:
        await wait_until(lambda: receiver.hooks, "the first one's attempt", 20)
        async with Daemon(tmp_path / "two", config):
            await wait_until(lambda: len(receiver.hooks) == 2, "the second one's attempt", 20)
            receiver.answer = accept
            await one.line("destination.fenced", destination="crm")
            await stage.all_settled("crm", 20)
            stage.put([("e3", "run-1")])
            await stage.all_settled("crm", 20)
    assert receiver.ids()[:2] == ["e1", "e1"]
    assert receiver.ids()[-2:] == ["e2", "e3"]
    assert len({hook.headers["webhook-id"] for hook in receiver.of("e1")}) == 1


async def test_a_polite_stop_settles_what_was_in_flight(stage: Stage, receiver: Receiver, tmp_path: Path) -> None:
    """SIGTERM while receivers are at work: their answers count, nothing new is sent, nothing comes twice later."""
    answers = asyncio.Event()

    async def when_allowed(hook: Hook) -> int:
        await answers.wait()
        return 503 if hook.subject == "run-0" else 204

    receiver.answer = when_allowed
    events = spread(4, 20)
    stage.put(events)
    there = destination("crm", receiver.url, retry_schedule=QUICK, max_in_flight=4)
    async with Daemon(tmp_path, stage.config(there)) as daemon:
        await wait_until(lambda: len(receiver.hooks) == 4, "four in flight", 20)
        daemon.signal(signal.SIGTERM)
        await daemon.line("bridge.stopping")
        answers.set()
        assert await daemon.end() == 0
        assert len(receiver.hooks) == 4
        assert stage.attempts("crm", "run-0") == 1
        receiver.answer = accept
        daemon.start()
        await stage.all_settled("crm", 20)
    for subject in {subject for _, subject in events}:
        expected = [id_ for id_, of in events if of == subject]
        assert receiver.ids(subject) == (expected[:1] if subject == "run-0" else []) + expected


@pytest.mark.parametrize("heard", [True, False], ids=["answer-lost", "request-lost"])
@pytest.mark.parametrize("outcome", [204, 503])
async def test_an_outcome_is_kept_while_redis_is_away(
    stage: Stage, receiver: Receiver, outcome: int, *, heard: bool
) -> None:
    """Redis goes away before it has answered the settlement: nothing is sent twice, no attempt is counted twice."""
    async with Proxy(stage.server) as proxy:

        async def cutting(hook: Hook) -> int:
            if hook.id == "e1" and len(receiver.of("e1")) == 1:
                if heard:
                    proxy.answers = Answers.SWALLOW
                else:
                    proxy.refuse = True
                    proxy.cut()
            return outcome if hook.id == "e1" and len(receiver.of("e1")) < 3 else 204

        receiver.answer = cutting
        stage.put([("e1", "run-1"), ("e2", "run-1"), ("e3", "run-2")])
        there = destination("crm", receiver.url, retry_schedule=[1.0], max_attempts=3)
        async with stage.bridge(there, url=proxy.url):
            await wait_until(lambda: "e1" in receiver.ids(), "the first attempt")
            if heard and outcome == 503:
                await wait_until(lambda: stage.attempts("crm", "run-1") == 1, "the failure in the log")
            elif heard:
                await wait_until(lambda: "e3" in receiver.ids(), "the others")
            proxy.answers = Answers.PASS
            proxy.cut()
            proxy.refuse = False
            await stage.all_settled("crm", 20)
    attempts = 1 if outcome == 204 else 3
    assert receiver.ids("run-1") == ["e1"] * attempts + ["e2"]
    assert receiver.ids("run-2") == ["e3"]
    assert stage.dead("crm") == []
    for earlier, later in pairwise(receiver.of("e1")):
        assert later.at - earlier.at >= 0.8
