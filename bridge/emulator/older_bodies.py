"""Writes an event as the older bctrl APIs show it. Pure: no run, no clock.

The list and the streams share one body, which satisfies the RunEvent of June 2026 (`id`, `time`, `type`) and that of
late July (`data`, `id`, `pageId`, `runId`, `source`, `spanId`, `timestamp`, `type`) at once; the event wait has a
shape of its own. Id, time and data are the same in all of them.
"""

import json
import uuid
from collections.abc import Mapping

from bridge.emulator.vocabulary import kind_of, source_of
from bridge.emulator.wire import Event, encode

SPACE = str(uuid.uuid5(uuid.NAMESPACE_URL, "runbridge:emulator:space"))
_NOT_IN_WAIT = ("timestamp", "category", "spanId", "source")


def runtime_of(run: str) -> str:
    """The id of a run's runtime: a UUID, as the documents of the event wait have it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"runbridge:emulator:{run}"))


def completed(given: Mapping[str, object], id_: str, run: str, now: str) -> dict[str, object]:
    """An event with the fields of list and stream, those that were not given made up; `now` is RFC 3339."""
    made = {
        "id": id_,
        "time": now,
        "timestamp": given.get("time", now),
        "type": "event",
        "runId": run,
        "source": source_of(given.get("category")),
        "pageId": None,
        "spanId": None,
        "data": {},
    }
    return {**made, **given, "id": id_}


def waited(event: Event, run: str) -> bytes:
    """An event as `POST /v1/runs/{id}/events/wait` gives it; one that came with an id of its own stays as it is."""
    if event.given:
        return event.body
    fields = json.loads(event.body)
    there = {name: value for name, value in fields.items() if name not in _NOT_IN_WAIT and value is not None}
    made = {
        "kind": event.traits.kind or kind_of(fields.get("category")),
        "source": event.traits.origin,
        "runId": run,
        "runtimeId": runtime_of(run),
        "runtimeKind": "browser",
        "spaceId": SPACE,
    }
    return encode({**there, **made})
