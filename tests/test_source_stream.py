"""`bctrl.run-events.stream` as the real daemon reads it from a scripted upstream into a real log."""

import asyncio
import json
import zlib
from collections.abc import Callable
from pathlib import Path

from daemon import BCTRL_KEY, Daemon, Log, configuration, never, stream_source
from servers import RedisServer
from upstream import COMMENT, CUT, HANG, HEARTBEAT, SSE, Script, Upstream, answer, ended, frame, stream
from waiting import wait_until

from bridge.sources.event_stream import LINGER
from bridge.sources.outcome import ERROR_TIME

V2 = "/v2/runs/{}/events/stream"
PATH = V2.format("r")


async def test_resumes_where_it_was(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A new connection asks for what follows the last stored event, by `cursor` and `Last-Event-ID`, restarts too."""
    upstream.on(PATH, stream(frame("e1"), frame("e2"), then=CUT), stream(frame("e3"), then=HANG), HANG)
    async with daemon(stream_source()) as running:
        await log.has("e1", "e2", "e3")
        running.kill()
        running.start()
        await upstream.asked(PATH, 3)
    assert [request.cursor for request in upstream.of(PATH)] == [(None, None), ("e2", "e2"), ("e3", "e3")]
    assert all(request.headers["authorization"] == f"Bearer {BCTRL_KEY}" for request in upstream.requests)
    assert all("text/event-stream" in request.headers["accept"] for request in upstream.requests)
    assert log.source()["cursor"] == "e3"


async def test_frame_id_is_the_cursor(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Where the frame's id and the record's differ, the frame's resumes; one of a frame without a record does too."""
    data = json.dumps({"id": "inner", "type": "navigation"})
    outer, later = f"id: outer\ndata: {data}\n\n".encode(), b"id: later\nevent: heartbeat\ndata: {}\n\n"
    upstream.on(PATH, stream(outer), stream(later), HANG)
    async with daemon(stream_source()):
        await log.has("inner")
        await upstream.asked(PATH, 3)
    assert [request.cursor[0] for request in upstream.of(PATH)] == [None, "outer", "later"]


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
    # one that comes compressed, although it was not asked for, is read as it comes, frame by frame
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in (frame("e3"), COMMENT, frame("e4"))]
    upstream.on(V2.format("gzip"), stream(*packed, then=HANG, headers={**SSE, "Content-Encoding": "gzip"}))
    async with daemon(stream_source(), stream_source("gzip", run="gzip")):
        await wait_until(lambda: sorted(log.ids()) == ["e1", "e2", "e3", "e4"], "all events")
    assert log.parked() == []
    assert len(upstream.requests) == 2


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
        await never(lambda: len(upstream.of(PATH)) > 1, "a request for a run that is over", 0.5)
    last = log.events()[-1]
    assert (last["type"], last["subject"], last["time"]) == ("ai.bctrl.run.ended", "r", "2026-06-25T12:01:00Z")
    assert last["data"]["status"] == "stopped"


async def test_late_events_are_kept(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """What a stream brings within a second after `run.ended` is stored, and the source ends however the stream does."""
    upstream.on(V2.format("open"), stream(frame("o1") + ended("open") + frame("o2"), 0.1, frame("o3"), then=HANG))
    upstream.on(V2.format("cut"), stream(frame("c1"), ended("cut"), 0.1, frame("c2"), then=CUT))
    async with daemon(stream_source("open", run="open"), stream_source("cut", run="cut")) as running:
        for run in ("open", "cut"):
            await log.state("ended", run)
        assert running.lines("source.interrupted") == []
    kept = {run: [id_ for id_ in log.ids() if id_.startswith(run[0])] for run in ("open", "cut")}
    assert kept == {"open": ["o1", "open:ended", "o2", "o3"], "cut": ["c1", "cut:ended", "c2"]}
    lasted = {request.path: (request.until or 0.0) - request.at for request in upstream.requests}
    assert lasted[V2.format("open")] >= LINGER
    assert len(upstream.requests) == 2


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
        await running.line("record.parked", source="s", count=5)
    (garbage, oversized, no_id, no_type, no_object) = log.parked()
    assert garbage == ("not UTF-8", b"{oops \xff")
    assert oversized[0].startswith(f"oversized: {len(large)} bytes")
    assert large.startswith(oversized[1])
    assert len(oversized[1]) >= 1 << 16
    assert no_id == ("no id", b'{"type":"navigation"}')
    assert no_type == ("no type", b'{"id":"b2"}')
    assert no_object == ("not a JSON object", b"[1]")


async def test_another_refusal_is_another_event(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Each change of the reason is an event, over a restart too; the same reason again is none."""
    refused = "{}: the key was refused; correct the account's api_key, or headers"
    upstream.on(PATH, answer(401), answer(403))
    async with daemon(stream_source(recheck="1s")) as running:
        await upstream.asked(PATH, 3)
        running.kill()
        running.start()
        await upstream.asked(PATH, 4)
        await running.line("source.failed", reason=refused.format(403), count=2)
    failed = [(data["status"], data["reason"]) for data in log.data("source.failed")]
    assert failed == [(401, refused.format(401)), (403, refused.format(403))]


async def test_any_id_resumes(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Whatever characters an id has, the stream goes on after it; where no header can carry it, the query does."""
    ids = ["é€😀", "a b%2F&c=d?#", "line\nfeed\r", "nul\x00", "\x7f\x01", '"\\', "x" * 4000]
    frames = [b"event: run.event\ndata: %s\n\n" % json.dumps({"id": id_, "type": "t"}).encode() for id_ in ids]
    upstream.on(PATH, *(stream(one) for one in frames), HANG)
    async with daemon(stream_source()) as running:
        await log.has(*ids)
        await upstream.asked(PATH, len(ids) + 1)
        assert running.lines("worker.restarted") == []
    assert [request.cursor[0] for request in upstream.of(PATH)] == [None, *ids]
    sent = [(request.headers.get("last-event-id") or "").encode("latin-1").decode() for request in upstream.of(PATH)]
    assert sent == ["", *(id_ if id_.isprintable() else "" for id_ in ids)]


async def test_what_came_before_a_cut_counts(
    tmp_path: Path, start_server: Callable[..., RedisServer], upstream: Upstream
) -> None:
    """While a slow log holds up the reading, what has been received is kept though the connection is cut meanwhile."""
    redis, frozen = start_server("valkey"), asyncio.Event()
    # one page on its way, one collected, one in hand: the last waits in the connection
    pages = [b"".join(frame(f"e{number}") for number in range(at, at + 600)) for at in range(0, 2400, 600)]
    upstream.on(PATH, stream(frozen, *(part for page in pages for part in (page, 0.2)), then=CUT), HANG)
    async with Daemon(tmp_path, configuration(redis.url, stream_source(), bctrl=upstream.url)) as running:
        await running.line("source.connected")
        redis.pause()
        frozen.set()
        await wait_until(lambda: upstream.of(PATH)[0].until, "the cut")
        await asyncio.sleep(0.3)  # until the bridge has seen it, which nobody can see
        redis.resume()
        await upstream.asked(PATH, 2)
        assert upstream.of(PATH)[1].cursor == ("e2399", "e2399")
        await Log(redis).longer(2399)
    assert Log(redis).ids() == [f"e{number}" for number in range(2400)]


def dripping(status: int, kind: str, *said: bytes) -> Script:
    """An answer whose body never ends: a few bytes, then a blank five times a second."""
    return stream(*said, *[part for _ in range(200) for part in (b" ", 0.2)], status=status,
                  headers={"Content-Type": kind})  # fmt: skip


async def test_an_errors_body_has_a_time_limit(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:  # fmt: skip
    """An error whose body drips is judged after five seconds by what has come (so it takes as long)."""
    dripped = {"key": dripping(401, "application/json", b'{"code":"no"}'), "broken": dripping(500, "text/plain", b"x"),
               "page": dripping(200, "text/html", b"<p>"), "look": answer(404, {"code": "run.not_found"})}  # fmt: skip
    for run, script in dripped.items():
        upstream.on(V2.format(run), script)
    upstream.on("/v1/runs/look", dripping(404, "application/json", b'{"code":"run.not_found"}'))
    async with daemon(*(stream_source(run, run=run) for run in dripped)) as running:
        await running.line("source.failed", source="key", timeout=ERROR_TIME + 3)
        await running.line("source.failed", source="look", timeout=3)
        for run, reason in (("broken", "500 x"), ("page", "200 an HTML page: an event stream was expected")):
            await running.line("source.interrupted", source=run, reason=reason, timeout=3)
    for path in (*map(V2.format, ("key", "broken", "page")), "/v1/runs/look"):
        request = upstream.of(path)[0]
        assert ERROR_TIME - 0.1 <= (request.until or 0.0) - request.at < ERROR_TIME + 2


async def test_a_run_that_is_gone_does_not_flap(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A stream that answers and brings nothing while its run is gone has failed once, until it brings something."""
    upstream.on(PATH, stream(), stream(), stream(b": alive\n\n"), stream(frame("e1"), then=HANG))
    upstream.on("/v1/runs/r", answer(404, {"code": "run.not_found", "error": "no such run"}))
    async with daemon(stream_source(recheck="1s")):
        await upstream.asked(PATH, 3)
        assert log.source()["state"] == "failed"
        await wait_until(lambda: log.ids()[-1] == "e1", "what the stream brings")
        await log.state("running")
    assert [data["status"] for data in log.data("source.failed")] == [404]


async def test_the_end_of_another_run_is_the_end(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A run's stream has one end: a marker that names another run ends it, too."""
    upstream.on(PATH, stream(frame("e1"), ended("other"), then=HANG))
    async with daemon(stream_source()) as running:
        await running.line("source.ended")
    assert log.ids() == ["e1", "r:ended"]
    assert log.events()[-1]["runid"] == "other"
