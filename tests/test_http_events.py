"""Holds `GET /v1/events/<id>` to one entry of the log as it lies there, and to an answer in bounded time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from servers import RedisServer, free_port
from waiting import wait_until

from bridge.errors import LogUnavailable
from bridge.event import Entry
from bridge.http_api import MOST, Find, HttpApi, Readiness
from bridge.redis_log import Keys, Lookup, Server

TOKEN = "a-token-of-some-length"
EVENT = b'{"id":"e","data":{"n":1.0,"text":"\\u00e9"}} \n'
PROBLEM = "application/problem+json"


@asynccontextmanager
async def served(find: Find, token: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a server that finds events so."""
    api = HttpApi(lambda: Readiness(ready=True, problems={}), CollectorRegistry(), find, token=token)
    port = free_port()
    await api.start("127.0.0.1", port)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        await api.stop()


@pytest.fixture
async def lookup(shared_servers: dict[str, RedisServer], prefix: str) -> AsyncIterator[Lookup]:
    """A log of two partitions with an entry 5-7 in the second."""
    server, keys = shared_servers["valkey"], [Keys(prefix, 0), Keys(prefix, 1)]
    fields: dict[str, str | bytes] = {"id": "e", "type": "t", "subject": "s", "event": EVENT}
    server.client().xadd(keys[1].events, fields, id="5-7")  # type: ignore[arg-type]  # dict is invariant
    found = Lookup(Server(server.url), keys)
    yield found
    await found.close()


async def status(session: aiohttp.ClientSession, id_: str, **headers: str) -> tuple[int, str]:
    """The status and the content type of an answer."""
    async with session.get(f"/v1/events/{id_}", headers=headers) as response:
        return response.status, response.content_type


async def test_an_event_is_the_logs_bytes(lookup: Lookup) -> None:
    """By partition and id; without a partition it is the first one; nothing that the log does not have."""
    async with served(lookup.entry) as session:
        async with session.get("/v1/events/1-5-7") as response:
            assert (response.status, await response.read()) == (200, EVENT)
            assert response.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
        for id_ in ("5-7", "0-5-7", "1-5-8", "2-5-7", "1-0-0", "1-18446744073709551615-18446744073709551615"):
            assert await status(session, id_) == (404, PROBLEM)


@pytest.mark.parametrize(
    "id_",
    ["x", "5", "-", "5-7-", "a-5-7", "1-1-5-7", "5-+", "-5-7", "5-18446744073709551616", "9" * 3000, "%D9%A5-%D9%A7"],
)
async def test_what_is_no_id_is_told(id_: str) -> None:
    """400 in words, and the log isn't asked."""

    async def find(partition: int, id_: str) -> Entry | None:
        raise AssertionError(f"asked for {partition} {id_}")

    async with served(find) as session:
        assert await status(session, id_) == (400, PROBLEM)


async def test_events_are_for_bearers_of_the_token(lookup: Lookup) -> None:
    """As metrics: with a token nobody else gets any, nor learns which there are."""
    async with served(lookup.entry, TOKEN) as session:
        for id_ in ("1-5-7", "1-5-8", "x"):
            assert (await status(session, id_))[0] == 401
            assert (await status(session, id_, Authorization=f"Bearer {TOKEN}x"))[0] == 401
        assert (await status(session, "1-5-7", Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_a_log_that_is_away_is_told(prefix: str) -> None:
    """503 with Retry-After."""
    away = Lookup(Server(f"redis://127.0.0.1:{free_port()}"), [Keys(prefix, 0)])
    async with served(away.entry) as session, session.get("/v1/events/0-5-7") as response:
        assert (response.status, response.content_type) == (503, PROBLEM)
        assert int(response.headers["Retry-After"]) > 0


async def test_no_more_wait_than_there_is_room_for() -> None:
    """Beyond so many at once, 503 at once; when they have ended there is room again, also after errors."""
    free, asked = asyncio.Event(), list[str]()

    async def find(partition: int, id_: str) -> Entry | None:
        asked.append(id_)
        await free.wait()
        raise LogUnavailable("GONE", "away")

    async with served(find) as session:
        waiting = [asyncio.ensure_future(status(session, f"0-{number}-0")) for number in range(MOST)]
        await wait_until(lambda: len(asked) == MOST, "all places are taken")
        assert await status(session, "0-1-1") == (503, PROBLEM)
        assert len(asked) == MOST
        free.set()
        assert {code for code, _ in await asyncio.gather(*waiting)} == {503}
        await status(session, "0-2-2")
        assert asked[-1] == "2-2"
