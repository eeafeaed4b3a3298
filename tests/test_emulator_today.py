"""Today's API in the emulator: the account's Events in commit order, and the list of them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from test_emulator import KEYS, Client, Frame, Reading, until

from bridge.emulator import Emulator, Options, RunOption, RunScript

VERSION = {"BCTRL-Version": "2026-10-03"}
ACCOUNT = "/v1/events/stream"
BURST = RunScript(rate=0, events=30)
REQUIRED = {
    *("actor", "category", "channel", "createdAt", "data", "id", "object"),
    *("outcome", "seq", "source", "time", "timestamp", "type", "updatedAt"),
}
NULLABLE = {
    *("conversationId", "pageId", "runId", "runtimeId", "sandboxId"),
    *("spaceId", "spanId", "target", "taskId", "traceId"),
}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """An emulator with a run of thirty events, "run", one that is fed, "hand", and a client of today's version."""
    runs = (RunOption(id="run", script=BURST), RunOption(id="hand", script=None))
    options = Options(runs=runs, heartbeat=0.02, keep=2000)
    async with Emulator(options) as emulator, aiohttp.ClientSession(headers=KEYS | VERSION) as session:
        yield Client(emulator, session)


def ids_seen(count: int) -> Callable[[Reading], bool]:
    """Enough for a reader that wants so many frames with an id."""
    return lambda reading: reading.raw.count(b"\n\n") >= count and len(reading.ids()) >= count


def sent(reading: Reading) -> list[Frame]:
    """The frames that are no comments."""
    return [frame for frame in reading.frames() if not frame.raw.startswith(":")]


async def listed(client: Client, query: str = "", limit: int = 7) -> list[Any]:
    """All Events of the list, page by page."""
    found: list[Any] = []
    cursor = ""
    while True:
        status, page, _ = await client.ask("GET", f"/v1/events?limit={limit}&{query}{cursor}")
        assert (status, set(page)) == (200, {"data", "hasMore", "nextCursor"})
        assert page["hasMore"] == (page["nextCursor"] is not None)
        found += page["data"]
        if not page["hasMore"]:
            return found
        assert page["nextCursor"] not in {event["id"] for event in found}
        cursor = f"&cursor={page['nextCursor']}"


async def ids_of(client: Client, query: str = "") -> list[str]:
    """The ids of the list."""
    return [event["id"] for event in await listed(client, query, 500)]


async def code_of(client: Client, path: str, **options: Any) -> tuple[int, str]:
    """Status and code of a refusal in today's shape."""
    status, body, _ = await client.ask("GET", path, **options)
    return status, body["error"]["code"]


# -- Events, listed


async def test_an_event_has_every_field(client: Client) -> None:
    """Each Event has the required fields, the ids that may be null, and the id and data of the older APIs."""
    events = await listed(client, "order=asc&run=run")
    older = (await client.read("/v2/runs/run/events/stream")).events()
    assert all(set(event) == REQUIRED | NULLABLE for event in events)
    assert [(event["id"], event["data"], event["time"]) for event in events] == [
        (event["id"], event["data"], event["time"]) for event in older
    ]
    assert [event["seq"] for event in events] == list(range(1, 31))
    assert {event["object"] for event in events} == {"event"}
    assert {event["category"] for event in events} == {
        "lifecycle",
        "connection",
        "page",
        "network",
        "console",
        "captcha",
    }
    assert (await client.ask("GET", f"/v1/events/{events[5]['id']}"))[1] == events[5]
    assert await code_of(client, "/v1/events/evt_no") == (404, "event.not_found")


async def test_pages_meet(client: Client) -> None:
    """Every Event is on one page, in the order of createdAt and id, the newest first unless asked otherwise."""
    live = client.emulator.runs.create("live", RunScript(rate=500, events=40))
    await until(lambda: live.status == "stopped", "the live run is over")
    ascending = await listed(client, "order=asc")
    keys = [(event["createdAt"], event["id"]) for event in ascending]
    assert len(keys) == 70
    assert keys == sorted(keys)
    assert await listed(client) == ascending[::-1]


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("category=page&category=captcha", lambda event: event["category"] in ("page", "captcha")),
        ("type=navigation&type=dialog", lambda event: event["type"] in ("navigation", "dialog")),
        ("outcome=failed", lambda event: event["outcome"] == "failed"),
        ("channel=api&channel=files", lambda event: event["channel"] in ("api", "files")),
        ("actorType=platform", lambda event: event["actor"]["type"] == "platform"),
        ("actor=api_key_local", lambda event: event["actor"]["id"] == "api_key_local"),
        ("agent=agt_1", lambda event: event["actor"]["id"] == "agt_1"),
        ("browser=brw_1", lambda event: event["runtimeId"] == "brw_1"),
        ("sandbox=sbx_1", lambda event: event["sandboxId"] == "sbx_1"),
        ("task=task_1", lambda event: event["taskId"] == "task_1"),
        ("conversation=conv_1", lambda event: event["conversationId"] == "conv_1"),
        ("run=hand", lambda event: event["runId"] == "hand"),
        ("run=run_elsewhere", lambda event: event["runId"] == "run_elsewhere"),
        ("from=2026-06-25T12:00:00.010Z&to=2026-06-25T14:00:00.020%2B02:00", lambda event: 11 <= event["seq"] <= 20),
    ],
)
async def test_filters(client: Client, query: str, fits: Callable[[Any], bool]) -> None:
    """Each filter leaves exactly the Events that fit, in the list and on the stream alike."""
    fed: list[dict[str, object]] = [
        {"type": "message.created", "conversationId": "conv_1", "runtimeId": "brw_1", "runId": "run_elsewhere"},
        {"type": "task.awaiting_input", "taskId": "task_1", "actor": {"type": "agent", "id": "agt_1", "name": None}},
        {"type": "process.output", "sandboxId": "sbx_1", "category": "machine"},
    ]
    client.emulator.runs.append("hand", {"type": "captcha.solve.failed", "category": "captcha", "status": "failed"})
    (first, *_) = [client.emulator.account.append(event).id for event in fed]
    everything = await listed(client, "order=asc")
    wanted = [event["id"] for event in everything if fits(event)]
    if "from" in query:
        wanted = [event["id"] for event in everything if event["runId"] == "run" and fits(event)]
    assert 0 < len(wanted) < len(everything)
    assert await ids_of(client, f"order=asc&{query}") == wanted
    client.emulator.faults.set(ignore_cursor=True)
    streamed = await client.read(f"{ACCOUNT}?{query}&after={first}", ids_seen(len(wanted)))
    assert sorted(streamed.ids()) == sorted(wanted)


async def test_bad_queries_are_explained(client: Client) -> None:
    """An unknown cursor, one of another order, and a limit, order, time or wait that is none: 400 in today's shape."""
    cursor = (await client.ask("GET", "/v1/events?limit=3"))[1]["nextCursor"]
    (first, *_) = await ids_of(client)
    for query in (f"cursor={cursor}&order=asc", "cursor=cur_bm8", f"cursor={first}", f"cursor={cursor}A"):
        assert await code_of(client, f"/v1/events?{query}") == (400, "pagination.cursor_invalid")
    for query in ("limit=0", "limit=x", "order=up", "from=soon"):
        assert await code_of(client, f"/v1/events?{query}") == (400, "request.invalid")
    for path in ("/v1/runs/run?wait=61", "/v1/runs/run/stream?include=all", f"{ACCOUNT}?to=x"):
        assert await code_of(client, path) == (400, "request.invalid")


# -- the account's stream


async def test_the_stream_begins_now_and_never_ends(client: Client) -> None:
    """Without `after` comes what is committed from now on; Events and comments and nothing else, whatever happens."""
    hand = client.emulator.runs.get("hand")
    hand.append({"type": "before"})
    await listed(client)  # what is told as fast as it is read has been read
    client.emulator.faults.set(heartbeats="event", frames_after_end=2)
    reading = asyncio.create_task(
        client.read(ACCOUNT, lambda got: got.raw.count(b"heartbeat") > 2 and len(got.ids()) > 1)
    )
    await until(lambda: client.emulator.open_streams == 1, "the stream is open")
    hand.append({"type": "navigation", "category": "browser"})
    hand.append_raw(b"event: heartbeat\ndata: {}\n\n")
    hand.end("failed")
    client.emulator.account.append({"type": "spending_cap.reached", "runId": None})
    got = await reading
    assert got.ending == "left"
    assert {frame.raw for frame in got.frames() if frame not in sent(got)} == {": heartbeat"}
    events = [frame.json() for frame in sent(got)]
    assert [(frame.id, frame.event) for frame in sent(got)] == [(event["id"], event["type"]) for event in events]
    assert [event["type"] for event in events] == ["navigation", "spending_cap.reached"]
    assert all(set(event) == REQUIRED | NULLABLE for event in events)


async def test_commit_order_is_not_creation_order(client: Client) -> None:
    """A late Event comes last on the stream and in its own place in the list; a resume after it leaves no gap."""
    account, hand = client.emulator.account, client.emulator.runs.get("hand")
    first = hand.append({"type": "a"}).id
    late = account.append({"type": "late", "createdAt": "2026-01-01T00:00:00Z", "custom": 1}).id
    last = hand.append({"type": "b"}).id
    assert (await client.read(f"{ACCOUNT}?after={first}&type=late&type=b", ids_seen(2))).ids() == [late, last]
    assert (await client.read(f"{ACCOUNT}?after={late}&type=b", ids_seen(1))).ids() == [last]
    order = [id_ for id_ in await ids_of(client, "order=asc") if id_ in (first, late, last)]
    assert order == [late, first, last]
    event = (await client.ask("GET", f"/v1/events/{late}"))[1]
    assert (event["createdAt"], event["time"], event["custom"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 1)


@pytest.mark.parametrize("by", ["after", "header"])
async def test_a_resume_leaves_no_gap(client: Client, by: str) -> None:
    """Runs that live at once beside one that is told as it is read: a resume goes on after that very Event."""
    start = client.emulator.account.append({"type": "extra"}).id
    for name in ("one", "two"):
        client.emulator.runs.create(name, RunScript(rate=400, events=150))
    whole = await client.read(f"{ACCOUNT}?after={start}", ids_seen(330))
    assert len(set(whole.ids())) == 330
    for place in (0, 17, 200, 328):
        id_ = whole.ids()[place]
        query, headers = (f"?after={id_}", {}) if by == "after" else ("", {"Last-Event-ID": id_})
        rest = await client.read(f"{ACCOUNT}{query}", ids_seen(329 - place), headers=headers)
        assert rest.ids() == whole.ids()[place + 1 :]
    assert await code_of(client, f"{ACCOUNT}?after=evt_unknown") == (400, "pagination.cursor_invalid")


async def test_a_restart_that_remembers_nothing_gives_the_same_order(client: Client) -> None:
    """The runs that are there from the start interleave alike, and a resume goes on where the earlier life was."""
    runs = tuple(RunOption(id=f"r{rate}", script=RunScript(rate=rate)) for rate in (70, 110, 310))
    async with Emulator(Options(runs=runs)) as emulator:
        first = Client(emulator, client.session)
        ids = (await first.read(ACCOUNT, ids_seen(60))).ids()
        forgotten = emulator.account.append({"type": "extra"}).id
        emulator.restart(memory=False)
        assert emulator.account.append({"type": "extra"}).id != forgotten
        assert await code_of(first, f"{ACCOUNT}?after={forgotten}") == (400, "pagination.cursor_invalid")
        assert (await first.read(f"{ACCOUNT}?after={ids[9]}", ids_seen(50))).ids()[:50] == ids[10:60]
        assert (await first.read(f"{ACCOUNT}?after={ids[29]}", ids_seen(30))).ids()[:30] == ids[30:60]
        emulator.restart(memory=True)
        assert (await first.read(f"{ACCOUNT}?after={ids[30]}", ids_seen(20))).ids()[:20] == ids[31:51]


async def test_what_is_kept_is_bounded(client: Client) -> None:
    """After `keep` Events the oldest are forgotten: no longer listed, and no place to go on from."""
    options = Options(runs=(RunOption(id="hand", script=None),), keep=10)
    async with Emulator(options) as emulator:
        small = Client(emulator, client.session)
        ids = [emulator.runs.append("hand", {"n": number}).id for number in range(2000)]
        assert await ids_of(small, "order=asc") == ids[-10:]
        assert await code_of(small, f"{ACCOUNT}?after={ids[-12]}") == (400, "pagination.cursor_invalid")
        assert (await small.read(f"{ACCOUNT}?after={ids[-11]}", ids_seen(10))).ids() == ids[-10:]
        cursor = (await small.ask("GET", "/v1/events?limit=3&order=asc"))[1]["nextCursor"]
        for number in range(20):
            emulator.account.append({"n": number})
        assert await code_of(small, f"/v1/events?order=asc&cursor={cursor}") == (400, "pagination.cursor_invalid")


async def test_an_endless_run_is_committed_in_blocks(client: Client) -> None:
    """A run without a rate goes on for as long as it is read, and no further than a block ahead."""
    run = client.emulator.runs.create("endless", RunScript(rate=0))
    got = await client.read(f"{ACCOUNT}?run=endless", ids_seen(1000))
    assert [client.emulator.runs.get("endless").index_of(id_) for id_ in got.ids()[:1000]] == list(range(1000))
    assert run.read_to < 60_000
    assert len((await client.ask("GET", "/v1/events?run=endless&limit=5"))[1]["data"]) == 5


# -- faults


async def whole(client: Client) -> tuple[str, list[str]]:
    """A place before the thirty Events, and their ids."""
    before = client.emulator.account.append({"type": "before"}).id
    ids = (await client.read(f"{ACCOUNT}?after={before}", ids_seen(30))).ids()
    return f"{ACCOUNT}?after={before}", ids


async def test_account_stream_faults(client: Client) -> None:
    """Cut, close, replay, ignored cursors, duplicates, line ends and a missing event line, as on the older stream."""
    path, ids = await whole(client)
    faults = client.emulator.faults
    for fault, ending in (({"cut_after": 7}, "broken"), ({"close_every": 7}, "eof")):
        faults.set(**fault)
        reading = await client.read(path)
        assert (reading.ending, reading.ids()) == (ending, ids[:7])
        faults.clear()
    faults.set(replay_last=3)
    assert (await client.read(f"{ACCOUNT}?after={ids[9]}", ids_seen(23))).ids() == ids[7:]
    faults.clear()
    faults.set(duplicate=True, no_event_line=True, mixed_ends=True)
    reading = await client.read(path, lambda got: len(got.ids()) >= 60)
    assert reading.ids() == [id_ for id_ in ids for _ in range(2)]
    assert {frame.event for frame in sent(reading)} == {""}
    assert 0 < reading.raw.count(b"\r\n") < reading.raw.count(b"\n")
    faults.clear()
    faults.set(expired_cursors=1)
    assert await code_of(client, path) == (400, "pagination.cursor_invalid")
    assert (await client.read(path, ids_seen(30))).ids() == ids


async def test_single_frames_are_spoiled_where_told(client: Client) -> None:
    """An index is a place in the commit order on the account's stream, and in the run on the run stream."""
    path, ids = await whole(client)
    first = (await client.read(path, ids_seen(30))).frames()
    faults = client.emulator.faults
    faults.set(bad_json_at=(2,), no_id_line_at=(3,), no_id_at=(4,), not_object_at=(5,), huge_at=(6,), huge_bytes=70_000)
    for reading, frames in (
        (await client.read(path, ids_seen(28)), sent),
        (await client.read("/v1/runs/run/stream?include=events"), lambda got: sent(got)[1:]),
    ):
        got = frames(reading)
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            got[1].json()
        assert (got[2].id, "id" in got[2].json()) == (None, True)
        assert (got[3].id, "id" in got[3].json()) == (None, False)
        assert isinstance(got[4].json(), str)
        assert len(got[5].raw) + len("\n\n") == 70_000
    assert [frame.id for frame in first if frame.id] == ids


async def test_control_surface(client: Client) -> None:
    """Another process can commit Events and raw frames, late ones too, and change who has control."""
    ids = (await client.ask("POST", "/_emulator/events", json=[{"type": "a"}, {"id": "evt_x", "seq": 99}]))[1]["ids"]
    assert (await client.ask("GET", "/v1/events/evt_x"))[1]["seq"] == 99
    raw = {"data": b'event: heartbeat\ndata: {"time":1}\n\n', "headers": {"Content-Type": "text/event-stream"}}
    assert (await client.ask("POST", "/_emulator/events", **raw))[0] == 200
    got = await client.read(f"{ACCOUNT}?after={ids[0]}&type=event", lambda got: b"time" in got.raw)
    assert json.loads(sent(got)[-1].data) == {"time": 1}
    changed = await client.ask("POST", "/_emulator/runs/hand/control", json={"holder": "none"})
    assert (changed[1]["epoch"], changed[1]["index"]) == (2, 0)
    for path, body, status in (
        ("events", 3, 400),
        ("events", [3], 400),
        ("runs/hand/control", {}, 400),
        ("runs/no/control", {"holder": "none"}, 404),
    ):
        assert (await client.ask("POST", f"/_emulator/{path}", json=body))[0] == status
