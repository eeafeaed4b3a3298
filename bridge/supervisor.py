"""The only maker of tasks: each has a name and an owner, comes back after an error, and ends in its turn.

The end goes by phases: readers that can read again are cut off at once; waits and deliveries in flight may end; then
the log takes what is left; then everything goes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Any

from bridge.backoff import delays
from bridge.facts import WorkerRestarted
from bridge.ports import Observe
from bridge.stop import Stop, nap, within


class Phase(Enum):
    """When a worker ends at a stop."""

    CUT = auto()
    """At once: whatever it reads can be read again."""
    FINISH = auto()
    """By itself, when what it has in hand is done."""
    LAST = auto()
    """After all others: they need it."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A named loop. It is started again when it raises, and is done when it returns."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]]
    phase: Phase


class Group:
    """Workers of one source or destination, which can end while the others go on. `stop` is theirs alone."""

    def __init__(self, supervisor: "Supervisor", stop: Stop) -> None:
        self._supervisor = supervisor
        self._above = stop
        self.stop = stop.child()
        self._tasks: dict[asyncio.Task[None], Phase] = {}

    def start(self, worker: Worker) -> None:
        """Run a worker of this group."""
        self._keep(self._supervisor.run(worker, self.stop), worker.phase)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run one piece of work of this group."""
        self._keep(self._supervisor.spawn(work, name), Phase.LAST)

    async def end(self, grace: float) -> bool:
        """End them in their turn, within `grace` seconds; False if something had to be cut off."""
        self.stop.set()
        await _cancel(self._of(Phase.CUT))
        finishing = self._of(Phase.FINISH)
        left = (await asyncio.wait(finishing, timeout=grace))[1] if finishing else set()
        await _cancel(list(self._tasks))
        self._above.release(self.stop)
        return not left

    def _of(self, phase: Phase) -> list[asyncio.Task[None]]:
        return [task for task, its in self._tasks.items() if its is phase]

    def _keep(self, task: asyncio.Task[None], phase: Phase) -> None:
        self._tasks[task] = phase
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


class Supervisor:
    """Runs workers until the stop, then ends them by phases."""

    def __init__(self, *, observe: Observe, stop: Stop) -> None:
        self._observe = observe
        self._stop = stop
        self._tasks: dict[Phase, set[asyncio.Task[None]]] = {phase: set() for phase in Phase}

    def start(self, worker: Worker) -> None:
        """Run a worker in a task of its own."""
        self.run(worker, self._stop)

    def run(self, worker: Worker, stop: Stop) -> asyncio.Task[None]:
        """Run a worker that has a stop of its own."""
        return self._task(self._keep(worker, stop), worker.name, worker.phase)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run one piece of work, such as a delivery attempt, beside the workers."""
        return self._task(work, name, Phase.LAST)

    def group(self) -> Group:
        """Room for workers that can end before the others."""
        return Group(self, self._stop)

    async def end(self, grace: float, drained: Callable[[], Awaitable[None]]) -> bool:
        """End everything within `grace` seconds; False if something had to be cut off."""
        complete = await within(self._end_politely(drained), grace)
        for phase in Phase:
            await self._cancel(phase)
        return complete is not None

    async def _end_politely(self, drained: Callable[[], Awaitable[None]]) -> bool:
        await self._cancel(Phase.CUT)
        if self._tasks[Phase.FINISH]:
            await asyncio.wait(self._tasks[Phase.FINISH])
        await drained()
        return True

    async def _cancel(self, phase: Phase) -> None:
        await _cancel(list(self._tasks[phase]))

    def _task(self, work: Coroutine[Any, Any, None], name: str, phase: Phase) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks[phase].add(task)
        task.add_done_callback(self._tasks[phase].discard)
        return task

    async def _keep(self, worker: Worker, stop: Stop) -> None:
        waits = delays(Random())
        while not stop.is_set() or worker.phase is Phase.LAST:
            started = asyncio.get_running_loop().time()
            try:
                await worker.run()
            except Exception as error:  # noqa: BLE001  # one worker's mistake must not end the others
                if asyncio.get_running_loop().time() - started > 60:
                    waits = delays(Random())
                delay = next(waits)
                self._observe(WorkerRestarted(worker.name, error, delay))
                await (nap(delay) if stop.is_set() else stop.pause(delay))
            else:
                return


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
