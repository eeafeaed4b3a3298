"""One log entry in the few words that fit on a line for people. Pure; refuses to let control characters through."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.event import Entry

LONGEST = 160
"""Characters of a summary; an id or a subject is not cut."""
_TOLD_ELSEWHERE = frozenset({"id", "type", "time", "timestamp", "createdAt", "runId", "status", "name"})
"""Fields of an upstream event that the line has in a place of its own, or that its subject says."""


@dataclass(frozen=True, slots=True)
class EventLine:
    """What a line shows of an event. `source` is its CloudEvents `source`; all are "" where the event has none."""

    time: str
    type: str
    subject: str
    id: str
    source: str
    summary: str


def event_line(entry: Entry) -> EventLine:
    """Reads one entry, whatever somebody wrote there."""
    event = _object(entry.event)
    return EventLine(
        time=_seconds(_text(event, "time")),
        type=printable(entry.type),
        subject=printable(entry.subject),
        id=printable(entry.id),
        source=_text(event, "source"),
        summary=summary(event.get("data")),
    )


def summary(data: object) -> str:
    """Status, name and the plain fields of an event's own `data`, in at most LONGEST characters."""
    if not isinstance(data, Mapping):
        return "" if data is None else _cut(json.dumps(data, ensure_ascii=False))
    lead = [value for field in ("status", "name") if isinstance(value := data.get(field), str)]
    inner = data.get("data")
    fields = inner if isinstance(inner, Mapping) else data
    plain = (
        f"{field}={json.dumps(value) if isinstance(value, bool) else value}"
        for field, value in fields.items()
        if isinstance(value, str | int | float) and value not in lead and field not in _TOLD_ELSEWHERE - {"status"}
    )
    return _cut(" ".join([*lead, *plain]))


def printable(text: str) -> str:
    """The text on one line: nothing in it moves the cursor, turns the direction or starts an escape sequence."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _object(raw: bytes) -> Mapping[str, object]:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _text(event: Mapping[str, object], field: str) -> str:
    value = event.get(field)
    return printable(value) if isinstance(value, str) else ""


def _seconds(time: str) -> str:
    """An RFC 3339 time in UTC with exactly three decimals, so that times stand under each other."""
    whole, _, rest = time.removesuffix("Z").partition(".")
    return f"{whole}.{rest[:3]:0<3}Z" if time.endswith("Z") else time


def _cut(text: str) -> str:
    text = printable(text[: LONGEST + 1])
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
