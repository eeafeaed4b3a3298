"""Workers come back after an error, and end by phases when the bridge stops."""

import asyncio

import pytest
from waiting import wait_until

from bridge.facts import Fact, WorkerRestarted
from bridge.stop import Stop
from bridge.supervisor import Phase, Supervisor, Worker


class Stage:
    """A supervisor, its stop, what it reported, and what its workers did."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.done: list[str] = []
        self.stop = Stop()
        self.supervisor = Supervisor(observe=self.facts.append, stop=self.stop)

    def start(self, name: str, phase: Phase, *, lasts: asyncio.Event | None = None) -> None:
        """A worker that runs until it is cut off, or until the stop and `lasts`."""

        async def work() -> None:
            try:
                await (self.stop.wait() if lasts else asyncio.Event().wait())
                if lasts:
                    await lasts.wait()
                self.done.append(f"{name} finished")
            except asyncio.CancelledError:
                self.done.append(f"{name} cut")
                raise

        self.supervisor.start(Worker(name, work, phase))

    async def drained(self) -> None:
        """Where the log would take what is left."""
        self.done.append("drained")

    async def end(self, grace: float = 5.0) -> bool:
        """The stop and the end."""
        self.stop.set()
        return await self.supervisor.end(grace, self.drained)


@pytest.fixture
async def stage() -> Stage:
    """A stage of its own for each test."""
    return Stage()


async def test_phases_end_in_their_order(stage: Stage) -> None:
    """Readers are cut off at once, waits finish, the log drains, and only then goes what all of them need."""
    finish = asyncio.Event()
    for name, phase in (("last", Phase.LAST), ("cut", Phase.CUT)):
        stage.start(name, phase)
    stage.start("finish", Phase.FINISH, lasts=finish)
    await asyncio.sleep(0)
    ending = asyncio.create_task(stage.end())
    await wait_until(lambda: stage.done, "the first phase")
    assert stage.done == ["cut cut"]
    finish.set()
    assert await ending is True
    assert stage.done == ["cut cut", "finish finished", "drained", "last cut"]


async def test_grace_is_the_limit(stage: Stage) -> None:
    """What has not ended within the grace is cut off, and the end says so."""
    stage.start("finish", Phase.FINISH, lasts=asyncio.Event())
    stage.start("last", Phase.LAST)
    await asyncio.sleep(0)
    started = asyncio.get_running_loop().time()
    assert await stage.end(grace=0.2) is False
    assert 0.2 <= asyncio.get_running_loop().time() - started < 1.0
    assert stage.done == ["finish cut", "last cut"]


async def test_worker_comes_back_after_an_error(stage: Stage) -> None:
    """An error of one worker is reported and starts it again after a delay; the others don't notice."""
    runs: list[float] = []

    async def fails_once() -> None:
        runs.append(asyncio.get_running_loop().time())
        if len(runs) == 1:
            raise RuntimeError("broken")
        await asyncio.Event().wait()

    stage.start("other", Phase.CUT)
    stage.supervisor.start(Worker("fragile", fails_once, Phase.CUT))
    await wait_until(lambda: len(runs) == 2, "a second run")
    (fact,) = stage.facts
    assert isinstance(fact, WorkerRestarted)
    assert (fact.worker, str(fact.error)) == ("fragile", "broken")
    assert runs[1] - runs[0] >= fact.delay >= 1.0
    assert stage.done == []
    assert await stage.end() is True


async def test_worker_that_returns_is_done(stage: Stage) -> None:
    """A worker that has nothing more to do is not started again."""
    runs = []

    async def once() -> None:
        runs.append(1)

    stage.supervisor.start(Worker("once", once, Phase.CUT))
    await asyncio.sleep(0.05)
    assert await stage.end() is True
    assert (runs, stage.facts) == ([1], [])


async def test_stop_ends_the_pause_after_an_error(stage: Stage) -> None:
    """A worker that waits to be started again does not hold up the end."""

    async def fails() -> None:
        raise RuntimeError("broken")

    stage.supervisor.start(Worker("fragile", fails, Phase.FINISH))
    await wait_until(lambda: stage.facts, "its error")
    started = asyncio.get_running_loop().time()
    assert await stage.end() is True
    assert asyncio.get_running_loop().time() - started < 0.5


async def test_what_others_need_is_kept_up_without_haste(stage: Stage) -> None:
    """During the end a worker of the last phase still comes back after an error, with its delay."""

    async def fails() -> None:
        raise RuntimeError("broken")

    stage.start("finish", Phase.FINISH, lasts=asyncio.Event())
    stage.supervisor.start(Worker("needed", fails, Phase.LAST))
    await wait_until(lambda: stage.facts, "its error")
    assert await stage.end(grace=2.5) is False
    assert 2 <= len(stage.facts) <= 4


async def test_spawned_work_outlives_the_workers(stage: Stage) -> None:
    """A piece of work that was spawned goes on while workers finish, and is cut off with the last."""
    finish, went_on = asyncio.Event(), asyncio.Event()

    async def attempt() -> None:
        await stage.stop.wait()
        went_on.set()
        await asyncio.Event().wait()

    stage.start("finish", Phase.FINISH, lasts=finish)
    stage.supervisor.spawn(attempt(), "attempt")
    await asyncio.sleep(0)
    ending = asyncio.create_task(stage.end())
    await wait_until(went_on.is_set, "the work goes on")
    finish.set()
    assert await ending is True
