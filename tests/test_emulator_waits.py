"""The wait for the next event of a run in the emulator, and all that spoils this and other waits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from test_emulator import ALWAYS, V2, Client, until
from worked import WAIT, emulated, wait

from bridge.emulator.vocabulary import KINDS, ORIGINS

EVENT = {"id", "kind", "runId", "runtimeId", "runtimeKind", "source", "spaceId", "time", "type"}
EVENT_TOO = {
    "artifactId",
    "commandId",
    "connectionId",
    "contextId",
    "correlationId",
    "data",
    "name",
    "pageId",
    "status",
}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """The emulator of these tests."""
    async with emulated() as found:
        yield found


async def drain(client: Client, path: str = WAIT, **body: Any) -> list[Any]:
    """The answers with an event, from the cursor on (or the start) until a wait times out."""
    answers: list[Any] = []
    while not answers or answers[-1]["event"]:
        if answers:
            body["cursor"] = answers[-1]["cursor"]
        answers.append(await wait(client, path, timeout_ms=0, **body))
        assert len(answers) < 500
    return answers[:-1]


def ids(answers: list[Any]) -> list[str]:
    """The ids of the events of answers."""
    return [answer["event"]["id"] for answer in answers]


# -- the next event of a run


async def test_events_are_those_of_the_other_calls_in_the_documented_shape(client: Client) -> None:
    """One by one come the events of the stream, under the same ids and with the same data, as the document has them."""
    streamed = (await client.read(V2)).events()
    events = [answer["event"] for answer in await drain(client)]
    for name in ("id", "time", "type", "data", "runId"):
        assert [event[name] for event in events] == [event[name] for event in streamed]
    for event in events:
        assert set(event) >= EVENT
        assert set(event) <= EVENT | EVENT_TOO
        assert all(isinstance(value, str) for name, value in event.items() if name != "data")
        assert (event["kind"] in KINDS, event["source"] in ORIGINS, event["runtimeKind"]) == (True, True, "browser")
        assert {str(UUID(event[name])) for name in ("runtimeId", "spaceId")} == {event["runtimeId"], event["spaceId"]}
    kinds = {old["category"]: new["kind"] for old, new in zip(streamed, events, strict=True)}
    assert (kinds["file"], kinds["captcha"], kinds["network"]) == ("artifact", "browser", "network")


async def test_list_stream_and_run_satisfy_both_generations(client: Client) -> None:
    """Every event of list and stream has the fields of June and those of July; so has the run."""
    _, page, _ = await client.ask("GET", "/v1/runs/run/events?limit=100")
    assert page["data"] == (await client.read(V2)).events()
    assert all(set(event) >= ALWAYS and event["timestamp"] == event["time"] for event in page["data"])
    _, run, _ = await client.ask("GET", "/v1/runs/run")
    assert set(run) >= {"id", "status", "durationSeconds", "failure", "finishedAt", "runtimeId", "runtimeType"}
    assert run["durationSeconds"] == 0.029
    wanted = [event["id"] for event in page["data"] if event["source"] == "cdp"]
    _, chosen, _ = await client.ask("GET", "/v1/runs/run/events?limit=100&source=cdp")
    assert 0 < len(wanted) < 30
    assert [event["id"] for event in chosen["data"]] == wanted
    client.emulator.runs.append("hand", {"type": "a", "spanId": "span_1"})
    client.emulator.runs.append("hand", {"type": "b"})
    _, spans, _ = await client.ask("GET", "/v1/runs/hand/events?spanId=span_1")
    assert [event["type"] for event in spans["data"]] == ["a"]


async def test_cursors_are_opaque_and_resume(client: Client) -> None:
    """A cursor is no event id and no event id a cursor; each resumes right after the event that came with it."""
    answers = await drain(client)
    cursors = [answer["cursor"] for answer in answers]
    assert len(set(cursors)) == 30
    assert not any(id_ in cursor for id_, cursor in zip(ids(answers), cursors, strict=True))
    assert ids(await drain(client, cursor=cursors[9])) == ids(answers)[10:]
    end = await wait(client, cursor=cursors[-1])
    assert (end["event"], end["timedOut"], end["cursor"]) == (None, True, cursors[-1])
    foreign = (await wait(client, "/v1/runs/hand/events/wait"))["cursor"]
    for wrong in (ids(answers)[3], foreign, cursors[3].upper(), cursors[3] + "a", "cur_", "x"):
        status, body, _ = await client.ask("POST", WAIT, json={"cursor": wrong})
        assert (status, body["code"]) == (400, "pagination.cursor_invalid"), wrong
    assert (await client.ask("GET", f"{V2}?cursor={cursors[3]}"))[0] == 400


async def test_filters_of_the_body(client: Client) -> None:
    """Each filter is an array or an id; all have to fit; what doesn't fit is passed over for good."""
    events = [answer["event"] for answer in await drain(client)]
    page = next(event["pageId"] for event in events if "pageId" in event)
    connection = next(event["connectionId"] for event in events if "connectionId" in event)
    for body in (
        {"type": ["navigation", "dialog"]},
        {"kind": ["artifact", "command"]},
        {"source": ["connection"], "kind": ["command"]},
        {"connectionId": connection},
        {"pageId": page, "type": ["navigation"]},
    ):
        fit = [
            event["id"]
            for event in events
            if all(event.get(name) in (value if isinstance(value, list) else [value]) for name, value in body.items())
        ]
        assert 0 < len(fit) < 30
        assert ids(await drain(client, **body)) == fit
    assert ids(await drain(client, type=[], kind=[])) == [event["id"] for event in events]
    passed = await wait(client, type=["none.such"])
    assert (passed["event"], passed["timedOut"]) == (None, True)
    assert (await wait(client, cursor=passed["cursor"]))["event"] is None
    for wrong in ({"kind": ["file"]}, {"source": ["cdp"]}, {"type": "navigation"}, {"pageId": 1}, {"timeoutMs": -1}):
        assert (await client.ask("POST", WAIT, json=wrong))[1]["code"] == "request.invalid"
    assert (await client.ask("POST", "/v1/runs/no/events/wait", json={}))[1]["code"] == "run.not_found"
    assert (await client.ask("POST", WAIT, data=b"[]"))[0] == 400
    assert (await client.ask("POST", WAIT, data=b""))[1]["event"]["id"] == events[0]["id"]


async def test_a_wait_ends_with_the_next_event(client: Client) -> None:
    """A wait under way gets what is appended: an event with an id of its own to the byte, another one completed."""
    path = "/v1/runs/hand/events/wait"
    cursor = None
    for given in ({"id": "evt_own", "type": 5, "data": None}, {"type": "x.y", "category": "tool"}):
        waiting = asyncio.create_task(wait(client, path, 9000, cursor=cursor or ""))
        await until(lambda: client.emulator.open_waits == 1, "the wait is under way")
        client.emulator.runs.append("hand", given)
        answer = await waiting
        cursor = answer["cursor"]
        assert (answer["timedOut"], answer["event"]["type"]) == (False, given["type"])
        if "id" in given:
            assert answer["event"] == given
        else:
            assert set(answer["event"]) >= EVENT
            assert (answer["event"]["kind"], answer["event"]["source"]) == ("tool_call", "tool")
    client.emulator.runs.get("hand").append_raw(b": only for streams\n\n")
    assert (await wait(client, path, cursor=cursor))["event"] is None


async def test_what_a_wait_forgot_is_said(client: Client) -> None:
    """A cursor before the oldest event that is kept is refused; a wait without one starts at the oldest."""
    path = "/v1/runs/hand/events/wait"
    first = await wait(client, path, timeout_ms=0)
    events = [client.emulator.runs.append("hand", {}).id for _ in range(130)]
    assert (await client.ask("POST", path, json={"cursor": first["cursor"]}))[0] == 400
    assert ids(await drain(client, path)) == events[30:]


# -- its faults


async def test_replay_and_duplicates_come_to_an_end(client: Client) -> None:
    """With replay_last or duplicate events come again, and whoever goes on with the cursor gets all of them."""
    whole = ids(await drain(client))
    for fault, extra in ({"replay_last": 3}, 30), ({"duplicate": True}, 30):
        client.emulator.faults.clear()
        client.emulator.faults.set(**fault)
        got = ids(await drain(client))
        assert len(got) >= 30 + extra
        assert list(dict.fromkeys(got)) == whole
    assert [got.count(id_) for id_ in whole] == [2] * 30


@pytest.mark.parametrize(
    ("fault", "event", "timed_out", "cursor"),
    [
        ("empty", False, False, True),
        ("instant-timeout", False, True, True),
        ("null-cursor", True, False, False),
        ("not-object", True, False, True),
        ("no-id", True, False, True),
        ("huge", True, False, True),
    ],
)
async def test_poll_faults_of_a_whole_answer(
    client: Client, fault: str, event: bool, timed_out: bool, cursor: bool
) -> None:
    """The first two waits go wrong as told, at once, and the third is as if nothing had been."""
    client.emulator.faults.set(poll_fault=fault, poll_fault_next=2, huge_bytes=100_000)
    for _ in range(2):
        answer = await wait(client, timeout_ms=9000)
        assert set(answer) == {"cursor", "event", "timedOut"}
        assert (answer["event"] is not None, answer["timedOut"]) == (event, timed_out)
        assert isinstance(answer["cursor"], str) == cursor
        if fault == "not-object":
            assert isinstance(answer["event"], str)
        if fault == "no-id":
            assert set(answer["event"]) >= EVENT - {"id"}
            assert "id" not in answer["event"]
        if fault == "huge":
            assert len(answer["event"]["padding"]) > 99_000
    assert len(await drain(client)) == 30


@pytest.mark.parametrize("fault", ["bad-json", "cut", "lost-answer", "hang"])
@pytest.mark.parametrize("path", [WAIT, "/v1/operations/succeeded/wait", "/v1/invocations/succeeded/wait"])
async def test_poll_faults_of_a_broken_answer(client: Client, fault: str, path: str) -> None:
    """A wait ends in the middle of the JSON, with a reset, or never; the next one has what it had."""
    client.emulator.faults.set(poll_fault=fault, poll_fault_every=2)
    first = await wait(client, path, 5000)
    if fault == "hang":
        hanging = asyncio.create_task(client.ask("POST", path, json={"timeoutMs": 0}))
        await until(lambda: client.emulator.open_waits == 1, "the wait is under way")
        assert client.emulator.cut() == 1
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await hanging
    elif fault == "bad-json":
        async with client.session.post(client.emulator.url + path, json={}) as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
                await answer.json()
    else:
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await client.ask("POST", path, json={})
    assert await wait(client, path) == first


async def test_faults_at_an_index_touch_waits_too(client: Client) -> None:
    """The event at an index is spoiled in each answer, and the cursor beside it goes on."""
    whole = await drain(client)
    client.emulator.faults.set(no_id_at=(2,), not_object_at=(3,), huge_at=(4,), huge_bytes=50_000, slow=0.001)
    answers = await drain(client)
    assert [answer["cursor"] for answer in answers] == [answer["cursor"] for answer in whole]
    assert "id" not in answers[2]["event"]
    assert isinstance(answers[3]["event"], str)
    assert len(answers[4]["event"]["padding"]) > 49_000
    assert answers[:2] + answers[5:] == whole[:2] + whole[5:]
