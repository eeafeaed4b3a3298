"""Faults that touch every call, stream and wait: error shapes, generations, expired cursors, restarts, odd endings."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from test_emulator import KEYS, V1, V2, Client, frames_seen, until

from bridge.emulator import Emulator, FaultSettings, Options, RunOption, RunScript, WorkOption, WorkScript
from bridge.emulator.faults import CALLS
from bridge.emulator.scenario import load

TODAY = {"BCTRL-Version": "2026-10-03"}
WAIT = "/v1/runs/run/events/wait"
BROKEN = (aiohttp.ClientError, ConnectionError)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A run of thirty events, an operation and an invocation that last; a client that has the keys."""
    lasting = (WorkOption(id="work", script=WorkScript(seconds=60)),)
    runs = (RunOption(id="run", script=RunScript(rate=0, events=30)),)
    options = Options(runs=runs, operations=lasting, invocations=lasting, heartbeat=0.05)
    async with Emulator(options) as emulator, aiohttp.ClientSession(headers=KEYS) as session:
        yield Client(emulator, session)


async def poll(client: Client, **body: Any) -> Any:
    """The answer of a wait for a run event."""
    return (await client.ask("POST", WAIT, json={"timeoutMs": 0, **body}))[1]


async def live_ids(client: Client, path: str, count: int, **options: Any) -> list[str]:
    """The first ids of a stream."""
    return (await client.read(path, frames_seen(count), **options)).ids()


# -- error shapes and generations


@pytest.mark.parametrize(
    ("call", "key", "fault", "status", "code"),
    [
        ("GET /v1/runs", "", {}, 401, "auth.required"),
        ("GET /v1/nothing", "k", {}, 404, "route.not_found"),
        (f"GET {V2}", "k", {"status": 503}, 503, "upstream.unavailable"),
        (f"GET {V2}?cursor=x", "k", {"expired_cursors": True}, 400, "pagination.cursor_invalid"),
        (f"POST {WAIT}", "k", {"wrong_generation": ("run-events-wait",)}, 404, "route.not_found"),
        ("GET /v1/operations/no", "k", {}, 404, "operation.not_found"),
    ],
)
async def test_errors_are_nested_for_todays_api(  # noqa: PLR0917 - the columns of its table
    client: Client, call: str, key: str, fault: dict[str, Any], status: int, code: str
) -> None:
    """An error is flat, unless the request has BCTRL-Version: then it is an object under `error`, the gate's too."""
    client.emulator.faults.set(**fault)
    method, path = call.split()
    headers = {"Authorization": f"Bearer {key}"}
    got, flat, answered = await client.ask(method, path, headers=headers)
    assert (got, flat["code"], flat["requestId"]) == (status, code, answered["x-request-id"])
    assert set(flat) == {"code", "error", "reasonClass", "requestId"}
    assert isinstance(flat["error"], str)
    got, nested, answered = await client.ask(method, path, headers=headers | TODAY)
    assert (got, set(nested), set(nested["error"])) == (
        status,
        {"error"},
        {"code", "message", "reasonClass", "requestId"},
    )
    assert (nested["error"]["code"], nested["error"]["message"]) == (code, flat["error"])
    assert nested["error"]["requestId"] == answered["x-request-id"]


@pytest.mark.parametrize(
    ("wrong", "path", "headers", "gone"),
    [
        ("v2", V2, {}, True),
        ("v2", V1, {}, False),
        ("v1", V1, {}, True),
        ("v1", "/v1/runs", TODAY, False),
        ("2026-10-03", "/v1/runs", TODAY, True),
        ("2026-10-03", "/v1/runs", {}, False),
        ("runs", "/v1/runs", TODAY, True),
        ("operation", "/v1/invocations/work", {}, False),
    ],
)
async def test_wrong_generation(client: Client, wrong: str, path: str, headers: dict[str, str], gone: bool) -> None:
    """A version or call that isn't served is an unknown route, in JSON or as a proxy's page; the others go on."""
    client.emulator.faults.set(wrong_generation=(wrong,))
    status, body, _ = await client.ask("GET", path, headers=headers)
    assert (status == 404, "route.not_found" in str(body)) == (gone, gone)
    client.emulator.faults.set(wrong_generation_body="html")
    status, body, answered = await client.ask("GET", path, headers=headers)
    assert (status == 404, answered["Content-Type"].startswith("text/html")) == (gone, gone)


# -- cursors that have expired


async def test_expired_cursors_in_every_call(client: Client) -> None:
    """However a stream or wait is told where to go on, it is refused; without a cursor, and in lists, all is well."""
    id_ = (await live_ids(client, V2, 1))[0]
    cursor = (await poll(client))["cursor"]
    client.emulator.faults.set(expired_cursors=True)
    for method, path, options in (
        ("GET", f"{V2}?cursor={id_}", {}),
        ("GET", V1, {"headers": {"Last-Event-ID": id_}}),
        ("GET", "/v1/runs/run/stream?after=rse_1", {}),
        ("GET", "/v1/events/stream?after=evt_1", {"headers": TODAY}),
        ("POST", WAIT, {"json": {"cursor": cursor}}),
    ):
        status, body, _ = await client.ask(method, path, **options)
        assert (status, "pagination.cursor_invalid" in str(body)) == (400, True), path
    assert (await client.ask("GET", f"/v1/runs/run/events?cursor={id_}"))[0] == 200
    assert (await poll(client))["event"]["id"] == id_
    assert len(await live_ids(client, V2, 30)) == 30


async def test_expired_cursors_as_told(client: Client) -> None:
    """The next N only, with the status and code that were given, or in the named calls alone, lists then too."""
    path = f"{V2}?cursor={(await live_ids(client, V2, 1))[0]}"
    client.emulator.faults.set(expired_cursors=2, expired_status=410, expired_code="event.not_found")
    assert (await client.ask("GET", path))[:2][0] == 410
    assert (await client.ask("GET", path))[1]["code"] == "event.not_found"
    assert (await client.ask("GET", path))[0] == 200
    client.emulator.faults.set(expired_cursors=True, calls=("events",))
    assert (await client.ask("GET", path))[0] == 200
    assert (await client.ask("GET", path.replace("/v2", "/v1").replace("/stream", "")))[0] == 410


# -- how streams go on and end


async def test_slow(client: Client) -> None:
    """So much time at least lies between one frame and the next, and between the halves of a wait's answer."""
    client.emulator.faults.set(slow=0.02)
    start = time.monotonic()
    await live_ids(client, V2, 6)
    assert time.monotonic() - start >= 5 * 0.02
    start = time.monotonic()
    assert (await poll(client))["event"]
    assert time.monotonic() - start >= 0.02


@pytest.mark.parametrize("path", [V2, V1])
async def test_end_without_run_ended(client: Client, path: str) -> None:
    """The stream of a run that is over just ends; the run itself says that it is over."""
    client.emulator.faults.set(end_without_run_ended=True)
    reading = await client.read(path)
    assert (reading.ending, len(reading.ids()), {frame.event for frame in reading.frames()}) == (
        "eof",
        30,
        {"run.event"},
    )
    assert (await client.ask("GET", "/v1/runs/run"))[1]["status"] == "stopped"


async def test_frames_after_end(client: Client) -> None:
    """Late events follow `run.ended` once; later they stand before it, and they are in list and wait."""
    client.emulator.faults.set(frames_after_end=2)
    first = await client.read(V2)
    assert [frame.event for frame in first.frames()] == ["run.event"] * 30 + ["run.ended"] + ["run.event"] * 2
    assert len(set(first.ids())) == 32
    again = await client.read(f"{V2}?cursor={first.ids()[29]}")
    assert [frame.event for frame in again.frames()] == ["run.event", "run.event", "run.ended"]
    assert (await client.ask("GET", "/v1/runs/run/events?limit=99"))[1]["data"] == first.events()


async def test_not_object(client: Client) -> None:
    """The frame at an index has an id line, and JSON that is no object."""
    whole = (await client.read(V2)).frames()
    client.emulator.faults.set(not_object_at=(3,))
    frames = (await client.read(V2)).frames()
    assert (frames[3].id, type(frames[3].json())) == (whole[3].id, str)
    assert frames[:3] + frames[4:] == whole[:3] + whole[4:]


# -- cuts and restarts


async def begin_all(client: Client) -> list[asyncio.Task[Any]]:
    """A stream and three kinds of waits, all under way."""
    client.emulator.runs.create("hand")
    client.emulator.runs.append("hand", {"id": "evt_old"})
    beginnings = [
        client.read("/v2/runs/hand/events/stream"),
        client.ask("POST", "/v1/runs/hand/events/wait", json={"type": ["none"], "timeoutMs": 90_000}),
        client.ask("POST", "/v1/operations/work/wait", json={"timeoutMs": 90_000}),
        client.ask("POST", "/v1/events/otp/wait", json={"timeoutMs": 90_000}),
    ]
    tasks = [asyncio.create_task(beginning) for beginning in beginnings]
    await until(lambda: (client.emulator.open_streams, client.emulator.open_waits) == (1, 3), "all are under way")
    return tasks


async def broken(tasks: list[asyncio.Task[Any]]) -> bool:
    """Whether each of them ended with a broken connection."""
    stream, *waits = await asyncio.gather(*tasks, return_exceptions=True)
    return (
        not isinstance(stream, BaseException)
        and stream.ending == "broken"
        and all(isinstance(wait, BROKEN) for wait in waits)
    )


async def test_cut_reaches_streams_and_waits(client: Client) -> None:
    """A cut resets everything that is under way, and nothing is forgotten."""
    tasks = await begin_all(client)
    assert client.emulator.cut() == 4
    assert await broken(tasks)
    await until(lambda: client.emulator.open_waits == client.emulator.open_streams == 0, "all is over")
    assert client.emulator.runs.get("hand").head() == 1


@pytest.mark.parametrize("memory", [True, False])
async def test_restart(client: Client, memory: bool) -> None:
    """A restart resets every connection; without memory what was made by hand is gone, and so are its cursors."""
    tasks = await begin_all(client)
    cursor = (await client.ask("POST", "/v1/runs/hand/events/wait", json={}))[1]["cursor"]
    client.emulator.signal("kept", {"n": 1})
    client.emulator.operations.set("work", status="running", step=4)
    before = (await client.read(V2)).raw
    _, said, _ = await client.ask("POST", "/_emulator/restart", json={"memory": memory})
    assert said["cut"] >= 4
    assert await broken(tasks)
    assert client.emulator.named_events["remembered"] == ({"kept": 1} if memory else {})
    _, work, _ = await client.ask("GET", "/v1/operations/work")
    assert work["status"] == ("running" if memory else "queued")
    status, body, _ = await client.ask("POST", "/v1/runs/hand/events/wait", json={"cursor": cursor, "timeoutMs": 0})
    assert (status, body.get("code")) == ((200, None) if memory else (404, "run.not_found"))
    if not memory:
        client.emulator.runs.create("hand")
        body = (await client.ask("POST", "/v1/runs/hand/events/wait", json={"cursor": cursor}))[1]
        assert body["code"] == "pagination.cursor_invalid"
    assert (await client.read(V2)).raw == before
    listed = (await client.ask("GET", "/v1/events?limit=5&order=asc", headers=TODAY))[1]
    assert listed["data"][0]["runId"] in {"run", "hand"}
    assert (await client.ask("POST", "/_emulator/restart", json={"memory": 1}))[0] == 400


async def test_a_live_run_goes_on_over_a_restart_without_memory(client: Client) -> None:
    """A cursor of before takes the run up again, in a wait and in a stream: nothing comes twice or is missed."""
    async with Emulator(Options(runs=(RunOption(id="run", script=RunScript(rate=500)),))) as emulator:
        live = Client(emulator, client.session)
        got, cursor = [], ""
        for number in range(40):
            if number == 20:
                emulator.restart(memory=False)
                with contextlib.suppress(*BROKEN):  # the connection that the client kept
                    await poll(live)
            answer = await poll(live, timeoutMs=5000, cursor=cursor)
            got.append(answer["event"]["id"])
            cursor = answer["cursor"]
        seen = await live_ids(live, V2, 40)
        assert got == seen[:40]
        emulator.restart(memory=False)
        assert (await live_ids(live, f"{V2}?cursor={seen[39]}", 1))[0] == emulator.runs.get("run").event(40).id


# -- named events


@pytest.mark.parametrize(("fault", "left"), [("hang", 1), ("bad-json", 0)])
async def test_more_faults_of_named_events(client: Client, fault: str, left: int) -> None:
    """A wait that hangs gives its signal back when it is cut; half an answer has taken it."""
    client.emulator.faults.set(wait_fault=fault, wait_fault_after=0.01)
    client.emulator.signal("otp", {"code": "1"})
    waiting = asyncio.create_task(client.ask("POST", "/v1/events/otp/wait", json={"timeoutMs": 0}))
    if fault == "hang":
        await until(lambda: client.emulator.open_waits == 1, "the wait is under way")
        client.emulator.cut()
    with pytest.raises((ValueError, *BROKEN)):
        await waiting
    await until(lambda: client.emulator.open_waits == 0, "the wait is over")
    assert client.emulator.named_events["remembered"] == ({"otp": 1} if left else {})


# -- what is there without being asked for


def test_every_call_can_be_named() -> None:
    """The description of the faults names every call, and unknown names and versions are refused."""
    for call in CALLS:
        assert call in (FaultSettings.__doc__ or "")
    for name, value in (
        ("wrong_generation", ("v",)),
        ("calls", ("wait",)),
        ("expired_status", 200),
        ("expired_cursors", -1),
        ("frames_after_end", 1001),
    ):
        with pytest.raises(ValueError, match=name):
            FaultSettings(**{name: value})  # type: ignore[arg-type]


async def test_started_without_options(client: Client) -> None:
    """Without a scenario there is a live run that is listed, an operation and an invocation, and signals are kept."""
    async with Emulator() as emulator:
        bare = Client(emulator, client.session)
        (run,) = (await bare.ask("GET", "/v1/runs"))[1]["data"]
        assert (run["id"], run["status"]) == ("run_demo", "active")
        assert len(await live_ids(bare, f"/v2/runs/{run['id']}/events/stream", 2)) == 2
        for noun, id_ in (("operation", "op_demo"), ("invocation", "inv_demo")):
            assert (await bare.ask("GET", f"/v1/{noun}s/{id_}"))[1]["status"] == "queued"
        await bare.ask("POST", "/v1/events/otp", json={"data": {"code": 1}})
        assert (await bare.ask("POST", "/v1/events/otp/wait", json={"timeoutMs": 0}))[1] == {"data": {"code": 1}}


async def test_scenario_of_work(tmp_path: Any) -> None:
    """A scenario file has operations and invocations, by script or by hand, and faults that are true or a number."""
    file = tmp_path / "s.toml"
    file.write_text(
        '[[operations]]\nid = "a"\nsteps = 2\nending = "failed"\n[[invocations]]\nid = "b"\nscript = false\n'
        "[faults]\nexpired_cursors = 3\n"
    )
    options = load(file)
    assert options.operations == (WorkOption(id="a", script=WorkScript(steps=2, ending="failed")),)
    assert options.invocations == (WorkOption(id="b", script=None),)
    assert options.faults.expired_cursors == 3
    for text, said in (
        ("[[operations]]\nsteps = 2", r"operations\[0\].id: must be a text"),
        ('[[operations]]\nid = "a"\nsteps = 0', r"operations\[0\]: steps = 0"),
        ('[[operations]]\nid = "a"\nending = "well"', r'ending: must be one of "succeeded"'),
        ('[[operations]]\nid = "a"\n[[operations]]\nid = "a"', "operations: a is there twice"),
        ('[faults]\nexpired_cursors = "x"', "expired_cursors: must be true, false or a whole number"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=said):
            load(file)
