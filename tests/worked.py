"""An emulator with a run, operations and invocations, and how to wait for them: for the tests of its waits."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from test_emulator import KEYS, Client

from bridge.emulator import Emulator, Options, RunOption, RunScript, WorkOption, WorkScript

WAIT = "/v1/runs/run/events/wait"
OVER = ("succeeded", "failed", "cancelled", "timed_out")


@contextlib.asynccontextmanager
async def emulated() -> AsyncIterator[Client]:
    """A run of thirty events; an operation and an invocation for each ending and one by hand; a client with keys."""
    works = tuple(WorkOption(id=ending, script=WorkScript(steps=3, seconds=0.02, ending=ending)) for ending in OVER)  # type: ignore[arg-type]
    works += (WorkOption(id="hand", script=None), WorkOption(id="long", script=WorkScript(seconds=0.05, steps=500)))
    runs = (RunOption(id="run", script=RunScript(rate=0, events=30)), RunOption(id="hand", script=None))
    options = Options(runs=runs, operations=works, invocations=works, heartbeat=0.05, keep=100)
    async with Emulator(options) as emulator, aiohttp.ClientSession(headers=KEYS) as session:
        yield Client(emulator, session)


async def wait(client: Client, path: str = WAIT, timeout_ms: int = 20, **body: Any) -> Any:
    """The answer of a wait that succeeds."""
    status, answer, _ = await client.ask("POST", path, json={"timeoutMs": timeout_ms, **body})
    assert status == 200, answer
    return answer
