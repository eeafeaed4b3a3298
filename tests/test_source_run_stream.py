"""`bctrl.run.stream`, and the end of a run in all its streams, as the real daemon reads them."""

import json
from typing import Any

import pytest
from following import RUN_EVENTS, RUN_STREAM, V1, V2, Stage, source
from ledger import moment
from upstream import COMMENT, CUT, HANG, answer, ended, frame, happened, stream
from waiting import wait_until


def wrapped(id_: str, type_: str, **members: Any) -> bytes:
    """A frame with an id of its own, and the wrapper as its data."""
    data = {"id": id_, "type": type_, "runId": "r", "timestamp": moment(0), **members}
    return f"id: {id_}\nevent: {type_}\ndata: {json.dumps(data)}\n\n".encode()


async def test_frames(stage: Stage) -> None:
    """Inner events come under their own ids and types, spans and changes of control as events of theirs."""
    inner = {"id": "evt_1", "type": "navigation", "runId": "r", "source": "cdp", "timestamp": moment(0), "data": {}}
    frames = (
        wrapped("f1", "span.started", span={"id": "span_1"}), wrapped("f2", "runtime.event", event=inner),
        wrapped("f3", "control.changed", holder="human", epoch=1),
        wrapped("f4", "span.completed", span={"id": "span_1"}),
    )  # fmt: skip
    stage.upstream.on(RUN_STREAM, stream(*frames, then=CUT), HANG)
    async with stage.daemon(source("bctrl.run.stream", run="r", include=["trace", "events"])):
        await stage.upstream.asked(RUN_STREAM, 2)
    found = [(event["id"], event["type"], event["subject"]) for event in stage.log.events()]
    assert found == [
        ("f1", "ai.bctrl.span.started", "r"), ("evt_1", "ai.bctrl.navigation", "r"),
        ("f3", "ai.bctrl.control.changed", "r"), ("f4", "ai.bctrl.span.completed", "r"),
    ]  # fmt: skip
    assert stage.log.events()[1]["data"] == inner
    first, second = stage.upstream.of(RUN_STREAM)
    assert first.query == [("include", "trace"), ("include", "events")]
    assert first.headers["bctrl-version"] == "2026-10-03"
    assert (dict(second.query)["after"], second.headers["last-event-id"]) == ("f4", "f4")


async def test_cursor_is_the_frames(stage: Stage) -> None:
    """What resumes the stream is the frame's id, not that of the event inside."""
    stage.upstream.on(RUN_STREAM, stream(wrapped("f1", "runtime.event", event={"id": "e1", "type": "t"})), HANG)
    async with stage.daemon(source("bctrl.run.stream", run="r")):
        await stage.upstream.asked(RUN_STREAM, 2)
    assert stage.log.ids() == ["e1"]
    assert dict(stage.upstream.of(RUN_STREAM)[1].query) == {"after": "f1"}


async def test_the_generation_before(stage: Stage) -> None:
    """Without a version no header is sent; CRLF and LF may be mixed and `event:` may be missing."""
    event = json.dumps({"id": "f1", "type": "runtime.event", "event": {"id": "e1", "type": "t", "source": "cdp"}})
    span = json.dumps({"id": "f2", "type": "span.updated", "runId": "r", "span": {}})
    mixed = f"id: f1\r\nevent: runtime.event\r\ndata: {event}\r\n\r\n: heartbeat\r\n\r\nid: f2\ndata: {span}\n\n"
    end = b'id: f3\ndata: {"id":"f3","type":"run.ended","runId":"r","status":"stopped"}\n\n'
    stage.upstream.on(RUN_STREAM, stream(mixed.encode(), end))
    async with stage.daemon(source("bctrl.run.stream", run="r", version="")):
        await stage.log.has("e1", "f2", "r:ended")
        await stage.log.state("ended")
    assert "bctrl-version" not in stage.upstream.requests[0].headers
    last = stage.log.events()[-1]
    assert (last["type"], last["status"]) == ("ai.bctrl.run.ended", "stopped")


KINDS = {"bctrl.run.stream": RUN_STREAM, "v1": V1, "v2": V2}


def _of(name: str, run: str) -> str:
    kind, keys = (name, {}) if name == "bctrl.run.stream" else ("bctrl.run-events.stream", {"api": name})
    return source(kind, f"{name}-{run}", run=run, **keys)


def _first(name: str) -> bytes:
    event = {"id": "e1", "type": "t"}
    return wrapped("f1", "runtime.event", event=event) if name == "bctrl.run.stream" else frame("e1")


@pytest.mark.parametrize("name", KINDS)
async def test_end_by_a_look_at_the_run(stage: Stage, name: str) -> None:
    """A stream that ends without saying so is over if the run is: by the last status of any generation."""
    statuses = ("stopped", "completed", "ended", "failed", "cancelled", "canceled", "timed_out")
    for status in statuses:
        stage.upstream.on(KINDS[name].replace("/r/", f"/{status}/"), stream(_first(name)), stream())
        stage.upstream.on(f"/v1/runs/{status}", answer(200, {"id": status, "status": status}))
    async with stage.daemon(*(_of(name, status) for status in statuses)):
        for status in statuses:
            await stage.log.state("ended", f"{name}-{status}")
    found = {event["subject"]: (event["id"], event["status"]) for event in stage.log.events("run.ended")}
    assert found == {status: (f"{status}:ended", status) for status in statuses}


@pytest.mark.parametrize("name", KINDS)
async def test_no_end(stage: Stage, name: str) -> None:
    """A run that is not over, or that can't be looked at, is followed on; one that is gone has failed."""
    gone = {"code": "run.not_found", "error": "no such run"}
    for run, look in {"active": answer(200, {"status": "active"}), "unserved": answer(404, b"<html>"),
                      "broken": answer(500, b"")}.items():  # fmt: skip
        stage.upstream.on(KINDS[name].replace("/r/", f"/{run}/"), stream(_first(name)), stream(), HANG)
        stage.upstream.on(f"/v1/runs/{run}", look)
    stage.upstream.on(KINDS[name].replace("/r/", "/gone/"), stream(_first(name)), answer(404, gone))
    stage.upstream.on("/v1/runs/gone", answer(404, gone))
    async with stage.daemon(*(_of(name, run) for run in ("active", "unserved", "broken", "gone"))):
        for run in ("active", "unserved", "broken"):
            await stage.upstream.asked(KINDS[name].replace("/r/", f"/{run}/"), 3)
        await stage.log.state("failed", f"{name}-gone")
    assert stage.log.events("run.ended") == []
    assert "run.not_found" in stage.log.source(f"{name}-gone")["reason"]


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_what_comes_behind_the_end(stage: Stage, api: str) -> None:
    """Events behind `run.ended` are kept, and the source ends when the stream closes or has had its time."""
    path = {"v1": V1, "v2": V2}[api]
    stage.upstream.on(path, stream(frame("e1"), ended(), 0.2, frame("late"), COMMENT, then=HANG))
    async with stage.daemon(source("bctrl.run-events.stream", run="r", api=api)):
        await stage.log.has("e1", "r:ended", "late")
        await stage.log.state("ended")
    assert len(stage.upstream.of(path)) == 1


async def test_history_then_the_stream_from_its_beginning(stage: Stage) -> None:
    """Behind the list the stream begins anew: what the list has told is left out, spans from before are not."""
    listed = [happened(f"e{number}", source="cdp", time=moment(number)) for number in range(300)]
    stage.upstream.on(RUN_EVENTS, answer(200, {"data": listed, "nextCursor": None}))
    frames = [
        wrapped(f"s{number}", "span.started", span={}) + wrapped(f"f{number}", "runtime.event", event=event)
        for number, event in enumerate(listed)
    ]  # fmt: skip
    new = wrapped("f300", "runtime.event", event=happened("e300", source="cdp", time=moment(300)))
    half = len(frames) // 2
    first, second = b"".join(frames[:half]), b"".join([*frames[half:], new])
    stage.upstream.on(RUN_STREAM, stream(first, then=CUT), stream(second, then=HANG))
    async with stage.daemon(source("bctrl.run.stream", run="r", version="", from_="start"), window=350) as running:
        await wait_until(lambda: stage.log.ids()[-1:] == ["e300"], "the new event")
        assert dict(stage.upstream.of(RUN_STREAM)[1].query)["after"] == "f149"
        await running.line("source.connected")
    found = stage.log.ids()
    assert len(found) == len(set(found)) == 300 + 300 + 1
    assert stage.log.source()["bookmark"] == ""


async def test_what_comes_between_the_end_of_a_stream_and_the_look(stage: Stage) -> None:
    """A run that is over is read once more: its last events may have come after its stream ended with nothing new."""
    last = b"id: e2\nevent: run.event\ndata: " + json.dumps({"id": "e2", "type": "navigation"}).encode() + b"\n\n"
    stage.upstream.on(V2, stream(frame("e1")), stream(), stream(last), stream())
    stage.upstream.on("/v1/runs/r", answer(200, {"id": "r", "status": "stopped"}))
    async with stage.daemon(source("bctrl.run-events.stream", run="r")):
        await stage.log.state("ended")
    assert stage.told() == ["e1", "e2", "r:ended"]
