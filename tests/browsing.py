"""The status page in a real Chromium, and a server that serves it with what a test has it say. Judges nothing of it.

Whatever test looks at the page, it ends with proof that the page asked nobody else and broke no rule of its policy.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import web
from playwright.async_api import ConsoleMessage, Page, async_playwright

from bridge.http_api.page import HEADERS, PAGE
from bridge.overview import Overview

_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SLOW = 20_000.0
"""Milliseconds that anything on the page may take to appear."""


@dataclass
class Sight:
    """The page as somebody sees it, with all it asked for, and what the browser complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def text(self, selector: str) -> str:
        """What is to be read there."""
        return await self.page.locator(selector).first.inner_text()

    async def reads(self, selector: str, part: str) -> None:
        """Wait until this is to be read there."""
        await self.page.locator(selector).filter(has_text=part).first.wait_for(timeout=SLOW)

    async def number(self, selector: str) -> int:
        """A figure, without what groups its digits."""
        return int((await self.text(selector)).replace(",", ""))

    async def focused(self) -> str:
        """The text or name of what has the focus."""
        found = await self.page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent")
        return str(found).strip()

    async def violations(self) -> list[str]:
        """What axe-core finds wrong with it as it is now, each with where."""
        if await self.page.evaluate("typeof axe") == "undefined":
            script = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
            await self.page.evaluate(f"{script};0")
        found = await self.page.evaluate("axe.run({resultTypes: ['violations']})")
        return [f"{rule['id']}: {[node['target'] for node in rule['nodes']]}" for rule in found["violations"]]


@asynccontextmanager
async def seen(url: str, *, width: int = 1280, height: int = 900, scheme: Any = "light") -> AsyncIterator[Sight]:
    """The page at this URL in a browser of its own. Skips the test where no Chromium is on the machine."""
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_FLAGS)
        context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        sight = Sight(await context.new_page())
        sight.page.set_default_timeout(SLOW)
        context.on("request", lambda request: sight.asked.append(request.url))
        sight.page.on("pageerror", lambda error: sight.complaints.append(str(error)))
        sight.page.on("console", lambda message: _note(message, sight))
        try:
            await sight.page.goto(url)
            yield sight
        finally:
            await browser.close()
    assert not sight.complaints, sight.complaints
    origin, asked = urlsplit(url)[:2], [urlsplit(one) for one in sight.asked]
    assert [one.geturl() for one in asked if one.scheme != "data" and one[:2] != origin] == []


def _note(message: ConsoleMessage, sight: Sight) -> None:
    if "Failed to load resource" not in message.text:  # the browser's note of a bad status, which the page deals with
        sight.complaints.append(message.text)


class Stand:
    """Serves the page, and says to it what a test says: states that are hard to bring about in a bridge."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview
        self._followers: set[web.StreamResponse] = set()
        self._runner: web.AppRunner | None = None
        self.answers: dict[str, Any] = {}
        """Path -> what is answered there, as JSON; bytes as they are."""
        self.token = ""
        self.url = ""

    async def say(self, event: str, data: object) -> None:
        """Send an event to every page that follows; an Overview is also what the next one begins with."""
        if isinstance(data, Overview):
            self._overview = data
        for follower in self._followers:
            await follower.write(f"event: {event}\ndata: {msgspec.json.encode(data).decode()}\n\n".encode())

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/", self._page)
        application.router.add_get("/v1/live", self._live)
        application.router.add_route("*", "/{path:.*}", self._other)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(body=PAGE, headers=HEADERS)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self._followers.add(response)
        await self.say("overview", self._overview)
        try:
            await asyncio.Event().wait()
        finally:
            self._followers.discard(response)
        return response

    async def _other(self, request: web.Request) -> web.Response:
        found = self.answers.get(request.path)
        if found is None:
            return web.json_response({"detail": f"there is no {request.path}"}, status=404)
        return web.Response(body=found if isinstance(found, bytes) else json.dumps(found).encode())
