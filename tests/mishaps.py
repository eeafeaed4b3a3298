"""The play of `test_source_failures`: what goes wrong upstream, source by source, and what was to be seen of it.

Some sixty sources in one real daemon, each with its own mishap on a scripted upstream, beside two healthy ones. Judges
nothing: the tests do.
"""

import gzip
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from daemon import Daemon, Log, configuration, stream_source, wait_source
from servers import RedisServer
from upstream import (
    CLOSE,
    COMMENT,
    CUT,
    HANG,
    JSON,
    SSE,
    Exchange,
    Request,
    Script,
    Upstream,
    after,
    answer,
    frame,
    stream,
)
from waiting import wait_until

from bridge.sources.event_wait import MAX_BODY
from bridge.sources.outcome import UNSERVED

STREAM, WAIT, RUN = "/v2/runs/{}/events/stream", "/v1/events/{}/wait", "/v1/runs/{}"


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
    "html": "200 an HTML page: an event stream was expected",
    "json": "200: an event stream was expected",
    "json-stream": "200 x: an event stream was expected",
    "no-event": "the upstream closed the connection",
    "cut-body": "the connection broke before the end of the body",
    "error-frame": "the stream reported an error: bad key ***",
    "no-http": "the answer is no valid HTTP: Bad status line",
    "bad-gzip": "the answer is no valid HTTP: Can not decode content-encoding: gzip",
    "loop": "more than 3 redirects",
}
"""What the log says of some of them."""

GONE = {"code": "run.not_found", "error": "no such run"}
REFUSALS: dict[str, tuple[Script, int, str]] = {
    "401": (tells(401, '{"code":"auth.required","error":"bad key KEY"}'), 401,
            "401 auth.required: bad key ***: the key was refused; correct the account's api_key"),
    "403": (answer(403, {"error": {"code": "auth.forbidden", "message": "no"}}), 403, "403 auth.forbidden: no"),
    "404-html": (answer(404, b"<html>gone</html>"), 404, f"404 an HTML page: {UNSERVED}"),
    "route": (answer(404, {"error": {"code": "route.not_found", "message": "no"}}), 404, "404 route.not_found: no"),
    "gone": (answer(404, GONE), 404, "404 run.not_found: no such run"),
    "there": (answer(404, GONE), 404, f"404 run.not_found: no such run; the run is there: {UNSERVED}"),
    "400": (answer(400, b"bad\nrequest"), 400, "400 bad request"),
    "422": (answer(422, {}), 422, "422"),
    "204": (answer(204), 204, "204: the upstream asks not to reconnect"),
}  # fmt: skip
"""Script, status and reason; where the run itself has to be asked for, the next table has what it is."""
RUNS: dict[str, Script] = {
    "gone": answer(404, GONE),
    "vanished": answer(404, GONE),
    "there": answer(200, {"id": "there", "status": "running"}),
    "lost": answer(200, {"data": {"id": "lost", "status": "running"}}),
    "over": answer(200, {"id": "over", "status": "failed", "finishedAt": "2026-06-25T12:01:00.000Z"}),
    "no-event": answer(200, {"id": "no-event", "status": "running"}),
}
"""What `GET /v1/runs/{id}` answers; for all others that there is no such call."""
STREAMS_ONLY = {"204", "there"}
AMBIGUOUS: dict[str, tuple[Script, str]] = {
    "504": (answer(504, b"<html>"), "504 an HTML page"),
    "502": (answer(502, b"bad gateway"), "502 bad gateway"),
    "cut": (after(0.2, CUT), "the connection broke"),
    "cut-head": (stream(then=CUT, headers={}), "the connection broke"),
    "cut-body": (stream(b'{"data":{"code', then=CUT, headers={}), "the connection broke"),
}
"""Waits that end without an answer, or with a proxy's."""
CERTAIN: dict[str, tuple[Script, str]] = {
    "500": (tells(500, '{"error":{"code":500,"message":"bad key KEY"}}'), "500 bad key ***"),
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
        **{name: ([script] * 3 + [stream(frame(f"e-{name}"), then=HANG)], 4)
           for name, (script, _, _) in REFUSALS.items()},
        "lost": ([stream(frame("l1"), then=CUT), answer(404, GONE), stream(frame("l2"), then=HANG)], 3),
        "over": ([stream(frame("o1")), stream()], 2),
        "vanished": ([stream(), HANG], 2),
        "silent": ([stream(frame("s1"), *alive, then=HANG), HANG, stream(frame("s2"), then=HANG)], 3),
        "budget": ([*BUDGET, HANG], 35),
        "healthy": ([stream(frame("h1"), 5.0, frame("h2"), then=HANG)], 1),
    }  # fmt: skip
    waits: dict[str, tuple[list[Script], int]] = {
        **{name: ([script, HANG], 2) for name, (script, _) in (AMBIGUOUS | CERTAIN).items()},
        **{name: ([answer(200, body), signal, HANG], 3) for name, body in UNREADABLE.items()},
        **{f"slow-{name}": ([slow[name], HANG], 1 if name == "hours" else 2) for name in RETRY},
        **{f"refused-{name}": ([script] * 2 + [signal, HANG], 4)
           for name, (script, _, _) in REFUSALS.items() if name not in STREAMS_ONLY},
        "healthy": ([after(1.0, answer(408))] * 4 + [signal, HANG], 6),
    }  # fmt: skip
    return {
        **{STREAM.format(name): found for name, found in runs.items()},
        **{WAIT.format(name): found for name, found in waits.items()},
    }


def _source_of(path: str) -> str:
    kind, name = path.split("/")[2:4]
    return f"{'stream' if kind == 'runs' else 'wait'}-{name}"


async def played(directory: Path, server: RedisServer) -> Play:
    """The play, once, with the log on this server."""
    date = datetime.now(UTC) + timedelta(seconds=6)
    until = time.monotonic() + 5  # an HTTP date has no parts of a second
    scripts = _scripts(format_datetime(date, usegmt=True))
    sources, accounts = [wait_source("wait-unreachable", account="closed")], dict[str, dict[str, str]]()
    async with Upstream() as upstream, Upstream() as closed:
        await closed.stop()
        accounts["closed"] = {"provider": "anchor", "base_url": closed.url}
        for path, (turns, _) in scripts.items():
            upstream.on(path, *turns)
            id_, provider = _source_of(path), "bctrl" if "runs" in path else "anchor"
            # Retry-After keeps all of an account from asking, so who is asked for that has one of their own
            alone = id_.removeprefix("wait-slow-").removeprefix("stream-") in {*RETRY, "date"}
            keys = {"recheck": "1s", "account": id_ if alone else provider}
            if alone:
                accounts[id_] = {"provider": provider, "base_url": upstream.url}
            if provider == "bctrl":
                idle = "1s" if id_ == "stream-silent" else "60s"
                sources.append(stream_source(id_, run=path.split("/")[3], idle_timeout=idle, **keys))
            else:
                sources.append(wait_source(id_, event=path.split("/")[3], **keys))
        for run, script in RUNS.items():
            upstream.on(RUN.format(run), script)
        text = configuration(server.url, "\n".join(sources), prefix="play", bctrl=upstream.url, anchor=upstream.url,
                             accounts=accounts)  # fmt: skip
        log = Log(server, "play")
        async with Daemon(directory, text) as daemon:
            for path, (_, count) in scripts.items():
                await upstream.asked(path, count, 30.0)
            await wait_until(lambda: {"h2", "s2"} <= set(log.ids()), "the healthy stream goes on")
            await log.state("ended", "stream-over")
            states = {path: log.source(_source_of(path)) for path in scripts}
            daemon.kill()
        requests = {path: upstream.of(path) for path in [*scripts, *map(RUN.format, RUNS)]}
        return Play(requests, log.events(), log.parked(), states, daemon, until)
