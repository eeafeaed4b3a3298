"""Answers in the shapes of the two providers: JSON, their error bodies, a proxy's page, a reset connection."""

import asyncio
import fcntl
import itertools
import socket
import struct
import termios

from aiohttp import web

from bridge.emulator.wire import encode

VERSION_HEADER = "BCTRL-Version"  # only requests of today's API have it
DRAIN_SECONDS = 2.0  # so long a reset waits for what was written before it

# Codes and reason classes of the error bodies, as documented for bctrl.
CODES = {
    400: ("request.invalid", "invalid_input"),
    401: ("auth.required", "unauthorized"),
    403: ("auth.forbidden", "capability_denied"),
    404: ("run.not_found", "not_found"),
    408: ("route.timeout", "upstream"),
    409: ("request.conflict", "conflict"),
    410: ("run.not_found", "not_found"),
    422: ("request.invalid", "invalid_input"),
    429: ("rate_limited", "rate_limited"),
    502: ("upstream.unavailable", "upstream"),
    503: ("upstream.unavailable", "upstream"),
    504: ("gateway.timeout", "upstream"),
}
_request_numbers = itertools.count(1)


def json_answer(body: object, status: int = 200) -> web.Response:
    """JSON with a status."""
    return json_bytes(encode(body), status)


def json_bytes(body: bytes, status: int = 200) -> web.Response:
    """JSON that is encoded already."""
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json"})


class BctrlError(web.Response):
    """An error of bctrl, flat until `nest` is called."""

    def __init__(self, status: int, message: str, code: str, reason: str) -> None:
        self._number = f"req_{next(_request_numbers):08d}"
        self._fields = {"code": code, "message": message, "reasonClass": reason, "requestId": self._number}
        flat = {"error" if name == "message" else name: value for name, value in self._fields.items()}
        super().__init__(status=status, body=encode(flat), content_type="application/json")
        self.headers["x-request-id"] = self._number

    def nest(self) -> None:
        """Gives it the shape of today's API."""
        self.body = encode({"error": self._fields})


def bctrl_error(status: int, message: str, code: str | None = None) -> BctrlError:
    """An error in the flat shape: `{code, error, reasonClass, requestId}`; `shaped` nests it where it has to be."""
    known, reason = CODES.get(status, ("server.error", "server"))
    return BctrlError(status, message, code or known, reason)


def no_route(request: web.Request) -> BctrlError:
    """What bctrl says of a route that it doesn't have."""
    return bctrl_error(404, f"Route {request.method} {request.path} not found.", "route.not_found")


def shaped(answer: web.StreamResponse, request: web.Request) -> web.StreamResponse:
    """The answer; a bctrl error to a request with BCTRL-Version is `{"error": {code, message, ...}}`."""
    if VERSION_HEADER in request.headers and isinstance(answer, BctrlError) and not answer.prepared:
        answer.nest()
    return answer


def anchor_error(status: int, message: str) -> web.Response:
    """Anchor's error body: `{"error": {"code": <status>, "message": ...}}`."""
    return json_answer({"error": {"code": status, "message": message}}, status)


def proxy_error(status: int) -> web.Response:
    """The HTML page that a proxy in between would give."""
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
    return web.Response(status=status, text=page, content_type="text/html")


async def sever(request: web.Request) -> web.Response:
    """Resets the TCP connection of a request, once what was written has left this machine's buffers.

    Returns an answer that reaches nobody, for handlers that have to return one.
    """
    transport = request.transport
    if transport is not None and not transport.is_closing():
        await _drain(transport)
        reset(transport)
    return web.Response(status=500)


def reset(transport: asyncio.Transport) -> None:
    """Resets a TCP connection now (RST, not FIN); what the other side has not got yet is lost."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _drain(transport: asyncio.Transport) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_SECONDS
    while not transport.is_closing() and loop.time() < deadline and _unsent(transport):  # noqa: ASYNC110 - the kernel tells nobody when its buffer is empty
        await asyncio.sleep(0.001)


def _unsent(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return 0
    in_kernel = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    return transport.get_write_buffer_size() + int(in_kernel)
