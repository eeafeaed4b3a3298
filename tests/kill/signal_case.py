"""Case E: named events into the log, while the bridge is killed in the middle of waits.

The upstream is the emulator, the signals come from the official SDK. What a wait has taken away and a killed process
had in its hands is lost for good; the rule is that each such loss is said where it happened.
"""

import asyncio
import json

from anchorbrowser import AsyncAnchorbrowser
from bridge.emulator import Emulator, Options
from kill.daemon import Daemon
from kill.findings import Findings
from kill.stage import Stage
from waiting import wait_until

NAME = "one time/code"
SIGNALED = "io.anchorbrowser.event.signaled"
GAP = "dev.runbridge.source.gap"


async def killed_waits(stage: Stage, kills: int) -> Findings:
    """E: signals at random moments; every other kill falls just behind one; later on dead waiters still take signals."""
    found = Findings(kills=kills)
    async with (
        Emulator(Options(runs=(), remember=10_000)) as emulator,
        AsyncAnchorbrowser(api_key="key", base_url=emulator.url, max_retries=0) as sdk,
    ):
        sent: list[str] = []

        async def signal() -> None:
            sent.append(f"{NAME} {len(sent)}")
            await sdk.events.signal_event(NAME, data={"n": sent[-1]})

        daemon = stage.daemon(_configuration(stage, emulator)).start()
        for number in range(kills):
            for _ in range(stage.random.randrange(8)):
                await signal()
                await stage.moment(0.03)
            if number % 3 == 2:
                emulator.faults.set(wait_fault="lost-answer", wait_fault_next=1)
            emulator.faults.set(ghost_waiters=number > kills // 2)
            await _strike(stage, daemon, emulator, just_behind=number % 2 == 0, signal=signal)
        emulator.faults.clear()
        await signal()
        await _quiet(emulator, stage, sent)
        await stage.stop(found)
    _judge([(entry["type"], entry["event"]) for entry in stage.entries()], sent, found)
    return found
