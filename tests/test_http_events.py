"""Holds `GET /v1/events/<id>` to one entry of the log as it lies there, and to an answer in bounded time."""

import aiohttp
import pytest
from servers import RedisServer, free_port
from steering import served

from bridge.redis_log import Keys

TOKEN = "a-token-of-some-length"
EVENT = b'{"id":"e","data":{"n":1.0,"text":"\\u00e9"}} \n'
PROBLEM = "application/problem+json"


@pytest.fixture
async def url(shared_servers: dict[str, RedisServer], prefix: str) -> str:
    """A log of two partitions with an entry 5-7 in the second."""
    server = shared_servers["valkey"]
    fields: dict[str, str | bytes] = {"id": "e", "type": "t", "subject": "s", "event": EVENT}
    server.client().xadd(Keys(prefix, 1).events, fields, id="5-7")  # type: ignore[arg-type]  # dict is invariant
    return server.url


async def status(session: aiohttp.ClientSession, id_: str, **headers: str) -> tuple[int, str]:
    """The status and the content type of an answer."""
    async with session.get(f"/v1/events/{id_}", headers=headers) as response:
        return response.status, response.content_type


async def test_an_event_is_the_logs_bytes(url: str, prefix: str) -> None:
    """By partition and id; without a partition it is the first one; nothing that the log does not have."""
    async with served(server=url, prefix=prefix, partitions=2) as (_, session):
        async with session.get("/v1/events/1-5-7") as response:
            assert (response.status, await response.read()) == (200, EVENT)
            assert response.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
        for id_ in ("5-7", "0-5-7", "1-5-8", "2-5-7", "1-0-0"):
            assert await status(session, id_) == (404, PROBLEM)


@pytest.mark.parametrize(
    "id_",
    [
        "x",
        "5",
        "-",
        "5-7-",
        "a-5-7",
        "1-1-5-7",
        "5-+",
        "-5-7",
        "5-18446744073709551616",
        "1-18446744073709551615-0",
        "9" * 3000,
        "%D9%A5-%D9%A7",
    ],
)
async def test_what_is_no_id_is_told(id_: str) -> None:
    """400 in words, and the log, which is away, isn't asked."""
    async with served() as (_, session):
        assert await status(session, id_) == (400, PROBLEM)


async def test_events_are_for_bearers_of_the_token(url: str, prefix: str) -> None:
    """As metrics: with a token nobody else gets any, nor learns which there are."""
    async with served(TOKEN, server=url, prefix=prefix, partitions=2) as (_, session):
        for id_ in ("1-5-7", "1-5-8", "x"):
            assert (await status(session, id_))[0] == 401
            assert (await status(session, id_, Authorization=f"Bearer {TOKEN}x"))[0] == 401
        assert (await status(session, "1-5-7", Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_a_log_that_is_away_is_told(prefix: str) -> None:
    """503 with Retry-After."""
    async with (
        served(server=f"redis://127.0.0.1:{free_port()}", prefix=prefix) as (_, session),
        session.get("/v1/events/0-5-7") as response,
    ):
        assert (response.status, response.content_type) == (503, PROBLEM)
        assert int(response.headers["Retry-After"]) > 0
