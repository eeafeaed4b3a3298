"""Holds the control API to what lies in Redis beside the log: dead letters, replays, parked records."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from servers import RedisServer
from steering import Served, served

from bridge.http_api.dead import LOOKED_AT
from bridge.redis_log import Keys

WEBHOOK = {"url": "https://r.example", "types": ["ai.*"]}
STREAM = {"url": "redis://r.example", "stream": "runs:{subject}"}


class Stored:
    """What a test puts into Redis, and the API over it: two partitions, the destinations `d` and `s`."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self.api: Served
        self.session: aiohttp.ClientSession

    def letter(
        self, id_: str, *, partition: int = 0, type_: str = "ai.t", subject: str = "s", status: int = 500
    ) -> None:
        """A dead letter of `d`."""
        event = json.dumps({"id": f"e-{id_}", "data": 1.0})
        self._add(
            Keys(self._prefix, partition).dead("d"), id_, id=f"e-{id_}", type=type_, subject=subject, event=event,
            entry="7-7", attempts=3, last_status=status or "", last_error="500", time="2026-11-21T12:00:00.000Z",
        )  # fmt: skip

    def many(self, first: int, count: int) -> None:
        """Dead letters of `d` in partition 0, with ids from this on."""
        pipe = self._server.client().pipeline(transaction=False)
        for number in range(first, first + count):
            pipe.xadd(Keys(self._prefix, 0).dead("d"), {"type": "ai.t"}, id=f"{number}-0")
        pipe.execute()

    def parked(self, id_: str, raw: bytes, *, partition: int = 0) -> None:
        """A record that could not be read."""
        self._add(Keys(self._prefix, partition).parked, id_, source="src", reason="odd", raw=raw, cursor="c")

    def event(self, id_: str, *, partition: int = 0, type_: str = "ai.t") -> None:
        """An event in the log."""
        self._add(Keys(self._prefix, partition).events, id_, id=id_, type=type_, subject="s", event="{}")

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.session.request(method, path, json=body) as response:
            raw = await response.read()
            return response.status, json.loads(raw) if raw else None

    async def letters(self, query: str = "") -> list[str]:
        """The ids of all pages of letters, in their order."""
        return await self._pages(f"/v1/destinations/d/dead?{query}", "letters")

    async def records(self, limit: int) -> list[str]:
        """The ids of all pages of parked records, in their order."""
        return await self._pages(f"/v1/parked?limit={limit}", "records")

    async def _pages(self, path: str, name: str) -> list[str]:
        found: list[str] = []
        after = ""
        while True:
            status, page = await self.ask("GET", path + after)
            assert status == 200, page
            found += [each["id"] for each in page[name]]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    def _add(self, key: str, id_: str, **fields: Any) -> None:
        self._server.call("XADD", key, id_, *(part for pair in fields.items() for part in pair))


@pytest.fixture
async def stored(shared_servers: dict[str, RedisServer], prefix: str) -> AsyncIterator[Stored]:
    """Nothing yet."""
    found = Stored(shared_servers["valkey"], prefix)
    async with served(server=shared_servers["valkey"].url, prefix=prefix, partitions=2) as (api, session):
        api.steered.destinations |= {"d": WEBHOOK, "s": STREAM}
        found.api, found.session = api, session
        yield found


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_letters_come_newest_first_each_once(stored: Stored, limit: int) -> None:
    """Over all partitions and pages, those of one moment too."""
    stored.letter("1-0")
    stored.letter("5-0")
    stored.letter("5-1")
    for id_ in ("3-0", "5-0", "9-9"):
        stored.letter(id_, partition=1)
    assert await stored.letters(f"limit={limit}") == ["1-9-9", "0-5-1", "1-5-0", "0-5-0", "1-3-0", "0-1-0"]
    assert (await stored.ask("GET", "/v1/destinations/d/dead?limit=1"))[1]["total"] == 6
    assert (await stored.ask("GET", "/v1/destinations/d/dead?after=0-0-0"))[1]["letters"] == []


async def test_a_filter_looks_through_all_of_them_in_bounded_steps(stored: Stored) -> None:
    """A page looks at so many letters at most, and says where it stopped; what is found by going on is in order."""
    stored.letter("2-0", type_="rare", subject="r")
    stored.many(3, LOOKED_AT + 1000)
    for id_ in ("1-0", "4-0"):
        stored.letter(id_, partition=1, type_="rare")
    status, page = await stored.ask("GET", "/v1/destinations/d/dead?type=rare")
    assert (status, page["letters"], bool(page["next"])) == (200, [], True)
    assert await stored.letters("limit=1&type=rare") == ["1-4-0", "0-2-0", "1-1-0"]
    assert await stored.letters("type=ra*&subject=r") == ["0-2-0"]


async def test_a_letter_has_its_event(stored: Stored) -> None:
    """The whole event as it lies there; 404 for what is not there."""
    stored.letter("5-0", partition=1)
    status, found = await stored.ask("GET", "/v1/destinations/d/dead/1-5-0")
    assert (status, found["event"], found["entry"]) == (200, "e-5-0", "1-7-7")
    assert (found["attempts"], found["last_status"], found["last_answer"]) == (3, 500, None)
    assert found["cloudevent"] == {"id": "e-5-0", "data": 1.0}
    for other in ("0-5-0", "2-5-0", "1-5-1"):
        for method, path in (("GET", other), ("DELETE", other), ("POST", f"{other}/retry")):
            assert (await stored.ask(method, f"/v1/destinations/d/dead/{path}"))[0] == 404


async def test_letters_are_asked_for_once_and_dropped(stored: Stored) -> None:
    """Asked for again it is being retried already; then only force removes it."""
    stored.letter("5-0")
    one = "/v1/destinations/d/dead/0-5-0"
    assert await stored.ask("POST", f"{one}/retry") == (202, {"asked": 1, "retrying": 0, "more": False})
    assert await stored.ask("POST", f"{one}/retry") == (202, {"asked": 0, "retrying": 1, "more": False})
    assert (await stored.ask("GET", one))[1]["retrying"]
    assert (await stored.ask("DELETE", one))[0] == 409
    assert (await stored.ask("DELETE", f"{one}?force=true"))[0] == 204
    assert (await stored.ask("GET", one))[0] == 404


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (None, 3), ({}, 3), ({"types": ["ai.t"]}, 2), ({"statuses": [0]}, 1), ({"ids": ["1-5-0", "0-9-9"]}, 1),
        ({"types": ["ai.t"], "subjects": ["x*"]}, 1), ({"subjects": ["nobody"]}, 0),
    ],
)  # fmt: skip
async def test_letters_are_asked_for_all_or_by_choice(stored: Stored, body: Any, asked: int) -> None:
    """Whatever is given narrows; nothing given is all, of all partitions."""
    stored.letter("5-0", type_="ai.t")
    stored.letter("5-0", partition=1, subject="xy")
    stored.letter("6-0", type_="other", status=0)
    assert await stored.ask("POST", "/v1/destinations/d/dead/retry", body) == (
        202, {"asked": asked, "retrying": 0, "more": False},
    )  # fmt: skip


async def test_what_nobody_delivers_is_not_asked_for(stored: Stored) -> None:
    """Letters of a stream, or of a destination that is configured no more, stay; one that nobody knows is 404."""
    stored.letter("5-0")
    for name, status in (("s", 409), ("nobody", 404)):
        assert (await stored.ask("POST", f"/v1/destinations/{name}/dead/retry"))[0] == status
    del stored.api.steered.destinations["d"]
    assert (await stored.ask("POST", "/v1/destinations/d/dead/retry"))[0] == 409
    assert await stored.letters() == ["0-5-0"]
    assert (await stored.ask("GET", "/v1/destinations/nobody/dead"))[0] == 404


async def test_a_range_is_replayed_listed_and_cancelled(stored: Stored) -> None:
    """Counted as the destination wants it and the wish narrows it; then it is in the list until it is cancelled."""
    for at, type_ in enumerate(("ai.t", "ai.u", "other")):
        stored.event(f"{at + 1}-0", type_=type_)
    stored.event("2-0", partition=1)
    all_ = "/v1/destinations/d/replays"
    status, replay = await stored.ask("POST", all_, {"from": "start", "rate": 5})
    assert (status, replay["events"], replay["state"], replay["rate"]) == (201, 3, "waiting", 5)
    wish = {"from": "2-0", "to": "1970-01-01T00:00:00.002Z", "types": ["*.u"]}
    assert (await stored.ask("POST", all_, wish))[1]["events"] == 1
    listed = (await stored.ask("GET", all_))[1]["replays"]
    assert {each["events"] for each in listed} == {1, 3}
    for each in listed:
        assert (await stored.ask("DELETE", f"{all_}/{each['id']}"))[0] == 204
        assert (await stored.ask("DELETE", f"{all_}/{each['id']}"))[0] == 404
    assert (await stored.ask("GET", all_))[1] == {"replays": []}


@pytest.mark.parametrize(
    ("name", "wish", "status"),
    [
        ("d", {"from": "5-0", "to": "4-0"}, 422), ("d", {}, 422), ("d", {"from": "2h"}, 422),
        ("d", {"from": "2026-02-30T00:00:00Z"}, 422), ("d", {"from": "start", "rate": 0}, 422),
        ("d", {"from": "start", "subjects": ["nobody"]}, 409), ("s", {"from": "start"}, 409),
        ("nobody", {"from": "start"}, 404),
    ],
)  # fmt: skip
async def test_what_cannot_be_replayed_is_told(stored: Stored, name: str, wish: Any, status: int) -> None:
    """No range, nothing in it that is wanted, no webhook, nobody: nothing is asked for."""
    stored.event("1-0")
    assert (await stored.ask("POST", f"/v1/destinations/{name}/replays", wish))[0] == status
    assert (await stored.ask("GET", "/v1/destinations/d/replays"))[1] == {"replays": []}


async def test_parked_records_are_shown(stored: Stored) -> None:
    """In pages over all partitions, each once; whole, as a text where it is one."""
    stored.parked("1-0", b"{odd")
    stored.parked("2-0", b"\xff\x00")
    stored.parked("1-0", b"x", partition=1)
    for limit in (1, 2, 50):
        assert await stored.records(limit) == ["0-2-0", "0-1-0", "1-1-0"]
    assert (await stored.ask("GET", "/v1/parked"))[1]["total"] == 3
    status, text = await stored.ask("GET", "/v1/parked/0-1-0")
    assert (status, text["raw"], text["raw_base64"], text["source"], text["size"]) == (200, "{odd", None, "src", 4)
    raw = (await stored.ask("GET", "/v1/parked/0-2-0"))[1]
    assert (raw["raw"], base64.b64decode(raw["raw_base64"])) == (None, b"\xff\x00")
    assert (await stored.ask("GET", "/v1/parked/1-2-0"))[0] == 404
    assert (await stored.ask("POST", "/v1/parked/1-2-0/retry"))[0] == 404
