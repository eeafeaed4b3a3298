"""A command of `runbridge` as a process: what it prints, how it ends. Refuses to look inside."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from daemon import package
from waiting import wait_until

END_TIMEOUT = 30.0
"""Seconds for the end of a process after something that ends it."""


class Command:
    """`python -m bridge ARGUMENTS` in `directory`, its output in files there. Killed when the block ends."""

    def __init__(self, directory: Path, *arguments: str, stdout: int | None = None, **environment: str) -> None:
        out, err = (directory / f"{arguments[0]}.{id(self)}.{name}" for name in ("out", "err"))
        self._out, self._err = out, err
        # colours are for terminals alone, whatever this shell says
        inherited = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "TTY_COMPATIBLE"}}
        with out.open("wb") as to_out, err.open("wb") as to_err:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "bridge", *arguments],
                cwd=directory, env={**inherited, "PYTHONPATH": str(package()), **environment},
                stdin=subprocess.DEVNULL, stdout=to_out if stdout is None else stdout, stderr=to_err,
            )  # fmt: skip

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if error is not None:
            error.add_note(f"it printed:\n{self.out[-4000:]}\nand on standard error:\n{self.err[-4000:]}")

    @property
    def out(self) -> str:
        """What it has printed."""
        return self._out.read_text()

    @property
    def lines(self) -> list[str]:
        """The whole lines among it."""
        return self.out.rpartition("\n")[0].splitlines()

    @property
    def err(self) -> str:
        """What it has printed on standard error."""
        return self._err.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def end(self, timeout: float = END_TIMEOUT) -> int:
        """Wait for its end; the exit code."""
        await wait_until(lambda: self.process.poll() is not None, f"the end of {self.process.args!r}", timeout)
        return self.process.returncode
