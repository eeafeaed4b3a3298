"""Events of 600 B as the daemon writes them into its log, ready-made, each with its mark; and a log filled with them."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.marks import mark
from benchmarks.processes import KEY, Valkey

SIZE = 600
"""Bytes of every event."""
TYPE = "ai.bctrl.network.response"
STEP = 2000
"""Entries that are written in one round trip."""

_FORM = (
    '{{"specversion":"1.0","id":"{id}","source":"https://api.example/runs/{lane}","type":"' + TYPE + '",'
    '"subject":"{lane}","time":"2026-06-25T12:00:00.000Z","datacontenttype":"application/json",'
    '"sequence":"{number:020d}","partitionkey":"{lane}","recordedtime":"2026-06-25T12:00:00.001Z",'
    '"data":{{"id":"{id}","type":"network.response","data":{{"mark":"{mark}","text":"{text}"}}}}}}'
)


@dataclass(frozen=True)
class Lanes:
    """Over how many subjects events are spread, and how many of one subject lie together in the log."""

    count: int
    together: int = 1

    def of(self, number: int) -> str:
        """The subject of an event."""
        return f"lane-{number // self.together % self.count:07d}"


def body(number: int, lane: str, sent: int = 0) -> bytes:
    """The CloudEvent of event `number`, exactly `SIZE` bytes."""
    return _FORM.format(
        id=f"evt_{number:012d}", lane=lane, number=number, mark=mark(lane, number, sent), text=_TEXT
    ).encode()


_TEXT = ""
_TEXT = "x" * (SIZE - len(body(0, Lanes(1).of(0))))


def bodies(events: int, lanes: Lanes) -> Iterator[bytes]:
    """All of them, in the order of the log."""
    return (body(number, lanes.of(number)) for number in range(events))


def fields(number: int, lane: str, event: bytes) -> dict[Any, Any]:
    """The entry of one event: the four fields of the log."""
    return {"id": f"evt_{number:012d}", "type": TYPE, "subject": lane, "event": event}


def fill(server: Valkey, events: int, lanes: Lanes) -> None:
    """Put them into the log of a daemon that is not there yet."""
    names = map(lanes.of, range(events))
    add(server, KEY, (fields(number, lane, body(number, lane)) for number, lane in enumerate(names)))


def add(server: Valkey, stream: str, entries: Iterator[dict[Any, Any]]) -> None:
    """Add entries to a stream, `STEP` in one round trip."""
    while part := list(itertools.islice(entries, STEP)):
        pipeline = server.client.pipeline(transaction=False)
        for entry in part:
            pipeline.xadd(stream, entry)
        pipeline.execute()


def pace(server: Valkey, events: int, lanes: Lanes, rate: int) -> None:
    """Put them into the log one by one, `rate` a second, each with the time just before it was sent."""
    start = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        lane = lanes.of(number)
        server.client.xadd(KEY, fields(number, lane, body(number, lane, time.monotonic_ns())))
