"""Serves `GET /v1/events/stream`: the account's Events in commit order, live. Sends Events and comments only."""

from aiohttp import web

from bridge.emulator.account_log import AccountLog
from bridge.emulator.faults import FaultSettings
from bridge.emulator.pulse import Pulse
from bridge.emulator.state import State
from bridge.emulator.stream import BLOCK_BYTES, BLOCK_EVENTS, Batch, send_feed
from bridge.emulator.today_query import BadQueryError, Wanted
from bridge.emulator.wire import Event, Traits, encode, frames, today_frame

COMMENT = b": heartbeat\n\n"


class AccountStream:
    """The handler."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """200 and Events from after `after` or Last-Event-ID, or without them from now on; never an end."""
        wanted, log = Wanted(request.query), self._state.account
        faults = self._state.faults.settings
        after = request.query.get("after") or request.headers.get("Last-Event-ID")
        log.catch_up()
        if not after:
            position: int | None = log.oldest if faults.ignore_cursor else log.head
        elif faults.ignore_cursor:
            position = log.oldest
        else:
            position = log.position(after)
            position = position if position is None else max(log.oldest, position - faults.replay_last)
        if position is None:
            raise BadQueryError("after is no Event ID, or one that has expired.", "pagination.cursor_invalid")
        return await send_feed(request, self._state, _Events(log, position, wanted))


class _Events:
    """The feed: Events from a place on."""

    def __init__(self, log: AccountLog, position: int, wanted: Wanted) -> None:
        self._log = log
        self._position = position
        self._wanted = wanted

    @property
    def changed(self) -> Pulse:
        """The account's."""
        return self._log.changed

    def take(self, faults: FaultSettings) -> Batch | None:
        """The next block of Events."""
        log = self._log
        log.catch_up()
        self._position = max(self._position, log.oldest)  # the client may lag by more than is kept
        if self._position == log.head and not log.draw():
            return None
        stop, size = min(log.head, self._position + BLOCK_EVENTS), 0
        made: list[bytes] = []
        while self._position < stop and size < BLOCK_BYTES:
            ready = self._frames(self._position, faults)
            made += ready
            size += sum(map(len, ready))
            self._position += 1
        return Batch(made)

    def next_due(self) -> float | None:
        """When a clock tells the next event."""
        return self._log.next_due()

    def over(self) -> bool:
        """Never."""
        return False

    def heartbeat(self, faults: FaultSettings) -> bytes:  # noqa: ARG002 - as documented, whatever the fault says
        """A comment."""
        return COMMENT

    def _frames(self, position: int, faults: FaultSettings) -> list[bytes]:
        run, index = self._log.at(position)
        if (raw := run.event(index).raw) is not None:
            return [raw] if self._log.is_own(run) else []  # a run's raw frame is in the words of another stream
        event = self._log.wanted(position, self._wanted)
        if event is None:
            return []
        framed = today_frame(event.get("type"), event_line=not faults.no_event_line)
        return list(frames(Event(position, str(event.get("id")), Traits(), encode(event)), faults, framed))
