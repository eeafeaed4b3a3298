"""Holds replays to their range, their order and their pace, and to leaving live delivery and the log as they are."""

import json
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon
from delivering import QUICK, Stage, destination, spread
from receiver import Hook, Receiver, accept, hang, status
from running_log import running_log
from servers import RedisServer
from waiting import wait_until

from bridge.redis_log import Asked, Keys, ReplayRequests, Server
from bridge.redis_log.replays import MOST, before, place

HEADER = "runbridge-replay"


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


@pytest.fixture
async def requests(stage: Stage) -> AsyncIterator[ReplayRequests]:
    """What an operator does about replays, on a log with two partitions."""
    found = ReplayRequests(Server(stage.server.url), [Keys(stage.prefix, 0), Keys(stage.prefix, 1)])
    yield found
    await found.close()


def asked(stage: Stage, first: str, last: str, id_: str = "r1", rate: float = 1000.0, **only: Any) -> Asked:
    """A replay from one event to another, both with it."""
    at = {id_: entry for id_, (entry, _) in stage.entries().items()}
    return Asked(id_, before(at[first]), at[last], rate, **only)


def again(receiver: Receiver, id_: str = "r1") -> list[str]:
    """The ids of the events that a replay brought, in order."""
    return [hook.id for hook in receiver.hooks if hook.headers.get(HEADER) == id_]


def live(receiver: Receiver) -> list[str]:
    """The ids of the events that came without the mark of a replay, in order."""
    return [hook.id for hook in receiver.hooks if HEADER not in hook.headers]


async def off_the_list(requests: ReplayRequests, timeout: float = 15.0) -> None:
    """Wait until no replay is asked for."""

    async def none() -> bool:
        return not await requests.listed()

    await wait_until(none, "no replay is left", timeout)


def keys(stage: Stage) -> set[str]:
    """The keys there are, and the log's groups; not the clock, which is noted at any time."""
    groups: Any = stage.server.client().xinfo_groups(stage.keys.events)
    found = {key for key in stage.server.client().scan_iter(count=1000) if not key.endswith(":clock")}
    return found | {f"group {group['name']}" for group in groups}


def only(wanted: Callable[[Hook], bool], number: int) -> Callable[..., object]:
    """An answer: this status where wanted, else 204."""

    async def answer(hook: Hook) -> int:
        return number if wanted(hook) else 204

    return answer


async def test_sends_exactly_the_range_in_order_and_marked(
    stage: Stage, receiver: Receiver, requests: ReplayRequests
) -> None:
    """From one entry to another, both with them, what destination and request want, and nothing of it stays behind."""
    stage.put(spread(4, 10))
    stage.put([("odd", "run-1")], kind="io.anchorbrowser.event.signaled")
    stage.put([("last", "run-1"), ("after", "run-1")])
    there = destination("crm", receiver.url, subjects=["run-0", "run-1", "run-2"])
    async with stage.bridge(there):
        await stage.all_settled("crm")
        before_it, came = keys(stage), live(receiver)
        replay = asked(stage, "2-002", "last", types=("ai.*",), subjects=("run-1", "run-[2-9]", "*-2", "run-3"))
        assert await requests.ask("crm", 0, replay)
        await off_the_list(requests)
        assert keys(stage) == before_it
    expected = [f"1-{n:03d}" for n in range(3, 10)] + [f"2-{n:03d}" for n in range(2, 10)] + ["last"]
    assert sorted(again(receiver)) == expected
    for subject in ("run-1", "run-2"):
        ids = [id_ for id_ in again(receiver) if id_ in {hook.id for hook in receiver.hooks if hook.subject == subject}]
        assert ids == sorted(ids)
    assert live(receiver) == came
    for id_ in again(receiver):
        first, second = receiver.of(id_)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.body == second.body


async def test_keeps_to_its_rate(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """Forty events at eighty a second take half a second, evenly; half the rate takes twice as long."""
    stage.put(spread(40, 1))
    lasted = []
    async with stage.bridge(destination("crm", receiver.url)):
        await stage.all_settled("crm")
        for id_, rate in (("fast", 80.0), ("slow", 40.0)):
            assert await requests.ask("crm", 0, asked(stage, "0-000", "39-000", id_, rate))
            await off_the_list(requests)
            times = [hook.at for hook in receiver.hooks if hook.headers.get(HEADER) == id_]
            assert len(times) == 40
            lasted.append(times[-1] - times[0])
            # never more than its share in any quarter of a second, and some for how they arrive
            most = max(sum(at <= other < at + 0.25 for other in times) for at in times)
            assert most <= rate * 0.25 * 1.2 + 2
    assert lasted[0] >= 39 / 80 * 0.95
    assert 1.6 <= lasted[1] / lasted[0] <= 2.4


async def test_live_events_pass_a_replay_that_is_refused(
    stage: Stage, receiver: Receiver, requests: ReplayRequests
) -> None:
    """While the head of a replay is refused again and again, live events of the same subjects flow as ever."""
    stage.put(spread(2, 5))
    config = destination("crm", receiver.url, retry_schedule=[0.2], max_attempts=1000)
    async with stage.bridge(config):
        await stage.all_settled("crm")
        receiver.answer = only(lambda hook: HEADER in hook.headers, 503)  # type: ignore[assignment]  # it is one
        assert await requests.ask("crm", 0, asked(stage, "0-000", "1-004"))
        await wait_until(lambda: len(again(receiver)) >= 4, "refusals")
        stage.put([(f"n{n:02d}", f"run-{n % 2}") for n in range(40)])
        began = time.monotonic()
        await wait_until(lambda: [id_ for id_ in live(receiver) if id_[0] == "n"][39:], "all live events", 3)
        assert time.monotonic() - began < 1.0
        assert set(again(receiver)) == {"0-000", "1-000"}
        assert stage.server.call("HGET", stage.keys.destination("crm"), "standing") in {None, ""} or (
            json.loads(stage.server.call("HGET", stage.keys.destination("crm"), "standing")).get("state") != "probing"
        )
        receiver.answer = accept
        await off_the_list(requests, 40)
    for subject in ("0", "1"):
        firsts = list(dict.fromkeys(id_ for id_ in again(receiver) if id_.startswith(f"{subject}-")))
        assert firsts == [f"{subject}-{n:03d}" for n in range(5)]


async def test_goes_on_after_kill(stage: Stage, receiver: Receiver, requests: ReplayRequests, tmp_path: Path) -> None:
    """Killed in the middle: everything comes at least once, no more than what was in flight twice, no key is left."""
    stage.put(spread(10, 20))
    async with Daemon(tmp_path, stage.config(destination("crm", receiver.url))) as daemon:
        await stage.all_settled("crm", 20)
        before_it = keys(stage)
        assert await requests.ask("crm", 0, asked(stage, "0-000", "9-019", rate=200.0))
        for least in (20, 80):
            await wait_until(lambda: len(again(receiver)) >= least, "some of it")  # noqa: B023
            daemon.kill()
            daemon.start()
        await off_the_list(requests, 20)
        await daemon.line("replay.ended", outcome="done")
        assert keys(stage) == before_it
    came = again(receiver)
    assert set(came) == {id_ for id_, _ in spread(10, 20)}
    assert len(came) - 200 <= 2 * 2 * 4  # in flight, and answered without the log's knowing
    assert len(live(receiver)) == 200


async def test_cancelled_it_ends_at_once(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """Cancelled while its events hang: the next replay has its turn, and nothing is left of either."""
    stage.put(spread(8, 3))
    async with stage.bridge(destination("crm", receiver.url, timeout="1s", retry_schedule=QUICK)):
        await stage.all_settled("crm")
        before_it = keys(stage)
        receiver.answer = hang
        assert await requests.ask("crm", 0, asked(stage, "0-000", "7-002", "one"))
        assert await requests.ask("crm", 0, asked(stage, "0-001", "3-001", "two"))
        await wait_until(lambda: len(again(receiver, "one")) >= 4, "some in flight")
        (first, second) = await requests.listed()
        standing = await requests.standing(second)
        assert standing is not None
        assert not standing.taken_up
        assert await requests.cancel(first, note=True)
        assert not await requests.cancel(first, note=True)
        receiver.answer = accept
        await off_the_list(requests)
        assert sorted(again(receiver, "two")) == [f"{n}-001" for n in range(4)]
        assert await requests.outcome(second) == "done"
        await wait_until(lambda: keys(stage) == before_it, "all keys gone")
    assert len(again(receiver, "one")) <= 8


async def test_cancelled_while_it_flows(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """Cancelled between two events: the next exchange finds it gone, and does not begin it anew."""
    stage.put(spread(50, 4))
    async with stage.bridge(destination("crm", receiver.url)):
        await stage.all_settled("crm")
        before_it = keys(stage)
        assert await requests.ask("crm", 0, asked(stage, "0-000", "49-003", rate=100.0))
        await wait_until(lambda: len(again(receiver)) >= 10, "some of it")
        (one,) = await requests.listed()
        assert await requests.cancel(one, note=True)
        sent = len(again(receiver))
        await wait_until(lambda: not stage.server.call("EXISTS", stage.keys.requests("crm")), "the note is read")
        assert len(again(receiver)) <= sent + 2 * 4  # in flight, or started before the next exchange
        assert keys(stage) == before_it


async def test_one_after_the_other(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """Two replays to one destination: the second begins when the first is done; more than so many are not taken."""
    stage.put(spread(5, 2))
    for number in range(MOST):
        assert await requests.ask("crm", 0, asked(stage, "0-000", "4-001", f"r{number}"))
    assert not await requests.ask("crm", 0, asked(stage, "0-000", "4-001", "more"))
    async with stage.bridge(destination("crm", receiver.url)):
        await off_the_list(requests)
    marks = [hook.headers[HEADER] for hook in receiver.hooks if HEADER in hook.headers]
    assert marks == [f"r{number}" for number in range(MOST) for _ in range(10)]


async def test_each_partition_replays_its_own(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """With two partitions each sends its range, at the rate for both together."""
    stage.partitions = 2
    for partition in (0, 1):
        stage.keys = Keys(stage.prefix, partition)
        stage.put([(f"{partition}-{n}", f"run-{n}") for n in range(20)])
    async with stage.bridge(destination("crm", receiver.url)):
        await stage.all_settled("crm")
        for partition in (0, 1):
            stage.keys = Keys(stage.prefix, partition)
            assert await requests.ask("crm", partition, asked(stage, f"{partition}-5", f"{partition}-19", rate=20.0))
        await off_the_list(requests)
    assert sorted(again(receiver)) == sorted(f"{partition}-{n}" for partition in (0, 1) for n in range(5, 20))
    times = [hook.at for hook in receiver.hooks if HEADER in hook.headers]
    assert times[-1] - times[0] >= 29 / 20 * 0.8


async def test_an_outage_is_over_for_a_replay_too(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """All is dead and nothing live comes: the replay of it probes the destination, and brings it back."""
    receiver.answer = status(500)
    stage.put(spread(12, 1))
    async with stage.bridge(destination("crm", receiver.url, max_attempts=1, types=["ai.*"])):
        await wait_until(lambda: len(stage.dead("crm")) == 12, "all dead", 20)
        receiver.answer = accept
        assert await requests.ask("crm", 0, asked(stage, "0-000", "11-000"))
        await off_the_list(requests, 20)
    assert sorted(again(receiver)) == sorted(id_ for id_, _ in spread(12, 1))
    whats = [json.loads(event)["type"] for _, event in stage.entries().values() if b"dev.runbridge" in event]
    assert whats[-1] == "dev.runbridge.destination.recovered"


async def test_a_destination_that_is_gone_gets_none(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """410 to a replay disables the destination, and the replay waits; it can be cancelled, and leaves nothing."""
    stage.put(spread(3, 3))
    async with stage.bridge(destination("crm", receiver.url, max_in_flight=1)):
        await stage.all_settled("crm")
        receiver.answer = status(410)
        assert await requests.ask("crm", 0, asked(stage, "0-000", "2-002"))
        await wait_until(lambda: again(receiver), "the answer 410")
        await wait_until(
            lambda: b"disabled" in b"".join(event for _, event in stage.entries().values()), "it is disabled"
        )
        sent = len(again(receiver))
        (one,) = await requests.listed()
        assert await requests.cancel(one, note=True)
        await wait_until(lambda: not stage.server.call("EXISTS", stage.keys.requests("crm")), "the note is read")
        assert len(again(receiver)) == sent == 1
        await wait_until(lambda: not any("~" in key for key in keys(stage)), "all its keys gone")


async def test_of_no_destination_it_holds_nothing(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """Asked for a destination that is configured no more: trimming does not wait for it, and it can be cancelled."""
    stage.put(spread(2, 10))
    async with running_log(stage.server.url, stage.prefix, retention=0.0) as running:
        assert await requests.ask("gone", 0, asked(stage, "0-000", "1-009"))
        assert await requests.ask("crm", 0, asked(stage, "1-004", "1-009"))
        running.log.destinations.add("crm")
        stage.server.call("XGROUP", "CREATE", stage.keys.events, "crm", "$")
        removed, unsettled = await running.log.trim(0)
        assert (removed, unsettled) == (9, 0)  # what the configured one's replay has still to send stays
        for one in await requests.listed():
            assert await requests.cancel(one, note=False)
        assert (await running.log.trim(0))[0] == 11
    assert not any("~" in key or "requests" in key for key in keys(stage))


async def test_what_is_no_replay_is_taken_off(stage: Stage, receiver: Receiver, requests: ReplayRequests) -> None:
    """A request that nobody can read, or the note of a cancellation that concerns nothing here, holds up none."""
    stage.put(spread(1, 2))
    for text in ("replay {", "cancel nothing", 'replay {"id":"A\\r\\nX: 1","after":"0-0","last":"9-9","rate":1}'):
        stage.server.call("RPUSH", stage.keys.requests("crm"), text)
    assert await requests.ask("crm", 0, asked(stage, "0-000", "0-001"))
    async with stage.bridge(destination("crm", receiver.url)):
        await off_the_list(requests)
        await wait_until(lambda: not stage.server.call("EXISTS", stage.keys.requests("crm")), "an empty list")
    assert again(receiver) == ["0-000", "0-001"]


def test_ids_have_their_order() -> None:
    """The id before one is the next smaller there can be."""
    for id_, expected in (("5-3", "5-2"), ("5-0", f"4-{2**64 - 1}"), ("0-0", "0-0")):
        assert before(id_) == expected
    ids = ["1-0", "1-1", f"1-{2**64 - 1}", "2-0", "10-0"]
    assert all(place(one) < place(two) for one, two in pairwise(ids))
