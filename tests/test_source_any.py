"""`sse`: any event stream, as the real daemon reads it from a scripted upstream into a real log."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon import Daemon, Log, never
from upstream import HANG, SECOND, Exchange, Script, Upstream, answer, gaps, stream
from waiting import wait_until

SECRET = "s3cret-5d1e9a"
GAP, FAILED = "dev.runbridge.source.gap", "dev.runbridge.source.failed"


def sse(url: str, id_: str = "s", **keys: Any) -> str:
    """A source of kind sse; `__` in a key's name is a dot, `_` after that a dash."""
    lines = [f"[sources.{id_}]", 'kind = "sse"', f"url = {json.dumps(url)}"]
    return "\n".join([*lines, *(f"{name.replace('__', '.')} = {json.dumps(value)}" for name, value in keys.items())])


def frame(id_: str, data: str = "{}", event: str = "") -> bytes:
    """A frame; without an id or a name where they are empty."""
    lines = [f"id: {id_}"] * bool(id_) + [f"event: {event}"] * bool(event) + [f"data: {data}", "", ""]
    return "\n".join(lines).encode()


def about(log: Log, path: str) -> list[dict[str, Any]]:
    """The events of the source that reads this path."""
    return [event for event in log.events() if event["source"].endswith(path)]


def ids(log: Log, path: str) -> list[str]:
    """The ids of its events, but for the bridge's own."""
    return [event["id"] for event in about(log, path) if not event["type"].startswith("dev.runbridge.")]


def said(log: Log, path: str, type_: str = GAP) -> list[dict[str, Any]]:
    """What the bridge's own events of this type say about it."""
    return [event["data"] for event in about(log, path) if event["type"] == type_]


def resumed(upstream: Upstream, path: str) -> list[str | None]:
    """What each request for the path sent as `Last-Event-ID`."""
    return [request.headers.get("last-event-id") for request in upstream.of(path)]


async def test_resumes_by_header_and_by_query(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Each connection, a restart's too, sends the last id as a header, and as a parameter behind a query left as is."""
    for path in ("/plain", "/query"):
        upstream.on(path, stream(frame("1"), frame("a/ü&=")), stream(frame("3"), then=HANG), HANG)
    query = "?token=%2F+%7e&&empty=&x"
    async with daemon(sse(f"{upstream.url}/plain"),
                      sse(f"{upstream.url}/query{query}", "q", cursor_query="after")) as running:  # fmt: skip
        for path in ("/plain", "/query"):
            await upstream.asked(path, 2)
            await log.count("message", 6)
        running.kill()
        running.start()
        for path in ("/plain", "/query"):
            await upstream.asked(path, 3)
    for path in ("/plain", "/query"):
        assert ids(log, path) == ["1", "a/ü&=", "3"]
        sent = resumed(upstream, path)
        assert [each and each.encode("latin-1").decode() for each in sent] == [None, "a/ü&=", "3"]
    assert [request.target for request in upstream.of("/query")] == [
        f"/query{query}", f"/query{query}&after=a/%C3%BC%26%3D", f"/query{query}&after=3"
    ]  # fmt: skip
    assert [request.target for request in upstream.of("/plain")] == ["/plain"] * 3
    assert (log.source()["cursor"], log.source("q")["cursor"]) == ("3", "3")
    assert log.length() == 6, "and no gap is said"


async def test_headers_are_sent_and_never_shown(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, tmp_path: Path
) -> None:
    """Headers go out from the configuration and from files; what repeats them, or the query, is not shown."""

    async def tells(exchange: Exchange) -> None:
        request = exchange.request
        words = f"no {request.headers['authorization']}, {request.headers['x-key']} may GET {request.target}"
        await answer(401, {"code": "no", "error": words})(exchange)

    (tmp_path / "key").write_text(f"file-{SECRET}\n")
    upstream.on("/s", tells, stream(frame("1"), then=HANG))
    source = sse(f"{upstream.url}/s?token=query-{SECRET}&v=1", headers__Authorization=f"Basic {SECRET}",
                 header_files__X_Key="key", recheck="1s").replace("X_Key", "X-Key")  # fmt: skip
    async with daemon(source) as running:
        await wait_until(lambda: ids(log, "/s") == ["1"], "the event")
    for request in upstream.requests:
        assert request.headers["authorization"] == f"Basic {SECRET}"
        assert request.headers["x-key"] == f"file-{SECRET}"
        assert (request.headers["accept"], request.headers["cache-control"]) == ("text/event-stream", "no-store")
    (failed,) = said(log, "/s", FAILED)
    assert failed["reason"].startswith("401 no: no ***, *** may GET /s?***")
    assert failed["status"] == 401
    for shown in (running.text, str(log.events()), str(log.source())):
        assert SECRET not in shown


async def test_another_origin_gets_nothing(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A redirect within the origin is followed with all headers; one to another is a refusal, and nobody asks there."""
    async with Upstream() as other:
        upstream.on("/near", answer(307, b"", {"Location": "/moved"}))
        upstream.on("/moved", stream(frame("1"), then=HANG))
        upstream.on("/far", answer(301, b"", {"Location": f"{other.url}/s?k={SECRET}"}))
        async with daemon(sse(f"{upstream.url}/near", headers__Authorization=SECRET),
                          sse(f"{upstream.url}/far", "far", headers__Authorization=SECRET)) as running:  # fmt: skip
            await wait_until(lambda: ids(log, "/near") == ["1"], "the event by way of the redirect")
            await log.state("failed", "far")
        assert [request.headers["authorization"] for request in upstream.of("/moved")] == [SECRET]
        assert other.requests == []
    (failed,) = said(log, "/far", FAILED)
    assert failed["status"] == 301
    assert "a redirect to another origin is not followed" in failed["reason"]
    assert SECRET not in running.text


async def test_every_line_ending_and_bound(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A BOM, CR, LF and CRLF in any chunks, comments, unknown fields and endless lines: each event comes, once."""
    whole = (
        b"\xef\xbb\xbfid: 1\rdata: cr\r\rid: 2\ndata: lf\n\nid: 3\r\ndata: crlf\r\n\r\n: comment\r\n"
        b"id: 4\revent: x\r\ndata: mixed\ndata:  two lines\r\r\nid: 5\nunknown: field\nretry: soon\ndata\n\n"
    )
    long = b"x" * (1 << 20)
    parts = [whole[at : at + 1] for at in range(len(whole))]
    endless = b": ", *[long] * 12, b"\nevent: ", long, b"\nid: ", long, b"\nid: 6\ndata: [6]\n\n", b"id: 7\ndata: half"
    upstream.on("/s", stream(*parts, *endless), HANG)
    async with daemon(sse(f"{upstream.url}/s")):
        await upstream.asked("/s", 2)
        await wait_until(lambda: ids(log, "/s")[5:], "the last event")
    told = [(event["id"], event["type"], event["data"]) for event in about(log, "/s")]
    assert told == [
        ("1", "message", "cr"), ("2", "message", "lf"), ("3", "message", "crlf"), ("4", "x", "mixed\n two lines"),
        ("5", "message", ""), ("6", "message", [6]),
    ]  # fmt: skip
    assert resumed(upstream, "/s") == [None, "6"]


async def test_pointers_prefix_and_any_data(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Text and JSON of any type come as they are; pointers say id, type, subject and time where they find them."""
    full = '{"a":{"id":41.50,"~/":"made"},"of":["x","order-1"],"at":"2026-01-02T03:04:05+01:00"}'
    datas = [full, "null", "-1.5e3", '"text"', "[1, 2]", "just words", "{broken", '{"of":{}}']
    upstream.on("/s", stream(*(frame(f"f{at}", data, "put") for at, data in enumerate(datas)), then=HANG))
    pointers = {
        "id_pointer": "/a/id", "type_pointer": "/a/~0~1", "subject_pointer": "/of/1", "time_pointer": "/at",
        "type_prefix": "com.example.",
    }  # fmt: skip
    async with daemon(sse(f"{upstream.url}/s", **pointers)):
        await wait_until(lambda: len(ids(log, "/s")) == len(datas), "all events")
    first, *others = about(log, "/s")
    assert (first["id"], first["type"], first["subject"]) == ("41.50", "com.example.made", "order-1")
    assert (first["time"], first["partitionkey"]) == ("2026-01-02T02:04:05Z", "order-1")
    assert [event["id"] for event in others] == [f"f{at}" for at in range(1, len(datas))]
    assert {(event["type"], event["subject"]) for event in others} == {("com.example.put", "s")}
    texts = {"just words", "{broken"}
    assert [event["data"] for event in others] == [data if data in texts else json.loads(data) for data in datas[1:]]
    assert {event["data"] for event in others if event["datacontenttype"] == "text/plain"} == texts


async def test_unreadable_frames_are_parked(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """What is too large or not UTF-8 is parked with its bytes, once, and the cursor passes it."""
    limit = 1 << 20
    large = b"y" * (limit + 10)
    frames = (frame("1"), b"id: 2\ndata: \xff\xfe\n\n", b"id: 3\ndata: %s\n\n" % large, b"data: \xc3\n\n")
    upstream.on("/s", stream(*frames), stream(*frames[1:], frame("4"), then=HANG))
    async with daemon(sse(f"{upstream.url}/s", max_event_bytes=limit)) as running:
        await wait_until(lambda: ids(log, "/s") == ["1", "4"], "both events")
        await running.line("record.parked", count=3)
    utf8, oversized, unnamed = log.parked()
    assert (utf8, unnamed) == (("not UTF-8", b"\xff\xfe"), ("not UTF-8", b"\xc3"))
    assert oversized == (f"oversized: {limit + 10} bytes, of which the first {limit} are kept", large[:limit])
    assert resumed(upstream, "/s") == [None, "3"]


async def test_terminal_event_is_the_end(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """An event of that name, be it empty, ends the source for good, in the next life too; nothing behind it is read."""
    for path, last in (("/full", frame("2", "bye", "done")), ("/empty", frame("2", "", "done"))):
        behind = frame("3"), frame("4"), 0.3, frame("5")
        upstream.on(path, stream(frame("1", event="don"), last + behind[0], *behind[1:], then=HANG))
    sources = [sse(f"{upstream.url}/{name}", name, terminal_event="done") for name in ("full", "empty")]
    async with daemon(*sources) as running:
        await running.line("source.ended", count=2)
        running.kill()
        running.start()
        await running.line("source.ended", count=4)
        await never(lambda: len(upstream.requests) > 2, "a request for a stream that is over", 0.5)
    for name in ("full", "empty"):
        assert ids(log, f"/{name}") == ["1", "2"]
        assert log.source(name)["state"] == "ended"


async def test_a_stream_without_ids_says_its_gaps(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Behind events, a later connection says that something may be missing, a restart's too; none is progress."""
    upstream.on("/s", answer(503), stream(frame("", "1"), frame("", "2")), stream(),
                stream(frame("", "3"), then=HANG), stream(frame("", "4"), then=HANG))  # fmt: skip
    # refused first, and without an event at first: neither is a reconnection, the second connection is
    upstream.on("/late", answer(401), stream(), stream(frame("", "5"), then=HANG), stream(then=HANG))
    async with daemon(sse(f"{upstream.url}/s"), sse(f"{upstream.url}/late", "late", recheck="1s")) as running:
        await wait_until(lambda: len(ids(log, "/s")) == 3, "the third connection", 15.0)
        await wait_until(lambda: len(ids(log, "/late")) == 1, "the late stream", 15.0)
        running.kill()
        running.start()
        await wait_until(lambda: len(ids(log, "/s")) == 4, "the fourth connection")
        await upstream.asked("/late", 4)
        await wait_until(lambda: len(said(log, "/late")) == 2, "the gaps of the late stream")
        await running.line("loss.possible", source="s", count=2)
    told_so_far = [event["data"] if event["type"] == "message" else event["type"] for event in about(log, "/s")]
    assert told_so_far == [1, 2, GAP, 3, GAP, 4], "one gap, however often nothing came"
    told = said(log, "/s")[0]
    assert told.pop("reason").startswith("no event with an id has come")
    assert told == {"source": "s", "certain": False}
    assert [event["type"] for event in about(log, "/late")] == [FAILED, GAP, "message", GAP]
    assert set(resumed(upstream, "/s")) == {None}
    assert min(gaps(upstream.of("/s"))[1:3]) >= SECOND, "neither made ids nor a gap are progress"


async def test_one_id_for_all(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Frames that share an id come all, each once: cut, replayed in part or whole, and behind a kill -9."""
    parts = [frame("0", str(number)) for number in range(4)]
    upstream.on("/s", stream(*parts[:3]), stream(*parts[1:3]), stream(*parts, then=HANG), stream(*parts, then=HANG))
    async with daemon(sse(f"{upstream.url}/s")) as running:
        await wait_until(lambda: len(ids(log, "/s")) == 4, "the last one")
        running.kill()
        running.start()
        await upstream.asked("/s", 4)
        await log.state("running")
        await never(lambda: log.length() > 4, "an event that was told before", 0.3)
    assert [event["data"] for event in about(log, "/s")] == [0, 1, 2, 3]
    assert log.source()["cursor"] == "0"


async def test_what_has_no_id_comes_once(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Frames without an id behind one that has it, told again after a cut and a kill -9, are in the log once."""
    unnamed = [frame("", "tick"), frame("", "tick"), frame("", "tock"), frame("", "tick", "other")]
    upstream.on("/s", stream(frame("1"), *unnamed), stream(*unnamed, frame("", "new"), then=HANG),
                stream(frame("1"), *unnamed, frame("", "new"), frame("2"), *unnamed[:1], then=HANG))  # fmt: skip
    async with daemon(sse(f"{upstream.url}/s")) as running:
        await wait_until(lambda: len(ids(log, "/s")) == 6, "all events, each once")
        running.kill()
        running.start()
        await wait_until(lambda: len(ids(log, "/s")) == 8, "what is new")
    assert [event["data"] for event in about(log, "/s")] == [{}, "tick", "tick", "tock", "tick", "new", {}, "tick"]
    assert [event["type"] for event in about(log, "/s")] == [*["message"] * 4, "other", *["message"] * 3]
    assert resumed(upstream, "/s") == [None, "1", "1"]


async def test_retry_is_the_least_wait(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A stream's `retry` is waited for, after a connection that brought events too; here twice, so it takes 3 s."""
    upstream.on("/s", stream(b"retry: 1500\n\n", frame("1")), stream(frame("2")), HANG)
    async with daemon(sse(f"{upstream.url}/s")):
        await upstream.asked("/s", 3)
    assert ids(log, "/s") == ["1", "2"]
    assert min(gaps(upstream.of("/s"))) >= 1.45


GONE: dict[str, Script] = {
    "410": answer(410),
    "400": answer(400, {"error": {"code": "bad", "message": "unknown Last-Event-ID"}}),
    "404": answer(404, {"code": "x", "error": "no such cursor"}),
}
"""Answers that mean: this cursor is not known any more."""


async def test_a_lost_cursor_is_a_gap(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """`earliest` asks without a cursor and takes all that is unknown; `now` leaves out what is older; each says so."""
    old, new = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"

    def at(id_: str, time: str) -> bytes:
        return frame(id_, json.dumps({"at": time, "createdAt": old}))

    again = [at("1", old), at("2", old), at("3", new), at("4", old)]
    played = {f"{action}-{status}": (action, status) for action in ("earliest", "now") for status in GONE}
    for name, (_, status) in played.items():
        upstream.on(f"/{name}", stream(at("1", old)), GONE[status], stream(*again, then=HANG))
    sources = [sse(f"{upstream.url}/{name}", name, on_gap=action, time_pointer="/at")
               for name, (action, _) in played.items()]  # fmt: skip
    async with daemon(*sources) as running:
        for name in played:
            await wait_until(lambda: ids(log, f"/{name}")[-1:] == ["4"], "what comes after the gap")  # noqa: B023  # at once
        for name, (action, _) in played.items():
            await running.line("source.gap", source=name, action=action, cursor="1")
    for name, (action, status) in played.items():
        assert ids(log, f"/{name}") == (["1", "2", "3", "4"] if action == "earliest" else ["1", "3", "4"])
        (gap,) = said(log, f"/{name}")
        assert gap.pop("reason").startswith(status)
        assert gap == {"source": name, "cursor": "1", "action": action, "certain": True}
        assert resumed(upstream, f"/{name}") == [None, "1", None]
        assert (log.source(name)["state"], log.source(name)["cursor"]) == ("running", "4")


async def test_stop_waits_for_a_person(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """`stop` keeps the cursor and says so once, over a restart too, until it is changed or the cursor taken again."""

    async def forgets(exchange: Exchange) -> None:
        await (answer(410) if exchange.request.headers.get("last-event-id") else stream(frame("2"), then=HANG))(
            exchange
        )

    upstream.on("/s", stream(frame("1")), forgets)
    source = sse(f"{upstream.url}/s", on_gap="stop", recheck="1s")
    async with daemon(source) as running:
        await log.state("failed")
        running.kill()
        running.start()
        await upstream.asked("/s", 3)
        assert log.source()["state"] == "failed"
        running.kill()
        running.config.write_text(running.config.read_text().replace('"stop"', '"earliest"'))
        running.start()
        await wait_until(lambda: ids(log, "/s") == ["1", "2"], "going on")
    assert [gap["action"] for gap in said(log, "/s")] == ["stop", "earliest"]
    first, *others, last = resumed(upstream, "/s")
    assert (first, set(others), last) == (None, {"1"}, None)


async def test_204_is_a_refusal(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """By the standard 204 says: don't reconnect. The source has failed, once, and is looked at again slowly."""
    upstream.on("/s", answer(204), stream(frame("1"), then=HANG))
    async with daemon(sse(f"{upstream.url}/s", recheck="1s")):
        await wait_until(lambda: ids(log, "/s") == ["1"], "the stream that is back")
    (failed,) = said(log, "/s", FAILED)
    assert (failed["status"], failed["source"]) == (204, "s")
    assert min(gaps(upstream.of("/s"))) >= SECOND
    assert log.source()["state"] == "running"


async def test_another_url_is_another_stream(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A cursor belongs to its URL: with another path it is dropped, with another query that is also a gap."""
    upstream.on("/a", stream(frame("a1"), then=HANG), stream(frame("a1"), frame("a2"), then=HANG))
    upstream.on("/b", stream(frame("", "b1"), then=HANG))
    async with daemon(sse(f"{upstream.url}/a?k=1")) as running:
        text = running.config.read_text()
        await wait_until(lambda: ids(log, "/a") == ["a1"], "the first stream")
        running.kill()
        running.config.write_text(text.replace("?k=1", "?k=2"))
        running.start()
        await wait_until(lambda: ids(log, "/a") == ["a1", "a2"], "the same with another query")
        running.kill()
        running.config.write_text(text.replace("/a?k=1", "/b"))
        running.start()
        await wait_until(lambda: len(ids(log, "/b")) == 1, "another path")
    assert resumed(upstream, "/a") == [None, None]
    assert resumed(upstream, "/b") == [None]
    (gap,) = said(log, "/a")
    assert (gap["cursor"], gap["action"], gap["certain"]) == ("a1", "earliest", True)
    assert said(log, "/b") == [], "it is the first connection there"


async def test_ids_that_cannot_resume(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """An empty `id:` drops the cursor, as the standard has it; an id that no header can carry does too: both say so."""
    upstream.on("/back", stream(frame("1")), stream(b"id:\ndata: 2\n\n"), stream(frame("3"), then=HANG))
    upstream.on("/odd", stream(frame("a\x01b")), stream(frame("c\u00a0\u200bd\te")), HANG)
    upstream.on("/query", stream(frame("a\x01b")), HANG)
    async with daemon(sse(f"{upstream.url}/back", "back"), sse(f"{upstream.url}/odd", "odd"),
                      sse(f"{upstream.url}/query", "query", cursor_query="cursor")) as running:  # fmt: skip
        await upstream.asked("/odd", 3)
        await upstream.asked("/query", 2)
        await wait_until(lambda: len(ids(log, "/back")) == 3, "what comes after the cut")
        assert running.lines("worker.restarted") == []
    assert resumed(upstream, "/back") == [None, "1", None]
    assert [gap["certain"] for gap in said(log, "/back")] == [False]
    last = resumed(upstream, "/odd")[-1]
    assert last is not None
    assert (resumed(upstream, "/odd")[:2], last.encode("latin-1").decode()) == ([None, None], "c\u00a0\u200bd\te")
    (gap,) = said(log, "/odd")
    assert (gap["cursor"], gap["certain"]) == ("a\x01b", True)
    assert "set cursor_query" in gap["reason"]
    assert [request.cursor for request in upstream.of("/query")] == [(None, None), ("a\x01b", None)]
    assert said(log, "/query") == []


async def test_ids_of_the_data_resume(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """With `cursor_query` and `id_pointer`, a stream without frame ids goes on after the data's; others don't."""
    parts = [frame("", '{"n":1}'), frame("", '{"n":2}'), frame("", "{}")]
    upstream.on("/data", stream(*parts), stream(frame("", '{"n":3}'), then=HANG), HANG)
    upstream.on("/frame", stream(*(frame("f", '{"n":7}'), frame("", '{"n":8}'))), HANG)
    keys = {"id_pointer": "/n", "cursor_query": "cursor"}
    async with daemon(sse(f"{upstream.url}/data", "data", **keys), sse(f"{upstream.url}/frame", "frame", **keys)
                      ) as running:  # fmt: skip
        await wait_until(lambda: len(ids(log, "/data")) == 4, "what comes after the cut")
        await upstream.asked("/frame", 2)
        running.kill()
        running.start()
        await upstream.asked("/data", 3)
    assert [request.cursor[0] for request in upstream.of("/data")] == [None, "2", "3"]
    assert [request.cursor[0] for request in upstream.of("/frame")][:2] == [None, "f"]
    assert said(log, "/data") == []
