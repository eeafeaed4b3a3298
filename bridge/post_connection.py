"""One connection of the webhook client: writes a request, reads its answer. Refuses to pipeline and to judge an answer.

The only importer of httptools, the parser. Everything is read within bounds; what was asked for is told exactly once.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Protocol, cast

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from bridge.errors import HttpError

MAX_ANSWER = 8192
"""Bytes of an answer's body that are kept."""
MAX_READ = 1 << 16
"""Bytes of an answer that are read at all: interim answers, head, framing and body together."""
MAX_FIELDS = 128
"""Header fields that are kept; more are read and dropped."""
IDLE = 60.0
"""Seconds that a connection is kept without a request, where the server doesn't ask for less."""

_KEEP_ALIVE = re.compile(r"(?:^|[\s,;])timeout\s*=\s*\"?([0-9]{1,6})", re.IGNORECASE)


class Answer(msgspec.Struct, frozen=True):  # made three times as fast as a dataclass
    """What a server said: header names in lower case, at most MAX_ANSWER bytes of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Done = Callable[[Answer | HttpError], None]


class Request:
    """One request, and who wants to know what comes of it."""

    __slots__ = ("again", "deadline", "done", "parts")

    def __init__(self, parts: tuple[bytes, bytes], done: Done) -> None:
        self.parts = parts
        """Head and body, ready to be written."""
        self.done = done
        self.deadline = 0.0
        """Seconds of the loop's clock; 0 before it starts."""
        self.again = False
        """Whether it is on its second connection."""


class Pool(Protocol):
    """Who owns the connections."""

    def released(self, connection: "Connection") -> None:
        """It may carry another request."""
        ...

    def lost(self, connection: "Connection", again: Request | None = None) -> None:
        """It is no more; `again` is to be sent over a fresh one."""
        ...


class Connection(asyncio.Protocol):
    """A connection of a pool's: one request at a time, each with its time-out; idle ones end after theirs."""

    transport: asyncio.Transport

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        """At most one, set to the deadline or earlier: it is moved on when it fires, not at each request."""
        self._deadline = 0.0
        self._request: Request | None = None
        self._reused = False
        self._parser = HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._read = 0
        self._status = 0
        """0 until the head of the answer is complete; interim ones (1xx) don't count."""
        self._headers: dict[str, str] = {}
        self._body = b""
        self._complete = False
        self._wrong = ""

    @property
    def usable(self) -> bool:
        """Whether a request may be written to it."""
        return not self.transport.is_closing()

    def send(self, request: Request) -> None:
        """Write a request whose deadline is set."""
        self._request = request
        self._deadline = deadline = request.deadline
        if not self.usable:  # it broke since it was opened
            self._loop.call_soon(self._break, None)
            return
        self.transport.writelines(request.parts)
        if self._timer is None or self._timer.when() > deadline:
            self._arm()

    def abort(self, told: HttpError | None = None) -> None:
        """End it at once; a request under way is told this."""
        if told is None or self._request is None:
            self._drop()
        else:
            self._settle(told, keep=False)

    # -- asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class

    def data_received(self, data: bytes) -> None:
        """Some bytes of an answer; a server that speaks unasked is not spoken to any more."""
        if self._request is None:
            self._drop()
            return
        self._read += len(data)
        over = self._read > MAX_READ
        if over:
            data = data[: MAX_READ - self._read]
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._wrong = self._wrong or "it switches to another protocol"
        except HttpParserError as error:
            self._wrong = self._wrong or str(error)
        if self._complete:
            self._settle(self._answer(), keep=self._kept and not (over or self._wrong))
        elif over or self._wrong or len(self._body) > MAX_ANSWER:
            why = HttpError(f"the answer is no valid HTTP: {self._wrong or 'its head is too long'}", sent=True)
            self._cut(why, enough=not self._wrong)

    def eof_received(self) -> None:
        """The server has said all it will say. What is still to be written to it is of no use."""
        self._break(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._break(exc)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        """The first byte of an answer, or of what follows one unasked."""
        if self._complete:
            self._wrong = "it goes on after its end"
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field; trailers are dropped."""
        if self._status or self._complete:
            return
        headers, key = self._headers, name.decode("latin-1").lower()
        text = value.decode("latin-1").rstrip(" \t")  # the parser leaves white space where two reads meet in it
        if key in headers:
            headers[key] = f"{headers[key]}, {text}"
        elif len(headers) < MAX_FIELDS:
            headers[key] = text

    def on_headers_complete(self) -> None:
        """The end of a head, perhaps of an interim one."""
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status
        elif status == 101:
            self._wrong = "it switches to another protocol"

    def on_body(self, chunk: bytes) -> None:
        """A piece of the body."""
        if len(self._body) <= MAX_ANSWER and not self._complete:
            self._body += chunk

    def on_message_complete(self) -> None:
        """The end of an answer, perhaps of an interim one."""
        if self._status and not self._complete:
            self._complete = True
            self._kept = self._parser.should_keep_alive()

    # -- ends

    def _answer(self) -> Answer:
        return Answer(self._status, self._headers, self._body[:MAX_ANSWER])

    def _cut(self, otherwise: HttpError, *, enough: bool = False) -> None:
        """End before the answer does. A status that is known counts, but a success only where `enough` was read."""
        counts = self._status >= 300 or (enough and self._status)
        self._settle(self._answer() if counts else otherwise, keep=False)

    def _break(self, error: Exception | None) -> None:
        request = self._request
        if request is None:
            self._drop()
        elif self._reused and not self._read and not request.again:
            # The server closed it while the request was on its way: the race of every kept connection. A receiver
            # that did get it knows it again by its id.
            self._request = None
            self._drop(again=request)
        else:
            why = " ".join(str(error).split())[:200] if error else "the server closed it"
            # without a length the end of the connection is the end of the body
            ends = error is None and not self._headers.keys() & {"content-length", "transfer-encoding"}
            self._cut(HttpError(f"the connection broke: {why}", sent=True), enough=ends)

    def _settle(self, outcome: Answer | HttpError, *, keep: bool) -> None:
        request, self._request = self._request, None
        if request is None:
            return
        idle = self._idle_time() if keep else 0.0
        if idle and self.usable and not self.transport.get_write_buffer_size():
            self._reset()
            self._reused = True
            self._deadline = self._loop.time() + idle
            self._pool.released(self)
        else:
            self._drop()
        request.done(outcome)

    def _idle_time(self) -> float:
        headers = self._headers
        if "connection" in headers and self._parser.get_http_version() != "1.1":
            return 0.0
        if "keep-alive" in headers and (asked := _KEEP_ALIVE.search(headers["keep-alive"])):
            return min(IDLE, float(asked[1]))
        return IDLE

    def _drop(self, again: Request | None = None) -> None:
        self.transport.abort()
        self._pool.lost(self, again)

    # -- time

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._loop.time() < self._deadline - 0.001:
            self._arm()
        elif self._request is None:
            self._drop()
        else:
            self._cut(HttpError("no byte within the time allowed", sent=True))
