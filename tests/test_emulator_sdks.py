"""The emulator as others meet it: the official SDKs, its key, its control surface, its scenario file and its command.

The SDKs are synchronous: each call runs in a thread beside the emulator.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import bctrl as official  # type: ignore[import-untyped]  # the vendor ships no types
import pytest
from anchorbrowser import Anchorbrowser, APIStatusError
from test_emulator import KEYS, V2, Client, until

from bridge.emulator import Emulator, Options, RunOption, RunScript
from bridge.emulator.scenario import load

BURST = RunScript(rate=0, events=30)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """An emulator with one run of thirty events, called "run", and a client that has the keys."""
    options = Options(runs=(RunOption(id="run", script=BURST),), heartbeat=0.05, remember=3)
    async with Emulator(options) as emulator, aiohttp.ClientSession(headers=KEYS) as session:
        yield Client(emulator, session)


def bctrl(client: Client, key: str = "k") -> Any:
    """The official SDK, pointed at the emulator, without retries of its own."""
    return official.Bctrl(api_key=key, base_url=client.emulator.url, max_retries=0, timeout=10)


def anchor(client: Client, key: str = "k", prefix: str = "") -> Anchorbrowser:
    """The same for Anchor Browser; a strict one, that refuses a body that is not as documented."""
    url = client.emulator.url + prefix
    return Anchorbrowser(api_key=key, base_url=url, max_retries=0, timeout=10.0, _strict_response_validation=True)


async def call(work: Callable[[], Any]) -> Any:
    """Runs a call of an SDK in a thread; twenty seconds at most."""
    async with asyncio.timeout(20):
        return await asyncio.to_thread(work)


async def refused(error: type[Exception], work: Callable[[], object]) -> Any:
    """The error that a call ends with."""
    with pytest.raises(error) as caught:
        await call(work)
    return caught.value


# -- bctrl 0.1.0


async def test_bctrl_streams(client: Client) -> None:
    """The SDK's stream gets every event with its id, then `run.ended`; cursor and filters do what they say."""
    sdk = bctrl(client)
    frames = await call(lambda: list(sdk.runs.events.stream("run")))
    *events, last = frames
    assert [frame["id"] for frame in events] == [frame["data"]["id"] for frame in events]
    assert (len(events), last["event"], last["data"]["status"], "id" in last) == (30, "run.ended", "stopped", False)
    cursor = events[9]["id"]
    assert await call(lambda: list(sdk.runs.events.stream("run", cursor=cursor))) == frames[10:]
    wanted = ["navigation", "dialog"]
    chosen = await call(lambda: list(sdk.runs.events.stream("run", type=wanted, status="finished")))
    assert {frame["data"]["type"] for frame in chosen[:-1]} == {"navigation"}


async def test_bctrl_streams_v2(client: Client) -> None:
    """The SDK's transport reads the v2 stream too, with its cursor and its categories."""
    transport = bctrl(client)._http
    transport.base_url = f"{client.emulator.url}/v2"

    def stream(**query: object) -> list[Any]:
        return list(transport.stream_sse("/runs/run/events/stream", params=query))

    whole = await call(stream)
    assert await call(lambda: stream(cursor=whole[4]["id"], limit=10)) == whole[5:]
    chosen = await call(lambda: stream(category=["browser", "command"]))
    assert {frame["data"]["category"] for frame in chosen[:-1]} == {"browser", "command"}


async def test_bctrl_follows_a_live_run(client: Client) -> None:
    """Heartbeats and later events come through while the stream is open."""
    client.emulator.runs.create("live")
    stream = bctrl(client).runs.events.stream("live")
    assert set((await call(lambda: next(stream)))["data"]) == {"time"}
    client.emulator.runs.append("live", {"id": "evt_1", "type": "navigation"})
    frame = await call(lambda: next(frame for frame in stream if frame["event"] != "heartbeat"))
    assert frame == {"event": "run.event", "id": "evt_1", "data": {"id": "evt_1", "type": "navigation"}}
    stream.close()


async def test_bctrl_lists_and_waits(client: Client) -> None:
    """Lists are read page by page to the end; a run is active until it has ended, and its wait says which."""
    sdk = bctrl(client)
    client.emulator.runs.create("live", RunScript(rate=1))
    streamed = await call(lambda: [frame["data"] for frame in sdk.runs.events.stream("run")][:-1])
    assert await call(lambda: list(sdk.runs.events.iter("run", limit=7))) == streamed
    page = await call(lambda: sdk.runs.events.list("run", type=["navigation", "dialog"], cursor=streamed[5]["id"]))
    assert page["nextCursor"] is None
    assert [event["type"] for event in page["data"]] == ["dialog", "navigation"]
    runs = await call(lambda: list(sdk.runs.iter(limit=1)))
    assert [(run["id"], run["status"]) for run in runs] == [("run", "stopped"), ("live", "active")]
    assert [run["id"] for run in (await call(lambda: sdk.runs.list(status=["active", "failed"])))["data"]] == ["live"]
    assert (await call(lambda: sdk.runs.get("live")))["finishedAt"] is None
    assert (await call(lambda: sdk.runs.wait("run", timeout_ms=1000)))["waitStatus"] == "completed"
    assert (await call(lambda: sdk.runs.wait("live", timeout_ms=20)))["waitStatus"] == "timeout"
    waiting = asyncio.create_task(call(lambda: sdk.runs.wait("live", timeout_ms=9000)))
    await until(lambda: client.emulator.counts["run-wait"] == 3, "the wait has come in")
    client.emulator.runs.end("live", "failed", {"code": "browser.crashed", "message": "gone"})
    ended = await waiting
    assert (ended["status"], ended["waitStatus"], ended["failure"]["code"]) == (
        "failed",
        "completed",
        "browser.crashed",
    )


async def test_bctrl_errors_are_typed(client: Client) -> None:
    """Each refusal becomes the SDK's own error with code, message and request id."""
    sdk = bctrl(client)
    runs = sdk.runs
    for work in (lambda: runs.get("no"), lambda: list(runs.events.stream("no")), lambda: runs.events.list("no")):
        missing = await refused(official.BctrlNotFoundError, work)
        assert (missing.code, missing.body["reasonClass"]) == ("run.not_found", "not_found")
        assert missing.request_id.startswith("req_")
    assert (await refused(official.BctrlNotFoundError, sdk.spaces.list)).code == "route.not_found"
    client.emulator.faults.set(status=429, retry_after="1")
    assert (await refused(official.BctrlRateLimitError, sdk.runs.list)).code == "rate_limited"
    async with Emulator(Options(api_key="right")) as locked:
        wrong = bctrl(Client(locked, client.session), key="wrong")
        for work in (wrong.runs.list, lambda: list(wrong.runs.events.stream("run_demo"))):
            assert (await refused(official.BctrlAuthenticationError, work)).code == "auth.required"
        (run,) = (await call(bctrl(Client(locked, client.session), key="right").runs.list))["data"]
        assert (run["id"], run["status"]) == ("run_demo", "active")


# -- anchorbrowser 1.0.1


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize(
    "name", ["otp", "a/b", "a/wait", "a%2Fb", "two words", "größe:✓", "{x}?y#z&=+", "100%", "wait"]
)
async def test_anchor_signals_and_waits(client: Client, name: str, prefix: str) -> None:
    """Signal first or wait first, from several clients: the data comes to the waiter of that very name."""
    sdk, other = anchor(client, prefix=prefix), anchor(client)
    data: dict[str, object] = {"code": "1", "nested": {"ü": [1, None]}}
    signaled = await call(lambda: other.events.signal_event(name, data=data))
    assert signaled.to_dict() == {"data": {"status": "signaled"}}
    assert client.emulator.named_events["remembered"] == {name: 1}
    assert (await call(lambda: sdk.events.wait_for_event(name, timeout_ms=20))).data == data
    waiting = asyncio.create_task(call(lambda: sdk.events.wait_for_event(name)))
    await until(lambda: client.emulator.named_events["waiting"] == {name: 1}, "a waiter waits")
    await call(lambda: other.events.signal_event(name, data={"code": "2"}))
    assert (await waiting).data == {"code": "2"}
    assert client.emulator.named_events == {"remembered": {}, "waiting": {}, "forgotten": 0}


async def test_anchor_timeout_is_408(client: Client) -> None:
    """A wait that gets nothing ends with 408 after its timeout, in the documented words."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    late = await refused(APIStatusError, lambda: anchor(client).events.wait_for_event("otp", timeout_ms=60))
    assert loop.time() - start >= 0.05
    message = "Event was not signaled within the specified timeout"
    assert (late.status_code, late.body) == (408, {"error": {"code": 408, "message": message}})
    assert client.emulator.named_events["waiting"] == {}


async def test_anchor_signals_queue(client: Client) -> None:
    """One signal wakes one waiter; without one, signals wait in order, the oldest going where there are too many."""
    sdk = anchor(client)
    waits = []
    for number in (1, 2):
        waits.append(asyncio.create_task(call(lambda: anchor(client).events.wait_for_event("otp"))))
        await until(lambda number=number: client.emulator.named_events["waiting"] == {"otp": number}, "one more waits")  # type: ignore[misc]
    for number in range(6):  # two are waited for, three are remembered
        await call(lambda number=number: sdk.events.signal_event("otp", data={"n": number}))  # type: ignore[misc]
    assert [(await wait).data for wait in waits] == [{"n": 0}, {"n": 1}]
    assert client.emulator.named_events["forgotten"] == 1
    left = [(await call(lambda: sdk.events.wait_for_event("otp", timeout_ms=20))).data for _ in range(3)]
    assert left == [{"n": 3}, {"n": 4}, {"n": 5}]


async def test_anchor_errors(client: Client) -> None:
    """No data is 400, a wrong key 401, a fault 500, each with the documented body."""
    async with Emulator(Options(api_key="right")) as locked:
        sdk = anchor(Client(locked, client.session), key="wrong")
        error = await refused(APIStatusError, lambda: sdk.events.signal_event("otp", data={}))
        assert (error.status_code, error.body["error"]["code"]) == (401, 401)
    for body in ({}, {"data": None}, {"timeoutMs": 1}):
        answer = await client.ask("POST", "/v1/events/otp", json=body)
        assert answer[:2] == (400, {"error": {"code": 400, "message": "Event data is required"}})
    for wrong in ("soon", -1, True, 3_600_001):
        assert (await client.ask("POST", "/v1/events/otp/wait", json={"timeoutMs": wrong}))[0] == 400
    client.emulator.faults.set(wait_fault="500")
    error = await refused(APIStatusError, lambda: anchor(client).events.wait_for_event("otp"))
    assert error.body == {"error": {"code": 500, "message": "Failed to wait for event"}}


# -- faults of any call


async def test_status_faults(client: Client) -> None:
    """The next M requests, or every Nth, or those of the named calls get the status, with body and Retry-After."""

    async def statuses(path: str, count: int) -> list[int]:
        return [(await client.ask("GET", path))[0] for _ in range(count)]

    client.emulator.faults.set(status=429, status_next=2, retry_after="7")
    _, body, headers = await client.ask("GET", V2)
    assert (body["code"], body["reasonClass"], headers["Retry-After"]) == ("rate_limited", "rate_limited", "7")
    assert await statuses(V2, 3) == [429, 200, 200]
    client.emulator.faults.clear()
    client.emulator.faults.set(status=503, status_every=3, calls=("run",))
    assert await statuses("/v1/runs/run", 6) == [200, 200, 503, 200, 200, 503]
    assert await statuses("/v1/runs", 3) == [200] * 3
    client.emulator.faults.set(status_every=0, status_body="html")
    assert "<html>" in (await client.ask("GET", "/v1/runs/run"))[1]
    client.emulator.faults.set(calls=("signal",), status_body="json")
    assert (await client.ask("POST", "/v1/events/x", json={"data": 1}))[1]["error"]["code"] == 503


async def test_redirects_and_slow_first_bytes(client: Client) -> None:
    """A redirect goes to the URL, or with the request's path to another origin; a slow answer takes its time."""
    client.emulator.faults.set(redirect_to="http://127.0.0.1:9/there")
    status, _, headers = await client.ask("GET", V2, allow_redirects=False)
    assert (status, headers["Location"]) == (307, "http://127.0.0.1:9/there")
    client.emulator.faults.set(redirect_to="http://127.0.0.1:9", redirect_status=302)
    status, _, headers = await client.ask("GET", "/v1/runs/a%2Fb?cursor=a%26b", allow_redirects=False)
    assert (status, headers["Location"]) == (302, "http://127.0.0.1:9/v1/runs/a%2Fb?cursor=a%26b")
    client.emulator.faults.clear()
    client.emulator.faults.set(first_byte_delay=0.1)
    start = asyncio.get_running_loop().time()
    await client.ask("GET", "/v1/runs")
    assert asyncio.get_running_loop().time() - start >= 0.09


async def _wait(client: Client, timeout_ms: int = 5000) -> int | str:
    try:
        return (await client.ask("POST", "/v1/events/otp/wait", json={"timeoutMs": timeout_ms}))[0]
    except (aiohttp.ClientError, ConnectionError):
        return "broken"


@pytest.mark.parametrize(
    ("fault", "result", "left"),
    [("504", 504, 1), ("500", 500, 1), ("cut", "broken", 1), ("early-408", 408, 1), ("lost-answer", "broken", 0)],
)
async def test_wait_faults(client: Client, fault: str, result: int | str, left: int) -> None:
    """A wait goes wrong as told, so many times as told; only a lost answer takes the signal with it."""
    client.emulator.faults.set(wait_fault=fault, wait_fault_next=1, wait_fault_after=0.01)
    client.emulator.signal("otp", {"code": "1"})
    assert await _wait(client) == result
    assert client.emulator.named_events["remembered"] == ({"otp": 1} if left else {})
    client.emulator.signal("otp", {"code": "2"})
    assert await _wait(client) == 200


@pytest.mark.parametrize(("ghosts", "timeout_ms", "result"), [(False, 5000, 200), (True, 5000, 408), (True, 300, 200)])
async def test_a_waiter_that_has_gone(client: Client, ghosts: bool, timeout_ms: int, result: int) -> None:
    """A waiter whose client has gone takes no signal, unless the fault lets it, and then until its timeout."""
    client.emulator.faults.set(ghost_waiters=ghosts)
    gone = asyncio.create_task(_wait(client, timeout_ms))
    await until(lambda: client.emulator.named_events["waiting"] == {"otp": 1}, "a waiter waits")
    gone.cancel()
    await until(lambda: client.emulator.requests[0].status == 499, "the emulator has noticed that the client is gone")
    if ghosts and result == 200:
        await until(lambda: client.emulator.named_events["waiting"] == {}, "the ghost's time is up")
    client.emulator.signal("otp", {"code": "1"})
    assert await _wait(client, 50) == result


# -- how it is steered


async def test_one_key_or_any(client: Client) -> None:
    """With `api_key` only that key is let in, and it shows neither in the options nor in the state."""
    options = Options(api_key="secret-1")
    async with Emulator(options) as emulator:
        locked = Client(emulator, client.session)
        assert (await locked.ask("POST", "/v1/events/x", json={"data": {}}))[1]["error"]["code"] == 401
        assert (await locked.ask("GET", "/v1/runs", headers={"Authorization": "Bearer secret-1"}))[0] == 200
        assert "secret-1" not in repr(options) + str(await locked.ask("GET", "/_emulator/"))


async def test_unknown_runs_are_made_on_demand(client: Client) -> None:
    """With `any_run`, whoever asks for a run gets one, whatever its id."""
    async with Emulator(Options(any_run=True, script=BURST)) as emulator:
        reading = await Client(emulator, client.session).read("/v2/runs/a%2Fb/events/stream")
    assert (len(reading.ids()), reading.frames()[-1].json()["runId"]) == (30, "a/b")


async def test_requests_are_recorded(client: Client) -> None:
    """The log has call, query, headers, body and status of each request, and the counts their number."""
    await client.read(f"{V2}?cursor=&type=a&type=b")
    await client.ask("POST", "/v1/events/a%2Fb/wait", json={"timeoutMs": 1})
    stream, wait = client.emulator.requests
    assert (stream.call, stream.query["type"], stream.status) == ("stream", ["a", "b"], 200)
    assert stream.headers["authorization"] == "Bearer k"
    assert (wait.path, json.loads(wait.body), wait.status) == ("/v1/events/a%2Fb/wait", {"timeoutMs": 1}, 408)
    assert client.emulator.counts == Counter({"stream": 1, "event-wait": 1})


async def test_control_surface(client: Client) -> None:
    """Another process can make, feed and end runs, switch faults, signal, cut, and look; mistakes are explained."""
    ask = client.ask
    assert (await ask("POST", "/_emulator/runs", json={"id": "far"}))[0] == 200
    two = await ask("POST", "/_emulator/runs/far/events", json=[{"type": "a"}, {"id": "evt_x"}])
    assert two[1]["ids"][1] == "evt_x"
    raw = {"data": b": hello\n\n", "headers": {"Content-Type": "text/event-stream"}}
    assert (await ask("POST", "/_emulator/runs/far/events", **raw))[0] == 200
    assert (await ask("POST", "/_emulator/runs/far/end", json={"status": "failed"}))[1]["status"] == "failed"
    assert (await client.read("/v2/runs/far/events/stream")).raw.count(b": hello\n\n") == 1
    assert (await ask("POST", "/_emulator/faults", json={"cut_after": 3}))[1]["cut_after"] == 3
    assert (await client.read(V2)).ending == "broken"
    assert (await ask("DELETE", "/_emulator/faults"))[1]["cut_after"] == 0
    assert (await ask("POST", "/_emulator/signals/otp", json={"code": 1}))[1]["remembered"] == {"otp": 1}
    assert (await ask("POST", "/_emulator/cut"))[1] == {"cut": 0}
    state = (await ask("GET", "/_emulator/"))[1]
    assert {run["id"] for run in state["runs"]} == {"run", "far"}
    assert state["requests"][0]["headers"]["authorization"] == "***"
    for path, body, status, word in (
        ("runs", {"id": "run"}, 400, "already"),
        ("runs", {"id": "x", "speed": 1}, 400, "rate"),
        ("runs/no/events", {}, 404, "no run no"),
        ("faults", {"cut": 1}, 400, "cut_after"),
        ("faults", {"cut_after": "many"}, 400, "whole number"),
    ):
        got = await ask("POST", f"/_emulator/{path}", json=body)
        assert (got[0], word in got[1]["error"]) == (status, True), got


SCENARIO = """
heartbeat = 1
runs = [{ id = "a", rate = 0, events = 3 }, { id = "by-hand", script = false }]
faults = { bad_json_at = [1] }
phases = [{ after = 0, faults = { duplicate = true } }]
"""


async def test_scenario_file(client: Client, tmp_path: Path) -> None:
    """A TOML or JSON file gives runs, faults and phases; what is wrong with one is said with file and key."""
    toml, other = tmp_path / "s.toml", tmp_path / "s.json"
    toml.write_text(SCENARIO)
    options = load(toml)
    assert (options.heartbeat, options.faults.bad_json_at) == (1.0, (1,))
    assert options.runs[1] == RunOption(id="by-hand", script=None)
    async with Emulator(options) as emulator:
        await until(lambda: emulator.faults.settings.duplicate, "the phase has come")
        assert len((await Client(emulator, client.session).read("/v2/runs/a/events/stream")).ids()) == 6
    other.write_text('{"faults": {"crlf": true}}')
    assert load(other).faults.crlf
    for text, said in (
        ('{"fault": {}}', "fault: unknown; there are .*faults"),
        ('{"faults": {"crlf": 1}}', "faults.crlf: must be true or false"),
        ('{"phases": [{"faults": {}}]}', r"phases\[0\]: needs after, faults"),
        ('{"runs": [{"times": "later"}]}', r'runs\[0\].times: must be one of "auto", "fixed", "now"'),
        ('{"api_key": 123456}', "api_key: must be text"),
        ("{", "s.json: "),
    ):
        other.write_text(text)
        with pytest.raises(ValueError, match=said) as wrong:
            load(other)
        assert "123456" not in str(wrong.value)


COMMAND = "import typer; from bridge.cli.emulator import emulator; a = typer.Typer(); a.command()(emulator); a()"


async def test_command(client: Client) -> None:
    """The command prints its URL when it is ready, serves, and ends with 0 at SIGTERM."""
    arguments = ("--port", "0", "--run", "run", "--rate", "0", "--events", "9", "--fault", "no_id_line_at=2,3")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", COMMAND, *arguments, stdout=pipe)
    try:
        assert process.stdout
        async with asyncio.timeout(30):
            client.emulator.url = (await process.stdout.readline()).decode().split()[-1]
        assert len((await client.read(V2)).ids()) == 7
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


def test_command_explains_itself() -> None:
    """--help has examples, --list-faults every fault, and a wrong option says which there are."""
    for argument, code, word in (("--help", 0, "curl"), ("--list-faults", 0, "crlf"), ("--fault=x", 2, "NAME=")):
        done = subprocess.run([sys.executable, "-c", COMMAND, argument], capture_output=True, text=True, check=False)
        assert (done.returncode, word in done.stdout + done.stderr) == (code, True)
