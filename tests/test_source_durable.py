"""`bctrl.operation.wait` and `bctrl.invocation.wait` as the real daemon holds them against scripted work.

One play serves most tests of this module: a source for each piece of work, for some seven seconds.
"""

import json
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from daemon import BCTRL_KEY, Daemon, Log, durable_source, never
from playing import Played, once
from servers import RedisServer
from upstream import HANG, SECOND, Request, Script, Upstream, after, answer, at_once, gaps

from bridge.sources.durable_wait import MAX_BODY

OPERATION, INVOCATION = "/v1/operations/{}/wait", "/v1/invocations/{}/wait"
SECONDS = 7.0
BORN, LATER, LAST = "2026-06-25T12:00:00Z", "2026-06-25T12:00:05Z", "2026-06-25T12:00:09Z"
FACTS = {"runtime": "main", "runtimeId": "rt1", "runtimeKind": "browser", "workspaceId": "ws1", "createdAt": BORN}
ERROR = {"code": "TIMEOUT", "message": "step 2", "details": {"b": 1, "a": [1.50]}}
RESULT = {"mode": "fail-fast", "ok": True, "runtime": "main", "steps": [{"é": "\ud83d\ude00"}]}


def work(status: str, step: int | None = None, **members: Any) -> dict[str, Any]:
    """An operation or an invocation."""
    progress = {} if step is None else {"progress": {"step": step, "totalSteps": 3, "message": "m"}}
    return {"id": "w", "status": status, **FACTS, **progress, **members}


def waited(status: str, step: int | None = None, *, noun: str = "operation", **members: Any) -> Script:
    """A wait's answer: timed out unless the status is one that ends."""
    open_ = status in {"queued", "dispatching", "running", "cancelling"}
    return answer(200, {noun: work(status, step, **members), "timedOutWaiting": open_})


def flat(status: str, waiting: str, **members: Any) -> Script:
    """The later form: the work's own members beside `waitStatus` (CONTRACT A.5)."""
    return answer(200, {**work(status, runId="run1", **members), "waitStatus": waiting})


STORY = (
    waited("queued"), waited("dispatching"), waited("running", 0, startedAt=BORN),
    waited("running", 1, lastHeartbeatAt=LATER), waited("running", 1, lastHeartbeatAt=LAST),
    waited("cancelling", 1, cancelRequestedAt=LATER), waited("cancelled", 1, finishedAt=LAST, error=ERROR),
)  # fmt: skip
STATES = ("queued", "dispatching", "running:0", "running:1", "cancelling:1", "cancelled")
TERMINAL = ("succeeded", "failed", "cancelled", "timed_out", "canceled")
UNREADABLE = {
    "json": (b"{", "not JSON"), "html": (b"<html>", "not JSON"), "array": (b"[]", "not a JSON object"),
    "text": (b'{"operation":"running"}', "not a JSON object"), "none": (b'{"operation":null}', "not a JSON object"),
    "status": (b'{"operation":{"id":"w"}}', "no operation with a status in the answer"),
    "latin": (b'{"operation":{"status":"\xff"}}', "not UTF-8"),
    "large": (b'{"operation":{"status":"' + b"x" * MAX_BODY, f"oversized: the first {MAX_BODY} bytes are kept"),
}  # fmt: skip

OPERATIONS: dict[str, tuple[Script, ...]] = {
    "story": STORY,
    **{f"end-{status}": (waited("running"), waited(status, 2, finishedAt=LAST, error=ERROR, result=RESULT))
       for status in TERMINAL},
    "not-timed-out": (after(1.0, waited("running")),),
    "instant": (waited("running", 1),),
    "half": (after(0.6, waited("running")),),
    "resets": (waited("queued"), waited("queued"), waited("running"), waited("running"), HANG),
    "unknown": (answer(200, {"operation": work("paused"), "timedOutWaiting": False}),),
    "unknown-finished": (answer(200, {"operation": work("expired", finishedAt=LAST), "timedOutWaiting": False}),),
    "running-finished": (answer(200, {"operation": work("running", finishedAt=LAST), "timedOutWaiting": False}),),
    "no-finish": (waited("failed"),),
    **{f"unreadable-{name}": (answer(200, body), waited("running"), HANG) for name, (body, _) in UNREADABLE.items()},
    "gone": (answer(404, {"code": "operation.not_found", "error": "no such operation"}), waited("running"), HANG),
    "unserved": (answer(404, b"<html>", {"Content-Type": "text/html"}), waited("running"), HANG),
    "busy": (answer(503, b""), answer(429, {}, {"Retry-After": "0"}), waited("running"), HANG),
}  # fmt: skip
INVOCATIONS: dict[str, tuple[Script, ...]] = {
    "nested": (waited("running", 1, noun="invocation", runId="run1", spaceId="sp1"),
               waited("succeeded", noun="invocation", runId="run1", spaceId="sp1", result=RESULT)),
    "flat": (flat("running", "timeout", progress={"step": 4}), flat("succeeded", "completed", finishedAt=LAST)),
    "flat-unknown": (flat("unknown", "timeout"), flat("unknown", "completed")),
    "flat-running": (flat("running", "completed"),),
}  # fmt: skip


class Play(Played):
    """What was seen, as these tests look at it."""

    def waits(self, name: str, path: str = OPERATION) -> list[Request]:
        """The waits of a source."""
        return [request for request in self.requests if request.path == path.format(name)]

    def states(self, name: str) -> list[str]:
        """Its events' ids without the work's own, but the last part of the type for those of the bridge's own."""
        return [id_.removeprefix(f"{name}:") for id_ in self.ids(name)]


async def _play(directory: Path, server: RedisServer) -> Play:
    async with Upstream() as upstream:
        for path, scripts in ((OPERATION, OPERATIONS), (INVOCATION, INVOCATIONS)):
            for name, script in scripts.items():
                upstream.on(path.format(name), *script)
        sources = {name: durable_source(name, work=name, recheck="2s") for name in OPERATIONS}
        sources |= {name: durable_source(name, noun="invocation", work=name, recheck="2s") for name in INVOCATIONS}
        return await Play.watch(directory, server, upstream, sources, first=OPERATION.format("half"), seconds=SECONDS)


@pytest.fixture(scope="module")
def play(shared_servers: dict[str, RedisServer], tmp_path_factory: pytest.TempPathFactory) -> Play:
    """The play, once."""
    return once(_play, shared_servers, tmp_path_factory)


def test_each_change_of_status_or_step_is_an_event(play: Play) -> None:
    """From `queued` to `cancelled`: one event for each status and step, none for a heartbeat, and then no more."""
    assert play.states("story") == list(STATES)
    types = [event["type"].removeprefix("ai.bctrl.operation.") for event in play.about("story")]
    assert types == [state.partition(":")[0] for state in STATES]
    times = [event["time"] for event in play.about("story")]
    assert times == [BORN, BORN, BORN, LATER, LATER, LAST]
    assert len(play.waits("story")) == len(STORY)
    assert all(request.said == {"timeoutMs": 1000} for request in play.requests)
    assert all(request.headers["authorization"] == f"Bearer {BCTRL_KEY}" for request in play.requests)


@pytest.mark.parametrize("status", TERMINAL)
def test_last_status_ends_the_source(play: Play, status: str) -> None:
    """Each terminal status is the last event, without its step and with error and result as they came."""
    name = f"end-{status}"
    assert play.states(name) == ["running", status]
    last = play.about(name)[-1]
    assert (last["type"], last["status"], last["time"]) == (f"ai.bctrl.operation.{status}", status, LAST)
    whole = json.dumps(work(status, 2, finishedAt=LAST, error=ERROR, result=RESULT))
    texts = [entry["event"] for entry in play.entries if entry["subject"] == name]
    assert texts[-1].endswith(f'"data":{whole}}}')
    assert play.sources[name]["state"] == "ended"
    assert len(play.waits(name)) == 2
    assert play.daemon.lines("source.ended", source=name)


def test_a_wait_that_timed_out_is_no_end(play: Play) -> None:
    """`timedOutWaiting` with a status that is not the last is no `timed_out`: the next wait follows at once."""
    assert play.states("not-timed-out") == ["running"]
    assert play.sources["not-timed-out"]["state"] == "running"
    assert at_once(gaps(play.waits("not-timed-out")))
    assert len(play.waits("not-timed-out")) >= play.seconds * 0.7


@pytest.mark.parametrize("name", ["instant", "half", "unknown", "running-finished"])
def test_what_brings_no_news_is_slowed_down(play: Play, name: str) -> None:
    """An answer without a change that comes too soon is asked for again after a second or more."""
    starts = [request.at for request in play.waits(name)][1:]  # the first was news
    assert len(starts) >= 2
    assert min(later - earlier for earlier, later in pairwise(starts)) >= SECOND
    assert len(play.about(name)) == 1


def test_news_end_the_slowing_down(play: Play) -> None:
    """After a change the next wait follows at once, and the next pause is a first one again."""
    none, one, at_last, again = gaps(play.waits("resets"))
    assert max(none, at_last) < SECOND
    assert min(one, again) >= SECOND
    assert again < 2.3


def test_unknown_status_is_no_end_by_itself(play: Play) -> None:
    """A word that nobody knows ends a source only if the wait has ended and the work says it has finished."""
    assert (play.states("unknown"), play.sources["unknown"]["state"]) == (["paused"], "running")
    assert (play.states("unknown-finished"), play.sources["unknown-finished"]["state"]) == (["expired:ended"], "ended")
    assert (play.states("running-finished"), play.sources["running-finished"]["state"]) == (["running"], "running")
    assert play.about("unknown-finished")[0]["time"] == LAST


def test_attributes_of_an_operation(play: Play) -> None:
    """Runtime, workspace and status are attributes; subject and source name the operation."""
    event = play.about("story")[-1]
    assert event["source"].endswith("/operations/story")
    assert not event["source"].endswith("/v1/operations/story")
    found = {name: event[name] for name in ("subject", "partitionkey", "runtimeid", "runtimekind", "spaceid", "status")}
    assert found == {
        "subject": "story", "partitionkey": "story", "runtimeid": "rt1", "runtimekind": "browser", "spaceid": "ws1",
        "status": "cancelled",
    }  # fmt: skip
    assert "runid" not in event


def test_end_without_a_time_has_that_of_receipt(play: Play) -> None:
    """Where the work doesn't say when it finished, its end is not put back to its creation."""
    (event,) = play.about("no-finish")
    assert event["time"] > BORN
    assert event["time"][:10] == event["recordedtime"][:10]


def test_invocation_in_both_forms(play: Play) -> None:
    """Nested or flat, an invocation's states are events with its run and space; `completed` is the end of the wait."""
    assert play.states("nested") == ["running:1", "succeeded"]
    last = play.about("nested")[-1]
    assert (last["type"], last["runid"], last["spaceid"]) == ("ai.bctrl.invocation.succeeded", "run1", "sp1")
    assert last["source"].endswith("/invocations/nested")
    assert play.states("flat") == ["running:4", "succeeded"]
    assert play.about("flat")[-1]["data"]["waitStatus"] == "completed"
    assert play.about("flat")[-1]["runid"] == "run1"
    assert play.states("flat-unknown") == ["unknown", "unknown:ended"]
    ended = {name: play.sources[name]["state"] == "ended" for name in INVOCATIONS}
    assert ended == {"nested": True, "flat": True, "flat-unknown": True, "flat-running": False}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_answer_is_parked(play: Play, name: str) -> None:
    """What can't be read is parked with its bytes and the reason, and asked for again after a pause."""
    source, (body, reason) = f"unreadable-{name}", UNREADABLE[name]
    assert (reason, body[:MAX_BODY]) in play.parked
    assert gaps(play.waits(source))[0] >= SECOND
    assert play.states(source) == ["running"]


def test_refusals_are_looked_at_again(play: Play) -> None:
    """A 404 fails the source and is looked at slowly; what fails in passing is asked again, unsaid."""
    for name, reason in (("gone", "404 operation.not_found: no such"), ("unserved", "404 an HTML page: this API")):
        assert play.states(name) == ["failed", "running"]
        assert play.about(name)[0]["data"]["reason"].startswith(reason)
        assert gaps(play.waits(name))[0] >= 1.9
        assert play.sources[name]["state"] == "running"
    assert play.states("busy") == ["running"]
    assert min(gaps(play.waits("busy"))[:2]) >= SECOND


def test_the_bridge_itself_is_never_the_failure(play: Play) -> None:
    """No worker of the bridge breaks on what an upstream does, and nothing else was parked."""
    assert play.daemon.lines("worker.restarted") == []
    assert len(play.parked) == len(UNREADABLE)


@pytest.mark.parametrize("noun", ["operation", "invocation"])
async def test_work_over_kill_and_restart(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, noun: str
) -> None:
    """Killed in mid-wait and stopped in mid-wait, no state comes twice; once over, it is not asked for again.

    It takes a few seconds: a state that is known is asked for again after a pause.
    """
    path = f"/v1/{noun}s/w/wait"
    upstream.on(
        path, waited("queued", noun=noun), waited("running", 1, noun=noun), HANG,
        waited("running", 1, noun=noun), waited("running", 2, noun=noun), HANG,
        waited("running", 2, noun=noun), waited("failed", noun=noun, error=ERROR),
    )  # fmt: skip
    async with daemon(durable_source(noun=noun, wait_timeout="60s")) as running:
        await upstream.asked(path, 3)
        running.kill()
        running.start()
        await upstream.asked(path, 6)
        running.signal(signal.SIGTERM)
        assert await running.end(timeout=2.0) == 0
        running.start()
        await log.has(*(f"w:{state}" for state in ("queued", "running:1", "running:2", "failed")))
        await log.state("ended")
        await running.line("source.ended", source="s")  # it is written after the state: no kill between them
        running.kill()
        running.start()
        await running.line("source.ended", source="s", count=2)
        await never(lambda: len(upstream.requests) > 8, "a request about work that is over", 0.5)
    assert log.ids() == ["w:queued", "w:running:1", "w:running:2", "w:failed"]
    assert log.events()[-1]["data"]["error"] == ERROR
