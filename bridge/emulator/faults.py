"""Says what goes wrong and when. Decides only: the calls carry it out."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal

from bridge.emulator.pulse import Pulse

Fate = Literal["send", "cut", "close", "hang"]
CALLS = ("stream", "events", "runs", "run", "run-wait", "signal", "event-wait")
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
      ignore_cursor       true: every connection starts at the oldest event
    Stream, single frames (an index counts the events of a run from 0):
      duplicate           true: send each event frame twice
      bad_json_at         indexes: the data ends in the middle of the JSON; the id line is there
      no_id_line_at       indexes: the frame lacks its id line, data.id is there
      no_id_at            indexes: neither id line nor data.id
      huge_at, huge_bytes indexes, N: the frame is padded to N bytes (default 1 MiB, at most 64 MiB)
      crlf                true: lines end with CR LF
      heartbeats          "event" (as documented), "comment" or "none"
    All upstream calls (or those named in `calls`: stream, events, runs, run, run-wait, signal, event-wait):
      status              S: answer with this HTTP status, by these two:
      status_next         M: the next M requests (then no more)
      status_every        N: every Nth request; neither given: each request
      status_body         "json" (the provider's error shape), "html" or "empty"
      retry_after         text of a Retry-After header on those answers
      redirect_to         URL: redirect there (an origin gets the request's path) with redirect_status
      first_byte_delay    seconds before the first byte of the answer
    Named-event waits:
      wait_fault          "504", "500", "cut", "early-408" or "lost-answer" (signal taken, then reset)
      wait_fault_next     M: the next M waits only; 0: each
      wait_fault_after    seconds into the wait at which it happens (not for lost-answer)
      ghost_waiters       true: a waiter whose connection is gone still takes the next signal
    """

    cut_after: int = 0
    cut_chance: float = 0.0
    close_every: int = 0
    hang_after: int = 0
    replay_last: int = 0
    ignore_cursor: bool = False
    duplicate: bool = False
    bad_json_at: tuple[int, ...] = ()
    no_id_line_at: tuple[int, ...] = ()
    no_id_at: tuple[int, ...] = ()
    huge_at: tuple[int, ...] = ()
    huge_bytes: int = 1 << 20
    crlf: bool = False
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
    wait_fault: Literal["", "504", "500", "cut", "early-408", "lost-answer"] = ""
    wait_fault_next: int = 0
    wait_fault_after: float = 0.05
    ghost_waiters: bool = False

    def __post_init__(self) -> None:
        """Refuses what has no meaning: ValueError naming the fault."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"fault {each.name} = {value}: must not be negative")
        if not self.cut_chance < 1:
            raise ValueError(f"fault cut_chance = {self.cut_chance}: must be below 1, or nothing is ever sent")
        if self.status and not 200 <= self.status <= 599:
            raise ValueError(f"fault status = {self.status}: must be an HTTP status from 200 to 599")
        if unknown := sorted(set(self.calls) - set(CALLS)):
            raise ValueError(f"fault calls = {', '.join(unknown)}: unknown; there are {', '.join(CALLS)}")
        if self.huge_bytes > MAX_HUGE:
            raise ValueError(f"fault huge_bytes = {self.huge_bytes}: at most {MAX_HUGE}")
        if not 300 <= self.redirect_status <= 399:
            raise ValueError(f"fault redirect_status = {self.redirect_status}: must be from 300 to 399")

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
            or self.bad_json_at
            or self.no_id_line_at
            or self.no_id_at
            or self.huge_at
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


class Faults:
    """The faults of a running emulator: settings that may be switched, and the counts they need."""

    def __init__(self, settings: FaultSettings) -> None:
        self.changed = Pulse()
        self.settings = settings
        self._requests = 0
        self._refused = 0
        self._waits = 0

    def replace(self, settings: FaultSettings) -> None:
        """Puts these settings in place of the present ones and starts all counts again."""
        self.settings = settings
        self._requests = self._refused = self._waits = 0
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
