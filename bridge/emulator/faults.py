"""Says what goes wrong and when. Decides only: the calls carry it out."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal
from urllib.parse import urlsplit

from bridge.emulator.pulse import Pulse

Fate = Literal["send", "cut", "close", "hang"]
PollFault = Literal[
    "",
    "empty",
    "instant-timeout",
    "null-cursor",
    "bad-json",
    "huge",
    "not-object",
    "no-id",
    "cut",
    "lost-answer",
    "hang",
]
CALLS = (
    "stream",
    "events",
    "runs",
    "run",
    "run-wait",
    "run-events-wait",
    "operation",
    "operation-wait",
    "operation-cancel",
    "invocation",
    "invocation-wait",
    "invocation-cancel",
    "account-events",
    "account-event",
    "account-stream",
    "run-stream",
    "webhooks",
    "signal",
    "event-wait",
)
MAX_LATE = 1000
GENERATION = re.compile(r"v\d+$|\d{4}-\d\d-\d\d$")
MAX_HUGE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSettings:
    """Every fault, all off by default. "Frame" is a `run.event` or `run.ended` frame of one connection.

    Stream, whole connection:
      cut_after           N: after N frames, write half of the next one and reset the TCP connection
      cut_chance          0..1: the same before any frame, with this probability (seeded)
      close_every         N: end the response cleanly after N frames
      hang_after          N: after N frames send nothing more, heartbeats neither; the connection stays open
      replay_last         K: on a resume send the last K events up to the cursor again
                          (a run-events-wait goes K events back, once for each cursor, so that a reader gets on)
      ignore_cursor       true: every connection starts at the oldest event
      slow                seconds between one frame and the next; in a wait, between the halves of its answer
      end_without_run_ended true: the stream of a run that is over just ends, without its `run.ended`
      frames_after_end    N: once a stream has come to the end of a run, N late events (with ids of their own) are
                          added to the run and follow `run.ended`; lists and waits have them from then on, and later
                          connections before their `run.ended`; at most 1,000
    Stream, single frames (an index counts the events of a run from 0, on `/v1/events/stream` those of the account):
      duplicate           true: send each event frame twice (a run-events-wait: the first answer with an event gives
                          back the cursor before it)
      bad_json_at         indexes: the data ends in the middle of the JSON; the id line is there
      no_id_line_at       indexes: the frame lacks its id line, data.id is there
      no_id_at            indexes: neither id line nor data.id (in a run-events-wait too)
      not_object_at       indexes: a JSON text in place of the event (in a run-events-wait too)
      huge_at, huge_bytes indexes, N: the frame is padded to N bytes (default 1 MiB, at most 64 MiB; in a
                          run-events-wait the event itself)
      crlf                true: lines end with CR LF
      mixed_ends          true: every other frame's lines end with CR LF
      no_event_line       true: no event line in the frames of `/v1/runs/{id}/stream` and `/v1/events/stream`
      heartbeats          "event" (as documented: a comment where the API says so), "comment" or "none"
    All upstream calls, or those named in `calls`: stream (/v1|v2/runs/{id}/events/stream), run-stream, account-stream,
    events (of a run), account-events, account-event, runs, run, run-wait, run-events-wait, operation, operation-wait,
    operation-cancel, invocation, invocation-wait, invocation-cancel, webhooks, signal, event-wait:
      status              S: answer with this HTTP status, by these two:
      status_next         M: the next M requests (then no more)
      status_every        N: every Nth request; neither given: each request
      status_body         "json" (the provider's error shape), "html" or "empty"
      retry_after         text of a Retry-After header on those answers
      redirect_to         URL: redirect there (an origin gets the request's path) with redirect_status
      first_byte_delay    seconds before the first byte of the answer
      wrong_generation    what isn't served here, so that it is answered as an unknown route (404 `route.not_found`):
                          names of calls, "v1" or "v2" (paths that begin so, of requests without BCTRL-Version), or
                          values of that header, as in ["v2", "2026-10-03"]
      wrong_generation_body "json" or "html" (a proxy's page)
    All streams and waits (or, if `calls` is given, the calls named there, lists too):
      expired_cursors     true: refuse every request with a cursor (cursor, after or Last-Event-ID); N: the next N
      expired_status, expired_code how: 400 and "pagination.cursor_invalid", or, say, 410, or 404 and
                          "event.not_found"
    Waits of bctrl: run-events-wait, operation-wait, invocation-wait (or those of them named in `calls`):
      poll_fault          "empty": at once, no event (no operation) though the time is not up
                          "instant-timeout": at once, `timedOut` (`timedOutWaiting`) is true
                          "null-cursor": an event comes with `cursor` null
                          "bad-json": the answer ends in the middle of the JSON, as if that were its length
                          "huge": the event (operation, invocation) is padded to huge_bytes
                          "not-object", "no-id": it is a JSON text, or lacks its id
                          "cut": half the answer, then a reset; "lost-answer": the reset alone
                          "hang": no answer, and the connection stays open
                          After huge, not-object and no-id the cursor goes on; after the others the event is there yet
      poll_fault_next     M: the next M waits only; 0: each
      poll_fault_every    N: every Nth wait; 0: each
    Named-event waits:
      wait_fault          "504", "500", "cut", "early-408", "hang" (no answer), "lost-answer" (signal taken, then reset)
                          or "bad-json" (signal taken, half of the JSON as the answer)
      wait_fault_next     M: the next M waits only; 0: each
      wait_fault_after    seconds into the wait at which it happens (not for the last two)
      ghost_waiters       true: a waiter whose connection is gone still takes the next signal
    """

    cut_after: int = 0
    cut_chance: float = 0.0
    close_every: int = 0
    hang_after: int = 0
    replay_last: int = 0
    ignore_cursor: bool = False
    slow: float = 0.0
    end_without_run_ended: bool = False
    frames_after_end: int = 0
    duplicate: bool = False
    bad_json_at: tuple[int, ...] = ()
    no_id_line_at: tuple[int, ...] = ()
    no_id_at: tuple[int, ...] = ()
    not_object_at: tuple[int, ...] = ()
    huge_at: tuple[int, ...] = ()
    huge_bytes: int = 1 << 20
    crlf: bool = False
    mixed_ends: bool = False
    no_event_line: bool = False
    heartbeats: Literal["event", "comment", "none"] = "event"
    calls: tuple[str, ...] = ()
    status: int = 0
    status_next: int = 0
    status_every: int = 0
    status_body: Literal["json", "html", "empty"] = "json"
    retry_after: str = ""
    redirect_to: str = ""
    redirect_status: int = 307
    first_byte_delay: float = 0.0
    wrong_generation: tuple[str, ...] = ()
    wrong_generation_body: Literal["json", "html"] = "json"
    expired_cursors: bool | int = False
    expired_status: int = 400
    expired_code: str = "pagination.cursor_invalid"
    poll_fault: PollFault = ""
    poll_fault_next: int = 0
    poll_fault_every: int = 0
    wait_fault: Literal["", "504", "500", "cut", "early-408", "hang", "lost-answer", "bad-json"] = ""
    wait_fault_next: int = 0
    wait_fault_after: float = 0.05
    ghost_waiters: bool = False

    def __post_init__(self) -> None:
        """Refuses what has no meaning: ValueError naming the fault."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"fault {each.name} = {value}: must not be negative")
        self._check_names()
        self._check_headers()
        if not self.cut_chance < 1:
            raise ValueError(f"fault cut_chance = {self.cut_chance}: must be below 1, or nothing is ever sent")
        if self.status and not 200 <= self.status <= 599:
            raise ValueError(f"fault status = {self.status}: must be an HTTP status from 200 to 599")
        if self.frames_after_end > MAX_LATE:
            raise ValueError(f"fault frames_after_end = {self.frames_after_end}: at most {MAX_LATE}")
        if not 400 <= self.expired_status <= 599:
            raise ValueError(f"fault expired_status = {self.expired_status}: must be from 400 to 599")
        if self.huge_bytes > MAX_HUGE:
            raise ValueError(f"fault huge_bytes = {self.huge_bytes}: at most {MAX_HUGE}")
        if not 300 <= self.redirect_status <= 399:
            raise ValueError(f"fault redirect_status = {self.redirect_status}: must be from 300 to 399")

    def _check_names(self) -> None:
        if unknown := sorted(set(self.calls) - set(CALLS)):
            raise ValueError(f"fault calls = {', '.join(unknown)}: unknown; there are {', '.join(CALLS)}")
        if unknown := sorted(
            each for each in self.wrong_generation if each not in CALLS and not GENERATION.match(each)
        ):
            raise ValueError(
                f"fault wrong_generation = {', '.join(unknown)}: must be v1, v2, a date as in 2026-10-03, "
                f"or one of {', '.join(CALLS)}"
            )

    def _check_headers(self) -> None:
        for name, value in (("retry_after", self.retry_after), ("redirect_to", self.redirect_to)):
            if not value.isprintable():
                raise ValueError(f"fault {name} = {value!r}: no header can hold this")
        if self.redirect_to and not _is_url(self.redirect_to):
            raise ValueError(f"fault redirect_to = {self.redirect_to}: must be a URL, as in http://127.0.0.1:8788")

    def touches(self, call: str) -> bool:
        """Whether the faults for all calls concern this one."""
        return not self.calls or call in self.calls

    @property
    def spare_frames(self) -> bool:
        """Whether every frame goes out as it is, so that frames may be written in one piece."""
        return not (
            self.cut_after
            or self.cut_chance
            or self.close_every
            or self.hang_after
            or self.duplicate
            or self.crlf
            or self.mixed_ends
            or self.bad_json_at
            or self.no_id_line_at
            or self.no_id_at
            or self.not_object_at
            or self.huge_at
            or self.slow
        )

    def before(self, sent: int, chance: random.Random) -> Fate:
        """What happens instead of the next frame, `sent` frames into a connection: cut, or nothing."""
        if self.cut_after and sent >= self.cut_after:
            return "cut"
        return "cut" if self.cut_chance and chance.random() < self.cut_chance else "send"

    def after(self, sent: int) -> Fate:
        """What happens once `sent` frames of a connection are out: close, hang or nothing."""
        if self.hang_after and sent >= self.hang_after:
            return "hang"
        return "close" if self.close_every and sent >= self.close_every else "send"


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


class Faults:
    """The faults of a running emulator: settings that may be switched, and the counts they need."""

    def __init__(self, settings: FaultSettings) -> None:
        self.changed = Pulse()
        self.settings = settings
        self._requests = 0
        self._refused = 0
        self._waits = 0
        self._polls = 0
        self._spoiled = 0
        self._expired = 0

    def replace(self, settings: FaultSettings) -> None:
        """Puts these settings in place of the present ones and starts all counts again."""
        self.settings = settings
        self._requests = self._refused = self._waits = self._polls = self._spoiled = self._expired = 0
        self.changed.fire()

    def set(self, **changes: object) -> None:
        """Switches some faults and leaves the others; TypeError names an unknown one, ValueError a bad one."""
        known: Mapping[str, object] = {each.name: each for each in fields(FaultSettings)}
        if unknown := sorted(set(changes) - set(known)):
            raise TypeError(f"unknown fault {', '.join(unknown)}; there are {', '.join(known)}")
        # The names are checked just above; the values are checked where they come from outside.
        self.replace(replace(self.settings, **changes))  # type: ignore[arg-type]

    def clear(self) -> None:
        """Switches every fault off."""
        self.replace(FaultSettings())

    def refuses(self, call: str) -> bool:
        """Counts this request and says whether it gets the fault status instead of its answer."""
        settings = self.settings
        if not settings.status or not settings.touches(call):
            return False
        self._requests += 1
        if settings.status_next and self._refused >= settings.status_next:
            return False
        if settings.status_every and self._requests % settings.status_every:
            return False
        self._refused += 1
        return True

    def spoils_wait(self) -> str:
        """Counts this wait and names its fault; empty where it has none."""
        settings = self.settings
        self._waits += 1
        if not settings.wait_fault or (settings.wait_fault_next and self._waits > settings.wait_fault_next):
            return ""
        return settings.wait_fault

    def spoils_poll(self, call: str) -> PollFault:
        """Counts this wait of bctrl and names its fault; empty where it has none."""
        settings = self.settings
        if not settings.poll_fault or not settings.touches(call):
            return ""
        self._polls += 1
        if settings.poll_fault_next and self._spoiled >= settings.poll_fault_next:
            return ""
        if settings.poll_fault_every and self._polls % settings.poll_fault_every:
            return ""
        self._spoiled += 1
        return settings.poll_fault

    def expires(self, call: str, *, follows: bool) -> bool:
        """Counts this request, which has a cursor, and says whether that is refused; `follows`: a stream or a wait."""
        settings = self.settings
        concerned = call in settings.calls if settings.calls else follows
        if not settings.expired_cursors or not concerned:
            return False
        if settings.expired_cursors is not True and self._expired >= settings.expired_cursors:
            return False
        self._expired += 1
        return True
