"""Writes operations and invocations as the documents of their waits describe them. Pure."""

import uuid

from bridge.emulator.older_bodies import SPACE, runtime_of
from bridge.emulator.wire import rfc3339
from bridge.emulator.works import Snapshot

Fields = dict[str, object]
CALLS = ("page.goto", "page.fill", "page.click", "page.waitForSelector", "page.screenshot")


def operation(now: Snapshot) -> Fields:
    """The `operation` of `POST /v1/operations/{id}/wait`."""
    return {
        **_common(now, "operation"),
        "currentCall": _call(now.step) if now.status == "running" and now.step else None,
        "result": _result(now, {"runtime": "main"}, {"sessionId": runtime_of(now.id)}),
        "runtime": "main",
        "workspaceId": SPACE,
    }


def invocation(now: Snapshot) -> Fields:
    """The `invocation` of `POST /v1/invocations/{id}/wait`."""
    runtime = runtime_of(now.id)
    over = None if now.finished is None or now.started is None else round(1000 * (now.finished - now.started))
    return {
        **_common(now, "invocation"),
        "artifactCount": 0,
        "connector": None,
        "correlationId": None,
        "durationMs": over,
        "entryCall": CALLS[0],
        "executionMode": "durable",
        "metadata": None,
        "request": {"mode": "fail-fast", "runtimeId": runtime, "steps": [{"call": _call(n + 1)} for n in _shown(now)]},
        "result": _result(now, {"runtimeId": runtime}, {"runtimeId": runtime}),
        "runId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"runbridge:emulator:run:{now.id}")),
        "sequenceNo": now.number,
        "spaceId": SPACE,
        "stepCount": now.steps,
    }


def _common(now: Snapshot, noun: str) -> Fields:
    return {
        "id": now.id,
        "status": now.status,
        "runtimeId": runtime_of(now.id),
        "runtimeKind": "browser",
        "createdAt": rfc3339(now.created),
        "startedAt": _time(now.started),
        "finishedAt": _time(now.finished),
        "cancelRequestedAt": _time(now.cancel_requested),
        "lastHeartbeatAt": _time(now.finished or now.now) if now.started else None,
        "progress": _progress(now),
        "error": now.said.get("error", _error(now, noun)),
    }


def _progress(now: Snapshot) -> Fields | None:
    if not now.step:
        return None
    call = _call(now.step)
    return {
        "currentCall": call,
        "lastEventType": "connection.command.started" if now.status == "running" else "connection.command.finished",
        "message": now.said.get("message", f"Step {now.step} of {now.steps}: {call}"),
        "step": now.step,
        "totalSteps": now.steps,
    }


def _error(now: Snapshot, noun: str) -> Fields | None:
    if now.status == "failed":
        message = f"Step {now.step} failed: no element matches the selector."
        return {"code": f"{noun}.failed", "message": message, "details": {"step": now.step}}
    if now.status == "timed_out":
        return {"code": f"{noun}.timed_out", "message": "The work ran out of time."}
    return None


def _result(now: Snapshot, whose: Fields, where: Fields) -> object:
    if "result" in now.said:
        return now.said["result"]
    if now.status not in ("succeeded", "failed"):
        return None
    shown = _shown(now)
    failed = shown[-1] if now.status == "failed" else None
    steps: list[Fields] = [_step(index, where) if index != failed else _failed(index) for index in shown]
    return {"mode": "fail-fast", "ok": failed is None, **whose, "steps": steps}


def _step(index: int, where: Fields) -> Fields:
    method = _call(index + 1).partition(".")[2]
    place = {"contextId": None, "handleId": None, "pageId": "page_1", "ref": None, **where}
    resolved = {"call": _call(index + 1), "method": method, "target": "page", **place}
    return {"call": _call(index + 1), "index": index, "ok": True, "resolved": resolved, "result": None}


def _failed(index: int) -> Fields:
    error = {"code": "TIMEOUT", "message": "No element matches the selector."}
    return {"call": _call(index + 1), "index": index, "ok": False, "error": error}


def _shown(now: Snapshot) -> range:
    """The steps that a request or result tells of: those there have been, at most a hundred."""
    return range(max(1, min(now.step or now.steps, 100)))


def _call(step: int) -> str:
    return CALLS[(step - 1) % len(CALLS)]


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
