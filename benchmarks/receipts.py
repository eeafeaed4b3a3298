"""Asks a receiver's process what has come."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.marks import Receipt, receipt
from benchmarks.processes import Child, python


class Hooks:
    """A receiver as a process of its own: `benchmarks.receiver`, or another module that answers the same."""

    def __init__(self, directory: Path, module: str = "benchmarks.receiver") -> None:
        self.process: Child = python(module, directory=directory)

    def __enter__(self) -> "Hooks":
        self.process.__enter__()
        self.url = f"http://127.0.0.1:{self.process.line()}/"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.__exit__()

    def count(self, name: str = "") -> int:
        """Events so far: all, or those that were taken under a name."""
        return int(self._ask("count", name))

    def receipts(self, name: str = "") -> list[Receipt]:
        """All events so far, in the order in which they came."""
        return [receipt(text, seen) for text, seen in self._ask("receipts", name)]

    def _ask(self, what: str, name: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{what}{name and '/'}{name}", timeout=30) as response:
            return json.load(response)
