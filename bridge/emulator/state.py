"""Holds what all calls of a running emulator share. Decides nothing."""

import asyncio
import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from aiohttp import web

from bridge.emulator.account_log import AccountLog
from bridge.emulator.answers import reset
from bridge.emulator.control_changes import ControlChanges
from bridge.emulator.faults import Faults
from bridge.emulator.named_events import NamedEvents
from bridge.emulator.options import Options
from bridge.emulator.runs import Runs
from bridge.emulator.works import Works

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
        self.operations, self.invocations = Works("operation"), Works("invocation")
        self._begin()
        self.requests: deque[RequestRecord] = deque(maxlen=options.log)
        self.counts: Counter[str] = Counter()
        self._connection_numbers = itertools.count()
        self._streams: set[asyncio.Transport] = set()
        self._waits: set[asyncio.Transport] = set()
        self.connections: Callable[[], Iterable[asyncio.Transport]] = tuple  # all there are, once it listens

    def _begin(self) -> None:
        """Makes what there is from the start."""
        for run in self.options.runs:
            self.runs.create(run.id, run.script)
        self.runs.begin_together()
        self.controls = ControlChanges()
        self.account = AccountLog(self.runs, self.options.keep)
        for works, there in ((self.operations, self.options.operations), (self.invocations, self.options.invocations)):
            for work in there:
                works.create(work.id, work.script)

    def restart(self, *, memory: bool, spare: asyncio.Transport | None = None) -> int:
        """Resets all connections but one, and says how many; without memory only what there is from the start is left.

        Faults, counts and the request log stay, since they are the test's and not the upstream's.
        """
        severed = [transport for transport in self.connections() if transport is not spare]
        for transport in severed:
            reset(transport)
        if not memory:
            self.runs.watch = None
            self.runs.forget_all()
            self.operations.forget_all()
            self.invocations.forget_all()
            self.events.forget_all()
            self._begin()
        return len(severed)

    def next_connection(self) -> int:
        """The number of a stream connection, counted from 0."""
        return next(self._connection_numbers)

    def streaming(self, request: web.Request) -> contextlib.AbstractContextManager[None]:
        """Keeps a stream among those that `cut` reaches."""
        return _kept(request, self._streams)

    def waiting(self, request: web.Request) -> contextlib.AbstractContextManager[None]:
        """The same for a wait."""
        return _kept(request, self._waits)

    @property
    def open_streams(self) -> int:
        """How many streams are open now."""
        return len(self._streams)

    @property
    def open_waits(self) -> int:
        """How many waits are under way now, those for named events and runs among them."""
        return len(self._waits)

    def cut(self) -> int:
        """Resets the TCP connection of every open stream and wait; says how many."""
        severed = (*self._streams, *self._waits)
        for transport in severed:
            reset(transport)
        return len(severed)


@contextlib.contextmanager
def _kept(request: web.Request, among: set[asyncio.Transport]) -> Iterator[None]:
    transport = request.transport
    if transport is None:  # the client went before the first byte
        yield
        return
    among.add(transport)
    try:
        yield
    finally:
        among.discard(transport)
