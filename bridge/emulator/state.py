"""Holds what all calls of a running emulator share. Decides nothing."""

import asyncio
import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

from bridge.emulator.answers import reset
from bridge.emulator.faults import Faults
from bridge.emulator.named_events import NamedEvents
from bridge.emulator.options import Options
from bridge.emulator.runs import Runs

BODY_KEPT = 4096
SECRET_HEADERS = frozenset({"authorization", "anchor-api-key", "cookie"})


@dataclass(slots=True)
class RequestRecord:
    """A request as it came in; `at` is in seconds of the loop's clock.

    Header names are in lower case. `status` is 0 until the answer is whole, 499 where the client went before that.
    `body` holds the first 4,096 bytes.
    """

    call: str
    method: str
    path: str
    at: float
    query: dict[str, list[str]]
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int = 0

    def describe(self) -> dict[str, object]:
        """The request as JSON, its secrets left out."""
        headers = {name: "***" if name in SECRET_HEADERS else text for name, text in self.headers.items()}
        return {
            "call": self.call,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": headers,
            "body": self.body.decode("utf-8", "replace"),
            "status": self.status,
        }


class State:
    """Runs, named events, faults, and what has been asked so far."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.faults = Faults(options.faults)
        self.events = NamedEvents(remember=options.remember)
        self.runs = Runs(keep=options.keep, on_demand=options.script if options.any_run else None)
        for run in options.runs:
            self.runs.create(run.id, run.script)
        self.requests: deque[RequestRecord] = deque(maxlen=options.log)
        self.counts: Counter[str] = Counter()
        self._connection_numbers = itertools.count()
        self._streams: set[asyncio.Transport] = set()

    def next_connection(self) -> int:
        """The number of a stream connection, counted from 0."""
        return next(self._connection_numbers)

    @contextlib.contextmanager
    def streaming(self, request: web.Request) -> Iterator[None]:
        """Keeps a stream among those that `cut` reaches."""
        transport = request.transport
        if transport is None:  # the client went before the first byte
            yield
            return
        self._streams.add(transport)
        try:
            yield
        finally:
            self._streams.discard(transport)

    @property
    def open_streams(self) -> int:
        """How many streams are open now."""
        return len(self._streams)

    def cut(self) -> int:
        """Resets every open stream's TCP connection; says how many."""
        severed = tuple(self._streams)
        for transport in severed:
            reset(transport)
        return len(severed)
