"""Redirects of an upstream: followed within its origin, and never with credentials, or at all, to another."""

import json
from collections.abc import AsyncIterator, Callable

import pytest
from daemon import ANCHOR_KEY, BCTRL_KEY, Daemon, Log, stream_source, wait_source
from upstream import HANG, Upstream, answer, frame, stream
from waiting import wait_until

STREAM = "/v2/runs/{}/events/stream"
WAIT = "/v1/events/{}/wait"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Upstream]:
    """Another origin."""
    async with Upstream() as found:
        yield found


async def test_same_origin_is_followed(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Within the origin a redirect is followed with credentials, cursor and body: relative, absolute, in a chain."""
    upstream.on(STREAM.format("r"), answer(307, b"moved", {"Location": "/eu/stream?region=eu"}))
    upstream.on("/eu/stream", answer(308, b"", {"Location": f"{upstream.url}/eu/2/stream?region=eu"}))
    upstream.on("/eu/2/stream", stream(frame("e1"), then=HANG))
    upstream.on(WAIT.format("otp"), answer(307, b"", {"Location": "../otp2/wait"}))
    upstream.on("/v1/events/otp2/wait", answer(200, {"data": {"code": "1"}}), HANG)
    async with daemon(stream_source(), wait_source(wait_timeout="1s")) as running:
        await wait_until(lambda: {"e1"} < set(log.ids()), "the event and the signal")
        await wait_until(lambda: len(upstream.of("/v1/events/otp2/wait")) == 2, "another wait")
        running.kill()
    assert upstream.of("/eu/2/stream")[0].headers["authorization"] == f"Bearer {BCTRL_KEY}"
    assert upstream.of("/eu/2/stream")[0].query == [("region", "eu")]
    request = upstream.of("/v1/events/otp2/wait")[0]
    assert (request.method, json.loads(request.body)) == ("POST", {"timeoutMs": 1000})
    assert request.headers["anchor-api-key"] == ANCHOR_KEY


async def test_another_origin_gets_nothing(
    daemon: Callable[..., Daemon], upstream: Upstream, elsewhere: Upstream, log: Log
) -> None:
    """A redirect to another origin, by whatever way, is a refusal that says what to correct; nobody is asked there."""
    port = upstream.url.rpartition(":")[2]
    elsewhere.on("/steal", stream(frame("stolen"), then=HANG))
    targets = {
        "port": f"{elsewhere.url}/steal",
        "chain": "/hop",
        "scheme-relative": elsewhere.url.removeprefix("http:") + "/steal",
        "name": f"http://localhost:{port}/steal",
        "scheme": f"https://127.0.0.1:{port}/steal",
        "user": f"http://127.0.0.1:{port}@{elsewhere.url.removeprefix('http://')}/steal",
        "backslash": f"http://127.0.0.1:{port}\\@{elsewhere.url.removeprefix('http://')}/steal",
        "mail": "mailto:a@b.example",
        "nonsense": "http://[",
        "no-port": "http://127.0.0.1:99999/",
        "empty": "",
    }
    upstream.on("/hop", answer(302, b"", {"Location": f"{elsewhere.url}/steal"}))
    upstream.on("/steal", stream(frame("stolen"), then=HANG))
    for at, (name, location) in enumerate(targets.items()):
        upstream.on(STREAM.format(name), answer((301, 302, 303, 307, 308)[at % 5], b"", {"Location": location}))
    upstream.on(WAIT.format("otp"), answer(307, b"", {"Location": f"{elsewhere.url}/steal"}))
    async with daemon(*(stream_source(name, run=name) for name in targets), wait_source()) as running:
        for name in (*targets, "w"):
            failed = await running.line("source.failed", source=name)
            assert "base_url" in failed["reason"]
            await log.state("failed", name)
        assert running.lines("worker.restarted") == []
    assert elsewhere.requests == []
    assert upstream.of("/steal") == []
    assert {event["type"] for event in log.events()} == {"dev.runbridge.source.failed"}


async def test_user_in_a_location_is_left_out(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A redirect within the origin that names a user is followed with the account's own credentials."""
    location = upstream.url.replace("http://", "http://eve:secret@") + "/on"
    upstream.on(STREAM.format("r"), answer(307, b"", {"Location": location}))
    upstream.on("/on", stream(frame("e1"), then=HANG))
    async with daemon(stream_source()):
        await log.has("e1")
    assert upstream.of("/on")[0].headers["authorization"] == f"Bearer {BCTRL_KEY}"
