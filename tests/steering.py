"""A bridge's steering for tests of the control API: it keeps definitions in memory, and does what it is told.

Refuses to judge a definition: a spec with the key `wrong` is invalid, one with `away` finds Redis away.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from prometheus_client import CollectorRegistry, generate_latest
from servers import free_port

from bridge import commands
from bridge.commands import Command, Done, Spec
from bridge.errors import Declined, LogUnavailable, Problem
from bridge.http_api import Access, HttpApi, Readiness
from bridge.overview import BridgeView, DestinationView, LogView, Overview, SourceView
from bridge.ports import Definition
from bridge.redis_log import Keys, Server

Section = Literal["sources", "destinations"]
ANYTHING = {"sources": {"type": "object"}, "destinations": {"type": "object"}}


@dataclass
class Steered:
    """Sources and destinations by id; `commands` are those it was given."""

    sources: dict[str, Spec] = field(default_factory=dict)
    destinations: dict[str, Spec] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    away: bool = False
    looks: int = 0

    async def overview(self) -> Overview:
        """What is defined, and one partition."""
        self.looks += 1
        self._asked()
        return Overview(
            time="2026-11-21T12:00:00.000Z", bridge=BridgeView(instance="i", uptime_seconds=self.looks),
            redis="redis://127.0.0.1", log=[LogView(partition=0, entries=0, added=0)],
            sources=[
                SourceView(id=id_, kind=str(spec.get("kind", "")), state=self.states.get(id_, "connected"))
                for id_, spec in self.sources.items()
            ],
            destinations=[
                DestinationView(
                    id=id_, kind="stream" if str(spec.get("url")).startswith("redis:") else "webhook",
                    state=self.states.get(id_, "active"),
                )
                for id_, spec in self.destinations.items()
            ],
        )  # fmt: skip

    async def definitions(self, section: Section) -> list[Definition]:
        """All of one section."""
        self._asked()
        return [Definition(id=id_, defined="added", spec=spec) for id_, spec in self._of(section).items()]

    async def do(self, command: Command) -> Done:
        """What `bridge.commands` says, as far as a test can see."""
        self._asked()
        self.commands.append(command)
        match command:
            case commands.AddSource() | commands.AddDestination():
                return self._add(self._of(_section(command)), command.id, command.spec)
            case commands.ChangeSource() | commands.ChangeDestination():
                return self._change(self._of(_section(command)), command.id, command.spec, patch=command.patch)
            case commands.RemoveSource() | commands.RemoveDestination():
                self._known(self._of(_section(command)), command.id)
                del self._of(_section(command))[command.id]
                return Done(command.id, changed=True)
            case commands.WatchRun():
                id_ = command.id or f"run-{command.run}"
                return self._add(self.sources, id_, {"kind": command.kind, "run": command.run})
            case commands.RetryParked():
                raise Declined("missing", "there is no such record")
            case commands.TestDestination():
                self._known(self.destinations, command.id)
                return Done(command.id, changed=False, detail={"status": 204, "seconds": 0.1, "error": ""})
            case _:
                self._known(self._of(_section(command)), command.id)
                state = "paused" if "Pause" in type(command).__name__ else "connecting"
                self.states[command.id] = state
                return Done(command.id, changed=True, state=state)

    def _of(self, section: Section) -> dict[str, Spec]:
        return self.sources if section == "sources" else self.destinations

    def _asked(self) -> None:
        if self.away:
            raise LogUnavailable("LOADING", "Redis is loading the dataset in memory")

    def _known(self, those: Mapping[str, Spec], id_: str) -> None:
        if id_ not in those:
            raise Declined("missing", f"there is no {id_}")

    def _add(self, those: dict[str, Spec], id_: str, spec: Spec) -> Done:
        _judge(spec)
        if not re.fullmatch("[A-Za-z0-9._:-]{1,128}", id_):
            raise Declined("invalid", "the definition can't be used", (Problem("id", "is no name"),))
        if those.setdefault(id_, spec) is spec:
            return Done(id_, changed=True, state="connecting")
        if those[id_] != spec:
            raise Declined("conflict", f"{id_} is defined with other keys")
        return Done(id_, changed=False)

    def _change(self, those: dict[str, Spec], id_: str, spec: Spec, *, patch: bool) -> Done:
        _judge(spec)
        self._known(those, id_)
        new = {key: value for key, value in (those[id_] | spec if patch else spec).items() if value is not None}
        changed, those[id_] = new != those[id_], new
        return Done(id_, changed=changed)


def _section(command: Command) -> Section:
    return "sources" if type(command).__name__.endswith("Source") else "destinations"


def _judge(spec: Spec) -> None:
    if "wrong" in spec:
        problems = (Problem("wrong", "there is no such key"), Problem("kind", "is required"))
        raise Declined("invalid", "the definition can't be used", problems)
    if "away" in spec:
        raise Declined("unavailable", "the bridge can't be asked now")


class Served:
    """A running API, what it steers, and how well a test says it is."""

    def __init__(self, access: Access, server: Server, keys: list[Keys], schemas: Mapping[str, Any]) -> None:
        self.steered = Steered()
        self.readiness = Readiness(ready=True, problems={})
        self.stuck: dict[str, str] = {}
        self.registry = CollectorRegistry()
        self.api = HttpApi(
            access=access, alive=lambda: self.stuck, readiness=lambda: self.readiness, metrics=self._metrics,
            steering=self.steered, server=server, keys=keys, schemas=schemas,
        )  # fmt: skip
        self.metrics: Callable[[], Awaitable[bytes]] = self._registered
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    async def _metrics(self) -> bytes:
        return await self.metrics()

    async def _registered(self) -> bytes:
        return generate_latest(self.registry)


@asynccontextmanager
async def served(
    token: str | None = None, *, public_url: str = "", server: str = "redis://127.0.0.1:1", prefix: str = "t",
    partitions: int = 1, schemas: Mapping[str, Any] | None = None, host: str = "127.0.0.1",
) -> AsyncIterator[tuple[Served, aiohttp.ClientSession]]:  # fmt: skip
    """A running API over the log of a server, and a client."""
    keys = [Keys(prefix, partition) for partition in range(partitions)]
    found = Served(Access(token, public_url), Server(server), keys, schemas or ANYTHING)
    await found.api.start(host, found.port)
    try:
        async with aiohttp.ClientSession(found.url) as session:
            yield found, session
    finally:
        await found.api.stop()
