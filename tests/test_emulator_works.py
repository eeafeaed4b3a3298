"""Operations and invocations in the emulator: their statuses, steps and endings, and what spoils their waits."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from test_emulator import Client, until
from worked import OVER, emulated, wait

OPERATION = {"createdAt", "id", "runtime", "runtimeId", "runtimeKind", "status", "workspaceId"}
INVOCATION = {
    *("artifactCount", "createdAt", "entryCall", "executionMode", "id", "runId", "runtimeId", "runtimeKind"),
    *("sequenceNo", "spaceId", "status", "stepCount"),
}
NOUNS = ("operation", "invocation")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """The emulator of these tests."""
    async with emulated() as found:
        yield found


def check(noun: str, body: Any) -> None:
    """What the documents require of an operation or invocation."""
    assert set(body) >= (OPERATION if noun == "operation" else INVOCATION)
    assert body["status"] in {"queued", "dispatching", "running", "cancelling", *OVER}
    assert (body["runtimeKind"], body.get("executionMode", "durable")) == ("browser", "durable")
    progress = body["progress"] or {}
    assert all(isinstance(progress.get(name, ""), str) for name in ("currentCall", "lastEventType", "message"))
    for step in (body["result"] or {"steps": []})["steps"]:
        wanted = {"call", "index", "ok", *(("resolved", "result") if step["ok"] else ("error",))}
        assert set(step) == wanted
        if step["ok"]:
            here = "sessionId" if noun == "operation" else "runtimeId"
            place = {"call", "contextId", "handleId", "method", "pageId", "ref", "target", here}
            assert set(step["resolved"]) == place


@pytest.mark.parametrize("noun", NOUNS)
async def test_scripted_work_goes_through_its_statuses(client: Client, noun: str) -> None:
    """Work is queued, dispatching, and running step by step; a wait says each of them, and ends at the ending."""
    path = f"/v1/{noun}s/succeeded"
    seen: list[tuple[str, int]] = []
    while not seen or seen[-1][0] != "succeeded":
        answer = await wait(client, f"{path}/wait", timeout_ms=1)
        body = answer[noun]
        check(noun, body)
        assert set(answer) == {noun, "timedOutWaiting"}
        assert answer["timedOutWaiting"] == (body["status"] != "succeeded")
        seen.append((body["status"], (body["progress"] or {}).get("step", 0)))
    assert list(dict.fromkeys(seen)) == [
        ("queued", 0),
        ("dispatching", 0),
        *(("running", step) for step in (1, 2, 3)),
        ("succeeded", 3),
    ]
    assert (body["result"]["ok"], len(body["result"]["steps"]), body["error"]) == (True, 3, None)
    assert body["startedAt"] < body["finishedAt"]
    assert (await client.ask("GET", path))[1] == body


@pytest.mark.parametrize("noun", NOUNS)
@pytest.mark.parametrize("ending", OVER[1:])
async def test_work_ends_as_it_should(client: Client, noun: str, ending: str) -> None:
    """One wait is answered at the ending; failed has an error and a result, timed_out an error, and all are 200."""
    answer = await wait(client, f"/v1/{noun}s/{ending}/wait", timeout_ms=9000)
    body = answer[noun]
    check(noun, body)
    assert (body["status"], answer["timedOutWaiting"]) == (ending, False)
    assert (body["error"] is not None, body["result"] is not None) == (ending != "cancelled", ending == "failed")


@pytest.mark.parametrize("noun", NOUNS)
async def test_work_by_hand(client: Client, noun: str) -> None:
    """Over the control surface it is made and set, a wait under way ends with it, and mistakes are explained."""
    control = f"/_emulator/{noun}s"
    assert (await client.ask("POST", control, json={"id": "new"}))[1]["status"] == "queued"
    waiting = asyncio.create_task(wait(client, f"/v1/{noun}s/new/wait", 9000))
    await until(lambda: client.emulator.open_waits == 1, "the wait is under way")
    _, body, _ = await client.ask("POST", f"{control}/new", json={"step": 2, "totalSteps": 4, "message": "half"})
    assert (body["status"], body["progress"]["step"], body["progress"]["totalSteps"]) == ("running", 2, 4)
    assert body["progress"]["message"] == "half"
    error = {"code": "X", "message": "gone"}
    await client.ask("POST", f"{control}/new", json={"status": "failed", "error": error})
    answer = (await waiting)[noun]
    check(noun, answer)
    assert (answer["status"], answer["error"]) == ("failed", error)
    for path, body, word in (
        ("", {"id": "new"}, "already"),
        ("", {"id": "x", "ending": "well"}, "ending"),
        ("/new", {"status": "done"}, "succeeded"),
        ("/new", {"step": -1}, "whole number"),
        ("/new", {"state": 1}, "status"),
        ("/none", {}, "none"),
    ):
        assert word in (await client.ask("POST", control + path, json=body))[1]["error"]
    scripted = await client.ask("POST", control, json={"id": "y", "steps": 2, "seconds": 0})
    assert scripted[1]["status"] == "queued"
    assert (await wait(client, f"/v1/{noun}s/y/wait"))[noun]["status"] == "succeeded"
    state = (await client.ask("GET", "/_emulator/"))[1]
    assert {work["id"] for work in state[f"{noun}s"]} >= {"new", "y", *OVER}


@pytest.mark.parametrize("noun", NOUNS)
async def test_cancelling(client: Client, noun: str) -> None:
    """What runs is cancelling and then cancelled; what goes by hand stays cancelling; what is over stays as it is."""
    for id_ in ("long", "hand"):
        _, body, _ = await client.ask("POST", f"/v1/{noun}s/{id_}/cancel")
        check(noun, body)
        assert (body["status"], body["cancelRequestedAt"] is not None) == ("cancelling", True)
    answer = await wait(client, f"/v1/{noun}s/long/wait", 9000)
    assert (answer[noun]["status"], answer["timedOutWaiting"]) == ("cancelled", False)
    assert (await wait(client, f"/v1/{noun}s/hand/wait", 1))["timedOutWaiting"]
    await wait(client, f"/v1/{noun}s/succeeded/wait", 9000)
    assert (await client.ask("POST", f"/v1/{noun}s/succeeded/cancel"))[1]["status"] == "succeeded"


@pytest.mark.parametrize(("noun", "other"), [NOUNS, NOUNS[::-1]])
async def test_poll_faults_of_work(client: Client, noun: str, other: str) -> None:
    """The waits for work go wrong as those for events do; a fault for named calls leaves the others alone."""
    path = f"/v1/{noun}s/succeeded/wait"
    usual = await wait(client, path, 9000)
    answers = {}
    for fault in ("instant-timeout", "empty", "not-object", "no-id", "huge", "null-cursor"):
        client.emulator.faults.set(poll_fault=fault, huge_bytes=9000, calls=(f"{noun}-wait",))
        answers[fault] = await wait(client, path, 9000)
        assert (await wait(client, f"/v1/{other}s/succeeded/wait", 9000))[other]["status"] == "succeeded"
    assert answers["instant-timeout"] == {noun: usual[noun], "timedOutWaiting": True}
    assert answers["empty"] == {noun: None, "timedOutWaiting": False}
    assert isinstance(answers["not-object"][noun], str)
    assert "id" not in answers["no-id"][noun]
    assert len(answers["huge"][noun]["padding"]) > 4000
    assert answers["null-cursor"] == usual


async def test_invocations_as_in_june_2026(client: Client) -> None:
    """The older path answers with the invocation's own fields and `waitStatus`; seconds or milliseconds both do."""
    path = "/v1/runtimes/rt_1/invocations"
    late = await wait(client, f"{path}/long/wait", 1)
    assert (late["waitStatus"], late["retryAfterSeconds"], late["id"]) == ("timeout", 1, "long")
    assert (await client.ask("POST", f"{path}/long/wait", json={"timeoutSeconds": 0}))[1]["waitStatus"] == "timeout"
    done = (await client.ask("POST", f"{path}/failed/wait", json={"timeoutSeconds": 9}))[1]
    check("invocation", done)
    assert (done["waitStatus"], done["status"]) == ("completed", "failed")
    assert (await client.ask("GET", "/v1/runs/any/invocations/failed"))[1]["status"] == "failed"
    assert (await client.ask("POST", f"{path}/long/cancel"))[1]["status"] == "cancelling"


async def test_unknown_work_and_bad_bodies(client: Client) -> None:
    """An unknown id is 404 with a code of its own, a timeout without a meaning 400."""
    for noun, (method, tail) in itertools.product(NOUNS, (("GET", ""), ("POST", "/wait"), ("POST", "/cancel"))):
        status, body, _ = await client.ask(method, f"/v1/{noun}s/none{tail}")
        assert (status, body["code"]) == (404, f"{noun}.not_found")
    for wrong in ({"timeoutMs": "soon"}, {"timeoutMs": 120_001}):
        assert (await client.ask("POST", "/v1/operations/hand/wait", json=wrong))[0] == 400
    for seconds in ("soon", -1):
        path = "/v1/runtimes/r/invocations/hand/wait"
        assert (await client.ask("POST", path, json={"timeoutSeconds": seconds}))[0] == 400
