"""Writes Server-Sent Events to one client (WHATWG HTML, section 9.2). Holds no more than what it is writing.

A client that reads nothing for a while is cut off; it comes back with the last id it has seen.
"""

import asyncio

from aiohttp import web

from bridge.stop import Stop

SLOWEST = 30.0
"""Seconds for what is written to be taken by the client."""
HEARTBEAT = 15.0
"""Seconds between signs of life."""
_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep the events until it has a buffer full
    "X-Content-Type-Options": "nosniff",
}


def frame(data: bytes, *, event: str = "", id_: str = "") -> bytes:
    """One event. Its data's line ends, of whatever kind, become several `data` lines."""
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    head = (f"id: {_line(id_)}\n" if id_ else "") + (f"event: {_line(event)}\n" if event else "")
    return head.encode() + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


def _line(text: str) -> str:
    """A text as a field can hold it."""
    return "".join(" " if char in "\r\n\0" else char for char in text).encode(errors="replace").decode()


class EventStream:
    """One answer that goes on until its client is gone or the server stops."""

    def __init__(self, request: web.Request, stop: Stop) -> None:
        self._request = request
        self._stop = stop
        self._response = web.StreamResponse(headers=_HEADERS)
        self._time = asyncio.get_running_loop().time
        self._wrote = self._time()

    async def open(self) -> web.StreamResponse:
        """Send the head, with the time after which a client may come back."""
        await self._response.prepare(self._request)
        if self._request.method != "HEAD":
            await self.write(b"retry: 2000\n\n")
        return self._response

    @property
    def ended(self) -> bool:
        """The client is gone, or the server stops."""
        transport = self._request.transport
        return self._request.method == "HEAD" or self._stop.is_set() or transport is None or transport.is_closing()

    async def write(self, raw: bytes) -> None:
        """Send bytes, however slowly they are taken, up to SLOWEST; after that the client is cut off."""
        if self.ended:
            return
        try:
            async with asyncio.timeout(SLOWEST):
                await self._response.write(raw)
            self._wrote = self._time()
        except ConnectionError:
            return
        except TimeoutError:
            transport = self._request.transport
            if transport is not None:
                transport.abort()

    async def beat(self, id_: str = "") -> None:
        """A sign of life where nothing was written for a while, with the position reached meanwhile."""
        if self._time() - self._wrote >= HEARTBEAT:
            await self.write(f": alive\nid: {id_}\n\n".encode() if id_ else b": alive\n\n")

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the server's stop."""
        await self._stop.pause(seconds)
