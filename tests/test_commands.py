"""Whoever has Redis steers the bridge: commands are done once, and answered in the log, over any crash."""

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from daemon import Daemon, Log, stream_source
from delivering import SECRET, destination
from receiver import Hook, Receiver
from servers import free_port
from upstream import HANG, Upstream, answer, ended, frame, stream
from waiting import wait_until


def path(run: str) -> str:
    """Where a run's stream is."""
    return f"/v2/runs/{run}/events/stream"


def run(name: str, **keys: Any) -> dict[str, Any]:
    """The keys of a source that reads a run."""
    return {"account": "bctrl", "kind": "bctrl.run-events.stream", "run": name, **keys}


class Steered:
    """A daemon's log, and commands to it."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.stream = f"{log.prefix}:{{0}}:commands"

    def put(self, do: str, request: str, **fields: Any) -> str:
        """Put a command into its stream; the id of its entry."""
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        pairs = {"do": do, "request": request, **texts}
        entry: str = self.log.server.call("XADD", self.stream, "*", *(part for pair in pairs.items() for part in pair))
        return entry

    def answers(self, request: str) -> list[dict[str, Any]]:
        """The events that answer this request."""
        events = [event for event in self.log.events() if event["subject"] == request]
        assert all(event["type"].startswith("dev.runbridge.command.") for event in events)
        return events

    async def ask(self, do: str, request: str, **fields: Any) -> dict[str, Any]:
        """Put a command, and the data of its one answer."""
        self.put(do, request, **fields)
        answers = await wait_until(lambda: self.answers(request), f"an answer to {request}")
        found: dict[str, Any] = answers[0]["data"]
        return found

    def ids(self) -> list[str]:
        """What upstream events are in the log."""
        return [id_ for id_ in self.log.ids() if not id_.startswith("command:")]


async def test_a_service_adds_a_source_and_finds_the_answer_in_the_log(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """`XADD` is all it takes; the answer's subject is the caller's own reference."""
    upstream.on(path("a"), stream(frame("a1"), then=HANG))
    upstream.on(path("b"), stream(frame("b1"), then=HANG))
    steered = Steered(log)
    async with daemon(stream_source("a", run="a")):
        answer = await steered.ask("source.add", "mine-1", id="b", spec=run("b"))
        assert answer == {"do": "source.add", "id": "b", "changed": True, "state": "connecting", "detail": {}}
        await wait_until(lambda: sorted(steered.ids()) == ["a1", "b1"], "the source's first event")
        assert not (await steered.ask("source.add", "mine-2", id="b", spec=run("b")))["changed"]
    assert log.server.call("XLEN", steered.stream) == 0


async def test_what_cant_be_done_is_answered_with_every_problem(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Nothing half applied, and no command stops those behind it."""
    upstream.on(path("a"), HANG)
    steered = Steered(log)
    async with daemon(stream_source("a", run="a")):
        refused = await steered.ask("source.add", "r1", id="b", spec=run(1, typo=1, account="none"))  # type: ignore[arg-type]
        assert (refused["kind"], {error["path"] for error in refused["errors"]}) == (
            "invalid",
            {"account", "run", "typo"},
        )
        for number, (do, fields, kind) in enumerate([
            ("source.add", {"id": "b", "spec": "{not json"}, "invalid"),
            ("source.add", {"id": "b"}, "invalid"),
            ("source.steal", {"id": "b"}, "invalid"),
            ("source.remove", {"id": "b", "force": "true"}, "invalid"),
            ("source.remove", {"id": "b"}, "missing"),
            ("source.remove", {"id": "a"}, "conflict"),
            ("destination.test", {"id": "b"}, "missing"),
        ]):  # fmt: skip
            assert (await steered.ask(do, f"n{number}", **fields))["kind"] == kind
        log.server.call("XADD", steered.stream, "*", "nonsense", b"\xff\xfe")
        log.server.call("XADD", steered.stream, "*", "do", "source.pause", "id", "a", "id", "b", "request", "twice")
        await log.count("command.refused", 10)
        assert steered.answers("twice")[0]["data"]["errors"] == [{"path": "id", "message": "is there twice"}]
    assert log.server.call("HGETALL", f"{log.prefix}:{{0}}:definitions") == {}


async def test_commands_wait_for_a_bridge_and_are_done_once_over_crashes(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """What was asked while nobody ran is done at the start; kill -9 in the middle doubles and forgets nothing."""
    upstream.on(path("a"), HANG)
    steered = Steered(log)
    requests = [f"r{number}" for number in range(60)]
    for number, request in enumerate(requests):
        steered.put("source.add", request, id=f"s{number}", spec=run(f"run{number}"))
    running = daemon(stream_source("a", run="a"))
    for kills in range(3):
        running.start()
        least = 15 * kills
        await wait_until(lambda least=least: len(log.events("command.done")) > least, "some answers")  # type: ignore[misc]
        running.kill()
    async with running:
        await log.count("command.done", len(requests), 20)
        assert [event["subject"] for event in log.events("command.done")] == requests
        stored = log.server.call("HGETALL", f"{log.prefix}:{{0}}:definitions")
        assert (stored.pop("revision"), len(stored.pop("mark"))) == ("60", 16)
        assert stored.keys() == {f"sources s{number}" for number in range(60)}


async def test_what_was_added_is_there_after_a_restart(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Sources, destinations and pauses are kept in Redis; a paused one is never read, not even for a moment."""
    upstream.on(path("a"), HANG)
    upstream.on(path("b"), stream(frame("b1"), then=HANG), stream(frame("b2"), then=HANG))
    steered = Steered(log)
    async with Receiver() as receiver:
        hook = {"url": receiver.url, "secrets": [SECRET], "allow_networks": ["127.0.0.0/8"], "types": ["ai.*"]}
        async with daemon(stream_source("a", run="a")) as running:
            await steered.ask("destination.add", "r1", id="d", spec=hook)
            await steered.ask("source.add", "r2", id="b", spec=run("b"))
            await wait_until(lambda: [hook.id for hook in receiver.hooks] == ["b1"], "the first event at the receiver")
            await steered.ask("source.pause", "r3", id="a")
            asked = len(upstream.of(path("a")))
            running.kill()
            running.start()
            await wait_until(lambda: [hook.id for hook in receiver.hooks] == ["b1", "b2"], "the second event there")
            assert len(upstream.of(path("a"))) == asked
            await steered.ask("source.resume", "r4", id="a")
            await wait_until(lambda: len(upstream.of(path("a"))) == asked + 1, "the paused source's request")


async def test_what_is_paused_loses_nothing(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A paused destination gets, once it is resumed, what came meanwhile; its place in the log is kept."""
    upstream.on(path("a"), stream(frame("a1"), then=HANG))
    upstream.on(path("b"), stream(frame("b1"), frame("b2"), then=HANG))
    steered = Steered(log)
    async with Receiver() as receiver:
        hook = destination("d", receiver.url, types=["ai.*"])
        async with daemon(stream_source("a", run="a"), hook):
            await wait_until(lambda: len(receiver.hooks) == 1, "the first event")
            assert (await steered.ask("destination.pause", "r1", id="d"))["state"] == "paused"
            await steered.ask("source.add", "r2", id="b", spec=run("b"))
            await wait_until(lambda: "b2" in steered.ids(), "the events in the log")
            assert len(receiver.hooks) == 1
            await steered.ask("destination.resume", "r3", id="d")
            await wait_until(lambda: [hook.id for hook in receiver.hooks] == ["a1", "b1", "b2"], "all of them")


async def test_a_removed_source_goes_on_where_it_was_unless_it_is_forgotten(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Adding it again finds the cursor; with `forget` there is nothing left of it."""
    upstream.on(path("a"), HANG)
    upstream.on(path("b"), stream(frame("b1"), then=HANG))
    steered = Steered(log)
    async with daemon(stream_source("a", run="a")):
        await steered.ask("source.add", "r1", id="b", spec=run("b"))
        await wait_until(lambda: steered.ids() == ["b1"], "its event")
        await steered.ask("source.remove", "r2", id="b")
        assert log.source("b")["cursor"] == "b1"
        await steered.ask("source.add", "r3", id="b", spec=run("b"))
        await wait_until(lambda: len(upstream.of(path("b"))) == 2, "its second request")
        assert upstream.of(path("b"))[1].cursor[0] == "b1"
        await steered.ask("source.remove", "r4", id="b", forget=True)
        await wait_until(lambda: not log.source("b"), "nothing left of it")


async def test_a_watch_ends_with_its_run(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """The run's events go to the one destination; some time after its end, nothing of the watch is left."""
    upstream.on(path("a"), HANG)
    upstream.on("/v1/runs/w1/events", answer(200, {"data": [], "nextCursor": None}))
    upstream.on(path("w1"), stream(frame("e1"), ended("w1")))
    steered = Steered(log)
    async with Receiver() as receiver:
        hook = {"url": receiver.url, "secrets": [SECRET], "allow_networks": ["127.0.0.0/8"], "format": "structured"}
        async with daemon(stream_source("a", run="a")) as running:
            said = await steered.ask("run.watch", "r1", run="w1", keep="0s", destination=hook)
            assert (said["id"], said["changed"]) == ("run-w1", True)
            gone = await wait_until(
                lambda: not [key for key in log.server.client().scan_iter(f"{log.prefix}:*") if "run-w1" in key]
                and running.lines("command.done", command="source.remove"),
                "the end of the watch", 30,
            )  # fmt: skip
            assert gone
            assert [hook.event["type"] for hook in receiver.hooks] == ["ai.bctrl.navigation", "ai.bctrl.run.ended"]


@pytest.mark.parametrize("at_once", [False, True], ids=["when all is quiet", "with the next command"])
@pytest.mark.parametrize("left", ["nothing", "an older copy", "another's copy of the same number"])
async def test_definitions_survive_a_redis_that_forgets_them(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, left: str, *, at_once: bool
) -> None:
    """What was answered is not lost because Redis came back older: the bridge stores again what it knows."""
    for name in "abc":
        upstream.on(path(name), HANG)
    steered = Steered(log)
    kept = f"{log.prefix}:{{0}}:definitions"
    async with daemon(stream_source("a", run="a")) as running:
        await steered.ask("source.add", "r1", id="old", spec=run("old"))
        copy = log.server.call("HGETALL", kept)
        await steered.ask("source.remove", "r2", id="old")
        await steered.ask("source.add", "r3", id="b", spec=run("b"))
        log.server.call("DEL", kept)
        if left != "nothing":
            copy |= {"revision": "3", "mark": "another"} if "same" in left else {}
            log.server.call("HSET", kept, *(part for pair in copy.items() for part in pair))
        if at_once:
            assert (await steered.ask("source.add", "r4", id="c", spec=run("c")))["changed"]
        await running.line("definitions.restored")
        stored = log.server.call("HGETALL", kept)
        assert stored.keys() - {"revision", "mark"} == {"sources b", *(["sources c"] if at_once else [])}
        assert int(stored["revision"]) > 3
        assert len(upstream.of(path("b"))) == 1


async def test_definitions_survive_a_change_that_may_be_stored(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """A command that found Redis away leaves the bridge sure of what was answered before, whatever comes back."""
    upstream.on(path("a"), HANG)
    upstream.on(path("b"), HANG)
    steered = Steered(log)
    kept = f"{log.prefix}:{{0}}:definitions"
    running = daemon(stream_source("a", run="a"))
    port = free_port()
    text = running.config.read_text()
    running.config.write_text(text.replace('listen = ""', f'listen = "127.0.0.1:{port}"'))
    async with running, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        await steered.ask("source.add", "r1", id="b", spec=run("b"))
        before = log.server.call("ACL", "GETUSER", "default")
        log.server.call("ACL", "SETUSER", "default", "-eval", "-evalsha")
        try:
            async with session.post("/v1/sources", json={"id": "c", **run("c")}) as response:
                assert (response.status, "Retry-After" in response.headers) == (503, True)
            log.server.call("DEL", kept)
        finally:
            log.server.call("ACL", "SETUSER", "default", "+eval", "+evalsha")
        assert before
        async with session.post("/v1/sources", json={"id": "d", **run("d")}) as response:
            assert response.status == 201
        stored = log.server.call("HGETALL", kept)
        assert stored.keys() - {"revision", "mark"} == {"sources b", "sources d"}


async def test_nobody_waits_for_a_slow_receiver(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A test of a webhook that takes its time delays no other command, and is answered when it is over."""
    upstream.on(path("a"), HANG)
    upstream.on(path("b"), HANG)
    steered, slow = Steered(log), asyncio.Event()

    async def answer(_: Hook) -> int:
        await slow.wait()
        return 204

    async with Receiver(answer) as receiver, daemon(stream_source("a", run="a"), destination("d", receiver.url)):
        steered.put("destination.test", "r1", id="d")
        await wait_until(lambda: receiver.hooks, "the test event")
        assert (await steered.ask("source.add", "r2", id="b", spec=run("b")))["changed"]
        assert not steered.answers("r1")
        slow.set()
        (event,) = await wait_until(lambda: steered.answers("r1"), "the answer about the test")
        assert event["data"]["detail"]["status"] == 204
        assert receiver.hooks[0].event["type"] == "dev.runbridge.test"


async def test_what_the_file_defines_cant_be_forgotten(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Where the file names what was added before, no command touches the place of the one that runs."""
    upstream.on(path("a"), HANG)
    upstream.on(path("b"), stream(frame("b1"), then=HANG))
    steered = Steered(log)
    running = daemon(stream_source("a", run="a"))
    async with running:
        await steered.ask("source.add", "r1", id="b", spec=run("b"))
        await wait_until(lambda: log.source("b").get("cursor") == "b1", "its cursor")
        running.config.write_text(running.config.read_text() + stream_source("b", run="b"))
        running.signal(signal.SIGHUP)
        await running.line("configuration.reloaded")
        await steered.ask("source.pause", "r2", id="b")
        refused: list[tuple[str, dict[str, Any]]] = [
            ("remove", {"forget": True}), ("remove", {}), ("change", {"spec": run("c")})
        ]  # fmt: skip
        for number, (do, fields) in enumerate(refused):
            assert (await steered.ask(f"source.{do}", f"n{number}", id="b", **fields))["kind"] == "conflict"
        assert log.source("b")["cursor"] == "b1"
        assert "paused sources b" in log.server.call("HGETALL", f"{log.prefix}:{{0}}:definitions")
