"""Everything that can go wrong upstream, at the same time, in one real daemon: what each source makes of it.

One play serves all tests of this module: some forty sources, each with its own mishap on a scripted upstream, beside
two healthy ones. A test looks at what was asked, logged and said about its sources.
"""

import asyncio
import gzip
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from daemon import ANCHOR_KEY, BCTRL_KEY, Daemon, Log, configuration, stream_source, wait_source
from servers import RedisServer
from upstream import (
    CLOSE,
    COMMENT,
    CUT,
    HANG,
    JSON,
    SECOND,
    SSE,
    Exchange,
    Request,
    Script,
    Upstream,
    after,
    answer,
    at_once,
    frame,
    gaps,
    stream,
)
from waiting import wait_until

from bridge.sources.event_wait import MAX_BODY

STREAM, WAIT = "/v2/runs/{}/events/stream", "/v1/events/{}/wait"


def tells(status: int, body: str) -> Script:
    """An error that repeats the key it was given, in the place of KEY."""

    async def script(exchange: Exchange) -> None:
        headers = exchange.request.headers
        key = headers.get("authorization", "").removeprefix("Bearer ") or headers["anchor-api-key"]
        await answer(status, body.replace("KEY", key).encode(), SSE if status == 200 else {})(exchange)

    return script


async def _no_http(exchange: Exchange) -> None:
    await exchange.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def _bad_chunk(exchange: Exchange) -> None:
    await exchange.head(200, SSE)
    await exchange.raw(b"not a chunk\r\n")


PASSING: dict[str, Script] = {
    "500": tells(500, "bad key KEY"),
    "408": answer(408, b""),
    "deep": answer(500, b"[" * 4096),
    "html": answer(200, b"<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"}),
    "json": answer(200, {"data": []}),
    "json-stream": stream(b'{"error":"x"}', headers=JSON),
    "no-event": stream(),
    "cut": CUT,
    "cut-body": stream(b"event: run.ev", then=CUT),
    "error-frame": tells(200, "event: error\ndata: bad key KEY\n\n"),
    "no-http": _no_http,
    "bad-chunk": _bad_chunk,
    "bad-gzip": stream(b"not gzip", headers={**SSE, "Content-Encoding": "gzip"}),
    "half-gzip": stream(gzip.compress(frame("e"))[:20], headers={**SSE, "Content-Encoding": "gzip"}),
    "no-brotli": stream(b"?", headers={**SSE, "Content-Encoding": "br"}),
    "huge-header": answer(200, b"", {"X-Long": "x" * 100_000}),
    "loop": answer(307, b"", {"Location": STREAM.format("loop")}),
    "early-end": stream(frame("replayed"), then=CUT),
}
"""Streams that fail without progress, again and again. The last one replays an event that is known."""
REASONS = {
    "500": "500 bad key ***",
    "408": "408",
    "html": "200 with text/html where an event stream was expected",
    "json": "200 with application/json where an event stream was expected",
    "json-stream": "200 with application/json where an event stream was expected",
    "no-event": "the upstream closed the connection",
    "cut-body": "the connection broke before the end of the body",
    "error-frame": "the stream reported an error: bad key ***",
    "no-http": "the answer is no valid HTTP: Bad status line",
    "bad-gzip": "the answer is no valid HTTP: Can not decode content-encoding: gzip",
    "loop": "more than 3 redirects",
}
"""What the log says of some of them."""

REFUSALS: dict[int, tuple[Script, str]] = {
    401: (tells(401, '{"code":"auth.required","error":"bad key KEY"}'), "401 auth.required: bad key ***"),
    403: (answer(403, {"error": {"code": "auth.forbidden", "message": "no"}}), "403 auth.forbidden: no"),
    404: (answer(404, b"<html>gone</html>"), "404 an HTML page"),
    400: (answer(400, b"bad\nrequest"), "400 bad request"),
    422: (answer(422, {}), "422"),
    204: (answer(204), "204: the upstream asks not to reconnect"),
}
AMBIGUOUS: dict[str, tuple[Script, str]] = {
    "504": (answer(504, b"<html>"), "504 an HTML page"),
    "502": (answer(502, b"bad gateway"), "502 bad gateway"),
    "cut": (after(0.2, CUT), "the connection broke"),
    "cut-head": (stream(then=CUT, headers={}), "the connection broke"),
    "cut-body": (stream(b'{"data":{"code', then=CUT, headers={}), "the connection broke"),
}
"""Waits that end without an answer, or with a proxy's."""
CERTAIN: dict[str, tuple[Script, str]] = {
    "500": (tells(500, '{"error":{"code":500,"message":"bad key KEY"}}'), "500 500: bad key ***"),
    "503": (answer(503), "503"),
    "early": (answer(408), "408 after 0."),
}
"""Waits that certainly brought nothing."""
UNREADABLE: dict[str, bytes] = {
    "html": b"<html>log in</html>",
    "half": b'{"data":',
    "no-data": b'{"status":"ok"}',
    "empty": b"",
    "bytes": b'{"data":"\xff"}',
    "list": b"[1]",
    "large": b'{"data":"%s"}' % (b"x" * MAX_BODY),
}
"""Answers 200 to a wait that are no signal."""
BUDGET = [
    stream(*(frame(f"b{number}") for number in range(10 * turn, 10 * turn + 10)), then=CUT if turn % 2 else CLOSE)
    for turn in range(34)
]
"""A server that ends each connection after ten new events."""
RETRY = {"seconds": (429, "3"), "hours": (429, "86400"), "zero": (503, "0"), "nonsense": (503, "soon")}
"""Status and Retry-After, for a stream and for a wait."""


@dataclass(frozen=True)
class Play:
    """What was to be seen of it."""

    requests: Mapping[str, list[Request]]
    events: list[dict[str, Any]]
    parked: list[tuple[str, bytes]]
    states: Mapping[str, dict[str, str]]
    daemon: Daemon
    date: float
    """The moment until which "date" was asked to stay away."""

    def of(self, type_: str) -> dict[str, list[dict[str, Any]]]:
        """Source id -> data of the bridge's own events of this type."""
        found: dict[str, list[dict[str, Any]]] = {}
        for event in self.events:
            if event["type"] == f"dev.runbridge.source.{type_}":
                found.setdefault(event["data"]["source"], []).append(event["data"])
        return found

    def about(self, kind: str, name: str) -> list[dict[str, Any]]:
        """The events about a resource: kind is "runs" or "events"."""
        return [event for event in self.events if event["source"].endswith(f"/{kind}/{name}")]

    def stream(self, run: str) -> list[Request]:
        """The requests for a run."""
        return self.requests[STREAM.format(run)]

    def wait(self, name: str) -> list[Request]:
        """The waits for a named event."""
        return self.requests[WAIT.format(name)]


def _scripts(date: str) -> dict[str, tuple[list[Script], int]]:
    """Path -> its scripts, and the requests after which the play may end."""
    signal = answer(200, {"data": {"n": 1}})
    slow = {name: answer(status, b"", {"Retry-After": value}) for name, (status, value) in RETRY.items()}
    slow["date"] = answer(503, b"", {"Retry-After": date})
    alive = (0.5, COMMENT) * 4
    runs: dict[str, tuple[list[Script], int]] = {
        **{name: ([script], 2) for name, script in PASSING.items()},
        **{name: ([script], 1 if name == "hours" else 2) for name, script in slow.items()},
        **{str(status): ([script] * 3 + [stream(frame(f"e{status}"), then=HANG)], 4)
           for status, (script, _) in REFUSALS.items()},
        "silent": ([stream(frame("s1"), *alive, then=HANG), HANG, stream(frame("s2"), then=HANG)], 3),
        "budget": ([*BUDGET, HANG], 35),
        "healthy": ([stream(frame("h1"), 5.0, frame("h2"), then=HANG)], 1),
    }  # fmt: skip
    waits: dict[str, tuple[list[Script], int]] = {
        **{name: ([script, HANG], 2) for name, (script, _) in (AMBIGUOUS | CERTAIN).items()},
        **{name: ([answer(200, body), signal, HANG], 3) for name, body in UNREADABLE.items()},
        **{f"slow-{name}": ([slow[name], HANG], 1 if name == "hours" else 2) for name in RETRY},
        **{f"refused-{status}": ([script] * 2 + [signal, HANG], 4)
           for status, (script, _) in REFUSALS.items() if status != 204},
        "healthy": ([after(1.0, answer(408))] * 4 + [signal, HANG], 6),
    }  # fmt: skip
    return {
        **{STREAM.format(name): found for name, found in runs.items()},
        **{WAIT.format(name): found for name, found in waits.items()},
    }


async def _play(directory: Path, server: RedisServer) -> Play:
    date = datetime.now(UTC) + timedelta(seconds=6)
    until = time.monotonic() + 5  # an HTTP date has no parts of a second
    scripts = _scripts(format_datetime(date, usegmt=True))
    sources = []
    for path in scripts:
        name = path.split("/")[3]
        if path.startswith("/v2"):
            sources.append(stream_source(f"stream-{name}", run=name, recheck="1s", idle_timeout="1s" if name == "silent"
                                         else "60s"))  # fmt: skip
        else:
            sources.append(wait_source(f"wait-{name}", event=name, recheck="1s"))
    async with Upstream() as upstream, Upstream() as closed:
        await closed.stop()
        refused = f'[accounts.closed]\nprovider = "anchor"\nbase_url = "{closed.url}"\napi_key = "k"\n'
        sources.append(refused + wait_source("wait-unreachable", account="closed"))
        for path, (turns, _) in scripts.items():
            upstream.on(path, *turns)
        text = configuration(server.url, "\n".join(sources), prefix="play", bctrl=upstream.url, anchor=upstream.url)
        log = Log(server, "play")
        async with Daemon(directory, text) as daemon:
            for path, (_, count) in scripts.items():
                await upstream.asked(path, count, 30.0)
            await wait_until(lambda: {"h2", "s2"} <= set(log.ids()), "the healthy stream goes on")
            states = {path: log.source(f"{'stream' if 'runs' in path else 'wait'}-{path.split('/')[3]}")
                      for path in scripts}  # fmt: skip
            daemon.kill()
        requests = {path: upstream.of(path) for path in scripts}
        return Play(requests, log.events(), log.parked(), states, daemon, until)


@pytest.fixture(scope="module")
def play(shared_servers: dict[str, RedisServer], tmp_path_factory: pytest.TempPathFactory) -> Play:
    """The play, once."""
    server = shared_servers["valkey"]
    if not server.running:
        server.start()
    return asyncio.run(_play(tmp_path_factory.mktemp("play"), server))


@pytest.mark.parametrize("name", PASSING)
def test_failure_without_progress_backs_off(play: Play, name: str) -> None:
    """Whatever goes wrong in passing is tried again after one to two seconds at first, and is no event."""
    first = play.daemon.lines("source.interrupted", source=f"stream-{name}", progress=False)[0]
    assert 1.0 <= first["delay"] <= 2.0
    assert first["reason"].startswith(REASONS.get(name, ""))
    requests = play.stream(name)
    # a GET that got no byte of an answer is sent once more by the HTTP client itself (RFC 9110, 9.2.2), and a
    # redirect is followed three times
    later = {"cut": 2, "loop": 4}.get(name, 1)
    pauses = gaps(requests)[1 if name == "early-end" else later - 1 :: later]
    assert min(pauses, default=1.0) >= SECOND
    assert play.states[STREAM.format(name)]["state"] == "running"
    assert [event["id"] for event in play.about("runs", name)] == ["replayed"] * (name == "early-end")


def test_replayed_events_are_no_progress(play: Play) -> None:
    """The first connection brought something new and is replaced at once; one that only repeats it is not."""
    first, *others = gaps(play.stream("early-end"))
    assert first < SECOND
    assert min(others, default=1.0) >= SECOND


def test_progress_is_replaced_at_once_within_the_budget(play: Play) -> None:
    """A server that ends each connection after ten new events costs no time thirty times, then a second each."""
    assert [event["id"] for event in play.about("runs", "budget")] == [f"b{n}" for n in range(340)]
    pauses = gaps(play.stream("budget"))
    assert at_once(pauses[:30]), pauses
    assert all(SECOND < pause < 1.6 for pause in pauses[30:]), pauses


def test_silent_connection_is_replaced(play: Play) -> None:
    """A connection without a byte for `idle_timeout` is dead, before its head too; a comment is a byte."""
    first, second, _ = ((request.until or 0.0) - request.at for request in play.stream("silent"))
    assert 2.9 <= first < 4.5, "four comments, half a second apart, then a second of silence"
    assert 0.9 <= second < 2.5
    assert play.daemon.lines("source.interrupted", source="stream-silent", reason="no byte within the time allowed")


@pytest.mark.parametrize("kind", ["stream-", "wait-slow-"])
def test_retry_after_is_honoured_and_capped(play: Play, kind: str) -> None:
    """429 and 503 are left alone for as long as they ask, but never for hours; nonsense and zero change nothing."""
    delays = {name: play.daemon.lines("source.interrupted", source=f"{kind}{name}")[0]["delay"] for name in RETRY}
    assert 3.0 <= delays["seconds"] <= 3.3
    assert 300.0 <= delays["hours"] <= 301.0
    assert 1.0 <= delays["zero"] <= 2.0
    assert 1.0 <= delays["nonsense"] <= 2.0
    asked = play.stream if kind == "stream-" else lambda name: play.wait(f"slow-{name}")
    for name in RETRY.keys() - {"hours"}:
        assert delays[name] - 0.05 <= gaps(asked(name))[0] < delays[name] + 1.0
    assert play.stream("date")[1].at >= play.date


@pytest.mark.parametrize("status", REFUSALS)
def test_refused_stream_is_failed_and_comes_back(play: Play, status: int) -> None:
    """A refusal is a state with its reason, one event and one line however often it is repeated; then it runs again."""
    source, reason = f"stream-{status}", REFUSALS[status][1]
    (event,) = play.of("failed")[source]
    assert event["status"] == status
    assert event["reason"].startswith(reason)
    assert len(play.daemon.lines("source.failed", source=source)) == 1
    assert play.daemon.lines("source.interrupted", source=source) == []
    assert min(gaps(play.stream(str(status)))) >= SECOND
    assert [event["id"] for event in play.about("runs", str(status))][1:] == [f"e{status}"]
    assert play.states[STREAM.format(status)]["state"] == "running"


@pytest.mark.parametrize("status", [status for status in REFUSALS if status != 204])
def test_refused_wait_is_failed_and_comes_back(play: Play, status: int) -> None:
    """A refused wait is no possible loss; it is asked again slowly, and what it brings then is stored."""
    name = f"refused-{status}"
    (event,) = play.of("failed")[f"wait-{name}"]
    assert (event["status"], event["reason"][:3]) == (status, str(status))
    assert len(play.daemon.lines("source.failed", source=f"wait-{name}")) == 1
    assert min(gaps(play.wait(name))[:2]) >= SECOND
    assert [event["type"].rpartition(".")[2] for event in play.about("events", name)] == ["failed", "signaled"]
    assert play.states[WAIT.format(name)]["state"] == "running"


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_end_is_a_possible_loss(play: Play, name: str) -> None:
    """A wait that ends without an answer is a gap event and a line, and is armed again with a delay."""
    source, reason = f"wait-{name}", AMBIGUOUS[name][1]
    (gap,) = play.of("gap")[source]
    assert gap["certain"] is False
    assert gap["reason"].startswith(reason)
    assert play.daemon.lines("loss.possible", source=source, reason=gap["reason"])
    assert gaps(play.wait(name))[0] >= SECOND


def test_answers_and_refused_connections_are_no_loss(play: Play) -> None:
    """Only ambiguous ends are possible losses: neither an error of the server's own nor a connection never made."""
    assert set(play.of("gap")) == {f"wait-{name}" for name in AMBIGUOUS}
    assert {line["source"] for line in play.daemon.lines("loss.possible")} == set(play.of("gap"))
    for name, (_, reason) in CERTAIN.items():
        assert play.daemon.lines("source.interrupted", source=f"wait-{name}")[0]["reason"].startswith(reason)
        assert gaps(play.wait(name))[0] >= SECOND
    unreachable = play.daemon.lines("source.interrupted", source="wait-unreachable")
    assert unreachable[0]["reason"].startswith("can't connect")


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_answer_is_parked(play: Play, name: str) -> None:
    """A 200 that is no signal is parked with its bytes, and is no reason to ask again at once."""
    parked = {raw: reason for reason, raw in play.parked}
    body = UNREADABLE[name][:MAX_BODY]
    assert parked[body].startswith("oversized" if name == "large" else "no signal in the answer")
    assert gaps(play.wait(name))[0] >= SECOND
    assert [event["data"] for event in play.about("events", name)] == [{"n": 1}]


def test_everything_else_goes_on(play: Play) -> None:
    """Forty sources in trouble disturb neither a healthy stream nor a healthy wait, which is re-armed at once."""
    assert [event["id"] for event in play.about("runs", "healthy")] == ["h1", "h2"]
    assert [event["data"] for event in play.about("events", "healthy")] == [{"n": 1}]
    assert len(play.stream("healthy")) == 1
    assert at_once(gaps(play.wait("healthy")))


def test_one_waiter_at_a_time(play: Play) -> None:
    """Whatever happens, the next wait for a name begins after the one before has ended."""
    for path in (path for path in play.requests if path.endswith("/wait")):
        assert min(gaps(play.requests[path]), default=0.0) >= 0.0, path


def test_the_bridge_itself_is_never_the_failure(play: Play) -> None:
    """No worker of the bridge breaks on what an upstream does."""
    assert play.daemon.lines("worker.restarted") == []


def test_no_secret_in_what_it_says(play: Play) -> None:
    """Keys are in no log line and in no event of the bridge's own, though upstreams repeat them in their errors."""
    assert "bad key ***" in play.daemon.text
    for key in (BCTRL_KEY, ANCHOR_KEY):
        assert key not in play.daemon.text
        assert key not in str(play.events)
