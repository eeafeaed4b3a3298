"""Sends events to a receiver that is being developed, and says what came of each. Tells the log nothing of it.

What is sent and how an answer is judged are those of a webhook destination; the schedule, the breaker and the guard of
addresses are not: the address was typed by hand, and a failure is for the person who reads it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any

from bridge.backoff import delays
from bridge.cli.event_line import event_line, printable
from bridge.cli.terminal import Columns, Terminal, type_colour
from bridge.delivery.form import Form
from bridge.delivery.lane import Outcome, Result, Unit
from bridge.event import Entry
from bridge.stop import nap
from bridge.webhook import Webhook

SHOWN_ANSWER = 400
"""Characters of what a receiver said on a line for people."""
SHOWN_BODY = 64 << 10
"""Bytes of a body on a terminal."""
LONGEST_WAIT = 30.0
"""Seconds before another try, whatever the receiver asks for."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one event: the last outcome, how long that attempt took, and how many there were."""

    partition: int
    entry: Entry
    outcome: Outcome
    seconds: float
    attempts: int
    body: bytes

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.outcome.result is Result.DELIVERED

    @property
    def answer(self) -> str:
        """What the receiver said, where it did not take it."""
        return printable(self.outcome.answer.decode(errors="replace")).strip()


class Forwarder:
    """Sends in the order of the log, at most `in_flight` at once: `take` waits for room, so a slow receiver slows."""

    def __init__(
        self, webhook: Callable[[int], tuple[Webhook, Form]], told: Callable[[Delivery], None], *,
        in_flight: int = 1, retries: int = 0, count: int | None = None,
    ) -> None:  # fmt: skip
        self._webhook = webhook
        self._told = told
        self._room = asyncio.Semaphore(in_flight)
        self._retries = retries
        self._left = count
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def take(self, partition: int, entry: Entry) -> bool:
        """Start sending an event, as soon as there is room; False once `count` were. Raises what `told` has raised."""
        await self._room.acquire()
        self._check()
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                return False
        self.spawn(self._deliver(partition, entry), f"forward {entry.entry}")
        return self._left != 0

    async def finished(self) -> None:
        """Return when nothing is under way any more. Raises what `told` has raised."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._check()

    async def close(self) -> None:
        """End what is under way; nothing more is told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run some work in a task of its own (`bridge.post.Spawn`)."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        self._failure = self._failure or failure

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _deliver(self, partition: int, entry: Entry) -> None:
        try:
            webhook, form = self._webhook(partition)
            waits = delays(Random(), first=0.5, longest=LONGEST_WAIT)
            for attempt in range(1, self._retries + 2):
                unit = Unit((entry,), attempts=attempt - 1)
                started = asyncio.get_running_loop().time()
                outcome = await _attempt(webhook, unit)
                seconds = asyncio.get_running_loop().time() - started
                if outcome.result is Result.DELIVERED or attempt > self._retries:
                    break
                await nap(min(max(next(waits), outcome.retry_after or 0.0), LONGEST_WAIT))
            self._told(Delivery(partition, entry, outcome, seconds, attempt, form(unit)[-1]))
        finally:
            self._room.release()


async def _attempt(webhook: Webhook, unit: Unit) -> Outcome:
    came: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def done(_: Unit, outcome: Outcome) -> None:
        if not came.done():  # cancelled meanwhile
            came.set_result(outcome)

    webhook(unit, done)
    return await came


class Summary:
    """How many deliveries there were, by what was answered."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._delivered = 0

    @property
    def total(self) -> int:
        """How many events were sent."""
        return self._counts.total()

    def add(self, delivery: Delivery) -> None:
        """Count one."""
        status = delivery.outcome.status
        self._counts["no answer" if status is None else str(status)] += 1
        self._delivered += delivery.delivered

    def __str__(self) -> str:
        by_status = ", ".join(f"{status}: {count}" for status, count in sorted(self._counts.items()))
        details = f" ({by_status})" if by_status else ""
        return f"{self.total} events: {self._delivered} delivered, {self.total - self._delivered} not{details}"


class DeliveryLines:
    """Lines for people: what was sent, the status and the milliseconds; below it what went wrong."""

    def __init__(self, *, body: bool) -> None:
        self._body = body
        self._terminal = Terminal()
        self._columns = Columns(12, 32, 8)

    def __call__(self, delivery: Delivery) -> None:
        """One event."""
        line, columns, outcome = event_line(delivery.entry), self._columns, delivery.outcome
        status = "no answer" if outcome.status is None else str(outcome.status)
        tries = f", attempt {delivery.attempts}" if delivery.attempts > 1 else ""
        self._terminal.line(
            (columns(0, _clock(line.time)), "dim"),
            (columns(1, line.type), type_colour(line.type)),
            (columns(2, line.subject), "bold"),
            (f"-> {status}", "green" if delivery.delivered else "red"),
            (f" in {delivery.seconds * 1000:.0f} ms{tries}", "dim"),
        )
        if not delivery.delivered:
            said = f": {delivery.answer[:SHOWN_ANSWER]}" if delivery.answer else ""
            self._terminal.line((f"    {printable(outcome.error)}{said}", "red"))
        if self._body:
            for text in _pretty(delivery.body).splitlines():
                self._terminal.line((f"    {printable(text)}", "dim"))
        self._terminal.flush()


def _clock(time: str) -> str:
    """The time of day, in UTC; the whole text where it is no time. The line has to fit beside what comes of it."""
    return time[11:23] if len(time) == 24 else time


def delivery_json(delivery: Delivery, *, body: bool) -> None:
    """One JSON object a line."""
    entry, outcome = delivery.entry, delivery.outcome
    said: dict[str, Any] = {
        "entry": entry.entry, "partition": delivery.partition, "id": entry.id, "type": entry.type,
        "subject": entry.subject, "result": outcome.result.value, "status": outcome.status,
        "milliseconds": round(delivery.seconds * 1000, 1), "attempts": delivery.attempts, "error": outcome.error,
        "answer": delivery.answer,
    }  # fmt: skip
    if body:
        said["body"] = delivery.body.decode(errors="replace")
    print(json.dumps(said), flush=True)


def _pretty(body: bytes) -> str:
    if len(body) > SHOWN_BODY:
        return f"{body[:SHOWN_BODY].decode(errors='replace')}\n... {len(body)} bytes in all"
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
