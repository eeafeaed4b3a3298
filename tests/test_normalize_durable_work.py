"""Holds the reader of operations and invocations to the answers of their waits (CONTRACT A.2, A.3, A.5)."""

import json
from typing import Any

import pytest
from judges import judged
from normalized import RECEIPT, RECEIVED, encoded

from bridge.event import Event, Parked
from bridge.normalize.durable_work import Answer, DurableWork, Noun

BASE = "https://api.bctrl.ai"
OPERATION: dict[str, Any] = {
    "createdAt": "2026-06-25T12:00:00Z", "id": "op_1", "runtime": "main", "runtimeId": "rt_1", "runtimeKind": "browser",
    "status": "running", "workspaceId": "ws_1", "startedAt": "2026-06-25T12:00:01Z", "finishedAt": None, "error": None,
    "lastHeartbeatAt": "2026-06-25T12:00:02Z", "cancelRequestedAt": "2026-06-25T12:00:03Z", "result": None,
    "progress": {"currentCall": "page.goto", "lastEventType": None, "message": "Step 2", "step": 2, "totalSteps": 5},
}  # fmt: skip


def answered(body: object, noun: Noun = "operation") -> Answer:
    """What the reader makes of an answer; one that is no bytes becomes JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DurableWork(noun, "op_1", f"{BASE}/{noun}s/op_1").answer(raw, RECEIVED)


def event(body: object, noun: Noun = "operation") -> dict[str, Any]:
    """The event of an answer as its readers see it."""
    record = answered(body, noun).record
    assert isinstance(record, Event), record
    return judged(encoded(record))


def work(**fields: object) -> dict[str, Any]:
    """The answer about an operation with these fields."""
    return {"operation": {**OPERATION, **fields}, "timedOutWaiting": fields.get("status") is None}


def test_an_operation_tells_its_attributes() -> None:
    """CONTRACT A.2: each field has its attribute, the data is the operation itself, its workspace is the space."""
    found = event(work())
    assert (found["id"], found["type"]) == ("op_1:running:2", "ai.bctrl.operation.running")
    assert (found["source"], found["subject"]) == (f"{BASE}/operations/op_1", "op_1")
    assert (found["status"], found["runtimeid"], found["runtimekind"]) == ("running", "rt_1", "browser")
    assert (found["spaceid"], found["time"], found["data"]) == ("ws_1", "2026-06-25T12:00:02Z", OPERATION)
    assert "runid" not in found


def test_an_invocation_tells_its_run_and_space() -> None:
    """CONTRACT A.3: an invocation has a run, a space of its own name and a correlation."""
    fields = {
        "id": "inv",
        "status": "queued",
        "runId": "run_1",
        "spaceId": "sp_1",
        "correlationId": "c",
        "workspaceId": "w",
    }
    found = event({"invocation": fields, "timedOutWaiting": True}, "invocation")
    assert (found["id"], found["type"]) == ("op_1:queued", "ai.bctrl.invocation.queued")
    assert (found["runid"], found["spaceid"], found["correlationid"]) == ("run_1", "sp_1", "c")


@pytest.mark.parametrize("status", ["queued", "dispatching", "running", "cancelling"])
@pytest.mark.parametrize("waited", [True, False])
def test_work_under_way_is_not_over(status: str, waited: bool) -> None:
    """`timedOutWaiting`, whatever it says, ends nothing while the status says that the work goes on."""
    answer = answered({"operation": {**OPERATION, "status": status}, "timedOutWaiting": waited})
    assert not answer.over


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "canceled", "timed_out"])
def test_the_last_statuses_end_it(status: str) -> None:
    """Each is over, with an id without a step, so that the end is told once; the spelling is the upstream's."""
    answer = answered(work(status=status, finishedAt="2026-06-25T12:00:09Z"))
    assert answer.over
    assert isinstance(answer.record, Event)
    found = judged(encoded(answer.record))
    assert (found["id"], found["type"]) == (f"op_1:{status}", f"ai.bctrl.operation.{status}")
    assert found["time"] == "2026-06-25T12:00:09Z"


def test_an_answer_may_be_flat() -> None:
    """CONTRACT A.5: the work's fields beside `waitStatus`; `completed` ends work of a status that nobody knows."""
    flat = {**OPERATION, "status": "archived", "waitStatus": "completed", "retryAfterSeconds": 1}
    assert answered(flat).over
    assert event(flat)["data"] == flat
    assert not answered({**flat, "status": "running", "waitStatus": "timeout"}).over


@pytest.mark.parametrize(
    ("waited", "finished", "over"),
    [
        (False, "2026-06-25T12:00:09Z", True),
        (True, "2026-06-25T12:00:09Z", False),
        (False, None, False),
        (None, None, False),
    ],
)
def test_a_status_that_nobody_knows_ends_nothing_alone(waited: object, finished: str | None, over: bool) -> None:
    """Only with the wait and the work both saying so is it the end, under an id that is not that of being in it."""
    body = {"operation": {**OPERATION, "status": "archived", "finishedAt": finished}, "timedOutWaiting": waited}
    assert answered(body).over == over
    assert event(body)["id"] == ("op_1:archived:ended" if over else "op_1:archived:2")


@pytest.mark.parametrize(
    ("progress", "id_"),
    [
        ({"step": 0}, "op_1:running:0"),
        ({"step": 3, "message": "\ud83d"}, "op_1:running:3"),
        ({"step": None}, "op_1:running"),
        ({"step": "3"}, "op_1:running"),
        ({"step": 1.5}, "op_1:running"),
        ({"step": True}, "op_1:running"),
        ({}, "op_1:running"),
        ([], "op_1:running"),
        ("3", "op_1:running"),
        (None, "op_1:running"),
    ],
)
def test_a_step_is_part_of_the_id(progress: object, id_: str) -> None:
    """A step that is a number tells one state of the same status from the next; anything else is none."""
    assert event(work(progress=progress))["id"] == id_


@pytest.mark.parametrize(
    ("fields", "time"),
    [
        ({"status": "queued"}, "2026-06-25T12:00:00Z"),
        ({"status": "running"}, "2026-06-25T12:00:02Z"),
        ({"status": "running", "lastHeartbeatAt": None}, "2026-06-25T12:00:01Z"),
        ({"status": "cancelling"}, "2026-06-25T12:00:03Z"),
        ({"status": "failed", "finishedAt": "2026-06-25T14:00:09+02:00"}, "2026-06-25T12:00:09Z"),
        ({"status": "failed", "finishedAt": None}, "2026-06-25T12:00:02Z"),
        ({"status": "failed", "finishedAt": "soon", "lastHeartbeatAt": "later"}, RECEIPT),
    ],
)
def test_the_time_is_that_of_the_state(fields: dict[str, Any], time: str) -> None:
    """When the work came to this state, as nearly as it says; an end is never dated to the work's creation."""
    assert event(work(**fields))["time"] == time


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"operation":null,"timedOutWaiting":true}', "not a JSON object"),
        (b'{"operation":[]}', "not a JSON object"),
        (b'{"operation":{}}', "no operation with a status in the answer"),
        (b'{"operation":{"status":null}}', "no operation with a status in the answer"),
        (b'{"invocation":{"status":"running"}}', "no operation with a status in the answer"),
        (b'{"operation":{"status":"\xff"}}', "not UTF-8"),
        (b'{"operation":' + b'{"a":' * 5000 + b"1" + b"}" * 5001, "nested too deeply"),
    ],
)
def test_an_answer_without_work_is_parked(body: bytes, reason: str) -> None:
    """It is kept whole, with the reason, and known again by its bytes."""
    answer = answered(body)
    assert isinstance(answer.record, Parked)
    assert (answer.record.raw, answer.record.reason, answer.over) == (body, reason, False)
    assert answered(body) == answer


def test_the_data_is_the_work_byte_for_byte() -> None:
    """Spaces, escapes, half a surrogate pair and odd numbers stay as they came."""
    inner = rb'{ "status" : "running","n":1.0e2,"cut":"\ud83d", "progress":{"step":1} }'
    record = answered(b'{"timedOutWaiting":true , "operation" : %s }' % inner).record
    assert isinstance(record, Event)
    assert bytes(record.data) == inner
    assert judged(encoded(record))["id"] == "op_1:running:1"
