"""The demo's upstream: the emulator, and what happens there to one run and one named event."""

import asyncio
import contextlib
import importlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count

from bridge.cli.demo.daemon import API_KEY, EVENT, RUN
from bridge.cli.demo.errors import DemoError
from bridge.emulator import Emulator, Options, RunOption, RunScript
from bridge.emulator.browser_run import BrowserRun
from bridge.http_client import HttpClient
from bridge.stop import nap, within

FIRST_SIGNAL = 5
"""The number of the first event that is a named one."""
SIGNAL_EVERY = 5.0
"""Seconds between named events."""
SIGNAL_TIMEOUT = 10.0

Signal = Callable[[dict[str, object]], Awaitable[bool]]
"""Signals the named event with some data; True once that is done."""


class Upstream:
    """Plays events at a rate; `written` is told of each just before it is there to be read: its mark, and since when.

    The mark of a run's event is its id; that of a signal, which has none, is the code in its data.
    """

    def __init__(self, written: Callable[[str, Callable[[], float]], None]) -> None:
        self._written = written
        self._emulator = Emulator(Options(runs=(RunOption(id=RUN, script=None),)))
        self._story = BrowserRun(RUN, RunScript(), time.time())
        self._scenes = count()
        self._codes = count(481_516)

    async def start(self) -> str:
        """Listen on a free port; returns the base URL. Raises OSError."""
        return (await self._emulator.start()).url

    async def stop(self) -> None:
        """Stop listening."""
        await self._emulator.stop()

    async def joined(self) -> None:
        """Return when somebody follows the run and somebody waits for the named event."""
        while not (self._emulator.open_streams and self._emulator.named_events["waiting"]):
            await nap(0.01)

    async def play(self, events: int | None, rate: float, signal: Signal) -> None:
        """So many events, or events without end: those of the run, and every few seconds a named one."""
        clock = asyncio.get_running_loop().time
        start = clock()
        first = FIRST_SIGNAL if events is None else min(FIRST_SIGNAL, events)
        period = max(2, round(SIGNAL_EVERY * rate))
        for number in count(1) if events is None else range(1, events + 1):
            await nap(max(0.0, start + (number - 1) / rate - clock()))
            if number >= first and (number - first) % period == 0:
                await self._signal(signal)
            else:
                self._append()

    def _append(self) -> None:
        number = next(self._scenes)
        scene = self._story.event(number, number)
        fields = json.loads(scene.body)
        del fields["id"], fields["time"]  # the run gives its next id, and the time of this moment
        now = asyncio.get_running_loop().time()
        self._written(scene.id, lambda: now)
        self._emulator.runs.append(RUN, fields)

    async def _signal(self, signal: Signal) -> None:
        code = f"{next(self._codes) % 1_000_000:06d}"
        self._written(code, self._signalled)
        if not await within(signal({"code": code, "channel": "sms"}), SIGNAL_TIMEOUT):
            raise DemoError(f"the named event was not signalled within {SIGNAL_TIMEOUT:g} s")

    def _signalled(self) -> float:
        """When the last signal came in, in seconds of the loop's clock: the caller's own time is not on the way."""
        return next(request.at for request in reversed(self._emulator.requests) if request.call == "signal")


def mark(event: dict[str, object]) -> str:
    """The mark of an event as it comes out of the bridge."""
    data = event.get("data")
    return str(data["code"] if isinstance(data, dict) and "code" in data else event.get("id"))


@contextlib.asynccontextmanager
async def signalling(url: str) -> AsyncIterator[Signal]:
    """Signals the named event as its users do: with the provider's own SDK where it is installed, else by hand."""
    try:
        sdk = await asyncio.to_thread(importlib.import_module, "anchorbrowser")
    except ImportError:
        async with HttpClient() as client:
            yield lambda data: _post(client, url, data)
        return
    direct = sdk.DefaultAsyncHttpxClient(trust_env=False)  # no proxy on the way to this machine
    async with sdk.AsyncAnchorbrowser(api_key=API_KEY, base_url=url, http_client=direct) as anchor:

        async def signal(data: dict[str, object]) -> bool:
            try:
                await anchor.events.signal_event(EVENT, data=data)
            except sdk.AnchorbrowserError as error:
                raise DemoError(f"the named event could not be signalled: {error}") from error
            return True

        yield signal


async def _post(client: HttpClient, url: str, data: dict[str, object]) -> bool:
    headers = {"anchor-api-key": API_KEY, "Content-Type": "application/json"}
    body = json.dumps({"data": data}).encode()
    async with client.request("POST", f"{url}/v1/events/{EVENT}", headers=headers, body=body) as response:
        await response.read(4096)
    return True
