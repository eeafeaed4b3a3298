"""The emulator's faults, each switched on for a moment, one after the other. Values only.

One round takes a fault of the streams, one of bctrl's waits and one of the named events together: they concern
different calls, so each source meets one fault at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

STREAMS = ("stream", "run-stream", "account-stream", "run-events-wait")
LISTS = ("events", "account-events")
WORK_WAITS = ("operation-wait", "invocation-wait")
HUGE = {"huge_bytes": 1_200_000}
NOWHERE = "http://127.0.0.1:1"
FRAMES = ("bad_json_at", "no_id_line_at", "no_id_at", "not_object_at", "huge_at")
"""Each gets an index of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One moment of `seconds`. All connections are cut when it begins, so that the next ones meet the faults."""

    name: str
    faults: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.4
    cut_after: bool = False
    """Cut once more at the end: what hangs would hang for the client's whole patience."""
    frames: bool = False
    """Single frames are spoiled: the next indexes that no run has come to."""
    restart: bool | None = None
    """The emulator restarts, with its memory or without."""
    kill_in_list: bool = False
    """Behind it the bridge is killed while it reads the history, twice."""
    kill_behind: bool = False
    """The bridge is killed when the moment is over; otherwise that is left to chance."""


def _status(status: int, **more: object) -> Round:
    return Round(name=f"status {status}", faults={"status": status, **more})


CUT = Round(name="cut")
REPLAY = Round(
    name="replay_last, null-cursor, early-408",
    faults={"replay_last": 20, "poll_fault": "null-cursor", "wait_fault": "early-408"},
)
NULL_CURSOR = Round(name="null-cursor", faults={"poll_fault": "null-cursor"}, kill_behind=True)
EXPIRED = Round(
    name="expired cursor, 400", seconds=1.0,
    faults={"expired_cursors": True, "first_byte_delay": 0.4},  # so that something is missed before it is refused
)  # fmt: skip
KILLED_IN_LIST = Round(name="expired cursor, killed in the list", faults={"expired_cursors": True}, kill_in_list=True)
RESTART = Round(name="restart", restart=True)
RESTART_EMPTY = Round(name="restart without memory", restart=False)
SINGLE = Round(name="single frames spoiled", frames=True, seconds=0.5)

ROUNDS = (
    Round(name="cut_after, cut, cut", faults={"cut_after": 3, "poll_fault": "cut", "wait_fault": "cut"}),
    Round(name="cut_chance, empty, 504", faults={"cut_chance": 0.2, "poll_fault": "empty", "wait_fault": "504"}),
    Round(
        name="close_every, instant-timeout, 500",
        faults={"close_every": 3, "poll_fault": "instant-timeout", "wait_fault": "500"},
    ),
    Round(
        name="hang_after, hang, hang", seconds=1.2, cut_after=True,
        faults={"hang_after": 3, "poll_fault": "hang", "wait_fault": "hang"},
    ),
    REPLAY,
    Round(
        name="ignore_cursor, bad-json, lost-answer",
        faults={"ignore_cursor": True, "poll_fault": "bad-json", "wait_fault": "lost-answer"},
    ),
    Round(
        name="slow, lost-answer, bad-json",
        faults={"slow": 0.03, "poll_fault": "lost-answer", "wait_fault": "bad-json", "wait_fault_next": 1},
    ),
    Round(
        name="duplicate, crlf, huge, ghost_waiters",
        faults={"duplicate": True, "crlf": True, "poll_fault": "huge", "poll_fault_every": 9, "ghost_waiters": True,
                **HUGE},
    ),
    Round(name="mixed_ends, no-id", faults={"mixed_ends": True, "poll_fault": "no-id", "heartbeats": "comment"}),
    Round(
        name="no_event_line, not-object",
        faults={"no_event_line": True, "heartbeats": "none", "poll_fault": "not-object", "calls": WORK_WAITS},
    ),
    SINGLE,
    _status(429, retry_after="1"),
    _status(503, retry_after="1", status_body="empty"),
    _status(500, status_body="html"),
    _status(502, status_body="html"),
    _status(504, status_body="html"),
    _status(408),
    _status(409),
    _status(425),
    _status(400),
    _status(401),
    _status(403),
    _status(404),
    _status(404, status_body="html"),
    Round(name="404 of the call, the run is there", faults={"status": 404, "calls": STREAMS}),
    Round(name="wrong_generation", faults={"wrong_generation": ("v1", "v2", "2026-10-03")}),
    Round(
        name="wrong_generation, html",
        faults={"wrong_generation": ("v1", "v2", "2026-10-03"), "wrong_generation_body": "html"},
    ),
    Round(name="redirect_to", faults={"redirect_to": NOWHERE}),
    Round(name="first_byte_delay", faults={"first_byte_delay": 0.3}, seconds=0.6),
    EXPIRED,
    Round(name="expired cursor, 410", faults={"expired_cursors": True, "expired_status": 410}),
    Round(
        name="expired cursor, 404 event.not_found",
        faults={"expired_cursors": True, "expired_status": 404, "expired_code": "event.not_found"},
    ),
    Round(
        name="expired cursors of list and call", seconds=2.5,
        faults={"expired_cursors": 12, "calls": (*STREAMS, *LISTS)},
    ),
    KILLED_IN_LIST,
    RESTART,
    RESTART_EMPTY,
    CUT,
)  # fmt: skip
"""All of `make kill`."""
