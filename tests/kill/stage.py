"""Where a case plays: a server, daemons, wires, and the reading of the log at the end. Ends whatever it started."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from daemon import Daemon, package
from redis.exceptions import RedisError
from servers import RedisServer
from waiting import wait_until

from kill.findings import Findings, by_subject, numbered
from kill.mutants import Mutant, breed
from kill.upstream import Upstream
from kill.wire import Wire

EVENTS = "bridge:{0}:events"
OWN = "dev.runbridge.destination."
"""What types begin with that say how a destination is: entries that no upstream sends."""
PAGE = 2000
END_TIMEOUT = 30.0
"""Seconds for the bridge to catch up once the last event was sent."""


@dataclass(slots=True)
class Stage:
    """What a case is given. `redis` runs already, with an append-only file."""

    directory: Path
    random: Random
    redis: RedisServer
    package: Path
    stack: contextlib.AsyncExitStack
    daemons: list[Daemon] = field(default_factory=list)

    def daemon(self, configuration: str) -> Daemon:
        """A daemon of its own, not yet started."""
        home = self.directory / f"bridge-{len(self.daemons)}"
        home.mkdir()
        self.daemons.append(Daemon(home, configuration, PYTHONPATH=str(self.package)))
        return self.daemons[-1]

    async def wire(self) -> Wire:
        """A wire to the server."""
        return await self.stack.enter_async_context(Wire(self.random, self.directory / "redis" / "redis.sock"))

    def length(self) -> int:
        """Entries in the log; 0 while there is no server."""
        with contextlib.suppress(RedisError, OSError):
            return int(self.redis.call("XLEN", EVENTS))
        return 0

    def source(self, name: str) -> Mapping[str, str]:
        """A source's hash; empty while there is no server."""
        with contextlib.suppress(RedisError, OSError):
            found: Mapping[str, str] = self.redis.call("HGETALL", f"bridge:{{0}}:source:{name}")
            return found
        return {}

    async def grown(self, by: int = 1) -> None:
        """Wait until the log has that many more entries than now."""
        before = self.length()
        await wait_until(lambda: self.length() >= before + by, "the log grows", END_TIMEOUT)

    async def moment(self, longest: float) -> None:
        """Let a random time pass: the suite's only sleep, since what is tried out is any moment at all."""
        await asyncio.sleep(self.random.uniform(0.0, longest))

    async def ended(self, sources: list[str], found: Findings) -> None:
        """Wait until all these sources have ended, and stop the daemons, so that the log stands still."""
        try:
            await wait_until(
                lambda: all(self.source(name).get("state") == "ended" for name in sources),
                "all sources have ended", END_TIMEOUT,
            )  # fmt: skip
        except AssertionError as late:
            found.faults.append(str(late))
        await self.stop(found)

    async def stop(self, found: Findings) -> None:
        """Stop all daemons politely; each has to exit 0, and none may have had an error it did not know."""
        for number, daemon in enumerate(self.daemons):
            if daemon.alive:
                code = await daemon.stop()
                found.check(code == 0, f"bridge {number} exited {code} after SIGTERM")
            for line in daemon.lines("worker.restarted"):
                found.faults.append(f"bridge {number}: {line['worker']} had an error: {line['error']}")

    def entries(self) -> Iterator[Mapping[str, str]]:
        """The whole log, in its order."""
        after = "-"
        while page := self.redis.call("XRANGE", EVENTS, after, "+", "COUNT", PAGE):
            for _, fields in page:
                yield fields
            after = f"({page[-1][0]}"

    def compare(self, upstream: Upstream, found: Findings) -> None:
        """Every event of every run once, in order, its JSON as it was sent, numbered without a hole."""
        stored = by_subject(entry for entry in self.entries() if not entry["type"].startswith(OWN))
        for name, run in upstream.runs.items():
            entries, sent = stored.pop(name, []), run.sent
            found.count(list(sent), [entry["id"] for entry in entries])
            ends = {id_: f'"data":{body}}}' for id_, body in sent.items()}
            changed = [entry["id"] for entry in entries if not entry["event"].endswith(ends.get(entry["id"], "?"))]
            found.check(not changed, f"{name}: {len(changed)} events are not what was sent, such as {changed[:1]}")
            numbers = [json.loads(entry["event"])["sequence"] for entry in entries]
            found.check(numbered(numbers), f"{name}: the sequence numbers are not 1, 2, 3, ...")
        found.check(not stored, f"entries of subjects that there are not: {sorted(stored)[:3]}")
        found.faults += upstream.complaints
        found.notes.append(f"{upstream.cuts} cuts in mid-frame, {upstream.replayed} events sent again by the upstream")


@contextlib.asynccontextmanager
async def stage(seed: int, mutant: Mutant | None = None) -> AsyncIterator[Stage]:
    """A stage with a fresh server. `mutant` is what the daemons lack."""
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="runbridge-kill-")))
        redis = RedisServer(
            "valkey", directory / "redis", appendonly="yes", appendfsync="everysec", auto_aof_rewrite_percentage="0"
        )
        stack.callback(redis.stop)
        await asyncio.to_thread(redis.start)
        made = Stage(directory, Random(seed), redis, breed(mutant, directory) if mutant else package(), stack)
        try:
            yield made
        finally:
            for daemon in made.daemons:
                daemon.kill()


def streams(redis_url: str, upstream: Upstream, more: str = "") -> str:
    """The configuration of a daemon that follows all runs of an upstream."""
    kind = 'account = "up"\nkind = "bctrl.run-events.stream"'
    sources = "".join(f'[sources.{name}]\n{kind}\nrun = "{name}"\n' for name in upstream.runs)
    return (
        f'grace = "5s"\n[redis]\nurl = "{redis_url}"\n[http]\nlisten = ""\n[logging]\nformat = "json"\n'
        f'[accounts.up]\nprovider = "bctrl"\nbase_url = "{upstream.url}"\napi_key = "key"\n{sources}{more}'
    )
