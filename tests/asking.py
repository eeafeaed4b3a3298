"""A real bridge's control API as its callers see it, from the moment on when it takes orders."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from daemon import Daemon
from waiting import wait_until


@dataclass
class Asked:
    """A bridge's API."""

    session: aiohttp.ClientSession

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.session.request(method, path, json=body) as response:
            return response.status, await response.json() if response.content_length else None

    async def begun(self) -> bool:
        """Whether it answers, and has read the definitions in Redis."""
        try:
            return "start" not in (await self("GET", "/readyz"))[1]["problems"]
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def running(daemon: Daemon, port: int) -> AsyncIterator[Asked]:
    """A bridge that takes orders."""
    async with daemon, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        asked = Asked(session)
        await wait_until(asked.begun, "the bridge")
        yield asked
