"""A run upstream that is listed and waited for, as scripts for `upstream`. Refuses to play faults."""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from upstream import Exchange, answer, happened, waited


class Run:
    """A run upstream: its list in pages of three, and a wait after a cursor `c<number>`, which lasts its `timeoutMs`.

    A wait without a cursor begins at the run's start, or with what happens from then on where the run is `live`.
    """

    def __init__(self, *, events: int = 0, live: bool = False, page: int = 3) -> None:
        self.events: list[dict[str, Any]] = []
        self.live = live
        self.day = "2026-06-25"
        self.between: Callable[[], None] = lambda: None
        """Called when a list has been read to its end."""
        self._page = page
        self._grown = asyncio.Condition()
        self.more(events)

    def more(self, count: int) -> None:
        """Something happens that no wait under way is told of."""
        for _ in range(count):
            at = len(self.events)
            kind = ("network", "browser")[at % 2]
            self.events.append(happened(f"e{at}", kind=kind, time=f"{self.day}T12:00:00.{at:06d}Z"))

    async def grow(self, count: int = 1) -> None:
        """Something happens, and ends a wait."""
        async with self._grown:
            self.more(count)
            self._grown.notify_all()

    def ids(self, filters: Mapping[str, Any] = MappingProxyType({})) -> list[str]:
        """All that has happened, of the kinds in the filters."""
        return [event["id"] for event in self.events if event["kind"] in filters.get("kinds", [event["kind"]])]

    async def wait(self, exchange: Exchange) -> None:
        """A script: the next event, or none in time."""
        said = exchange.request.said
        at = int(said["cursor"].removeprefix("c")) if "cursor" in said else len(self.events) if self.live else 0
        kinds = said.get("kind", ["network", "browser"])
        found: list[int] = []

        def look() -> bool:
            found[:] = [number for number in range(at, len(self.events)) if self.events[number]["kind"] in kinds][:1]
            return bool(found)

        try:
            async with asyncio.timeout(said["timeoutMs"] / 1000), self._grown:
                await self._grown.wait_for(look)
        except TimeoutError:
            await waited(cursor=f"c{len(self.events)}")(exchange)
        else:
            await waited(self.events[found[0]], cursor=f"c{found[0] + 1}")(exchange)

    async def list(self, exchange: Exchange) -> None:
        """A script: a page of the list."""
        at = int(dict(exchange.request.query).get("cursor", 0))
        upto = at + self._page
        following = str(upto) if upto < len(self.events) else None
        body = {"data": self.events[at:upto], "nextCursor": following}
        if following is None:
            self.between()
        await answer(200, body)(exchange)
