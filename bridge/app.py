"""The composition root: the only module that knows all others. Settings in, a running bridge out."""

import asyncio
import contextlib
import gc
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from bridge.board import Board
from bridge.control import Control
from bridge.effects import Effects
from bridge.errors import ConfigurationError, Problem
from bridge.facts import (
    BridgeStarted,
    BridgeStopped,
    BridgeStopping,
    ConfigurationReloaded,
    ListenerUnavailable,
    ReloadRefused,
)
from bridge.fleet import Fleet
from bridge.http_api.guard import Access
from bridge.http_api.server import HttpApi
from bridge.metrics import Metrics
from bridge.observe import Observer, configure_logs
from bridge.pulse import Pulse
from bridge.redis_log import DeadLetters, Definitions, Overviews, ParkedRecords, RedisLog, ReplayRequests
from bridge.reload import differences, refusals
from bridge.roster import Roster
from bridge.service_manager import ServiceManager, forget
from bridge.settings import Settings
from bridge.settings.specs_schema import specs_schema
from bridge.spool import Spool
from bridge.stop import Stop, nap
from bridge.supervisor import Phase, Supervisor, Worker
from bridge.telemetry import traces
from bridge.wiring import embedded_of, keys_of, log_options, server_of

TICK = 1.0
"""Seconds between two signs that the event loop goes round."""
LONGEST_REMARK = 1000
"""Characters of what is told of a refused reload; the log lines have all of it."""
COLLECT_EVERY = 60.0
"""Seconds between two collections of what ended sources and destinations leave behind."""


class App:
    """One bridge. `run` starts everything, waits for the stop, and ends everything within the grace."""

    def __init__(self, settings: Settings, stop: Stop, load: Callable[[], Settings] | None = None) -> None:
        self.settings = settings
        self.stop = stop
        self._read = load
        self.observe = observe = Observer()
        self.embedded = embedded_of(settings)
        self._server, keys = server_of(settings), keys_of(settings)
        self._pulse = Pulse(monotonic)
        instance = f"{settings.instance}-{os.getpid()}-{secrets.token_hex(4)}"
        self._traces = traces(os.environ, instance, observe)
        watch = self._traces.watching(observe) if self._traces else observe
        self.log = RedisLog(
            self._server, log_options(settings), instance=instance, observe=watch, beat=self._pulse.of
        )  # fmt: skip
        self._keys = keys
        self._supervisor = supervisor = Supervisor(observe=observe, stop=stop)
        self.roster = Roster(settings)
        self._fleet = Fleet(
            self.log, supervisor, self._spool(), observe=observe, live=observe.live, stop=stop, tracer=self._traces
        )  # fmt: skip
        server = self._server
        self._overviews, self._definitions = Overviews(server, keys), Definitions(server, keys)
        letters, replays, records = DeadLetters(server, keys), ReplayRequests(server, keys), ParkedRecords(server, keys)
        self._effects = Effects(self._fleet, supervisor, letters, replays, records)
        self.board = Board(
            self.roster, self._fleet, self.log, self._overviews, live=observe.live, stop=stop, trouble=self._trouble,
            remarks=lambda: self._remarks,
        )  # fmt: skip
        self.control = Control(
            self.roster, self._definitions, self._fleet, self._effects, self.board.overview,
            observe=observe, spawn=supervisor.spawn, stop=stop,
        )  # fmt: skip
        self._metrics = Metrics(
            observe.live, overview=self.board.overview, bridge=self.board.bridge, blocked=lambda: self.log.blocked
        )  # fmt: skip
        self._api = self._http_api()
        self._manager = ServiceManager(os.environ)
        forget(os.environ)
        self._begun = False
        self._remarks: dict[str, str] = {}
        """What a person should mend, though the bridge does its job."""
        self._asked = asyncio.Event()
        """A reload is asked for."""

    async def run(self) -> None:
        """Until the stop. Raises ConfigurationError and EmbeddedError for what shows only at the start."""
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._manager.close)
            self._work({"tick": self._tick, "service manager": self._speak})
            if self.embedded is not None:
                stack.push_async_callback(self.embedded.stop)
                await self.embedded.start()
                self._supervisor.start(Worker("embedded", self.embedded.watch, Phase.LAST))
            for close in (
                self.log.close, self._overviews.close, self._definitions.close, self._effects.close, self._fleet.close,
            ):  # fmt: skip
                stack.push_async_callback(close)
            stack.push_async_callback(self._stop_listening)
            await self._listen(self._api, self.settings)
            self._work(self.log.workers())
            await self._begin()
            await self.stop.wait()
            grace = self.settings.grace
            self._manager.stopping(grace)
            self.observe(BridgeStopping(grace))
            until = monotonic() + grace
            drained = await self._supervisor.end(grace, self.log.drained)
            if self._traces:
                await self._traces.stop(max(0.0, until - monotonic()))
            self.observe(BridgeStopped(drained))

    def abandon(self) -> None:
        """For a second signal: leave nothing running, wait for nothing."""
        if self.embedded is not None:
            self.embedded.abandon()

    def reload(self) -> None:
        """Read the configuration again, soon; one that can't be used changes nothing and is told in the log lines."""
        self._asked.set()

    # -- the start

    def _work(self, loops: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]) -> None:
        """Run loops that no source and no destination owns."""
        for name, loop in loops.items():
            self._supervisor.start(Worker(name, loop, Phase.LAST))

    async def _speak(self) -> None:
        """Tell the service manager how the bridge stands; ready is not delayed by a source that is refused."""
        await self._manager.run(
            lambda: self._begun and not self.log.blocked and not self.log.beginning,
            self.board.figures,
            lambda: not self._pulse.stuck(),
        )

    async def _begin(self) -> None:
        settings = self.settings
        beginning = self._supervisor.spawn(self.control.begin(), "begin")
        self.observe(
            BridgeStarted(
                version("runbridge"), len(settings.sources), len(settings.destinations), settings.redis.address
            )
        )
        await self.stop.before(asyncio.wait([beginning]))
        if not beginning.done():
            return
        beginning.result()
        self._begun = True
        for name, loop in {
            "commands": self.control.follow, "definitions": self.control.tidy, "look": self.board.watch,
            "reload": self._reload_forever,
        }.items():  # fmt: skip
            self._supervisor.start(Worker(name, loop, Phase.CUT))

    def _spool(self) -> Spool:
        directory = self.settings.spool
        try:
            return Spool(Path(directory) if directory else None, self.observe)
        except OSError as error:
            raise ConfigurationError((Problem("spool", f"can't be used: {error}"),)) from error

    def _http_api(self) -> HttpApi:
        return HttpApi(
            access=_access(self.settings), alive=self._pulse.stuck, readiness=self.board.readiness,
            metrics=self._metrics, steering=self.control, server=self._server, keys=self._keys, schemas=specs_schema(),
        )  # fmt: skip

    async def _listen(self, api: HttpApi, settings: Settings) -> None:
        address = settings.http.address
        if address is None:
            return
        try:
            await api.start(*address)
        except OSError as error:
            if "listen" in settings.http.model_fields_set:
                problem = Problem("http.listen", f"can't listen on {settings.http.listen}: {error}")
                raise ConfigurationError((problem,)) from error
            self.observe(ListenerUnavailable(settings.http.listen, str(error)))

    async def _stop_listening(self) -> None:
        await self._api.stop()

    # -- while it runs

    async def _tick(self) -> None:
        beat = self._pulse.of("event loop")
        gone, look = 0, monotonic() + COLLECT_EVERY
        while True:
            beat()
            await nap(TICK)
            if monotonic() >= look and gone != self._fleet.gone_so_far:
                # what ended leaves cycles behind, and the collector is set to look at old objects almost never
                gone, look = self._fleet.gone_so_far, monotonic() + COLLECT_EVERY
                gc.collect()

    def _trouble(self) -> dict[str, str]:
        return self.control.trouble

    async def _reload_forever(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._manager.reloading()
            try:
                await self._reload()
                self._remarks = {}
            except ConfigurationError as error:
                problems = [str(problem) for problem in error.problems]
                self._remarks = {
                    "configuration": f"the last reload was refused: {'; '.join(problems)}"[:LONGEST_REMARK]
                }
                self.observe(ReloadRefused(problems))
            finally:
                self._manager.ready()

    async def _reload(self) -> None:
        """All or nothing. Raises ConfigurationError, and then nothing is changed."""
        if self._read is None:
            return
        settings = self._read()
        changed = differences(self.settings, settings)
        refused = refusals(changed)
        if refused:
            raise ConfigurationError(refused)
        before, old = self.settings, self._api
        if "http.listen" in changed:
            await self._listen_anew(settings)
        self.settings = settings
        self._api.access = _access(settings)
        self._server.password = server_of(settings).password
        self.log.change(retention=settings.log.retention, max_entries=settings.log.max_entries)
        if settings.logging != before.logging:
            configure_logs(settings.logging.level, settings.logging.format)
        if old is not self._api:
            await old.stop()
        changed += await self.control.reload(settings)
        self.observe(ConfigurationReloaded(changed))

    async def _listen_anew(self, settings: Settings) -> None:
        api = self._http_api()
        api.access = _access(settings)
        try:
            await self._listen(api, settings)
        except ConfigurationError:
            await api.stop()
            raise
        self._api = api


def _access(settings: Settings) -> Access:
    token = settings.http.token
    return Access(token.get_secret_value() if token else None, settings.http.public_url)


def run(
    settings: Settings, stop: Stop, *, started: Callable[[App], None], load: Callable[[], Settings] | None = None
) -> None:
    """Run a bridge to its end in an event loop of its own; `started` gets the app once the loop runs.

    `load` reads the configuration again where a reload is asked for.
    """

    async def main() -> None:
        app = App(settings, stop, load)
        started(app)
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)  # some 3 % of a busy daemon's time (measured)
        await app.run()

    uvloop.run(main())
