"""Holds the bridge's own HTTP server to its pages, its methods and its errors, real requests over a real socket."""

import asyncio
import json
from collections import Counter as Counted

import aiohttp
import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families
from steering import ANYTHING, Served, served
from waiting import wait_until

from bridge.http_api import MOST, WAITING, Access, Readiness
from bridge.redis_log import Keys, Server

TOKEN = "a-token-of-some-length"
PROBLEM = "application/problem+json"


async def test_it_is_alive_while_its_loops_make_progress() -> None:
    """`/livez` is 200 whatever else is wrong, and 503 with each loop that is stuck: only a restart would mend that."""
    async with served() as (api, session):
        api.readiness = Readiness(ready=False, problems={"redis": "OOM"})
        async with session.get("/livez") as response:
            assert (response.status, await response.json()) == (200, {"status": "alive", "problems": {}})
        api.stuck = {"source s": "no progress for 61 s"}
        async with session.get("/livez") as response:
            assert (response.status, await response.json()) == (503, {"status": "stuck", "problems": api.stuck})


async def test_it_is_ready_or_says_what_is_wrong() -> None:
    """`/readyz` is 200, or 503 with each problem in words."""
    async with served() as (api, session):
        async with session.get("/readyz") as response:
            assert (response.status, await response.json()) == (200, {"status": "ready", "problems": {}})
        api.readiness = Readiness(ready=False, problems={"redis": "OOM", "source s": "401 auth.invalid"})
        async with session.get("/readyz") as response:
            assert response.status == 503
            assert await response.json() == {
                "status": "not ready", "problems": {"redis": "OOM", "source s": "401 auth.invalid"},
            }  # fmt: skip


async def test_metrics_are_prometheus_text() -> None:
    """`/metrics` is read by Prometheus' own parser, with its content type."""
    async with served() as (api, session):
        Counter("made", "Made up.", ["source"], registry=api.registry).labels('a "b"\n').inc(3)
        async with session.get("/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            families = list(text_string_to_metric_families(await response.text()))
    (sample,) = [sample for family in families for sample in family.samples if sample.name == "made_total"]
    assert (sample.labels, sample.value) == ({"source": 'a "b"\n'}, 3)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer \u20ac",
    ],
)
async def test_everything_but_probes_and_page_is_for_bearers_of_the_token(given: str | None) -> None:
    """With a token, all that tells or steers needs it exactly; the refusal says so and shows nothing."""
    async with served(TOKEN) as (_, session):
        headers = {} if given is None else {"Authorization": given}
        for method, path in (("GET", "/metrics"), ("GET", "/v1"), ("POST", "/v1/sources"), ("GET", "/v1/nothing")):
            async with session.request(method, path, headers=headers) as response:
                assert (response.status, response.content_type) == (401, PROBLEM)
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert TOKEN not in await response.text()
        for page in ("/livez", "/readyz", "/"):
            async with session.get(page) as response:
                assert response.status == 200
        async with session.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            assert response.status == 200


async def test_a_new_token_counts_from_the_next_request() -> None:
    """Access can be replaced while the server runs, as after a reload."""
    async with served(TOKEN) as (api, session):
        api.api.access = Access("another")
        for token, status in ((TOKEN, 401), ("another", 200)):
            async with session.get("/v1", headers={"Authorization": f"bearer {token}"}) as response:
                assert response.status == status


async def raw(api: Served, request: bytes) -> bytes:
    """What bytes are answered with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_bytes_that_are_no_text_are_no_token() -> None:
    """A header that is not UTF-8 is refused like any other wrong one."""
    async with served(TOKEN) as (api, _):
        head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        answer = await raw(api, head + b"Authorization: Bearer \xff\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: localhost\r\n", b"Host: \r\n", b"Host: a/b\r\n"])
async def test_a_request_has_one_host(hosts: bytes) -> None:
    """None, several or an odd one is a bad request (RFC 9112, section 3.2)."""
    async with served() as (api, _):
        answer = await raw(api, b"GET /livez HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    assert answer.split(b" ")[1] == b"400"


async def test_there_is_nothing_else() -> None:
    """Other paths are 404, other methods 405 with what is allowed; both as problem details."""
    async with served() as (_, session):
        for method, path, status, allow in (
            ("GET", "/nothing", 404, None), ("GET", "/livez/x", 404, None),
            ("POST", "/readyz", 405, "GET, HEAD, OPTIONS"),
            ("DELETE", "/v1/sources", 405, "GET, HEAD, OPTIONS, POST"), ("TRACE", "/v1", 405, "GET, HEAD, OPTIONS"),
            ("GET", "/v1/destinations/d/dead/retry", 405, "OPTIONS, POST"),
        ):  # fmt: skip
            async with session.request(method, path) as response:
                assert (response.status, response.content_type) == (status, PROBLEM)
                assert response.headers.get("Allow") == allow
                found = await response.json()
                assert (found["status"], bool(found["title"]), bool(found["detail"])) == (status, True, True)


async def test_head_and_options_are_answered() -> None:
    """HEAD is GET without a body, also of what never ends; OPTIONS says what is allowed, and nothing of CORS."""
    async with served() as (_, session):
        for path in ("/", "/v1", "/v1/openapi.json", "/v1/status", "/v1/live"):
            async with session.head(path) as response:
                assert (response.status, await response.read()) == (200, b"")
        async with session.options("/v1/sources/x") as response:
            assert (response.status, response.headers["Allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH, PUT")
            assert not [name for name in response.headers if name.startswith("Access-Control")]


async def test_the_page_is_fenced_in_and_the_index_leads_on() -> None:
    """`/` is HTML under its strict policy; `/v1` names paths of which those without braces are there."""
    async with served() as (_, session):
        async with session.get("/") as response:
            assert response.content_type == "text/html"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        async with session.get("/v1") as response:
            links = (await response.json())["links"]
        for path in links.values():
            if "{" not in path and path not in ("/v1/events", "/v1/parked"):
                async with session.head(path) as response:
                    assert response.status == 200, path


async def test_what_fails_inside_is_told_without_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of the bridge's own is 500 as problem details; the log has the trace, the answer nothing of it."""
    async with served() as (api, session):

        async def broken() -> bytes:
            raise ZeroDivisionError("inside")

        api.metrics = broken
        async with session.get("/metrics?x=y") as response:
            assert response.status == 400  # a parameter that is none
        async with session.get("/metrics") as response:
            assert (response.status, response.content_type) == (500, PROBLEM)
            assert "inside" not in await response.text()
    assert "a request failed: GET /metrics" in caplog.text


async def test_no_more_is_worked_on_than_there_is_room_for() -> None:
    """Some are worked on, some wait their turn, and the rest gets 503 at once, while probes still answer."""
    free, waiting = asyncio.Event(), 0

    async with served() as (api, _):

        async def slow() -> bytes:
            nonlocal waiting
            waiting += 1
            await free.wait()
            return b""

        api.metrics = slow

        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{api.port}", connector=connector) as crowd:

            async def status(path: str) -> int:
                async with crowd.get(path) as response:
                    assert response.headers.get("Retry-After") == ("1" if response.status == 503 else None)
                    return response.status

            tasks = [asyncio.ensure_future(status("/metrics")) for _ in range(MOST + WAITING + 10)]
            await wait_until(lambda: sum(task.done() for task in tasks) == 10, "those that found no place")
            assert waiting == MOST
            assert await status("/livez") == 200
            free.set()
            assert Counted(await asyncio.gather(*tasks)) == {200: MOST + WAITING, 503: 10}
            assert await status("/metrics") == 200


async def test_an_address_that_is_taken_is_an_error() -> None:
    """`start` raises OSError, and `stop` works after it."""
    async with served() as (api, _):
        second = Served(Access(), Server("redis://127.0.0.1:1"), [Keys("t", 0)], ANYTHING)
        with pytest.raises(OSError, match="address already in use"):
            await second.api.start("127.0.0.1", api.port)
        await second.api.stop()


async def test_readers_of_json_get_json() -> None:
    """What is said in JSON has its type, is not sniffed and not kept."""
    async with served() as (_, session), session.get("/v1/status") as response:
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert json.loads(await response.read())["redis"] == "redis://127.0.0.1"
