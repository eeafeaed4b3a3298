"""Strategies for whatever an upstream could send: any JSON in any known field, and what is nearly JSON."""

import json
from typing import Any

from hypothesis import strategies as st
from judges import strict

FIELDS = [
    "id", "type", "time", "timestamp", "createdAt", "finishedAt", "endedAt", "kind", "category", "source", "status",
    "outcome", "runId", "taskId", "sandboxId", "runtimeId", "conversationId", "spaceId", "workspaceId", "pageId", "seq",
    "object", "event", "data", "traceparent", "operation", "invocation", "timedOutWaiting", "waitStatus", "progress",
    "lastHeartbeatAt", "nextCursor", "hasMore", "",
]  # fmt: skip
TEXTS = st.text(max_size=12) | st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=4)
KNOWN = st.sampled_from([
    "run.ended", "runtime.event", "event", "navigation", "", "2026-01-01T00:00:00Z", "1782388805", "running",
    "succeeded", "completed", "cancelling", ".", "..", "a/b c",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | KNOWN
VALUES = st.recursive(LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(TEXTS, some, max_size=3))
OBJECTS = st.dictionaries(st.sampled_from(FIELDS) | TEXTS, VALUES, max_size=6)
ODD = st.sampled_from([
    b"1e999", b"-1E-999", b"9" * 60, b"-" + b"9" * 4000, b"1.000", b"-0", b"NaN", b"-Infinity", b"01", b'"\\ud800"',
    b"[" * 400 + b"]" * 400, b"[" * 3000 + b"]" * 3000,
])  # fmt: skip
"""Values that no double holds, that are no JSON, or that nest deeply."""


def written(value: object) -> bytes:
    """JSON in the way of most upstreams: half a surrogate pair as an escape."""
    return json.dumps(value).encode()


def unescaped(value: object) -> bytes:
    """JSON without escapes, so that half a surrogate pair makes it invalid UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


@st.composite
def texts(draw: st.DrawFn, values: st.SearchStrategy[Any] = OBJECTS, names: tuple[str, ...] = tuple(FIELDS)) -> bytes:
    """A JSON text, perhaps with one more member, of a new name or one that is there, perhaps with bytes replaced."""
    value = draw(values)
    data = draw(st.sampled_from([written, unescaped]))(value)
    if data.endswith(b"}") and draw(st.booleans()):
        name = json.dumps(draw(st.sampled_from(names))).encode()
        data = data[:-1] + (b"," if value else b"") + name + b": " + draw(ODD) + b"}"
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 3)) :]
    return data


def said(data: bytes) -> Any:
    """What the data says by the standard library; ValueError where it is no JSON, RecursionError where it is too deep.

    A number is what `number` makes of it, and where a name is twice the last one counts.
    """
    try:
        return strict(data)
    except ValueError as error:
        if "is there twice" not in str(error):
            raise
    return json.loads(data)


def fields(data: bytes) -> dict[str, Any] | None:
    """The members of a JSON object by the standard library; None where it is none."""
    try:
        found = said(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
