"""Holds the control API to what it says of sources, destinations and runs: statuses, views, problems, idempotence."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from steering import Served, served

from bridge import commands

PROBLEM = "application/problem+json"
SPEC = {"kind": "sse", "url": "https://upstream.example/events"}
SECTIONS = ("sources", "destinations")


async def ask(
    session: aiohttp.ClientSession, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any, Any]:
    """Status, headers and JSON of an answer."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers} if data is not None else headers
    async with session.request(method, path, data=data, headers=sent) as response:
        raw = await response.read()
        return response.status, response.headers, json.loads(raw) if raw else None


@pytest.mark.parametrize("section", SECTIONS)
async def test_adding_is_idempotent_by_id(section: str) -> None:
    """201 with its place and the state to watch; the same again 200; another of that id 409, and nothing changed."""
    async with served() as (api, session):
        status, headers, view = await ask(session, "POST", f"/v1/{section}", {"id": "x.1", **SPEC})
        assert (status, headers["Location"]) == (201, f"/v1/{section}/x.1")
        assert (view["id"], view["state"]) == ("x.1", "connecting")
        status, headers, view = await ask(session, "POST", f"/v1/{section}", {"id": "x.1", **SPEC})
        assert (status, headers["Location"], view["id"]) == (200, f"/v1/{section}/x.1", "x.1")
        status, headers, problem = await ask(session, "POST", f"/v1/{section}", {"id": "x.1", **SPEC, "more": 1})
        assert (status, headers["Content-Type"], problem["status"]) == (409, PROBLEM, 409)
        assert getattr(api.steered, section) == {"x.1": SPEC}
        status, headers, found = await ask(session, "GET", f"/v1/{section}/x.1")
        assert (status, found["id"], found["definition"]["spec"]) == (200, "x.1", SPEC)
        status, _, found = await ask(session, "GET", f"/v1/{section}")
        assert [each["id"] for each in found[section]] == ["x.1"]


@pytest.mark.parametrize("section", SECTIONS)
async def test_every_problem_is_told_with_its_path(section: str) -> None:
    """422 with all of them, whatever the way; nothing is stored."""
    async with served() as (api, session):
        for method, path, body in (
            ("POST", f"/v1/{section}", {"id": "x", "wrong": 1}), ("PUT", f"/v1/{section}/x", {"wrong": 1}),
            ("PATCH", f"/v1/{section}/x", {"wrong": 1}),
        ):  # fmt: skip
            status, headers, problem = await ask(session, method, path, body)
            assert (status, headers["Content-Type"]) == (422, PROBLEM)
            assert problem["errors"] == [
                {"path": "wrong", "message": "there is no such key"}, {"path": "kind", "message": "is required"},
            ]  # fmt: skip
        assert getattr(api.steered, section) == {}


@pytest.mark.parametrize("section", SECTIONS)
async def test_putting_adds_or_replaces(section: str) -> None:
    """201 where it was not there, 200 where it was; afterwards it has these keys and no others."""
    async with served() as (api, session):
        assert (await ask(session, "PUT", f"/v1/{section}/x", {**SPEC, "more": 1}))[0] == 201
        for _ in range(2):
            assert (await ask(session, "PUT", f"/v1/{section}/x", SPEC))[0] == 200
        assert getattr(api.steered, section) == {"x": SPEC}


@pytest.mark.parametrize("type_", ["application/json", "application/merge-patch+json"])
async def test_a_patch_is_handed_on_as_one(type_: str) -> None:
    """Only whoever knows the secrets can merge: the command has the patch alone, and says that it is one."""
    async with served() as (api, session):
        api.steered.sources["x"] = {**SPEC, "recheck": 5}
        headers = {"Content-Type": type_}
        assert (await ask(session, "PATCH", "/v1/sources/x", {"recheck": None, "more": 1}, **headers))[0] == 200
        assert api.steered.commands == [commands.ChangeSource("x", {"recheck": None, "more": 1}, patch=True)]
        assert api.steered.sources["x"] == {**SPEC, "more": 1}
        assert (await ask(session, "PATCH", "/v1/sources/y", {}))[0] == 404


@pytest.mark.parametrize("section", SECTIONS)
async def test_pausing_resuming_and_removing(section: str) -> None:
    """200 with the state now, 204 when it is gone, 404 for what is not there; `forget` is handed on."""
    async with served() as (api, session):
        getattr(api.steered, section)["x"] = SPEC
        for verb, state in (("pause", "paused"), ("resume", "connecting")):
            status, _, view = await ask(session, "POST", f"/v1/{section}/x/{verb}")
            assert (status, view["state"]) == (200, state)
            assert (await ask(session, "POST", f"/v1/{section}/y/{verb}"))[0] == 404
        assert (await ask(session, "DELETE", f"/v1/{section}/x?forget=true"))[0] == 204
        assert api.steered.commands[-1].forget  # type: ignore[union-attr]  # the one that removes
        assert (await ask(session, "DELETE", f"/v1/{section}/x"))[0] == 404
        assert (await ask(session, "GET", f"/v1/{section}/x"))[0] == 404


async def test_a_run_is_watched_in_one_call() -> None:
    """Without a body or with keys; 201 with the source to watch, and 200 when asked again."""
    async with served() as (api, session):
        status, headers, view = await ask(session, "POST", "/v1/runs/r%2F1/watch")
        assert status == 400, "no run's id has a slash"
        status, headers, view = await ask(session, "POST", "/v1/runs/r-1/watch")
        assert (status, headers["Location"], view["id"]) == (201, "/v1/sources/run-r-1", "run-r-1")
        assert (await ask(session, "POST", "/v1/runs/r-1/watch", {}))[0] == 200
        keys: dict[str, Any] = {"id": "mine", "keep": "5m", "destination": {"url": "https://r.example"}}
        assert (await ask(session, "POST", "/v1/runs/r-2/watch", keys))[2]["id"] == "mine"
        assert api.steered.commands[-1] == commands.WatchRun("r-2", **keys)
        status, _, problem = await ask(session, "POST", "/v1/runs/r/watch", {"kep": "5m", "keep": 1, "kind": "sse"})
        assert (status, {each["path"] for each in problem["errors"]}) == (422, {"kep", "keep", "kind"})


async def test_a_test_says_what_was_answered() -> None:
    """The receiver's answer as it came."""
    async with served() as (api, session):
        api.steered.destinations["d"] = {"url": "https://r.example"}
        status, _, done = await ask(session, "POST", "/v1/destinations/d/test")
        assert (status, done["detail"]["status"]) == (200, 204)


async def test_a_bridge_that_cannot_be_asked_is_told() -> None:
    """503 with Retry-After, as problem details with Redis' word."""
    async with served() as (api, session):
        assert (await ask(session, "POST", "/v1/sources", {"id": "x", "away": 1}))[0] == 503
        api.steered.away = True
        for method, path, body in (
            ("GET", "/v1/status", None), ("GET", "/v1/sources", None), ("POST", "/v1/sources", {"id": "x"}),
            ("GET", "/v1/destinations/d/dead", None),
        ):  # fmt: skip
            status, headers, problem = await ask(session, method, path, body)
            assert (status, headers["Content-Type"], bool(headers["Retry-After"])) == (503, PROBLEM, True)
            assert "LOADING" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[]", 422), (b"1", 422), (b"null", 422), (b"{", 400), (b"\xff", 400), (b'{"id": NaN}', 400),
        (b'{"id": 1e999}', 400), (b'{"id": -Infinity}', 400), (b'{"id": "a", "id": "b"}', 422), (b'{"id": 1}', 422),
        (b'{"id": "x", "a": "\\ud800"}', 422), (b'{"id": "x", "\\udfff": 1}', 422), (b'\xef\xbb\xbf{"id": "x"}', 400),
        ('{"id": "x"}'.encode("utf-16"), 400), (b'{"id": "x", "a": ' + b"[" * 40 + b"]" * 40 + b"}", 422),
        (b"[" * 100_000, 422), (b'{"id": ' + b"9" * 5000 + b"}", 400), (b'{"a": "' + b"x" * (256 << 10) + b'"}', 413),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else str(value),
)  # fmt: skip
async def test_a_body_is_json_and_nothing_else(body: bytes, status: int) -> None:
    """What is no JSON is 400, what can't be used 422, what is too large 413; nothing is asked of the bridge."""
    async with served() as (api, session):
        found, headers, _ = await ask(session, "POST", "/v1/sources", body)
        assert (found, headers["Content-Type"]) == (status, PROBLEM)
        assert api.steered.commands == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"}, {"Content-Type": "application/merge-patch+json"},
        {"Content-Encoding": "gzip"},
    ],
)  # fmt: skip
async def test_a_body_is_of_its_type(headers: dict[str, str]) -> None:
    """415 for what a form or a page may send without being asked, and for what is compressed."""
    async with served() as (api, session):
        if "Content-Encoding" in headers:
            status = await _gzipped(api)
        else:
            status = (await ask(session, "POST", "/v1/sources", {"id": "x"}, **headers))[0]
        assert status == 415
        assert api.steered.commands == []


async def _gzipped(api: Served) -> int:
    """The status for a body that says it is compressed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(
        b"POST /v1/sources HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    head = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1])


@pytest.mark.parametrize(
    ("path", "paths"),
    [
        ("/v1/sources?x=1", {"x"}), ("/v1/destinations/d/dead?limit=0&after=x&typ=a", {"limit", "after", "typ"}),
        ("/v1/destinations/d/dead?limit=1&limit=2", {"limit"}), ("/v1/parked?limit=ten", {"limit"}),
        ("/v1/events?from=yesterday&after=1", {"from", "after"}), ("/v1/events?type=", {"type[0]"}),
        ("/v1/events/x", {"entry"}), ("/v1/sources/a%20b", {"id"}), ("/v1/destinations/d/dead/1-2", {"letter"}),
        ("/v1/parked/0-18446744073709551616-0", {"record"}),
    ],
)  # fmt: skip
async def test_every_wrong_parameter_is_told(path: str, paths: set[str]) -> None:
    """400 with each of them, those that are none among them: a mistyped filter must not show everything."""
    async with served() as (_, session):
        status, _, problem = await ask(session, "GET", path)
        assert (status, {each["path"] for each in problem["errors"]}) == (400, paths)
