"""Writes a run as today's API (`BCTRL-Version: 2026-10-03`) shows it. Pure."""

from collections.abc import Mapping

from bridge.emulator.control_changes import ControlChanges
from bridge.emulator.runs import Run
from bridge.emulator.today_event import SPACE, Fields, browser_of

STATUSES: Mapping[str, str] = {"active": "active", "stopped": "ended", "failed": "failed"}


def described(run: Run, controls: ControlChanges) -> Fields:
    """The Run of `GET /v1/runs/{id}`; `updatedAt` is the time of its end, or else of its start."""
    holder, since = controls.now(run)
    shown = run.describe()
    failure = shown["failure"]
    reason = failure.get("code") if isinstance(failure, Mapping) else None
    return {
        "id": run.id,
        "object": "run",
        "status": STATUSES[run.status],
        "control": {"holder": holder, "since": since},
        "createdAt": shown["createdAt"],
        "startedAt": shown["startedAt"],
        "updatedAt": shown["finishedAt"] or shown["startedAt"],
        "endedAt": shown["finishedAt"],
        "endReason": None if run.status == "active" else reason or run.status,
        "location": "us-east",
        "recording": {"enabled": False},
        "resourceId": browser_of(run),
        "resourceType": "browser",
        "spaceId": SPACE,
        "taskId": None,
        "traceId": None,
    }
