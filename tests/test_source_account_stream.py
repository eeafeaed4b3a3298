"""`bctrl.events.stream`: the events of a whole account, as the real daemon reads them from a scripted upstream."""

import json
from functools import partial
from typing import Any

from following import EVENTS, STREAM, Stage, source
from ledger import Ledger, lists, moment, streams
from upstream import CUT, HANG, answer, stream
from waiting import wait_until

from bridge.clock import now, rfc3339


def told(id_: str, type_: str = "page.loaded", **fields: Any) -> bytes:
    """A frame as the vendor's own tests show it: `event:` is the event's type."""
    event = {
        "id": id_, "object": "event", "type": type_, "seq": 7, "category": "page", "source": "browser",
        "channel": "cdp", "outcome": "ok", "actor": {"type": "agent", "id": "a"}, "createdAt": moment(0),
        "updatedAt": moment(0), "time": moment(0), "timestamp": moment(0), "data": {}, **fields,
    }  # fmt: skip
    return f"id: {id_}\nevent: {type_}\ndata: {json.dumps(event)}\n\n".encode()


async def test_headers(stage: Stage) -> None:
    """The version has a default and can be another or none; space and subaccount are sent where they are given."""
    stage.upstream.on(STREAM, HANG)
    async with stage.daemon(
        source("bctrl.events.stream", "a"),
        source("bctrl.events.stream", "b", version="2027-01-01", space="sp_1", subaccount="sub_1"),
        source("bctrl.events.stream", "c", version="", space="sp_2"),
    ):
        await stage.upstream.asked(STREAM, 3)
    names = ("bctrl-version", "bctrl-space", "bctrl-subaccount-id")
    sent = {tuple(request.headers.get(name) for name in names) for request in stage.upstream.requests}
    assert sent == {("2026-10-03", None, None), ("2027-01-01", "sp_1", "sub_1"), (None, "sp_2", None)}
    assert all(request.headers["accept"] == "text/event-stream" for request in stage.upstream.requests)


async def test_filters(stage: Stage) -> None:
    """Every filter goes out under the API's own name, and one with several values repeats its key."""
    one: dict[str, Any] = {
        "browser": "b 1", "sandbox": "x", "run": "r", "task": "t", "conversation": "c", "agent": "g", "actor": "u",
        "actorType": "human", "to": "2999-01-01T00:00:00Z",
    }  # fmt: skip
    more: dict[str, Any] = {
        "category": ["page", "network"],
        "type": ["a&b", "c"],
        "channel": ["cdp"],
        "outcome": ["ok", "denied"],
    }
    stage.upstream.on(STREAM, HANG)
    async with stage.daemon(source("bctrl.events.stream", **one, **more)):
        await stage.upstream.asked(STREAM)
    found = stage.upstream.requests[0].query
    assert sorted(found) == sorted([*one.items(), *((name, value) for name, each in more.items() for value in each)])


async def test_resumes_after_the_last_event(stage: Stage) -> None:
    """A new connection asks for what follows the last stored event, by `after` and `Last-Event-ID`, restarts too."""
    stage.upstream.on(STREAM, stream(told("e1"), told("e2"), then=CUT), stream(told("e3"), then=HANG), HANG)
    async with stage.daemon(source("bctrl.events.stream")) as running:
        await stage.log.has("e1", "e2", "e3")
        running.kill()
        running.start()
        await stage.upstream.asked(STREAM, 3)
    asked = [(dict(request.query).get("after"), request.cursor[1]) for request in stage.upstream.of(STREAM)]
    assert asked == [(None, None), ("e2", "e2"), ("e3", "e3")]


async def test_subject_and_source(stage: Stage) -> None:
    """An event is about its run, or the task, sandbox, browser, conversation or space it names, or the account."""
    named = {
        "runs": {"runId": "r1", "taskId": "t1"}, "tasks": {"taskId": "t1", "sandboxId": "x1"},
        "sandboxes": {"sandboxId": "x1", "runtimeId": "b1"}, "browsers": {"runtimeId": "b1", "spaceId": "s1"},
        "conversations": {"conversationId": "c1", "spaceId": "s1"}, "spaces": {"spaceId": "s1"}, "events": {},
    }  # fmt: skip
    empty: dict[str, Any] = dict.fromkeys(("runId", "taskId", "sandboxId", "runtimeId", "conversationId", "spaceId"))
    frames = [told(noun, **{**empty, **fields}) for noun, fields in named.items()]
    stage.upstream.on(STREAM, stream(*frames, then=HANG))
    async with stage.daemon(source("bctrl.events.stream")):
        await stage.log.has(*named)
    base = stage.upstream.url
    found = {event["id"]: (event["subject"], event["source"]) for event in stage.log.events()}
    subjects = {"runs": "r1", "tasks": "t1", "sandboxes": "x1", "browsers": "b1", "conversations": "c1", "spaces": "s1"}
    assert found == {
        **{noun: (subject, f"{base}/v1/{noun}/{subject}".replace("/v1", "")) for noun, subject in subjects.items()},
        "events": ("account", f"{base}/events"),
    }


async def test_a_runs_end_ends_no_account(stage: Stage) -> None:
    """The end of a run is an event among others: the source goes on."""
    end = told("e1", "run.ended", runId="r", category="lifecycle", status="ended")
    bare = b'id: f1\nevent: run.ended\ndata: {"id":"f1","type":"run.ended","runId":"q","status":"ended"}\n\n'
    stage.upstream.on(STREAM, stream(end, bare, told("e2"), then=HANG))
    async with stage.daemon(source("bctrl.events.stream")):
        await stage.log.has("e1", "q:ended", "e2")
    assert stage.log.source()["state"] == "running"
    assert [request.path for request in stage.upstream.requests] == [STREAM]


async def test_comments_keep_it_alive(stage: Stage) -> None:
    """A comment is a byte: a connection with heartbeats is not replaced, and one without is."""
    beats = [part for _ in range(12) for part in (b": heartbeat\n\n", 0.2)]
    stage.upstream.on(STREAM, stream(*beats, told("e1"), then=HANG), HANG)
    async with stage.daemon(source("bctrl.events.stream", idle_timeout="1s")):
        await stage.log.has("e1")
        assert len(stage.upstream.of(STREAM)) == 1
        await stage.upstream.asked(STREAM, 2)


async def test_no_event(stage: Stage) -> None:
    """A frame that is no event disturbs nothing; one that promised to be is parked."""
    others = [
        b"event: heartbeat\ndata: {}\n\n", b"data: [DONE]\n\n", b"event: weather\ndata: rain\n\n", b"data:\n\n",
        b'data: {"time":"2026-06-25T12:00:00Z"}\n\n', b"retry: 10\n\n",
    ]  # fmt: skip
    stage.upstream.on(STREAM, stream(told("e1"), *others, b"id: x\nevent: page.loaded\ndata: {oops\n\n", told("e2"),
                                     then=HANG))  # fmt: skip
    async with stage.daemon(source("bctrl.events.stream")):
        await stage.log.has("e1", "e2")
        await wait_until(stage.log.parked, "what was parked")
    assert [raw for _, raw in stage.log.parked()] == [b"{oops"]
    assert len(stage.upstream.of(STREAM)) == 1


async def test_version_is_not_served(stage: Stage) -> None:
    """A version that the upstream does not know is said to be that, not a missing run."""
    said = {"error": {"code": "request.version_unsupported", "message": "no such version"}}
    stage.upstream.on(STREAM, answer(400, said))
    async with stage.daemon(source("bctrl.events.stream", version="2020-01-01")) as running:
        line = await running.line("source.failed")
    assert "this API version is not served here" in line["reason"]


async def test_nothing_falls_between_two_connections_without_an_event(stage: Stage) -> None:
    """Where the bridge was connected and ended before the first event, the list tells what happened meanwhile."""
    ledger = Ledger(begins="now")

    def grow(count: int) -> None:
        moment = rfc3339(now())
        ledger.grow(count, createdAt=moment, time=moment, timestamp=moment)

    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, HANG)
    async with stage.daemon(source("bctrl.events.stream")) as running:
        await stage.upstream.asked(STREAM)
        running.kill()
        stage.upstream.on(STREAM, stream(b": alive\n\n", then=HANG))
        running.start()
        await wait_until(lambda: "connected" in stage.log.source().get("bookmark", ""), "the connection is noted")
        running.kill()
        grow(3)
        stage.upstream.on(STREAM, streams(ledger))
        running.start()
        await stage.log.has(*ledger.ids)
    assert stage.told() == ledger.ids
    assert (stage.gaps(), stage.cursor(), stage.log.source()["bookmark"]) == ([], "e2", "")


def _holds(stage: Stage, id_: str) -> bool:
    return id_ in stage.told()


async def test_a_cursor_that_is_refused_in_other_words(stage: Stage) -> None:
    """A refusal that repeats the cursor, and a 404 that names nothing else, are gaps; one of a space is none."""
    said = {
        "quoted": answer(400, {"error": {"code": "request.invalid", "message": "Unknown event evt_3"}}),
        "plain": answer(404, {"error": {"code": "not_found", "message": "Not found"}}),
        "space": answer(404, {"error": {"code": "space.not_found", "message": "Not found"}}),
    }
    for name, refused in said.items():
        stage.upstream.on(STREAM, stream(told("evt_3"), then=CUT), refused, stream(told(f"{name}-1"), then=HANG))
        async with stage.daemon(source("bctrl.events.stream", name)) as running:
            if name == "space":
                await running.line("source.failed", source=name)
            else:
                await running.line("source.gap", source=name, cursor="evt_3")
                await wait_until(partial(_holds, stage, f"{name}-1"), "what comes behind the gap")
    assert stage.cursor("space") == "evt_3"
    assert stage.gaps("space") == []
