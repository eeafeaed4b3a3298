"""The emulator as a process of its own, steered by its control calls, and what it says at the end of all it has made.

Refuses to import it: the truth is read over HTTP, from the lists or from a second reading of a stream.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from daemon import package
from waiting import wait_until

KEY = "key"
VERSION = {"BCTRL-Version": "2026-10-03"}
PAGE = 500


class Frame(NamedTuple):
    """A frame of Server-Sent Events, read to the end of its stream."""

    id: str
    event: str
    data: str


class Emulated:
    """One emulator. `options` are what a scenario file holds; as a context it runs."""

    def __init__(self, directory: Path, options: Mapping[str, object]) -> None:
        directory.mkdir()
        self._directory = directory
        (directory / "scenario.json").write_text(json.dumps(options))
        self._process: subprocess.Popen[bytes] | None = None
        self._session: ClientSession | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        said = self._directory / "said"
        with said.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "emulator", "--port", "0", "--scenario", "scenario.json"],
                cwd=self._directory, env={**os.environ, "PYTHONPATH": str(package())},
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._session = ClientSession(
            headers={"Authorization": f"Bearer {KEY}"}, timeout=ClientTimeout(total=30),
            connector=TCPConnector(force_close=True),  # a restart breaks those that are kept open
        )  # fmt: skip
        line = await wait_until(lambda: said.read_text().partition("\n")[1] and said.read_text(), "the emulator's URL")
        assert "http://" in line, f"the emulator did not start: {line}"
        self.url = line.split()[-1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def control(self, path: str, body: object = None, *, method: str = "POST") -> Any:
        """One control call's answer. AssertionError where it is refused."""
        assert self._session is not None, "it is not running"
        async with self._session.request(method, f"{self.url}/_emulator/{path}", json=body) as answer:
            said = await answer.json()
            assert answer.status == 200, f"{path}: {answer.status} {said}"
            return said

    async def state(self) -> dict[str, Any]:
        """What it shows of itself."""
        shown: dict[str, Any] = await self.control("", method="GET")
        return shown

    async def counts(self) -> Counter[str]:
        """How often each call was made."""
        return Counter((await self.state())["counts"])

    async def heads(self) -> list[int]:
        """How many events each run has by now."""
        return [run["eventCount"] for run in (await self.state())["runs"]]

    async def clear(self) -> None:
        """Switch every fault off."""
        await self.control("faults", method="DELETE")

    async def listed(self, path: str, headers: Mapping[str, str] = VERSION, **params: str) -> list[bytes]:
        """The objects of a list call, all pages, each byte for byte."""
        assert self._session is not None, "it is not running"
        found: list[bytes] = []
        asked: dict[str, str] = {"limit": str(PAGE), **params}
        while True:
            async with self._session.get(f"{self.url}{path}", params=asked, headers=headers) as answer:
                said = msgspec.json.decode(await answer.read(), type=dict[str, msgspec.Raw])
            assert "data" in said, f"{path}: {answer.status}"
            found += map(bytes, msgspec.json.decode(said["data"], type=list[msgspec.Raw]))
            following = msgspec.json.decode(said["nextCursor"], type=str | None)
            if not following:
                return found
            asked["cursor"] = following

    async def frames(self, path: str, headers: Mapping[str, str]) -> list[Frame]:
        """A stream that has an end, from its beginning to there."""
        assert self._session is not None, "it is not running"
        async with self._session.get(f"{self.url}{path}", headers=headers) as answer:
            assert answer.status == 200, f"{path}: {answer.status}"
            text = await answer.text()
        return [_frame(block) for block in text.split("\n\n") if block and not block.startswith(":")]


def _frame(block: str) -> Frame:
    said = dict(line.partition(": ")[::2] for line in block.split("\n"))
    return Frame(said.get("id", ""), said.get("event", ""), said.get("data", ""))
