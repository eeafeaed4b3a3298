"""The composition root: the only module that knows all others. Settings in, a running bridge out."""

import contextlib
import gc
import os
import secrets
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from random import Random

import uvloop

from bridge.backoff import Pace
from bridge.consume import consume
from bridge.destinations import Around, workers_of
from bridge.errors import ConfigurationError, Problem
from bridge.event import State
from bridge.facts import BridgeStarted, BridgeStopped, BridgeStopping, ListenerUnavailable
from bridge.http_api import HttpApi, Readiness
from bridge.http_client import HttpClient
from bridge.ingest import ingest
from bridge.observe import Observer
from bridge.redis_log import Lookup, RedisLog
from bridge.settings import AnyAccount, AnySource, EventWait, Settings, Sse
from bridge.sources.account import Account
from bridge.spool import Spool
from bridge.stop import Stop
from bridge.subscriptions import subscription_of
from bridge.supervisor import Phase, Supervisor, Worker
from bridge.wiring import account_of, embedded_of, keys_of, log_options, server_of


class App:
    """One bridge. `run` starts everything, waits for the stop, and ends everything within the grace."""

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self.settings = settings
        self.stop = stop
        self.observe = Observer()
        self.embedded = embedded_of(settings)
        instance = f"{settings.instance}-{os.getpid()}-{secrets.token_hex(4)}"
        self.log = RedisLog(server_of(settings), log_options(settings), instance=instance, observe=self.observe)
        self._supervisor = Supervisor(observe=self.observe, stop=stop)
        self._events = Lookup(server_of(settings), keys_of(settings))
        self._api = HttpApi(
            self._readiness, self.observe.registry, self._events.entry, token=_reveal(settings.http.token)
        )  # fmt: skip

    async def run(self) -> None:
        """Until the stop. Raises ConfigurationError and EmbeddedError for what shows only at the start."""
        async with contextlib.AsyncExitStack() as stack:
            if self.embedded is not None:
                stack.push_async_callback(self.embedded.stop)
                await self.embedded.start()
                self._supervisor.start(Worker("embedded", self.embedded.watch, Phase.LAST))
            stack.push_async_callback(self.log.close)
            stack.push_async_callback(self._events.close)
            stack.push_async_callback(self._api.stop)
            await self._listen()
            await self._start(stack)
            settings = self.settings
            self.observe(
                BridgeStarted(
                    version("runbridge"), len(settings.sources), len(settings.destinations), settings.redis.address
                )
            )
            await self.stop.wait()
            self.observe(BridgeStopping(settings.grace))
            drained = await self._supervisor.end(settings.grace, self.log.drained)
            self.observe(BridgeStopped(drained))

    def abandon(self) -> None:
        """For a second signal: leave nothing running, wait for nothing."""
        if self.embedded is not None:
            self.embedded.abandon()

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        spool = self._spool()
        for name, loop in self.log.workers().items():
            self._supervisor.start(Worker(name, loop, Phase.LAST))
        # destinations first: a new one's group has to be there before the first event
        supervisor, settings = self._supervisor, self.settings
        around = Around(
            self.log, settings.http, settings.sender, self.observe, supervisor.spawn, supervisor.start, self.stop
        )  # fmt: skip
        for name, destination in settings.destinations.items():
            for worker in await workers_of(name, destination, around, stack):
                self._supervisor.start(worker)
        accounts = {name: await self._account(stack, name, account) for name, account in self.settings.accounts.items()}
        for name, source in self.settings.sources.items():
            self._supervisor.start(await self._source(stack, name, source, accounts, spool))

    def _spool(self) -> Spool:
        directory = self.settings.spool
        try:
            return Spool(Path(directory) if directory else None, self.observe)
        except OSError as error:
            raise ConfigurationError((Problem("spool", f"can't be used: {error}"),)) from error

    async def _account(self, stack: contextlib.AsyncExitStack, name: str, account: AnyAccount) -> Account:
        return account_of(name, account, await stack.enter_async_context(HttpClient(limit=account.max_connections)))

    async def _source(
        self, stack: contextlib.AsyncExitStack, name: str, source: AnySource, accounts: dict[str, Account], spool: Spool
    ) -> Worker:  # fmt: skip
        if isinstance(source, Sse):
            client = await stack.enter_async_context(HttpClient())
            secrets = {header: value.get_secret_value() for header, value in source.headers.items()}
            subscription = subscription_of(name, source, Account(name, source.url, secrets, client))
        else:
            subscription = subscription_of(name, source, accounts[source.account])
        pace, log, observe, stop = Pace(Random()), self.log, self.observe, self.stop
        if isinstance(source, EventWait):
            return Worker(
                f"source {name}", lambda: consume(subscription, log, spool, pace, observe=observe, stop=stop),
                Phase.FINISH,
            )  # fmt: skip
        return Worker(
            f"source {name}", lambda: ingest(subscription, log, pace, observe=observe, stop=stop), Phase.CUT
        )  # fmt: skip

    async def _listen(self) -> None:
        address = self.settings.http.address
        if address is None:
            return
        try:
            await self._api.start(*address)
        except OSError as error:
            if "listen" in self.settings.http.model_fields_set:
                problem = Problem("http.listen", f"can't listen on {self.settings.http.listen}: {error}")
                raise ConfigurationError((problem,)) from error
            self.observe(ListenerUnavailable(self.settings.http.listen, str(error)))

    def _readiness(self) -> Readiness:
        problems = {}
        if self.log.blocked:
            problems["redis"] = self.log.blocked
        for writer in self.log.writers:
            if writer.position.state is State.FAILED:
                problems[f"source {writer.source}"] = writer.position.reason
        problems |= {f"destination {name}": "has no place in the log yet" for name in self.log.beginning}
        return Readiness(not problems and not self.stop.is_set(), problems)


def _reveal(secret: object) -> str | None:
    reveal: Callable[[], str] | None = getattr(secret, "get_secret_value", None)
    return reveal() if reveal else None


def run(settings: Settings, stop: Stop, *, started: Callable[[App], None]) -> None:
    """Run a bridge to its end in an event loop of its own; `started` gets the app once the loop runs."""

    async def main() -> None:
        app = App(settings, stop)
        started(app)
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)  # some 3 % of a busy daemon's time (measured)
        await app.run()

    uvloop.run(main())
