"""`bctrl.run-events.stream` as the real daemon reads it from a scripted upstream into a real log."""

import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest
from daemon import BCTRL_KEY, Daemon, Log, configuration, never, stream_source
from servers import RedisServer
from upstream import (
    CLOSE,
    COMMENT,
    CUT,
    HANG,
    HEARTBEAT,
    JSON,
    SSE,
    Exchange,
    Request,
    Script,
    Upstream,
    answer,
    ended,
    frame,
    stream,
)
from waiting import wait_until

V2 = "/v2/runs/{}/events/stream"
PATH = V2.format("r")
RECONNECT = 0.1
"""Seconds after which a connection that brought new events is replaced, at most."""


@pytest.fixture
def flavour() -> str:
    """Sources don't know which server holds the log: one kind will do."""
    return "valkey"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A scripted upstream."""
    async with Upstream() as found:
        yield found


@pytest.fixture
def daemon(tmp_path: Path, server: RedisServer, prefix: str, upstream: Upstream) -> Callable[..., Daemon]:
    """`daemon(*sources)`: a daemon on the scripted upstream and the shared server."""

    def make(*sources: str) -> Daemon:
        config = configuration(server.url, "\n".join(sources), prefix=prefix, bctrl=upstream.url)
        return Daemon(tmp_path, config)

    return make


@pytest.fixture
def log(server: RedisServer, prefix: str) -> Log:
    """The log of that daemon."""
    return Log(server, prefix)


def gaps(requests: list[Request]) -> list[float]:
    """Seconds from the end of each connection to the request for the next."""
    return [later.at - (earlier.until or later.at) for earlier, later in pairwise(requests)]


async def test_resumes_where_it_was(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A new connection asks for what follows the last stored event, by `cursor` and `Last-Event-ID`, restarts too."""
    upstream.on(PATH, stream(frame("e1"), frame("e2"), then=CUT), stream(frame("e3"), then=HANG), HANG)
    async with daemon(stream_source()) as running:
        await log.has("e1", "e2", "e3")
        running.kill()
        running.start()
        await wait_until(lambda: len(upstream.of(PATH)) == 3, "a third connection")
    assert [request.cursor for request in upstream.of(PATH)] == [(None, None), ("e2", "e2"), ("e3", "e3")]
    assert all(request.headers["authorization"] == f"Bearer {BCTRL_KEY}" for request in upstream.requests)
    assert all("text/event-stream" in request.headers["accept"] for request in upstream.requests)
    assert log.source()["cursor"] == "e3"


async def test_frame_id_is_the_cursor(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Where the frame's id and the record's differ, the frame's resumes and the record's names the event."""
    data = json.dumps({"id": "inner", "type": "navigation"})
    upstream.on(PATH, stream(f"id: outer\ndata: {data}\n\n".encode()), HANG)
    async with daemon(stream_source()):
        await log.has("inner")
        await wait_until(lambda: len(upstream.of(PATH)) == 2, "a second connection")
    assert upstream.of(PATH)[1].cursor == ("outer", "outer")


async def test_paths_and_filters(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """Each generation has its path and its filters, lists repeat their key, and a run id is one path segment."""
    v2 = stream_source("two", run="a/b ü", types=["navigation", "dialog"], categories=["browser", "file"],
                       connection="c1")  # fmt: skip
    v1 = stream_source("one", run="50%2F", api="v1", types=["navigation"], page="p 1", context="x&y")
    paths = {"/v2/runs/a%2Fb%20%C3%BC/events/stream", "/v1/runs/50%252F/events/stream"}
    for path in paths:
        upstream.on(path, HANG)
    async with daemon(v2, v1):
        await wait_until(lambda: len(upstream.requests) == 2, "both connections")
    found = {request.path: request.query for request in upstream.requests}
    assert set(found) == paths
    assert found["/v2/runs/a%2Fb%20%C3%BC/events/stream"] == [
        ("type", "navigation"), ("type", "dialog"), ("category", "browser"), ("category", "file"),
        ("connectionId", "c1"),
    ]  # fmt: skip
    assert found["/v1/runs/50%252F/events/stream"] == [("type", "navigation"), ("pageId", "p 1"), ("contextId", "x&y")]


async def test_only_records_become_events(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Heartbeats, comments and unknown frames show that the stream is alive, and nothing else."""
    others = (
        HEARTBEAT, COMMENT, b"retry: 1000\n\n", b"data:\n\n", b"data: [DONE]\n\n", b"event: weather\ndata: rain\n\n",
        b'data: {"time":"2026-06-25T12:00:05.000Z"}\n\n', b'event: weather\ndata: {"sun":true}\n\n',
        b"event: run.event\n\n", b"unknown: field\n\n",
    )  # fmt: skip
    upstream.on(PATH, stream(frame("e1"), *others, frame("e2"), then=HANG))
    async with daemon(stream_source()):
        await log.has("e1", "e2")
    assert log.parked() == []
    assert len(upstream.requests) == 1


async def test_gzip(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A stream that comes compressed although it was not asked for is read as it comes, frame by frame."""
    packer = zlib.compressobj(wbits=31)
    parts = [packer.compress(frame(name)) + packer.flush(zlib.Z_SYNC_FLUSH) for name in ("e1", "e2")]
    upstream.on(PATH, stream(*parts, then=HANG, headers={**SSE, "Content-Encoding": "gzip"}))
    async with daemon(stream_source()):
        await log.has("e1", "e2")


async def test_end_of_a_run_is_for_good(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """`run.ended` writes its event and ends the source: it is not asked again, after a restart neither."""
    upstream.on(PATH, stream(frame("e1"), ended()))
    async with daemon(stream_source()) as running:
        await log.has("e1", "r:ended")
        await log.state("ended")
        await running.line("source.ended", source="s")
        assert await running.stop() == 0
        running.start()
        await running.line("source.ended", source="s", count=2)
        await never(lambda: len(upstream.of(PATH)) > 1, "a request for a run that is over", 1.0)
    last = log.events()[-1]
    assert (last["type"], last["subject"], last["time"]) == ("ai.bctrl.run.ended", "r", "2026-06-25T12:01:00Z")
    assert last["data"]["status"] == "stopped"


async def test_end_is_fetched_again_from_an_empty_redis(
    tmp_path: Path, start_server: Callable[..., RedisServer], upstream: Upstream
) -> None:
    """A Redis that comes back empty gets the whole run again, although the source had ended."""
    server = start_server("valkey")
    upstream.on(PATH, stream(frame("e1"), frame("e2"), ended()))
    async with Daemon(tmp_path, configuration(server.url, stream_source(), bctrl=upstream.url)) as running:
        log = Log(server)
        await running.line("source.ended")
        await log.has("e1", "e2", "r:ended")
        server.kill()
        server.start()
        await log.has("e1", "e2", "r:ended")
        await running.line("source.ended", count=2)
    assert [request.cursor for request in upstream.of(PATH)] == [(None, None), (None, None)]


async def test_unreadable_records_are_parked(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """What is not JSON, too large or without an id is parked with its bytes, once, and the stream goes on."""
    limit = 1 << 20
    large = json.dumps({"id": "large", "type": "navigation", "data": "x" * limit}).encode()
    frames = (
        frame("e1"), b"event: run.event\nid: b1\ndata: {oops \xff\n\n",
        b"event: run.event\nid: large\ndata: %s\n\n" % large, frame("e2"),
        b'event: run.event\ndata: {"type":"navigation"}\n\n', b'event: run.event\nid: b2\ndata: {"id":"b2"}\n\n',
        b"event: run.event\nid: b3\ndata: [1]\n\n", frame("e3"),
    )  # fmt: skip
    upstream.on(PATH, stream(*frames, then=CUT), stream(*frames, frame("e4"), then=HANG))
    async with daemon(stream_source(max_event_bytes=limit)) as running:
        await log.has("e1", "e2", "e3", "e4")
        assert len(running.lines("record.parked", source="s")) == 5
    (garbage, oversized, no_id, no_type, no_object) = log.parked()
    assert garbage == ("not UTF-8", b"{oops \xff")
    assert oversized[0].startswith(f"oversized: {len(large)} bytes")
    assert large.startswith(oversized[1])
    assert len(oversized[1]) >= 1 << 16
    assert no_id == ("no id", b'{"type":"navigation"}')
    assert no_type == ("no type", b'{"id":"b2"}')
    assert no_object == ("not a JSON object", b"[1]")


async def test_silent_connection_is_replaced(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A connection without a byte for `idle_timeout` is dead, before its head too; a comment is a byte."""
    alive = (0.5, COMMENT) * 4
    upstream.on(PATH, stream(frame("e1"), *alive, then=HANG), HANG, stream(frame("e2"), then=HANG))
    async with daemon(stream_source(idle_timeout="1s")) as running:
        await log.has("e1", "e2", timeout=15)
        await running.line("source.interrupted", reason="no byte within the time allowed")
    first, second, _ = upstream.of(PATH)
    assert first.until is not None
    assert second.until is not None
    assert 2.9 <= first.until - first.at < 4.5, "four comments, half a second apart, then a second of silence"
    assert 0.9 <= second.until - second.at < 2.5


async def test_progress_is_replaced_at_once_within_the_budget(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """A server that ends each connection after ten new events costs no time thirty times, then a second each."""
    connections = [
        stream(*(frame(f"e{number}") for number in range(10 * turn, 10 * turn + 10)), then=CUT if turn % 2 else CLOSE)
        for turn in range(34)
    ]
    upstream.on(PATH, *connections, HANG)
    async with daemon(stream_source()):
        await wait_until(lambda: len(upstream.of(PATH)) == 35, "thirty-five connections", 20.0)
    assert log.ids() == [f"e{number}" for number in range(340)]
    pauses = gaps(upstream.of(PATH))
    assert max(pauses[:30]) < RECONNECT, pauses
    assert all(0.95 < pause < 1.6 for pause in pauses[30:]), pauses


async def test_nothing_new_is_no_progress(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A server that cuts after replaying what is known is asked again with backoff, not at once."""
    upstream.on(PATH, stream(frame("e1"), frame("e2"), then=CUT))
    async with daemon(stream_source()):
        await wait_until(lambda: len(upstream.of(PATH)) == 4, "four connections", 15.0)
    assert log.ids() == ["e1", "e2"]
    first, *others = gaps(upstream.of(PATH))
    assert first < RECONNECT
    assert min(others) >= 1.0


def _raw(data: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.raw(data)

    return script


async def _bad_chunk(exchange: Exchange) -> None:
    await exchange.head(200, SSE)
    await exchange.raw(b"not a chunk\r\n")


FAILURES: dict[str, Script] = {
    "500": answer(500, b"oops"),
    "408": answer(408, b""),
    "html": answer(200, b"<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"}),
    "json": answer(200, {"data": []}),
    "json-error": stream(b'{"error":"x"}', headers=JSON),
    "empty": stream(),
    "cut": CUT,
    "cut-body": stream(b"event: run.ev", then=CUT),
    "error-frame": stream(b'event: error\ndata: {"code":"internal.error"}\n\n', then=HANG),
    "no-http": _raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "bad-chunk": _bad_chunk,
    "bad-gzip": stream(b"not gzip", headers={**SSE, "Content-Encoding": "gzip"}),
    "half-gzip": stream(gzip.compress(frame("e"))[:20], headers={**SSE, "Content-Encoding": "gzip"}),
    "huge-header": answer(200, b"", {"X-Long": "x" * 100_000}),
    "loop": answer(307, b"", {"Location": V2.format("loop")}),
}


async def test_failures_back_off(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Whatever goes wrong in passing is tried again after a second or more, without a word about the bridge itself."""
    for name, script in FAILURES.items():
        upstream.on(V2.format(name), script)
    async with daemon(*(stream_source(name, run=name) for name in FAILURES)) as running:
        for name in FAILURES:
            await running.line("source.interrupted", source=name)
            assert 1.0 <= running.lines("source.interrupted", source=name)[0]["delay"] <= 2.0, name
            await wait_until(lambda n=name: len(upstream.of(V2.format(n))) >= 2, f"a second try of {name}", 15.0)
        assert running.lines("worker.restarted") == []
    assert log.ids() == []
    # a GET that got no byte of an answer is sent once more by the HTTP client itself (RFC 9110, 9.2.2)
    for name in FAILURES.keys() - {"loop", "cut"}:
        assert gaps(upstream.of(V2.format(name)))[0] >= 1.0, name


async def test_retry_after_is_honoured(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """429 and 503 are left alone for as long as they ask, in seconds or until a date, but never for hours."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=6), usegmt=True)
    until = time.monotonic() + 5  # the date is cut to whole seconds
    asked = {
        "seconds": answer(429, {"code": "rate_limited", "error": "slow down"}, {"Retry-After": "3"}),
        "date": answer(503, b"", {"Retry-After": date}),
        "hours": answer(429, b"", {"Retry-After": "86400"}),
        "zero": answer(503, b"", {"Retry-After": "0"}),
        "nonsense": answer(503, b"", {"Retry-After": "soon"}),
    }
    for name, script in asked.items():
        upstream.on(V2.format(name), script)
    async with daemon(*(stream_source(name, run=name) for name in asked)) as running:
        for name in asked.keys() - {"hours"}:
            await wait_until(lambda n=name: len(upstream.of(V2.format(n))) >= 2, f"a second try of {name}", 15.0)
        delay = (await running.line("source.interrupted", source="hours"))["delay"]
        assert 300.0 <= delay <= 301.0
    assert 3.0 <= gaps(upstream.of(V2.format("seconds")))[0] < 4.5
    assert upstream.of(V2.format("date"))[1].at >= until
    assert all(1.0 <= gaps(upstream.of(V2.format(name)))[0] < 3.0 for name in ("zero", "nonsense"))


REFUSALS: dict[str, tuple[Script, str]] = {
    "401": (answer(401, {"code": "auth.required", "error": "no key"}), "401 auth.required: no key"),
    "403": (answer(403, {"error": {"code": "auth.forbidden", "message": "not yours"}}), "403 auth.forbidden: not yours"),
    "404": (answer(404, b"<html>gone</html>"), "404 an HTML page"),
    "400": (answer(400, b"bad\nrequest"), "400 bad request"),
    "422": (answer(422, {}), "422"),
    "204": (answer(204), "204: the upstream asks not to reconnect"),
}  # fmt: skip


async def test_refusal_stops_only_its_source(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A refused source is failed with its reason and one event, looked at again slowly, and runs when it may."""
    for name, (script, _) in REFUSALS.items():
        upstream.on(V2.format(name), script, script, script, stream(frame(f"e{name}"), then=HANG))
    upstream.on(PATH, stream(frame("e1"), 2.0, frame("e2"), then=HANG))
    sources = [stream_source(name, run=name, recheck="1s") for name in REFUSALS]
    async with daemon(*sources, stream_source()) as running:
        for name, (_, reason) in REFUSALS.items():
            await log.state("failed", name)
            assert log.source(name)["reason"] == reason
        for name in REFUSALS:
            await wait_until(lambda n=name: f"e{n}" in log.ids(), f"{name} runs again", 15.0)
            await log.state("running", name)
        await wait_until(lambda: "e2" in log.ids(), "the healthy source goes on")
        assert running.lines("source.interrupted") == []
        assert len(running.lines("source.failed")) == len(REFUSALS), "a line per change, not per look"
    failed = {event["data"]["source"]: event for event in log.events("source.failed")}
    assert len(log.events("dev.runbridge.source.failed")) == len(failed) == len(REFUSALS)
    for name, (_, reason) in REFUSALS.items():
        assert failed[name]["data"] == {"source": name, "reason": reason, "status": int(name)}
        assert failed[name]["subject"] == name
        assert failed[name]["source"] == f"{upstream.url}/runs/{name}"
        assert min(gaps(upstream.of(V2.format(name)))) >= 0.95


async def test_another_refusal_is_another_event(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Each change of the reason is an event, over a restart too; the same reason again is none."""
    upstream.on(PATH, answer(401), answer(403))
    async with daemon(stream_source(recheck="1s")) as running:
        await wait_until(lambda: len(upstream.of(PATH)) == 3, "three looks", 15.0)
        running.kill()
        running.start()
        await wait_until(lambda: len(upstream.of(PATH)) == 4, "a fourth look", 15.0)
        await running.line("source.failed", reason="403", count=2)
    assert [data["status"] for data in log.data("source.failed")] == [401, 403]
