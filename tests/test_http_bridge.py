"""Holds the control API of a running bridge to its promises: what is added flows and outlives it, secrets stay in."""

import time
from collections.abc import Callable

from asking import running
from daemon import Daemon, Log, stream_source
from servers import free_port
from upstream import HANG, Upstream, frame, stream
from waiting import wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ADDED = {"id": "added", "account": "bctrl", "kind": "bctrl.run-events.stream", "run": "a"}


async def test_an_added_source_flows_and_outlives_a_restart(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:  # fmt: skip
    """From the request to the first event in the log it is a moment; a restart knows the source, and goes on."""
    upstream.on("/v2/runs/a/events/stream", stream(frame("e1"), then=HANG))
    port = free_port()
    one = daemon(stream_source("file"), BRIDGE_HTTP__LISTEN=f"127.0.0.1:{port}")
    async with running(one, port) as asked:
        began = time.monotonic()
        status, view = await asked("POST", "/v1/sources", ADDED)
        assert (status, view["id"], view["defined"]) == (201, "added", "added")
        await wait_until(lambda: "e1" in log.ids(), "the first event")
        assert time.monotonic() - began < 2.0, "0.2 s on a machine that does nothing else"
        assert (await asked("POST", "/v1/sources", ADDED))[0] == 200
        assert (await asked("POST", "/v1/sources", {**ADDED, "run": "b"}))[0] == 409
        assert (await asked("DELETE", "/v1/sources/file"))[0] == 409
    async with running(one, port) as asked:
        status, found = await asked("GET", "/v1/sources/added")
        assert (status, found["definition"]["spec"]["run"], found["definition"]["defined"]) == (200, "a", "added")
        assert (await asked("DELETE", "/v1/sources/added"))[0] == 204
        assert (await asked("GET", "/v1/sources/added"))[0] == 404
        assert log.ids().count("e1") == 1


async def test_secrets_go_in_and_stay_in(daemon: Callable[..., Daemon]) -> None:
    """What is hidden is named and kept by a patch; no answer and no line of the bridge's shows it; no file is read."""
    port = free_port()
    one = daemon(stream_source("file"), BRIDGE_HTTP__LISTEN=f"127.0.0.1:{port}")
    async with running(one, port) as asked:
        spec = {"url": "https://crm.example/hooks", "secrets": [SECRET], "headers": {"X-Key": "hush-hush"}}
        status, view = await asked("PUT", "/v1/destinations/crm", spec)
        assert status == 201
        status, patched = await asked("PATCH", "/v1/destinations/crm", {"timeout": "3s"})
        assert status == 200
        whole = (await asked("GET", "/v1/destinations/crm"))[1]
        assert whole["definition"]["spec"]["timeout"] in (3, "3s")
        assert {path.partition(".")[0] for path in whole["definition"]["hidden"]} == {"secrets", "headers"}
        files = {"secret_files": ["/etc/passwd"], "tls": {"ca_file": "/etc/passwd"}}
        status, problem = await asked("PATCH", "/v1/destinations/crm", files)
        assert (status, {each["path"] for each in problem["errors"]}) == (422, {"secret_files", "tls.ca_file"})
        shown = str([view, patched, whole, problem, (await asked("GET", "/v1/status"))[1]])
    for secret in (SECRET, "hush-hush"):
        assert secret not in shown
        assert secret not in one.text
