"""Today's API in the emulator: runs, and the stream of one run's events and trace, which late July 2026 had too."""

import asyncio

import aiohttp
import pytest
from test_emulator import KEYS, Client, until
from test_emulator_today import client, code_of, sent

from bridge.emulator import RunScript

__all__ = ["client"]  # a fixture


async def test_runs_in_todays_shape(client: Client) -> None:
    """The version header decides between two shapes of the same runs; a wait ends when the run does."""
    client.emulator.runs.create("live", RunScript(rate=1))
    runs = (await client.ask("GET", "/v1/runs?order=asc&limit=2"))[1]
    assert (runs["hasMore"], [run["id"] for run in runs["data"]]) == (True, ["run", "hand"])
    after = (await client.ask("GET", f"/v1/runs?order=asc&limit=2&cursor={runs['nextCursor']}"))[1]
    assert ([run["id"] for run in after["data"]], after["nextCursor"]) == (["live"], None)
    assert [run["id"] for run in (await client.ask("GET", "/v1/runs?status=ended&status=failed"))[1]["data"]] == ["run"]
    browser = runs["data"][1]["resourceId"]
    assert [run["id"] for run in (await client.ask("GET", f"/v1/runs?resourceId={browser}"))[1]["data"]] == ["hand"]
    waiting = asyncio.create_task(client.ask("GET", "/v1/runs/hand?wait=30"))
    await until(lambda: client.emulator.counts["run"] == 1, "the wait has come in")
    client.emulator.runs.end("hand", "failed", {"code": "browser.crashed", "message": "gone"})
    ended = (await waiting)[1]
    assert (ended["status"], ended["endReason"], ended["object"]) == ("failed", "browser.crashed", "run")
    assert (await client.ask("GET", "/v1/runs/live?wait=0"))[1]["status"] == "active"
    async with aiohttp.ClientSession(headers=KEYS) as older:
        assert (await Client(client.emulator, older).ask("GET", "/v1/runs/hand"))[1]["status"] == "failed"
        assert "hasMore" not in (await Client(client.emulator, older).ask("GET", "/v1/runs"))[1]


async def test_run_stream_resumes_at_any_frame(client: Client) -> None:
    """Each frame has an id of its own, and going on after it gives the rest; `include` leaves the other part out."""
    path = "/v1/runs/run/stream"
    reading = await client.read(path)
    ids, frames = reading.ids(), [frame.json() for frame in reading.frames()]
    assert reading.ending == "eof"
    assert [frame["id"] for frame in frames] == ids == sorted(set(ids))
    assert all(set(frame) >= {"id", "runId", "timestamp", "type"} for frame in frames)
    for place, id_ in enumerate(ids):
        assert (await client.read(f"{path}?after={id_}")).ids() == ids[place + 1 :]
    assert (await client.read(path, headers={"Last-Event-ID": ids[4]})).ids() == ids[5:]
    parts = {part: (await client.read(f"{path}?include={part}")).ids() for part in ("trace", "events")}
    assert sorted({*parts["trace"], *parts["events"]}) == ids
    assert (await client.read(f"{path}?include=trace&include=events")).ids() == ids
    other = ids[3].replace(client.emulator.runs.get("run").code, client.emulator.runs.get("hand").code)
    for bad in ("evt_1", other, ids[-1].replace("30", "31")):
        assert await code_of(client, f"{path}?after={bad}") == (400, "pagination.cursor_invalid")


async def test_run_stream_is_live(client: Client) -> None:
    """Spans that were fed, changes of control in their places, comments while it is quiet, and the end."""
    emulator = client.emulator
    reading = asyncio.create_task(client.read("/v1/runs/hand/stream"))
    await until(lambda: emulator.open_streams == 1, "the stream is open")
    emulator.runs.append("hand", {"type": "connection.command.started", "commandId": "c", "name": "page.goto"})
    emulator.change_control("hand", "human", "takeover", "somebody")
    emulator.change_control("hand", "agent")
    emulator.runs.append("hand", {"type": "connection.command.failed", "commandId": "c", "data": {"durationMs": 5}})
    with pytest.raises(ValueError, match="holder is"):
        emulator.change_control("hand", "nobody")
    await until(lambda: emulator.runs.get("hand").read_to == 2, "both events are out")
    emulator.runs.end("hand")
    frames = [frame.json() for frame in sent(await reading)]
    changes = ["control.changed"] * 2
    kinds = ["span.started", "runtime.event", *changes, "runtime.event", "span.completed", "run.ended"]
    assert [frame["type"] for frame in frames] == kinds
    spans = [frame["span"] for frame in frames if "span" in frame]
    assert [(span["status"], span["durationMs"]) for span in spans] == [("running", None), ("failed", 5)]
    assert len({span["id"] for span in spans} | {frame["event"]["spanId"] for frame in frames if "event" in frame}) == 1
    assert [(frame["holder"], frame["epoch"]) for frame in frames if "holder" in frame] == [("human", 2), ("agent", 3)]
    assert (await client.ask("GET", "/v1/runs/hand"))[1]["control"]["since"] == frames[3]["timestamp"]
    async with aiohttp.ClientSession(headers=KEYS) as older:
        got = await Client(emulator, older).read("/v1/runs/hand/stream")
    assert [frame.json()["type"] for frame in sent(got)] == [kind for kind in kinds if kind != "control.changed"]


async def test_run_stream_faults(client: Client) -> None:
    """The end may be missing or early, and the connection breaks and lies as on the other streams."""
    path, faults = "/v1/runs/run/stream", client.emulator.faults
    ids = (await client.read(path)).ids()
    faults.set(end_without_run_ended=True)
    assert (await client.read(path)).ids() == ids[:-1]
    faults.clear()
    faults.set(frames_after_end=2)
    late = (await client.read(path)).ids()
    assert late[: len(ids)] == ids
    assert (len(late), len((await client.read(f"{path}?after={ids[-1]}")).ids())) == (len(ids) + 2, 3)
    faults.clear()
    faults.set(cut_after=5, replay_last=2)
    reading = await client.read(f"{path}?include=events&after={ids[-5]}")
    assert (reading.ending, len(reading.ids())) == ("broken", 5)
