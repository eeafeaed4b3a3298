"""The real daemon as a process, on a configuration text: started, signalled, killed, and what it says in its log.

Refuses to look inside: a test sees what an operator sees, and what others read from the log in Redis.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis
from servers import RedisServer
from waiting import wait_until

BCTRL_KEY = "bctrl-key-8c1f5d"
ANCHOR_KEY = "anchor-key-77e02b"
KEYS = {"bctrl": BCTRL_KEY, "anchor": ANCHOR_KEY}
STOP_TIMEOUT = 20.0
"""Seconds from a signal to the end of a process, whatever its grace."""


def package() -> Path:
    """The directory that holds the package `bridge` of these tests, wherever it is installed."""
    spec = find_spec("bridge")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


def configuration(
    redis: str, sources: str, *, prefix: str = "bridge", bctrl: str = "", anchor: str = "", more: str = "",
    accounts: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:  # fmt: skip
    """A configuration on this Redis with accounts at these base URLs; `more` are keys of the top level.

    `accounts` are others beside them, by name: a `provider`, whose key they get, and any further keys.
    """
    bases = {"bctrl": {"provider": "bctrl", "base_url": bctrl}, "anchor": {"provider": "anchor", "base_url": anchor}}
    found = {**{name: keys for name, keys in bases.items() if keys["base_url"]}, **(accounts or {})}
    tables = [f'[redis]\nurl = "{redis}"', f'[log]\nprefix = "{prefix}"', '[http]\nlisten = ""']
    named = [_table("accounts", name, {"api_key": KEYS[keys["provider"]], **keys}) for name, keys in found.items()]
    return "\n".join([more, *tables, *named, sources])


def stream_source(id_: str = "s", *, run: str = "r", **keys: Any) -> str:
    """A source of kind bctrl.run-events.stream."""
    return _source(id_, {"account": "bctrl", "kind": "bctrl.run-events.stream", "run": run, **keys})


def run_wait_source(id_: str = "s", *, run: str = "r", **keys: Any) -> str:
    """A source of kind bctrl.run-events.wait; its waits last a second unless told."""
    named = {"account": "bctrl", "kind": "bctrl.run-events.wait", "run": run}
    return _source(id_, {**named, "wait_timeout": "1s", **keys})


def durable_source(id_: str = "s", *, noun: str = "operation", work: str = "w", **keys: Any) -> str:
    """A source of kind bctrl.operation.wait or bctrl.invocation.wait; its waits last a second unless told."""
    named = {"account": "bctrl", "kind": f"bctrl.{noun}.wait", noun: work}
    return _source(id_, {**named, "wait_timeout": "1s", **keys})


def wait_source(id_: str = "w", *, event: str = "otp", **keys: Any) -> str:
    """A source of kind anchor.event.wait; its waits last a second unless told."""
    named = {"account": "anchor", "kind": "anchor.event.wait", "event": event}
    return _source(id_, {**named, "wait_timeout": "1s", **keys})


def _source(id_: str, keys: dict[str, Any]) -> str:
    return _table("sources", id_, keys)


def _table(section: str, name: str, keys: Mapping[str, Any]) -> str:
    # a JSON text, number or list of texts is TOML too
    return "\n".join([f'[{section}."{name}"]', *(f"{key} = {json.dumps(value)}" for key, value in keys.items()), ""])


class Daemon:
    """`python -m bridge run` on one configuration. As a context it runs, and is gone afterwards.

    A block that ends well ends the daemon politely: it has to exit 0 and must not have written a stack trace.
    """

    def __init__(self, directory: Path, config: str, **environment: str) -> None:
        self.config = directory / "bridge.toml"
        self.config.write_text(config)
        self._environment = environment
        self._directory = directory
        self._said = directory / "said"
        self._said.mkdir(exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._lives = 0

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill()
            error.add_note(f"what the daemon said:\n{self.text[-4000:]}")
        elif self.alive:
            code = await self.stop()
            assert code == 0, f"exit code {code}:\n{self.text[-4000:]}"
        assert "Traceback" not in self.text, self.text

    def start(self) -> Self:
        """Start the process, in a directory from where it imports the package under test and no other."""
        assert not self.alive, "it runs already"
        self._lives += 1
        out, err = (self._said / f"{self._lives}.{name}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "run", "--config", str(self.config)],
                cwd=self._directory, env={**os.environ, "PYTHONPATH": str(package()), **self._environment},
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            )  # fmt: skip
        return self

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def text(self) -> str:
        """All it has written to standard output and standard error, in all its lives."""
        return "".join(path.read_text(errors="replace") for path in sorted(self._said.iterdir()))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with kill -9; it is gone when this returns."""
        if self._process is not None and self.alive:
            self._process.kill()
            self._process.wait()

    async def end(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait for its end; the exit code."""
        process = self._process
        assert process is not None, "it was never started"
        await wait_until(lambda: process.poll() is not None, "the daemon's end", timeout)
        return process.returncode

    async def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """SIGTERM, and its end; the exit code."""
        self.signal(signal.SIGTERM)
        return await self.end(timeout)

    def lines(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Its log lines with this name and these fields, of all its lives."""
        return [line for line in self._all() if line.get("event") == event and fields.items() <= line.items()]

    async def line(self, event: str, *, count: int = 1, timeout: float = 10.0, **fields: Any) -> dict[str, Any]:
        """Wait for a log line with this name and these fields, or for `count` of them; the last one."""
        found = await wait_until(
            lambda: (lines := self.lines(event, **fields))[count - 1 :] and lines, f"log line {event} {fields}", timeout
        )
        return found[-1]

    def _all(self) -> Iterator[dict[str, Any]]:
        for text in self.text.splitlines():
            with contextlib.suppress(ValueError):  # a process that is killed does not finish its line
                line = json.loads(text)
                if isinstance(line, dict):
                    yield line


class Log:
    """The log in Redis as its readers see it."""

    def __init__(self, server: RedisServer, prefix: str = "bridge") -> None:
        self.server = server
        self.prefix = prefix
        self._root = f"{prefix}:{{0}}"

    def events(self, type_: str = "") -> list[dict[str, Any]]:
        """The CloudEvents in the log, in its order; only those whose type ends with `type_`."""
        entries = self.server.call("XRANGE", f"{self._root}:events", "-", "+")
        events = [json.loads(fields["event"]) for _, fields in entries]
        return [event for event in events if event["type"].endswith(type_)]

    def ids(self) -> list[str]:
        """Ids of all events in the log."""
        return [event["id"] for event in self.events()]

    def length(self) -> int:
        """How many events are in the log."""
        return int(self.server.call("XLEN", f"{self._root}:events"))

    async def longer(self, length: int, timeout: float = 15.0) -> int:
        """Wait until it holds more events than this; how many."""
        await wait_until(lambda: self.length() > length, f"more than {length} events in the log", timeout)
        return self.length()

    def data(self, type_: str) -> list[Any]:
        """The data of all events whose type ends with `type_`."""
        return [event["data"] for event in self.events(type_)]

    def parked(self) -> list[tuple[str, bytes]]:
        """Reason and raw bytes of what was parked."""
        client = Redis.from_url(self.server.url, protocol=2)
        try:
            entries: Any = client.execute_command("XRANGE", f"{self._root}:parked", "-", "+")
        finally:
            client.close()
        return [(fields[b"reason"].decode(), fields[b"raw"]) for _, fields in entries]

    def source(self, id_: str = "s") -> dict[str, str]:
        """What is stored about a source."""
        found: dict[str, str] = self.server.call("HGETALL", f"{self._root}:source:{id_}")
        return found

    async def has(self, *ids: str, timeout: float = 10.0) -> None:
        """Wait until the log holds exactly these events, in this order."""
        try:
            await wait_until(lambda: self.ids() == list(ids), f"{list(ids)} in the log", timeout)
        except AssertionError as error:
            error.add_note(f"it holds {self.ids()}")
            raise

    async def count(self, type_: str, count: int, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Wait until the log holds so many events whose type ends with `type_`."""
        await wait_until(lambda: len(self.events(type_)) >= count, f"{count} events {type_}", timeout)
        return self.events(type_)

    async def state(self, state: str, source: str = "s", timeout: float = 10.0) -> None:
        """Wait until a source is stored in this state."""
        await wait_until(lambda: self.source(source).get("state") == state, f"{source} {state}", timeout)


def processes_on(directory: Path) -> list[int]:
    """Pids of the servers that run on a directory of `embedded:`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            running = (process / "stat").read_text().rpartition(") ")[2][0] not in "ZX"
            if running and os.fsencode(directory / "valkey.sock") in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


async def never(condition: Any, description: str, seconds: float) -> None:
    """Watch for some seconds that a condition does not become true."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wait_until(condition, description, seconds + 60)
            raise AssertionError(f"happened: {description}")
