"""Case E: named events into the log, while the bridge is killed in the middle of waits.

The upstream is the emulator, the signals come from the official SDK. What a wait has taken away and a killed process
had in its hands is lost for good; the rule is that each such loss is said where it happened.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from anchorbrowser import AsyncAnchorbrowser
from waiting import wait_until

from bridge.emulator import Emulator, Options
from kill.findings import Findings
from kill.stage import Stage

NAME = "one time/code"
SIGNALED = "io.anchorbrowser.event.signaled"
GAP = "dev.runbridge.source.gap"
FAILED = "dev.runbridge.source.failed"


class Before(Enum):
    """What comes before a kill."""

    SIGNAL = auto()
    """A signal, by a few milliseconds: it is on its way, in memory, in the spool or in the log."""
    GHOST = auto()
    """Nothing; but the upstream gives the dead process one more signal."""
    LOST = auto()
    """An answer with a signal in it that got lost."""


class _Signals:
    """Sends numbered signals by the SDK, one after another, at random moments."""

    def __init__(self, stage: Stage, sdk: AsyncAnchorbrowser) -> None:
        self.sent: list[str] = []
        self._stage, self._sdk = stage, sdk
        self._one = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._stage.moment(0.05)
            await self.send()

    async def send(self) -> None:
        """The next one."""
        self.sent.append(str(len(self.sent)))
        await self._sdk.events.signal_event(NAME, data={"number": self.sent[-1]})
        self._one.set()

    async def one(self) -> None:
        """Return as soon as one more is sent."""
        self._one.clear()
        await self._one.wait()

    async def settle(self) -> None:
        """Send until one arrives: then all before it have arrived, or never will."""
        for _ in range(10):
            await self.send()
            with contextlib.suppress(AssertionError):  # a dead waiter has got it
                await wait_until(self._last_stored, "the last signal", 1.5)
                return

    def _last_stored(self) -> bool:
        return self.sent[-1] in map(_number, self._stage.entries())


async def killed_waits(stage: Stage, kills: int, kinds: Sequence[Before] = tuple(Before)) -> Findings:
    """E: the bridge is killed, each time after something else of `kinds` has happened."""
    found = Findings(kills=kills)
    async with (
        Emulator(Options(runs=(), remember=10_000)) as emulator,
        AsyncAnchorbrowser(api_key="key", base_url=emulator.url, max_retries=0) as sdk,
    ):
        signals = _Signals(stage, sdk)
        daemon = stage.daemon(_configuration(stage, emulator)).start()

        async def waits() -> None:
            """Return when the bridge is up: it has armed one more wait, and another."""
            before = emulator.counts["event-wait"]
            await wait_until(lambda: emulator.counts["event-wait"] > before + 1, "waits are armed", 20.0)

        async def strike(kind: Before) -> None:
            lost = "lost-answer" if kind is Before.LOST else ""
            emulator.faults.set(ghost_waiters=kind is Before.GHOST, wait_fault=lost, wait_fault_next=1)
            await stage.moment(0.4)
            if kind is Before.SIGNAL:
                await signals.one()
                await stage.moment(0.004)

        async with asyncio.TaskGroup() as group:
            sending = group.create_task(signals.run())
            for number in range(kills):
                await waits()
                await strike(kinds[number % len(kinds)])
                daemon.kill()
                daemon.start()
            sending.cancel()
        emulator.faults.clear()
        await signals.settle()
        await stage.stop(found)
    judge_signals(list(stage.entries()), signals.sent, found)
    return found


def _number(entry: Mapping[str, str]) -> str | None:
    """The number of a signal; None for another event."""
    return str(json.loads(entry["event"])["data"]["number"]) if entry["type"] == SIGNALED else None


def judge_signals(
    entries: Sequence[Mapping[str, str]], sent: list[str], found: Findings, parked: Sequence[str] = ()
) -> None:
    """A signal may be missing only where a gap stands in the log between its neighbours, one gap for each.

    One of which `parked` holds the answer, as far as it came, is not missing. A source that was refused says so.
    """
    stored: list[str] = []
    kept = {number for raw in parked for number in re.findall(r'"number":"([0-9]+)"', raw)}
    said: set[str] = set(kept)
    gaps = 0
    for entry in entries:
        number = _number(entry)
        if number is None:
            found.check(entry["type"] in {GAP, FAILED}, f"an event of type {entry['type']}")
            gaps += entry["type"] == GAP
            continue
        lost = range(int(stored[-1]) + 1 if stored else 0, int(number))
        said |= set([str(each) for each in lost if str(each) not in kept][:gaps])
        stored.append(number)
        gaps = 0
    found.count([number for number in sent if number not in said], stored)
    gaps = sum(entry["type"] == GAP for entry in entries)
    found.notes.append(
        f"{len(said - kept)} of {len(sent)} signals lost with a process or an answer, each said; {gaps} gaps said, "
        f"{len(kept)} parked"
    )


def _configuration(stage: Stage, emulator: Emulator) -> str:
    return (
        f'grace = "5s"\nspool = "{stage.directory}/spool"\n[redis]\nurl = "{stage.redis.url}"\n[http]\nlisten = ""\n'
        f'[logging]\nformat = "json"\n[accounts.up]\nprovider = "anchor"\nbase_url = "{emulator.url}"\n'
        f'api_key = "key"\n[sources.code]\naccount = "up"\nkind = "anchor.event.wait"\nevent = "{NAME}"\n'
        'wait_timeout = "1s"\n'
    )
