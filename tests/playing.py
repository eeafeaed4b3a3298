"""Many sources in one real daemon for some seconds, each with its own scripts, and what was to be seen of them.

Judges nothing: the tests do.
"""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import pytest
from daemon import Daemon, Log, configuration
from servers import RedisServer
from upstream import Request, Upstream
from waiting import wait_until

P = TypeVar("P")


@dataclass(frozen=True)
class Played:
    """What was seen."""

    daemon: Daemon
    requests: list[Request]
    entries: list[dict[str, str]]
    """All fields of the log's entries."""
    parked: list[tuple[str, bytes]]
    sources: dict[str, dict[str, str]]
    seconds: float

    @classmethod
    async def watch(
        cls, directory: Path, server: RedisServer, upstream: Upstream, sources: Mapping[str, str], *,
        first: str, seconds: float,
    ) -> Self:  # fmt: skip
        """Let these sources (tables of the configuration, by id) run for so long from the first request for a path.

        A source's events have its id as their subject.
        """
        config = configuration(server.url, "\n".join(sources.values()), prefix="play", bctrl=upstream.url)
        async with Daemon(directory, config) as daemon:
            await upstream.asked(first)
            started = time.monotonic()
            await wait_until(lambda: time.monotonic() - started >= seconds, "the end of the play", seconds + 10)
            requests, played = list(upstream.requests), time.monotonic() - started
        log = Log(server, "play")
        entries = [fields for _, fields in server.call("XRANGE", "play:{0}:events", "-", "+")]
        return cls(daemon, requests, entries, log.parked(), {name: log.source(name) for name in sources}, played)

    def about(self, name: str) -> list[dict[str, Any]]:
        """The events of a source."""
        return [json.loads(entry["event"]) for entry in self.entries if entry["subject"] == name]

    def ids(self, name: str) -> list[str]:
        """The ids of its events, but the last part of the type for those of the bridge's own."""
        return [event["id"] if "runbridge" not in event["type"] else event["type"].rpartition(".")[2]
                for event in self.about(name)]  # fmt: skip


def once(
    play: Callable[[Path, RedisServer], Coroutine[Any, Any, P]], servers: Mapping[str, RedisServer],
    directories: pytest.TempPathFactory,
) -> P:  # fmt: skip
    """What a play brings that is played now, on one kind of the shared servers."""
    server = servers["valkey"]
    if not server.running:
        server.start()
    return asyncio.run(play(directories.mktemp("play"), server))
