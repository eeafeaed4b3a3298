"""Writes one stored event as an Event of today's API (`BCTRL-Version: 2026-10-03`). Pure: no HTTP, no clock.

A field that an event was given goes out as given, what is missing is filled in; the words of the older APIs become
those of today's. The id and `data` are the same in every API.
"""

import json
import zlib
from collections.abc import Mapping

from bridge.emulator.runs import Run
from bridge.emulator.story import VISIT
from bridge.emulator.vocabulary import ORIGINS, SOURCES
from bridge.emulator.wire import rfc3339

Fields = dict[str, object]
SPACE = "sp_local"
NULLABLE = (
    "conversationId",
    "pageId",
    "runId",
    "runtimeId",
    "sandboxId",
    "spaceId",
    "spanId",
    "target",
    "taskId",
    "traceId",
)

# What only the older APIs know: it is left out, or said in another way.
_OLD = frozenset(
    ("status", "name", "contextId", "connectionId", "commandId", "artifactId", "toolCallId", "kind", "runtimeKind")
)
_TARGETS = {"connectionId": "connection", "artifactId": "artifact", "toolCallId": "tool_call"}
_OLD_SOURCES = (SOURCES | frozenset(ORIGINS)) - {"runtime", "tool"}

# Category of the v2 stream: today's category, source, channel, and type of actor.
_CLASSES = {
    "runtime": ("lifecycle", "runtime", "platform", "platform"),
    "command": ("connection", "runtime", "api", "api_key"),
    "network": ("network", "network", "cdp", "agent"),
    "console": ("console", "browser", "cdp", "agent"),
    "file": ("page", "browser", "files", "agent"),
    "tool": ("agent", "tool", "tool", "agent"),
    "browser": ("page", "browser", "cdp", "agent"),
    "captcha": ("captcha", "agent", "tool", "agent"),
    "event": ("machine", "system", "platform", "platform"),
}
_NO_RUN = ("lifecycle", "system", "platform", "platform")
_NAMES = {"api_key": "local key", "agent": "local agent", "human": "local human", "platform": None}
_OUTCOMES = {"failed": "failed", "denied": "denied", "unknown": "unknown"}


def of_run(run: Run, index: int) -> Fields:
    """The Event that stands at an index of a run; KeyError where it is not kept.

    `seq` counts the events of its run from 1 (which numbers it counts is documented nowhere).
    """
    stored: Fields = json.loads(run.event(index).body)
    given = stored if stored.get("object") == "event" else _in_todays_words(stored)
    mine: Fields = {
        "runId": run.id,
        "runtimeId": browser_of(run),
        "spaceId": SPACE,
        "spanId": span_id(run, index, stored),
        "target": _target(stored),
    }
    kind = stored.get("category")
    words = _CLASSES.get(kind, _NO_RUN) if isinstance(kind, str) else _NO_RUN
    outcome = _OUTCOMES.get(str(stored.get("status")), "ok")
    return _whole(given, mine, words, outcome=outcome, seq=index + 1, now=rfc3339(run.created))


def of_account(fields: Mapping[str, object], id_: str, seq: int, now: str) -> Fields:
    """An Event that belongs to no run of the emulator, from the fields that it was given."""
    return _whole(fields, {"id": id_, "spaceId": SPACE}, _NO_RUN, outcome="ok", seq=seq, now=now)


def browser_of(run: Run) -> str:
    """The id of the browser that a run ran in."""
    return f"brw_{run.code}"


def span_id(run: Run, index: int, stored: Mapping[str, object]) -> str | None:
    """The span of an event: one for each visit of a story, else one for each command id; None for others."""
    number = run.number(index)
    if number is None:
        command = stored.get("commandId")
        return f"span_{run.code}{zlib.crc32(command.encode()):08x}c" if isinstance(command, str) else None
    return (
        f"span_{run.code}{(number - 1) // len(VISIT):09d}" if number and stored.get("category") != "runtime" else None
    )


def _in_todays_words(stored: Mapping[str, object]) -> Fields:
    given = {name: value for name, value in stored.items() if name not in _OLD}
    if given.get("category") in _CLASSES and given["category"] not in ("network", "console", "captcha"):
        del given["category"]
    if given.get("source") in _OLD_SOURCES:
        del given["source"]
    return {name: value for name, value in given.items() if value is not None or name not in NULLABLE}


def _target(stored: Mapping[str, object]) -> Fields | None:
    for name, kind in _TARGETS.items():
        if isinstance(id_ := stored.get(name), str):
            return {"kind": kind, "id": id_}
    return None


def _whole(
    given: Mapping[str, object], mine: Fields, words: tuple[str, str, str, str], *, outcome: str, seq: int, now: str
) -> Fields:
    category, source, channel, actor = words
    times = [text for name in ("time", "timestamp", "createdAt") if isinstance(text := given.get(name), str)]
    at = times[0] if times else now
    ids: Fields = dict.fromkeys(NULLABLE)
    filled: Fields = {
        "id": "",
        "object": "event",
        "type": "event",
        "category": category,
        "source": source,
        "channel": channel,
        "outcome": outcome,
        "actor": {"type": actor, "id": None if actor == "platform" else f"{actor}_local", "name": _NAMES[actor]},
        "seq": seq,
        **dict.fromkeys(("time", "timestamp", "createdAt", "updatedAt"), at),
        **ids,
        **mine,
        "data": {},
    }
    return {**filled, **given}
