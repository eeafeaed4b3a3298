"""Holds the bridge's own HTTP server to its three pages, real requests over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families
from servers import free_port

from bridge.event import Entry
from bridge.http_api import HttpApi, Readiness

TOKEN = "a-token-of-some-length"


class Served:
    """A server whose readiness a test sets, and its origin."""

    def __init__(self) -> None:
        self.readiness = Readiness(ready=True, problems={})
        self.registry = CollectorRegistry()
        self.url = ""


async def nothing(partition: int, id_: str) -> Entry | None:
    """A log without entries."""
    return None


@asynccontextmanager
async def served(token: str | None = None) -> AsyncIterator[tuple[Served, aiohttp.ClientSession]]:
    """A running server and a client."""
    found = Served()
    api = HttpApi(lambda: found.readiness, found.registry, nothing, token=token)
    port = free_port()
    await api.start("127.0.0.1", port)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield found, session
    finally:
        await api.stop()


async def test_it_is_alive_while_it_answers() -> None:
    """`/livez` is 200 whatever else is wrong: a restart would mend nothing."""
    async with served() as (api, session):
        api.readiness = Readiness(ready=False, problems={"redis": "OOM"})
        async with session.get("/livez") as response:
            assert (response.status, await response.json()) == (200, {"status": "alive"})


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
async def test_metrics_are_for_bearers_of_the_token(given: str | None) -> None:
    """With a token, metrics need it exactly; the refusal says so and shows nothing; probes need none."""
    async with served(TOKEN) as (_, session):
        headers = {} if given is None else {"Authorization": given}
        async with session.get("/metrics", headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert TOKEN not in await response.text()
        for page in ("/livez", "/readyz"):
            async with session.get(page) as response:
                assert response.status == 200
        async with session.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            assert response.status == 200


async def test_bytes_that_are_no_text_are_no_token() -> None:
    """A header that is not UTF-8 is refused like any other wrong one."""
    async with served(TOKEN) as (_, session):
        url = session._base_url
        assert url is not None
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_there_is_nothing_else() -> None:
    """Other paths are 404, other methods 405: nothing can be steered from here."""
    async with served() as (_, session):
        for method, path, status in (
            ("GET", "/", 404), ("GET", "/livez/x", 404), ("POST", "/readyz", 405), ("DELETE", "/metrics", 405),
        ):  # fmt: skip
            async with session.request(method, path) as response:
                assert response.status == status


async def test_an_address_that_is_taken_is_an_error() -> None:
    """`start` raises OSError, and `stop` works after it."""
    async with served() as (_, session):
        url = session._base_url
        assert url is not None
        second = HttpApi(lambda: Readiness(ready=True, problems={}), CollectorRegistry(), nothing)
        with pytest.raises(OSError, match="address already in use"):
            await second.start("127.0.0.1", url.port or 0)
        await second.stop()
