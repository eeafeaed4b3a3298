"""The official SDKs of other versions than the installed ones read the emulator without a complaint of theirs."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from sdks import ANCHOR, LEGACY, TODAY, installed, result_of
from test_emulator import KEYS, Client

from bridge.emulator import Emulator, Options, RunOption, RunScript

RUNS = (
    RunOption(id="run", script=RunScript(rate=0, events=30)),
    RunOption(id="live", script=RunScript(rate=20)),
    RunOption(id="hand", script=None),
)
G4 = {"type", "pageId", "time", "id"}
G5 = {"data", "id", "pageId", "runId", "source", "spanId", "timestamp", "type"}  # "all required"
NOT_FOUND = ["BctrlNotFoundError", None, "run.not_found"]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """An emulator as the scripts expect it, and a client of its own."""
    async with Emulator(Options(runs=RUNS, heartbeat=0.02)) as emulator, aiohttp.ClientSession(headers=KEYS) as session:
        yield Client(emulator, session)


async def told(client: Client) -> list[Any]:
    """The thirty events, as the oldest stream gives them."""
    return (await client.read("/v2/runs/run/events/stream")).events()


@pytest.mark.timeout(240)  # the first run of all installs the SDK
async def test_todays_sdk(client: Client, cache: pytest.Cache) -> None:
    """The SDK 0.3.0 lists, gets and streams Events and runs, resumes, filters, and gets its own typed errors."""
    got = await result_of("sdk_today.py", installed(TODAY, cache), client.emulator.url)
    events = await told(client)
    ids = [event["id"] for event in events]
    assert got["version"] == "0.3.0"
    assert got["ids"] == got["inner"] == ids
    assert got["newest"] == ids[::-1]
    assert got["resumed"] == ids[10:]
    assert (got["types"], got["by_header"]) == (
        ["captcha.solve.started", "captcha.solve.succeeded", "dialog", "navigation"],
        ["console.message"],
    )
    assert [event["data"] for event in got["one"]] == [events[3]["data"]] * 2
    (fed,) = got["fed"]
    assert (fed["type"], fed["data"], fed["object"], fed.get("runId")) == (
        "spending_cap.reached",
        {"n": 1},
        "event",
        None,
    )


@pytest.mark.timeout(240)  # as above
async def test_todays_sdk_follows_a_run(client: Client, cache: pytest.Cache) -> None:
    """Its run stream has spans, changes of control and the end, each frame with an id to go on from."""
    got = await result_of("sdk_today.py", installed(TODAY, cache), client.emulator.url)
    assert got["frames"][-1] == "run.ended"
    assert got["frames"].count("runtime.event") == 30
    assert got["spans"][:3] == [
        ["span.started", "running"],
        ["span.updated", "running"],
        ["span.completed", "succeeded"],
    ]
    assert got["last_event_id"] == got["frame_ids"][21:]
    assert got["after"] == [id_ for id_ in got["frame_ids"][21:] if id_[-2:] in ("70", "99")]
    changed, event, ended = got["hand"]
    assert (changed["holder"], changed["by"], changed["reason"], changed["epoch"]) == (
        "human",
        "somebody",
        "takeover",
        2,
    )
    assert (event["event"]["runId"], ended["status"]) == ("hand", "failed")
    assert (got["runs"], got["waited"]) == (["live"], "active")
    (run,) = got["ended"]
    assert (run["status"], run["control"]["holder"], run["resourceType"]) == ("ended", "agent", "browser")
    assert [(name, status, body["error"]["code"]) for name, status, body in got["errors"]] == [
        ("NotFoundError", 404, "event.not_found"),
        ("BadRequestError", 400, "pagination.cursor_invalid"),
        ("BadRequestError", 400, "pagination.cursor_invalid"),
        ("NotFoundError", 404, "run.not_found"),
        ("NotFoundError", 404, "run.not_found"),
    ]


@pytest.mark.timeout(240)  # as above
@pytest.mark.parametrize("requirement", [LEGACY, TODAY])
async def test_the_older_sdk(client: Client, cache: pytest.Cache, requirement: str) -> None:
    """The SDK 0.1.5, and the older client in 0.3.0: run events and stream, run, and waits that no method reaches."""
    client.emulator.operations.create("op")
    client.emulator.invocations.create("inv")
    got = await result_of("sdk_legacy.py", installed(requirement, cache), client.emulator.url)
    events = await told(client)
    assert got["version"] == requirement.partition("==")[2]
    assert got["listed"] == events
    assert [event["type"] for event in got["filtered"]] == ["navigation", "navigation"]
    inner = [frame["data"]["event"] for frame in got["frames"] if frame["event"] == "runtime.event"]
    assert [(event["id"], event["data"]) for event in inner] == [(event["id"], event["data"]) for event in events]
    assert all(set(event) >= G5 | G4 for event in inner)
    assert all(
        frame["id"] == frame["data"]["id"] != frame["data"].get("event", {}).get("id") for frame in got["frames"]
    )
    assert got["frames"][-1]["data"]["status"] == got["run"]["status"] == "stopped"
    assert [frame for frame in got["frames"][10:] if not frame["event"].startswith("span.")] == got["events"]
    assert {frame["event"] for frame in got["trace"]} == {"span.started", "span.updated", "span.completed", "run.ended"}
    assert (got["first"]["event"]["id"], got["first"]["timedOut"]) == (events[0]["id"], False)
    assert got["waited"]["event"]["type"] == "navigation"
    assert (got["operation"]["operation"]["status"], got["operation"]["timedOutWaiting"]) == ("queued", True)
    assert (got["invocation"]["invocation"]["id"], got["invocation"]["timedOutWaiting"]) == ("inv", True)
    assert got["errors"] == [NOT_FOUND, NOT_FOUND, ["BctrlValidationError", None, "pagination.cursor_invalid"]]


@pytest.mark.timeout(240)  # as above
async def test_an_older_anchorbrowser(client: Client, cache: pytest.Cache) -> None:
    """The SDK 0.11.3, whose methods have other names, signals, waits, and gets the documented 408."""
    got = await result_of("sdk_anchor.py", installed(ANCHOR, cache), client.emulator.url)
    assert got["got"] == {"code": "1"}
    assert (got["version"], got["signaled"]) == ("0.11.3", {"data": {"status": "signaled"}})
    assert (got["late"][0], got["late"][1]["error"]["code"]) == (408, 408)


def test_an_sdk_that_cannot_be_installed(cache: pytest.Cache) -> None:
    """What pip says is in the failure, and nothing half installed is left."""
    with pytest.raises(pytest.fail.Exception, match=r"could not install bctrl==0\.0\.0\.dev9999"):
        installed("bctrl==0.0.0.dev9999", cache)
    assert not [path for path in cache.mkdir("sdks").iterdir() if "==" not in path.name or "dev9999" in path.name]
