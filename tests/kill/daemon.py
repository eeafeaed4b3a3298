"""The real daemon as a process: started, killed, frozen, woken, stopped. Reads what it says in its log."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

STOP_TIMEOUT = 15.0
"""Seconds from SIGTERM to the end; its grace is shorter."""


class Daemon:
    """`python -m bridge run` on one configuration; `package` is the directory that holds the package `bridge`."""

    def __init__(self, directory: Path, name: str, configuration: str, package: Path) -> None:
        self.name = name
        self._directory = directory
        self._package = package
        self._log = directory / f"{name}.log"
        self._config = directory / f"{name}.toml"
        self._config.write_text(configuration)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Daemon":
        """Start the process, in a directory from where it can import no other package than it should."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "run", "--config", self._config],
                cwd=self._directory, env={**os.environ, "PYTHONPATH": str(self._package)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return self

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True while the process runs, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9; the end is certain when this returns."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    async def stop(self) -> int:
        """SIGTERM; the exit code. One that does not end in time is killed (-9)."""
        self._signal(signal.SIGTERM)
        process = self._process
        assert process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return await asyncio.to_thread(process.wait, STOP_TIMEOUT)
        self.kill()
        return -9

    def said(self, event: str) -> list[dict[str, Any]]:
        """All log lines of this name, of this process and of those before it."""
        return [line for line in self._lines() if line.get("event") == event]

    def _lines(self) -> list[dict[str, Any]]:
        lines = []
        for text in self._log.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):  # a process that is killed does not finish its line
                line = json.loads(text)
                if isinstance(line, dict):
                    lines.append(line)
        return lines

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} was never started"
        if self._process.poll() is None:
            self._process.send_signal(number)
