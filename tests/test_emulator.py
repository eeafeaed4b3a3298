"""The emulator does what the documents say, and each of its faults does what its description says."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import aiohttp
import pytest

from bridge.emulator import Emulator, FaultSettings, Options, RunOption, RunScript

KEYS = {"Authorization": "Bearer k", "anchor-api-key": "k"}
BURST = RunScript(rate=0, events=30)
STREAM = "/v2/runs/{}/events/stream"
# What the RunEvents of June 2026 (id, time, type) and of late July require, in one.
ALWAYS = {"id", "time", "type", "timestamp", "runId", "source", "pageId", "spanId", "data"}
V2, V1 = STREAM.format("run"), "/v1/runs/run/events/stream"


class Frame(NamedTuple):
    """A frame taken apart by a reader that knows nothing of the bridge's."""

    event: str
    id: str | None
    data: str
    raw: str

    def json(self) -> Any:
        """The data as JSON."""
        return json.loads(self.data)


@dataclass
class Reading:
    """What a stream gave, and how it ended: eof, broken, or left (the reader had enough)."""

    raw: bytes
    ending: str

    def frames(self) -> list[Frame]:
        """All whole frames, comments too."""
        return [_frame(text) for text in self.raw.decode().replace("\r\n", "\n").split("\n\n")[:-1]]

    def events(self) -> list[Any]:
        """The data of all `run.event` frames."""
        return [frame.json() for frame in self.frames() if frame.event == "run.event"]

    def rest(self) -> bytes:
        """What follows the last whole frame."""
        return self.raw.rpartition(b"\n\n")[2]

    def ids(self) -> list[str]:
        """The id lines."""
        return [frame.id for frame in self.frames() if frame.id]


def _frame(text: str) -> Frame:
    lines = [line.partition(": ") for line in text.split("\n")]
    found = {name: value for name, _, value in lines}
    data = "\n".join(value for name, _, value in lines if name == "data")
    return Frame(found.get("event", ""), found.get("id"), data, text)


class Client:
    """A raw HTTP client of one emulator."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session

    async def read(self, path: str, enough: Callable[[Reading], bool] = lambda _: False, **options: Any) -> Reading:
        """Reads a stream to its end, or until it is enough; ten seconds at most."""
        reading = Reading(b"", "eof")
        async with asyncio.timeout(10), self.session.get(self.emulator.url + path, **options) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            try:
                async for chunk in response.content.iter_any():
                    reading.raw += chunk
                    if enough(reading):
                        reading.ending = "left"
                        break
            except (aiohttp.ClientError, ConnectionError):
                reading.ending = "broken"
        return reading

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any, Any]:
        """Status, body (JSON where it is) and headers of any other call."""
        async with asyncio.timeout(10), self.session.request(method, self.emulator.url + path, **options) as answer:
            text = await answer.text()
            body = json.loads(text) if answer.content_type == "application/json" else text
            return answer.status, body, answer.headers


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """An emulator with one run of thirty events, called "run", and a client that has the keys."""
    options = Options(runs=(RunOption(id="run", script=BURST),), heartbeat=0.05, keep=100, remember=3)
    async with Emulator(options) as emulator, aiohttp.ClientSession(headers=KEYS) as session:
        yield Client(emulator, session)


async def until(met: Callable[[], bool], what: str) -> None:
    """Waits for a condition; fails with its description after ten seconds."""
    try:
        async with asyncio.timeout(10):
            while not met():
                await asyncio.sleep(0.002)
    except TimeoutError:
        pytest.fail(f"not within ten seconds: {what}")


def frames_seen(count: int) -> Callable[[Reading], bool]:
    """Enough for a reader that wants so many frames."""
    return lambda reading: len(reading.frames()) >= count


# -- the stream


async def test_stream_is_framed_as_documented(client: Client) -> None:
    """Each event is a `run.event` frame whose id line is its id; `run.ended` has none and is the last."""
    reading = await client.read(V2)
    *events, last = reading.frames()
    assert reading.ending == "eof"
    assert {frame.event for frame in events} == {"run.event"}
    assert [frame.id for frame in events] == [frame.json()["id"] for frame in events]
    assert len(set(reading.ids())) == 30
    assert (last.event, last.id) == ("run.ended", None)
    assert last.json() == {
        "runId": "run",
        "status": "stopped",
        "finishedAt": "2026-06-25T12:00:00.029Z",
        "failure": None,
    }


@pytest.mark.parametrize("version", [V1, V2])
async def test_stream_resumes_right_after_the_cursor(client: Client, version: str) -> None:
    """The query's cursor, or else Last-Event-ID, is the last event that is not sent again."""
    ids = (await client.read(version)).ids()
    header = {"Last-Event-ID": ids[20]}
    assert (await client.read(f"{version}?cursor={ids[9]}")).ids() == ids[10:]
    assert (await client.read(version, headers=header)).ids() == ids[21:]
    assert (await client.read(f"{version}?cursor={ids[9]}", headers=header)).ids() == ids[10:]
    assert [frame.event for frame in (await client.read(f"{version}?cursor={ids[-1]}")).frames()] == ["run.ended"]


async def test_filters_are_those_of_the_version(client: Client) -> None:
    """A repeated key means any of its values, different keys mean all of them; the other version's keys do nothing."""
    everything = (await client.read(V2)).events()

    async def matches(path: str, **wanted: list[str]) -> None:
        query = [(name, value) for name, values in wanted.items() for value in values]
        got = (await client.read(path, params=query)).events()
        fit = [event for event in everything if all(event.get(name) in values for name, values in wanted.items())]
        assert 0 < len(fit) < 30
        assert got == fit

    connection = next(event["connectionId"] for event in everything if "connectionId" in event)
    await matches(V2, type=["navigation", "dialog"])
    await matches(V2, category=["network", "captcha"])
    await matches(V2, category=["network"], type=["network.failed"])
    await matches(V2, connectionId=[connection])
    await matches(V1, status=["failed", "received"])
    await matches(V1, pageId=[everything[1]["pageId"]], contextId=[everything[1]["contextId"]])
    assert (await client.read(f"{V1}?category=network&limit=3")).raw == (await client.read(V2)).raw


async def test_events_are_those_of_a_browser_run(client: Client) -> None:
    """A run starts and stops, and in between has a dozen kinds of events in many categories, in order of time."""
    events = (await client.read(V2)).events()
    assert (events[0]["name"], events[-1]["name"]) == ("runtime.started", "runtime.stopped")
    assert len({event["type"] for event in events}) >= 12
    assert {event["category"] for event in events} >= {"runtime", "command", "network", "console", "file", "captcha"}
    assert {event["runId"] for event in events} == {"run"}
    assert all(isinstance(event["data"], dict) and event["status"] and event["name"] for event in events)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]) for event in events)
    for ordered in ([event["time"] for event in events], [event["id"] for event in events]):
        assert ordered == sorted(ordered)


async def test_a_restart_gives_the_same_bytes(client: Client) -> None:
    """Another emulator with the same seed tells the same run to the byte; another seed has no id in common."""
    first = await client.read(V2)
    for seed, same in ((0, True), (1, False)):
        script = RunScript(rate=0, events=30, seed=seed)
        async with Emulator(Options(runs=(RunOption(id="run", script=script),))) as again:
            second = await Client(again, client.session).read(V2)
            assert (second.raw == first.raw, bool(set(second.ids()) & set(first.ids()))) == (same, same)


async def test_a_live_run_goes_on_from_a_cursor_of_an_earlier_life(client: Client) -> None:
    """A cursor that lies ahead of a restarted run takes the run there, and the next event has the time of now."""
    run = client.emulator.runs.create("live", RunScript(rate=50))
    ahead = run.event(0).id[:-4] + "5000"
    reading = await client.read(f"/v2/runs/live/events/stream?cursor={ahead}", frames_seen(3))
    assert reading.ids()[0] == ahead[:-4] + "5001"
    assert abs(run.created + 5001 / 50 - time.time()) < 30


async def test_events_come_at_their_rate(client: Client) -> None:
    """Event n is not sent before n / rate seconds have passed."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    client.emulator.runs.create("live", RunScript(rate=200))
    await client.read(STREAM.format("live"), frames_seen(21))
    assert loop.time() - start >= 20 / 200 - 0.002


async def test_payload_pads_the_data(client: Client) -> None:
    """With `payload`, the data of every event has at least so many bytes of JSON."""
    client.emulator.runs.create("large", RunScript(rate=0, events=40, payload=5000))
    sizes = [len(json.dumps(event["data"])) for event in (await client.read(STREAM.format("large"))).events()]
    assert len(sizes) == 40
    assert 5000 <= min(sizes) <= max(sizes) < 6500


async def test_appended_events_reach_open_streams_unchanged(client: Client) -> None:
    """What is appended goes out as given, the vendor's example and raw frames too; a failed end is told."""
    runs = client.emulator.runs
    runs.create("hand")
    example = b'{"id":"evt_123","runId":"run_123","type":"runtime.lifecycle","status":"completed"}'
    reading = asyncio.create_task(client.read(STREAM.format("hand")))
    await until(lambda: client.emulator.open_streams == 1, "the stream is open")
    runs.append("hand", example)
    runs.append("hand", {"type": "navigation"})
    runs.get("hand").append_raw(b"retry: 10\nevent: weird\ndata: x\n\n")
    runs.append("hand", b'{\n"id": "evt_two_lines"}')
    runs.end("hand", "failed", {"code": "browser.crashed", "message": "gone"})
    frames = [frame for frame in (await reading).frames() if frame.event != "heartbeat"]
    assert (frames[0].id, frames[0].data) == ("evt_123", example.decode())
    assert set(frames[1].json()) == ALWAYS
    assert (frames[2].event, frames[2].id, frames[2].data) == ("weird", None, "x")
    assert frames[3].data == '{\n"id": "evt_two_lines"}'
    assert frames[4].json()["failure"] == {"code": "browser.crashed", "message": "gone"}
    assert (await client.read("/v2/runs/hand/events/stream?cursor=evt_123")).ids()[0] == frames[1].id
    with pytest.raises(ValueError, match="has ended"):
        runs.append("hand", {})


async def test_appended_events_find_their_place_in_a_story(client: Client) -> None:
    """An event appended to a live run stands where it came, and the story goes on after it."""
    told = client.emulator.runs.create("story", RunScript(rate=0, seed=7))
    run = client.emulator.runs.create("live", RunScript(rate=200, seed=7))
    place = run.append({"type": "extra"}).index
    types = [event["type"] for event in (await client.read(STREAM.format("live"), frames_seen(place + 9))).events()]
    story = [told.event(number).traits.type for number in range(len(types))]
    assert len(types) >= place + 9 > 9
    assert types == [*story[:place], "extra", *story[place:-1]]


@pytest.mark.parametrize(
    ("style", "text"), [("event", "event: heartbeat\ndata: {"), ("comment", ": heartbeat"), ("none", None)]
)
async def test_a_quiet_stream_gets_heartbeats(client: Client, style: str, text: str | None) -> None:
    """After the interval without a frame there is a heartbeat: an event without an id, a comment, or none at all."""
    client.emulator.faults.set(heartbeats=style)
    run = client.emulator.runs.create("quiet")
    reading = asyncio.create_task(client.read(STREAM.format("quiet"), lambda read: read.raw.count(b"beat") > 2))
    await until(lambda: client.emulator.open_streams == 1, "the stream is open")
    if text is None:
        with pytest.raises(TimeoutError):  # four intervals
            await asyncio.wait_for(asyncio.shield(reading), 0.2)
        run.end()
        assert [frame.event for frame in (await reading).frames()] == ["run.ended"]
    else:
        frames = (await reading).frames()
        assert all(frame.raw.startswith(text) and frame.id is None for frame in frames)


# -- the other calls


async def test_unknown_things_are_told_apart(client: Client) -> None:
    """No key, no such run, no such cursor and no such route have each their own status and code."""
    nobody = {"Authorization": "Bearer "}
    for method, path, headers, status, code in (
        ("GET", V2, nobody, 401, "auth.required"),
        ("GET", "/v2/runs/no/events/stream", {}, 404, "run.not_found"),
        ("GET", "/v1/runs/no", {}, 404, "run.not_found"),
        ("GET", f"{V2}?cursor=evt_1", {}, 400, "pagination.cursor_invalid"),
        ("GET", "/v1/runs?limit=0", {}, 400, "request.invalid"),
        ("GET", "/v3/runs/run/events/stream", {}, 404, "route.not_found"),
        ("DELETE", "/v1/runs/run", {}, 404, "route.not_found"),
        ("POST", "/v1/events/two/segments", {}, 404, "route.not_found"),
    ):
        got, body, answered = await client.ask(method, path, headers=headers)
        assert (got, body["code"]) == (status, code), path
        assert body["reasonClass"] in {"unauthorized", "not_found", "invalid_input"}
        assert isinstance(body["error"], str)
        assert body["requestId"] == answered["x-request-id"]


async def test_what_is_forgotten_is_said(client: Client) -> None:
    """A run keeps the last `keep` events; a cursor before them is refused, and no cursor starts at the oldest."""
    run = client.emulator.runs.create("long")
    ids = [run.append({}).id for _ in range(130)]
    assert (await client.ask("GET", f"/v2/runs/long/events/stream?cursor={ids[5]}"))[0] == 400
    for path in ("", f"?cursor={ids[29]}"):
        assert (await client.read(f"/v2/runs/long/events/stream{path}", frames_seen(100))).ids() == ids[30:]


# -- faults


@pytest.mark.parametrize(("fault", "sent"), [({"cut_after": 7}, 7), ({"cut_after": 30}, 30)])
async def test_cut_after(client: Client, fault: dict[str, Any], sent: int) -> None:
    """After N frames comes half a frame and a reset connection, the last frame of a run not excepted."""
    whole = (await client.read(V2)).raw.split(b"\n\n")
    client.emulator.faults.set(**fault)
    reading = await client.read(V2)
    assert (reading.ending, len(reading.frames())) == ("broken", sent)
    assert reading.rest() == (whole[sent] + b"\n\n")[: len(reading.rest())]
    assert 0 < len(reading.rest()) < len(whole[sent])


async def test_cut_by_chance_is_seeded(client: Client) -> None:
    """Every connection breaks somewhere, the same in each emulator of a seed, and resuming gets everything."""
    options = Options(runs=(RunOption(id="run", script=BURST),), faults=FaultSettings(cut_chance=0.2))
    told: list[list[list[str]]] = []
    for _ in range(2):
        async with Emulator(options) as emulator:
            resuming, cursor = Client(emulator, client.session), ""
            got: list[Reading] = []
            while not got or got[-1].ending == "broken":
                got.append(await resuming.read(f"{V2}?cursor={cursor}"))
                cursor = next(reversed(got[-1].ids()), cursor)
            told.append([reading.ids() for reading in got])
    assert told[0] == told[1]
    assert len(told[0]) > 2
    assert [id_ for ids in told[0] for id_ in ids] == (await client.read(V2)).ids()


async def test_close_every(client: Client) -> None:
    """After N frames the response ends as if all were well."""
    client.emulator.faults.set(close_every=7)
    reading = await client.read(V2)
    assert (reading.ending, len(reading.frames()), reading.rest()) == ("eof", 7, b"")


async def test_hang_after(client: Client) -> None:
    """After N frames nothing more comes, no heartbeat either, and the connection stays open."""
    client.emulator.faults.set(hang_after=7)
    reading = asyncio.create_task(client.read(V2))
    with pytest.raises(TimeoutError):  # four heartbeat intervals
        await asyncio.wait_for(asyncio.shield(reading), 0.2)
    assert client.emulator.open_streams == 1
    assert client.emulator.cut() == 1
    assert ((await reading).ending, len((await reading).frames())) == ("broken", 7)


async def test_replay_and_cursors_ignored(client: Client) -> None:
    """A resume may send the last K events again, or everything."""
    ids = (await client.read(V2)).ids()
    client.emulator.faults.set(replay_last=3)
    assert (await client.read(f"{V2}?cursor={ids[9]}")).ids() == ids[7:]
    assert (await client.read(V2)).ids() == ids
    client.emulator.faults.set(ignore_cursor=True)
    assert (await client.read(f"{V2}?cursor={ids[9]}")).ids() == ids


async def test_frame_faults(client: Client) -> None:
    """The frame at an index is spoiled as told, in each connection alike, and its neighbours are whole."""
    whole = (await client.read(V2)).frames()
    client.emulator.faults.set(bad_json_at=(2,), no_id_line_at=(3,), no_id_at=(4,), huge_at=(5,), huge_bytes=2_000_000)
    reading = await client.read(V2)
    frames = reading.frames()
    assert (frames[2].id, whole[2].data.startswith(frames[2].data)) == (whole[2].id, True)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        frames[2].json()
    assert (frames[3].id, frames[3].data) == (None, whole[3].data)
    assert (frames[4].id, "id" in frames[4].json()) == (None, False)
    assert len(frames[5].raw) + len("\n\n") == 2_000_000
    assert frames[5].json()["data"] == whole[5].json()["data"]
    assert [frame.raw for frame in frames[:2] + frames[6:]] == [frame.raw for frame in whole[:2] + whole[6:]]
    assert (await client.read(V2)).raw == reading.raw


async def test_duplicate_and_crlf(client: Client) -> None:
    """Every event frame comes twice; every line ends with CR LF."""
    ids = (await client.read(V2)).ids()
    client.emulator.faults.set(duplicate=True, crlf=True)
    reading = await client.read(V2)
    assert reading.ids() == [id_ for id_ in ids for _ in range(2)]
    assert reading.raw.count(b"\r\n") == reading.raw.count(b"\n") == reading.raw.count(b"\r")


def test_every_fault_is_explained_and_checked() -> None:
    """The description names every fault, and values without a meaning are refused by name."""
    for each in fields(FaultSettings):
        assert each.name in (FaultSettings.__doc__ or "")
    wrong = {"cut_after": -1, "cut_chance": 1.0, "status": 99, "redirect_status": 200, "calls": ("no",)}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            FaultSettings(**{name: value})  # type: ignore[arg-type]
