"""Holds delivery to its isolation: whatever fails delays no other destination, no other run, and never the log."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from daemon import configuration, stream_source
from delivering import QUICK, Stage, destination, spread
from receiver import Answer, Hook, Receiver, accept, hang, status
from servers import RedisServer, free_port
from upstream import HANG, Upstream, frame, stream
from waiting import wait_until


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


def failing(subject: str, how: int = 503) -> Answer:
    """An answer that fails one subject and accepts all others."""

    async def answer(hook: Hook) -> int:
        return how if hook.subject == subject else 204

    return answer


async def test_a_dead_destination_delays_neither_the_log_nor_another(stage: Stage, receiver: Receiver) -> None:
    """One refuses connections, one never answers, one says 500: events reach the log and the living one at once."""
    async with Receiver(hang) as silent, Receiver(status(500)) as broken, Upstream() as upstream:
        upstream.on(
            "/v2/runs/r/events/stream",
            stream(*(part for n in range(60) for part in (frame(f"e{n:02d}"), 0.02)), then=HANG),
        )
        urls = {"refusing": f"http://127.0.0.1:{free_port()}", "silent": silent.url, "broken": broken.url}
        config = [destination(name, url, types=["ai.bctrl.*"], retry_schedule=QUICK) for name, url in urls.items()]
        config += [destination("living", receiver.url, types=["ai.bctrl.*"]), stream_source(run="r")]
        accounts = configuration("", "", bctrl=upstream.url)
        config.append(accounts[accounts.index("[accounts") :])
        async with stage.bridge(*config, more='grace = "1s"'):
            await wait_until(lambda: len(receiver.hooks) == 60, "all events at the living destination", 20)
            written = {id_: int(entry.partition("-")[0]) / 1000 for id_, (entry, _) in stage.entries().items()}
            offset = time.time() - time.monotonic()
            late = sorted(hook.at + offset - written[hook.id] for hook in receiver.hooks)
            assert silent.most_at_once == 1
            assert receiver.ids() == [f"e{n:02d}" for n in range(60)]
            assert late[len(late) // 2] < 0.1
            assert late[-1] < 1.0


async def test_a_failing_run_with_a_long_tail_delays_no_other(stage: Stage, receiver: Receiver) -> None:
    """5,000 events wait behind one that fails: those of other runs, later in the log, come at once; then its own."""
    receiver.answer = failing("run-bad")
    tail = [(f"b{number:04d}", "run-bad") for number in range(5000)]
    stage.put(tail)
    stage.put(spread(3, 10))
    started = time.monotonic()
    async with stage.bridge(destination("crm", receiver.url, retry_schedule=[0.5], max_attempts=1000)):
        others = {id_ for id_, _ in spread(3, 10)}
        await wait_until(lambda: others <= set(receiver.ids()), "all events of the other runs")
        assert time.monotonic() - started < 4
        assert set(receiver.ids("run-bad")) == {"b0000"}
        stage.put([("late", "run-0")])
        await wait_until(lambda: "late" in receiver.ids(), "an event that came later", 3)
        receiver.answer = accept
        await stage.all_settled("crm", 60)
    assert list(dict.fromkeys(receiver.ids("run-bad"))) == [id_ for id_, _ in tail]
    assert receiver.ids("run-bad")[-4999:] == [id_ for id_, _ in tail][1:]


async def test_a_receiver_that_hangs_for_one_run_delays_no_other(stage: Stage, receiver: Receiver) -> None:
    """One place is taken until the time-out; the others go on, and the run's own events stay in order."""

    async def hanging(hook: Hook) -> int:
        return await hang(hook) if hook.id == "b0" and len(receiver.of("b0")) == 1 else 204

    receiver.answer = hanging
    stage.put([(f"b{number}", "run-bad") for number in range(30)])
    events = spread(20, 10)
    stage.put(events)
    started = time.monotonic()
    async with stage.bridge(destination("crm", receiver.url, timeout="3s", max_in_flight=2, retry_schedule=QUICK)):
        await wait_until(lambda: {id_ for id_, _ in events} <= set(receiver.ids()), "all others", 20)
        assert time.monotonic() - started < 2.5
        assert receiver.ids("run-bad") == ["b0"]
        await wait_until(lambda: receiver.ids("run-bad")[:2] == ["b0", "b0"], "the second attempt")
        receiver.answer = accept
        await stage.all_settled("crm", 20)
    assert receiver.ids("run-bad") == ["b0", *(f"b{number}" for number in range(30))]


async def test_a_backlog_of_others_does_not_delay_a_retry(stage: Stage, receiver: Receiver) -> None:
    """While a destination works through a long backlog, a run whose retry is due gets its turn."""
    receiver.answer = failing("run-bad")
    stage.put([("bad", "run-bad")])
    backlog = [(f"{number}", f"run-{number}") for number in range(4000)]
    stage.put(backlog)
    async with stage.bridge(destination("crm", receiver.url, max_in_flight=4, retry_schedule=[0.2], max_attempts=100)):
        await wait_until(lambda: len(receiver.of("bad")) >= 3, "a third attempt")
        assert len(receiver.hooks) < len(backlog)
        gaps = [hook.at for hook in receiver.of("bad")]
        assert gaps[2] - gaps[0] < 3
        receiver.answer = accept
        await stage.all_settled("crm", 30)
    assert len(set(receiver.ids())) == 4001


async def test_a_dead_destination_costs_no_work(stage: Stage, receiver: Receiver) -> None:
    """While every place hangs and more runs are due, the bridge waits; it does not ask Redis again and again."""
    receiver.answer = hang
    stage.put([(f"{number}", f"run-{number}") for number in range(12)])
    async with stage.bridge(
        destination("crm", receiver.url, max_in_flight=8, timeout="700ms", retry_schedule=[0.01], max_attempts=100),
        more='grace = "2s"',
    ):
        await wait_until(lambda: len(receiver.hooks) >= 16, "more attempts than events", 20)
        before = calls(stage.server)
        await asyncio.sleep(1.5)
        assert calls(stage.server) - before < 100
        receiver.answer = accept
        await stage.all_settled("crm", 20)


async def test_names_with_colons_keep_their_lanes_apart(stage: Stage, receiver: Receiver) -> None:
    """A destination `a` with a subject `b:x` shares nothing with a destination `a:b` with a subject `x`."""
    async with Receiver() as other:
        for one in (receiver, other):
            one.answer = status(503)
        stage.put([("1", "b:x"), ("2", "b:x"), ("3", "x"), ("4", "x")])
        async with stage.bridge(
            destination("a", receiver.url, retry_schedule=QUICK, max_attempts=1000),
            destination("a:b", other.url, retry_schedule=QUICK, max_attempts=1000),
        ):
            for one in (receiver, other):
                await wait_until(lambda: {"1", "3"} <= set(one.ids()), "failures of both subjects")  # noqa: B023
                one.answer = accept
            await stage.all_settled("a")
            await stage.all_settled("a:b")
        for one in (receiver, other):
            assert [list(dict.fromkeys(one.ids(subject))) for subject in ("b:x", "x")] == [["1", "2"], ["3", "4"]]


def calls(server: RedisServer) -> int:
    """How many scripts the server has run."""
    found = server.client().info("commandstats")
    return sum(int(found.get(name, {}).get("calls", 0)) for name in ("cmdstat_evalsha", "cmdstat_eval"))
