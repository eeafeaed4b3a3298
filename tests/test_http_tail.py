"""Holds `/v1/events` and `/v1/live` to what followers see: every event once, in order, over any reconnection."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
from servers import RedisServer
from steering import Served, served
from waiting import wait_until

from bridge.event import Entry
from bridge.http_api import FOLLOWERS
from bridge.http_api.events import Place
from bridge.redis_log import Keys
from bridge.redis_log.tail import Page
from bridge.sse import Decoder, Frame

SOURCE = "https://api.bctrl.ai/runs/r"


class Log:
    """A log that a test writes."""

    def __init__(self, server: RedisServer, prefix: str, partitions: int = 1) -> None:
        self.server, self.prefix, self.partitions = server, prefix, partitions
        self._keys = [Keys(prefix, partition).events for partition in range(partitions)]

    def add(self, *ids: str, partition: int = 0, type_: str = "t", subject: str = "s", event: bytes = b"") -> list[str]:
        """Add events; the ids of their entries."""
        return [
            self.server.call(
                "XADD", self._keys[partition], "*", "id", id_, "type", type_, "subject", subject,
                "event", event or json.dumps({"id": id_, "type": type_, "source": SOURCE}).encode(),
            )
            for id_ in ids
        ]  # fmt: skip

    def trim(self, keep: int) -> None:
        """Leave the newest ones only."""
        self.server.call("XTRIM", self._keys[0], "MAXLEN", "=", keep)

    def drop(self) -> None:
        """Lose everything."""
        self.server.call("DEL", self._keys[0])


@pytest.fixture
def log(shared_servers: dict[str, RedisServer], prefix: str) -> Log:
    """One partition."""
    return Log(shared_servers["valkey"], prefix)


def _has_seen(ids: list[str], one: "Following") -> bool:
    """Exactly these, whatever the order of the partitions."""
    return sorted(one.ids()) == sorted(ids)


class Following:
    """A follower, and what it has seen."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.frames: list[Frame] = []
        self.ended = False

    async def read(self) -> None:
        """Until the end."""
        decoder = Decoder()
        async for chunk in self.response.content.iter_any():
            self.frames += decoder.feed(chunk)
        self.ended = True

    def ids(self) -> list[str]:
        """Of the events seen."""
        return [json.loads(frame.data)["id"] for frame in self.frames if frame.event not in ("gap", "problem")]

    def of(self, event: str) -> list[Any]:
        """The data of the frames of one kind."""
        return [json.loads(frame.data) for frame in self.frames if frame.event == event]

    async def until(self, ready: Callable[["Following"], Any], description: str) -> None:
        """Wait for what is seen."""
        await wait_until(lambda: ready(self), f"{description} (seen: {self.frames[-5:]})")


@asynccontextmanager
async def following(session: aiohttp.ClientSession, path: str, last: str = "") -> AsyncIterator[Following]:
    """A follower that is connected and reads."""
    async with session.get(path, headers={"Last-Event-ID": last} if last else {}) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream"), await response.text()
        assert response.headers["X-Accel-Buffering"] == "no"
        found = Following(response)
        task = asyncio.ensure_future(found.read())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def over(log: Log) -> AsyncIterator[tuple[Served, aiohttp.ClientSession]]:
    """An API over this log."""
    async with served(server=log.server.url, prefix=log.prefix, partitions=log.partitions) as found:
        yield found


async def test_followers_see_every_event_and_can_resume(log: Log) -> None:
    """From the start or from now on; from any event's id on exactly what follows it, by header or parameter."""
    log.add("a", "b")
    async with over(log) as (_, session):
        async with following(session, "/v1/events?from=start") as all_, following(session, "/v1/events") as new:
            await all_.until(lambda seen: seen.ids() == ["a", "b"], "the log")
            log.add("c", "d")
            await all_.until(lambda seen: seen.ids() == ["a", "b", "c", "d"], "all events")
            await new.until(lambda seen: seen.ids() == ["c", "d"], "the new events")
        middle = all_.frames[1].id
        async with (
            following(session, "/v1/events?from=start", last=middle) as header,
            following(session, f"/v1/events?after={middle}") as parameter,
        ):
            await header.until(lambda seen: seen.ids() == ["c", "d"], "what follows")
            await parameter.until(lambda seen: seen.ids() == ["c", "d"], "what follows")
            assert header.of("gap") == []


async def test_an_event_is_its_bytes(log: Log) -> None:
    """`event` is the type, `data` the bytes; line ends between its tokens are lines of data, and forge no field."""
    log.add("a", type_="odd\nid: forged\r\nevent: x", event=b'{"id":\r\n"a",\r"n":\n1.0}')
    async with over(log) as (_, session), following(session, "/v1/events?from=start") as seen:
        await seen.until(lambda one: one.frames, "the event")
        (frame,) = seen.frames
        assert frame.data == b'{"id":\n"a",\n"n":\n1.0}'
        assert frame.event == "odd id: forged  event: x"
        assert frame.id.endswith("-0")


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("type=ai.bctrl.*", "abd"), ("type=ai.bctrl.x&type=other", "acd"), ("subject=r*", "bcd"),
        ("type=ai.*&subject=r2", "bd"), ("source=*/runs/r", "abcd"), ("source=*/runs/x&source=*r", "abcd"),
    ],
)  # fmt: skip
async def test_filters_are_globs(log: Log, query: str, ids: str) -> None:
    """One of each kind has to match; of one kind, any."""
    log.add("a", type_="ai.bctrl.x", subject="s")
    log.add("b", type_="ai.bctrl.y", subject="r2")
    log.add("c", type_="other", subject="r3")
    log.add("d", type_="ai.bctrl.x", subject="r2")
    async with over(log) as (_, session), following(session, f"/v1/events?from=start&{query}") as seen:
        await seen.until(lambda one: one.ids()[-1:] == ["d"], "the last event")
        assert "".join(seen.ids()) == ids


async def test_time_says_where_to_begin(log: Log) -> None:
    """At the first event of that moment or later; a time to come waits for it, and is no gap."""
    log.server.call("XADD", Keys(log.prefix, 0).events, "1000-0", "id", "a", "event", '{"id":"a"}')
    log.server.call("XADD", Keys(log.prefix, 0).events, "2000-5", "id", "b", "event", '{"id":"b"}')
    async with over(log) as (_, session):
        for time, ids in (("1970-01-01T00:00:02Z", ["b"]), ("1970-01-01T01:00:01%2B01:00", ["a", "b"])):
            async with following(session, f"/v1/events?from={time}") as seen:
                await seen.until(partial(_has_seen, ids), "the events")
        async with following(session, "/v1/events?from=2999-01-01T00:00:00Z") as seen:
            assert seen.of("gap") == []


async def test_partitions_are_one_stream_with_one_position(shared_servers: dict[str, RedisServer], prefix: str) -> None:
    """Resumed from any event on, each partition goes on where it was: nothing twice, nothing left out."""
    log = Log(shared_servers["valkey"], prefix, 3)
    for number in range(30):
        log.add(f"e{number}", partition=number % 3)
    async with over(log) as (_, session):
        async with following(session, "/v1/events?from=start") as all_:
            await all_.until(lambda seen: len(seen.frames) == 30, "all events")
        marks: list[str] = []
        for at in (0, 7, 15, 29):
            marks += [f"mark{at}"]
            log.add(marks[-1], partition=1)
            async with following(session, f"/v1/events?after={all_.frames[at].id}") as seen:
                await seen.until(partial(_has_seen, [*all_.ids()[at + 1 :], *marks]), "what follows")
        async with session.get("/v1/events?after=1-0") as response:
            assert response.status == 400
            assert "3" in (await response.json())["detail"]


async def test_a_trimmed_position_is_said(log: Log) -> None:
    """A position that the log has no more is a gap, with what it goes on with; one that it has is none."""
    ids = log.add("a", "b", "c", "d", "e")
    log.trim(2)
    async with over(log) as (_, session):
        async with following(session, f"/v1/events?after={ids[0]}") as seen:
            await seen.until(lambda one: one.ids() == ["d", "e"], "what there is")
            (gap,) = seen.of("gap")
            assert (gap["partition"], gap["after"], gap["first"]) == (0, ids[0], ids[3])
            assert seen.frames[0].event == "gap"
        async with following(session, f"/v1/events?after={ids[3]}") as seen:
            await seen.until(lambda one: one.ids() == ["e"], "the last one")
            assert seen.of("gap") == []


async def test_the_end_is_no_gap_when_it_is_trimmed(log: Log) -> None:
    """Who has seen everything misses nothing when all of it is trimmed before more comes."""
    ids = log.add("a", "b")
    async with over(log) as (_, session), following(session, f"/v1/events?after={ids[0]}") as seen:
        await seen.until(lambda one: one.ids() == ["b"], "the last one")
        log.trim(0)
        log.add("c")
        await seen.until(lambda one: one.ids() == ["b", "c"], "the new one")
        assert seen.of("gap") == []


def test_coming_back_to_the_end_is_no_gap() -> None:
    """A position that was the last there ever was misses nothing, though its entry is trimmed and more comes."""
    at = Place(0, "5-0", resumed=True)
    assert at.take(Page("0-0", "5-0", 5, 0, known=False, entries=[])) is None
    assert at.take(Page("6-0", "6-0", 6, 1, known=False, entries=[Entry("6-0", "", "", "", b"")])) is None


def test_what_is_trimmed_under_a_follower_is_said() -> None:
    """Whoever is so slow that entries go before it reads them is told so, once for each time."""
    at = Place(0, "0-0")
    assert at.take(Page("1-0", "9-0", 9, 9, known=False, entries=[Entry("1-0", "", "", "", b"")])) is None
    gap = at.take(Page("4-0", "9-0", 9, 6, known=False, entries=[Entry("4-0", "", "", "", b"")]))
    assert gap is not None
    assert (gap.after, gap.first) == ("1-0", "4-0")
    assert at.take(Page("5-0", "9-0", 9, 5, known=False, entries=[Entry("5-0", "", "", "", b"")])) is None


async def test_a_log_that_was_put_back_is_said(log: Log) -> None:
    """Where the log ends before the position, it goes on from its end, and says so."""
    ids = log.add("a")
    log.drop()
    log.server.call("XADD", Keys(log.prefix, 0).events, "5-0", "id", "old", "event", '{"id":"old"}')
    async with over(log) as (_, session), following(session, f"/v1/events?after={ids[0]}") as seen:
        await seen.until(lambda one: one.of("gap"), "the gap")
        log.server.call("XADD", Keys(log.prefix, 0).events, "6-0", "id", "new", "event", '{"id":"new"}')
        await seen.until(lambda one: one.ids() == ["new"], "the new one")


async def test_only_so_many_follow(log: Log) -> None:
    """One more is told to come again later; when one has gone there is room."""
    async with over(log) as (_, session):
        first = await session.get("/v1/events")
        others = [await session.get("/v1/live" if number % 2 else "/v1/events") for number in range(FOLLOWERS - 1)]
        assert {each.status for each in (first, *others)} == {200}
        for path in ("/v1/events", "/v1/live"):
            async with session.get(path) as response:
                assert (response.status, response.content_type) == (503, "application/problem+json")
                assert response.headers["Retry-After"]
        first.close()

        async def again() -> bool:
            async with session.get("/v1/events") as response:
                return response.status == 200

        await wait_until(again, "room for one")
        for each in others:
            each.close()


async def test_a_follower_ends_with_the_server(log: Log) -> None:
    """A stop ends what is followed at once; it does not wait for the client."""
    async with (
        over(log) as (api, session),
        following(session, "/v1/events") as seen,
        following(session, "/v1/live") as live,
    ):
        await live.until(lambda one: one.frames, "the overview")
        await api.api.stop()
        await seen.until(lambda one: one.ended, "the end")
        await live.until(lambda one: one.ended, "the end")


async def test_live_tells_of_changes_and_events(log: Log) -> None:
    """An overview first, then when something changes; each new event, the newest where there are many."""
    log.add("before")
    async with over(log) as (api, session), following(session, "/v1/live") as seen:
        await seen.until(lambda one: one.of("overview"), "the first overview")
        assert seen.of("overview")[0]["sources"] == []
        await wait_until(lambda: api.steered.looks >= 2, "some looks at what does not change")
        assert len(seen.of("overview")) == 1
        api.steered.sources["s"] = {"kind": "sse"}
        await seen.until(lambda one: len(one.of("overview")) == 2, "the change")
        (id_,) = log.add("a", type_="ty", subject="su")
        await seen.until(lambda one: one.of("entry"), "the event")
        entry = seen.of("entry")[0]
        assert (entry["entry"], entry["id"], entry["type"], entry["subject"]) == (f"0-{id_}", "a", "ty", "su")
        assert entry["time"].endswith("Z")
        log.add(*(f"e{number}" for number in range(200)))
        await seen.until(lambda one: one.of("entry")[-1]["id"] == "e199", "the newest")
        told = seen.of("entry")
        assert len(told) + sum(each.get("skipped", 0) for each in told) == 201
        assert len(told) < 100


async def test_live_says_that_redis_is_away_and_goes_on(log: Log) -> None:
    """Once, as a problem; then overviews again when it is back."""
    async with over(log) as (api, session), following(session, "/v1/live") as seen:
        await seen.until(lambda one: one.of("overview"), "the first overview")
        api.steered.away = True
        await seen.until(lambda one: one.of("problem"), "the problem")
        assert seen.of("problem")[0]["status"] == 503
        api.steered.away = False
        api.steered.sources["s"] = {"kind": "sse"}
        await seen.until(lambda one: len(one.of("overview")) == 2, "the overview")
        assert len(seen.of("problem")) == 1


async def test_one_look_serves_all_who_follow(log: Log) -> None:
    """Ten pages cost no more looks than one, and none when nobody follows."""
    async with over(log) as (api, session):
        assert api.steered.looks == 0
        responses = [await session.get("/v1/live") for _ in range(10)]
        for response in responses:
            await response.content.readuntil(b"overview")
        assert api.steered.looks <= 2
        for response in responses:
            response.close()


async def test_a_follower_that_reads_nothing_holds_no_more_than_a_page(log: Log) -> None:
    """With 48 MiB in the log, a client that does not read makes the server fetch a few pages of it, and no more."""
    event = json.dumps({"id": "large", "data": "x" * (1 << 20)}).encode()
    log.add(*["large"] * 48, event=event)

    def sent() -> int:
        return int(log.server.client().info("stats")["total_net_output_bytes"])

    async with over(log) as (_, session):
        before = sent()
        slow = await session.get("/v1/events?from=start")
        await wait_until(lambda: sent() - before > 1 << 20, "some pages")
        async with following(session, "/v1/events?from=start") as other:
            await other.until(lambda one: len(one.frames) == 48, "all events for the other")
        assert sent() - before < (48 + 24) << 20, "the one that reads nothing was sent more than its sockets take"
        slow.close()
