"""The history before the stream: `from`, the lists of both APIs, and what is between the list and the connection."""

import asyncio
from typing import Any

import pytest
from following import EVENTS, RUN_EVENTS, RUN_STREAM, STREAM, V2, Stage, source
from ledger import Ledger, lists, moment, streams
from upstream import HANG, Exchange, answer, frame, happened, stream
from waiting import wait_until

from bridge.sources.history import ROUNDS

LATER = "2999-01-01T00:00:00Z"


def page(*ids: str, following: str | None = None, **fields: Any) -> dict[str, Any]:
    """A page of a run's list."""
    return {"data": [happened(id_, **fields) for id_ in ids], "nextCursor": following}


async def test_start(stage: Stage) -> None:
    """`start` reads the list upwards to its newest event, page by page, and resumes the stream after that event."""
    ledger = Ledger(page=100)
    ledger.grow(1234)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_="start", type=["a", "b"], run="r"), window=100):
        await stage.upstream.asked(STREAM)
        await wait_until(lambda: stage.log.source().get("cursor") == "e1233", "the cursor")
    assert stage.told() == ledger.ids
    first, *pages = (dict(request.query) for request in stage.upstream.of(EVENTS))
    assert (first["order"], first["limit"]) == ("desc", "1")
    assert [asked["order"] for asked in pages] == ["asc"] * 13
    queries = [request.query for request in stage.upstream.requests]
    assert all([each for each in query if each[0] == "type"] == [("type", "a"), ("type", "b")] for query in queries)
    assert dict(queries[-1])["after"] == "e1233"


async def test_from_a_time(stage: Stage) -> None:
    """A time begins the list there, and is no filter of the stream."""
    ledger = Ledger()
    ledger.grow(50)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_=moment(40))):
        await stage.upstream.asked(STREAM)
        await wait_until(lambda: stage.told() == ledger.ids[40:], "the last ten")
    assert "from" not in dict(stage.upstream.of(STREAM)[0].query)


async def test_now(stage: Stage) -> None:
    """`now` resumes after the newest event there is, wherever a stream without a cursor would begin."""
    ledger = Ledger()
    ledger.grow(50)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_="now")):
        await stage.upstream.asked(STREAM)
        assert stage.upstream.of(STREAM)[0].query == [("after", "e49")]
        await wait_until(lambda: stage.log.source().get("cursor") == "e49", "the cursor")
    assert stage.told() == []


async def test_now_without_a_time_in_the_list(stage: Stage) -> None:
    """Where no list takes a time, `now` leaves out what the stream tells from before, until the first later event."""
    later = happened("e3", time="2999-01-01T00:00:00Z")
    frames = [b"event: run.event\nid: %s\ndata: %s\n\n" % (each["id"].encode(), str(each).replace("'", '"').encode())
              for each in (happened("e1"), happened("e2"), later, happened("e4"))]  # fmt: skip
    stage.upstream.on(V2, stream(*frames, then=HANG))
    async with stage.daemon(source("bctrl.run-events.stream", run="r", from_="now")):
        await stage.log.has("e3", "e4")
    assert stage.upstream.of(RUN_EVENTS) == []


async def test_upstream(stage: Stage) -> None:
    """`upstream` sends no cursor and reads no list."""
    ledger = Ledger()
    ledger.grow(3)
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream")):
        await stage.log.has("e0", "e1", "e2")
    assert [request.path for request in stage.upstream.requests] == [STREAM]
    assert stage.upstream.requests[0].query == []


async def test_between_an_empty_list_and_the_connection(stage: Stage) -> None:
    """What comes between an empty list and a stream that begins now is read when the connection is there, any one's."""
    ledger = Ledger(begins="now")
    stage.upstream.on(EVENTS, lists(ledger))
    taken = 0

    async def connect(exchange: Exchange) -> None:
        nonlocal taken
        taken += 1
        if taken == 1:  # nothing came; before the next connection something does
            await stream(b": alive\n\n")(exchange)
            ledger.grow(1)
        else:
            await streams(ledger)(exchange)

    stage.upstream.on(STREAM, connect)
    async with stage.daemon(source("bctrl.events.stream", from_="start")):
        await stage.log.has("e0")
        await wait_until(lambda: stage.log.source().get("bookmark") == "", "the end of the seam")
    assert stage.log.source()["cursor"] == "e0"


async def test_list_is_not_served(stage: Stage) -> None:
    """Without a list the stream is followed all the same, and the possible gap is said, once."""
    ledger = Ledger()
    ledger.grow(2)
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_="start")) as running:
        await wait_until(lambda: stage.told() == ledger.ids, "all events")
        running.kill()
        running.start()
        await stage.upstream.asked(STREAM, 2)
    (said,) = stage.gaps()
    assert (said["action"], said["certain"]) == ("earliest", False)
    assert "not served here" in said["reason"]


async def test_list_is_not_served_and_only_what_is_new_is_wanted(stage: Stage) -> None:
    """Without a list `now` leaves out what the stream tells from before; what is done is in the gap and in the log."""
    ledger = Ledger()
    ledger.grow(2)
    ledger.grow(1, createdAt=LATER)
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_="now")) as running:
        await wait_until(lambda: stage.told() == ["e2"], "the new one")
        line = await running.line("loss.possible", source="s")
    (said,) = stage.gaps()
    assert (said["action"], said["certain"]) == ("now", False)
    assert line["reason"] == said["reason"]


async def test_no_cursor_to_the_next_page(stage: Stage) -> None:
    """Where more is said to be there and no cursor leads to it, the list is read on by time, to its end."""
    ledger = Ledger(page=20, mute=True, begins="now")
    ledger.grow(90)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_="start")):
        await stage.upstream.asked(STREAM)
        await wait_until(lambda: stage.cursor() == "e89", "the end of the list")
    assert stage.told() == ledger.ids
    assert dict(stage.upstream.of(STREAM)[0].query)["after"] == "e89"
    assert stage.gaps() == []


async def test_no_way_to_the_next_page(stage: Stage) -> None:
    """Where time leads no further either, the stream goes on behind what was told, and the possible gap is said."""
    ledger = Ledger(page=20, mute=True, deaf=["from"], begins="now")
    ledger.grow(90)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_="start")):
        await wait_until(lambda: stage.told() == ledger.ids, "the stream behind the list")
    assert dict(stage.upstream.of(STREAM)[0].query)["after"] == "e19"
    (said,) = stage.gaps()
    assert (said["action"], said["certain"]) == ("backfill", False)


@pytest.mark.parametrize("mute", [False, True], ids=["cursor", "mute"])
async def test_the_newest_first_in_spite_of_the_order_asked_for(stage: Stage, *, mute: bool) -> None:
    """An account's list that begins with its newest event is of no use; where it is one page, it is turned round."""
    ledger = Ledger(page=20, deaf=["order"], mute=mute)
    ledger.grow(20)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", "one", from_="start")):
        await stage.upstream.asked(STREAM)
        await wait_until(lambda: stage.told() == ledger.ids, "the one page, turned round")
    assert dict(stage.upstream.of(STREAM)[0].query)["after"] == "e19"
    assert stage.gaps("one") == []
    ledger.grow(20)
    async with stage.daemon(source("bctrl.events.stream", "more", from_="start")):
        await wait_until(lambda: sorted(stage.told()) == sorted([*ledger.ids, *ledger.ids[:20]]), "the stream's all")
    assert "after" not in dict(stage.upstream.of(STREAM)[1].query)
    (said,) = stage.gaps("more")
    assert (said["action"], said["certain"]) == ("earliest", False)


async def test_the_order_of_commits_is_none_that_goes_backwards(stage: Stage) -> None:
    """A list whose last event is the newest one is told as it is, whenever its events were created."""
    ledger = Ledger()
    ledger.grow(1)
    ledger.grow(1, late=30)
    first, late = ledger.events
    newest, listed = ({"data": data, "hasMore": False, "nextCursor": None} for data in ([late], [first, late]))
    stage.upstream.on(EVENTS, answer(200, newest), answer(200, listed))
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_="start")):
        await stage.upstream.asked(STREAM)
        await wait_until(lambda: stage.cursor() == "e1", "the cursor")
    assert stage.told() == ["e0", "e1"]


async def test_a_list_that_takes_no_time(stage: Stage) -> None:
    """What a list tells from before the time that was asked for is left out."""
    ledger = Ledger(deaf=["from"])
    ledger.grow(50)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger))
    kind = "bctrl.events.stream"
    async with stage.daemon(source(kind, from_=moment(40)), source(kind, "n", from_="now", run="r")):
        await stage.upstream.asked(STREAM, 2)
        await wait_until(lambda: stage.cursor() == stage.cursor("n") == "e49", "the cursors")
    assert stage.told() == ledger.ids[40:]


async def test_no_list_tells_spans(stage: Stage) -> None:
    """A run's trace alone has no list: that is said, and the stream is followed."""
    ledger = Ledger(traced=True)
    ledger.grow(4)
    stage.upstream.on(RUN_STREAM, streams(ledger, wrapped=True))
    async with stage.daemon(source("bctrl.run.stream", run="r", include=["trace"], from_="start")):
        await wait_until(lambda: len(stage.told()) == 4, "the stream")
    assert [said["certain"] for said in stage.gaps()] == [False]


async def test_backwards(stage: Stage) -> None:
    """A run's list that begins with its newest event is turned round where it is one page, else it is not used."""
    times = {f"e{number}": moment(number) for number in range(4)}
    newest = [happened(id_, time=times[id_]) for id_ in ("e3", "e2", "e1", "e0")]
    stage.upstream.on(RUN_EVENTS, answer(200, {"data": newest, "nextCursor": None}))
    stage.upstream.on("/v1/runs/q/events", answer(200, {"data": newest, "nextCursor": "c"}))
    stage.upstream.on(V2, HANG)
    stage.upstream.on("/v2/runs/q/events/stream", stream(b": alive\n\n", then=HANG))
    kind = "bctrl.run-events.stream"
    one, more = source(kind, run="r", from_="start"), source(kind, "q", run="q", from_="start")
    async with stage.daemon(one, more):
        await stage.upstream.asked(V2)
        await stage.upstream.asked("/v2/runs/q/events/stream")
        await wait_until(lambda: stage.told() == ["e0", "e1", "e2", "e3"], "the one page, turned round")
        await wait_until(lambda: stage.gaps("q"), "the gap")
    assert dict(stage.upstream.of(V2)[0].query) == {"cursor": "e3"}
    assert stage.gaps("s") == []
    assert stage.gaps("q")[0]["certain"] is False


async def test_a_list_that_goes_round(stage: Stage) -> None:
    """A page that gives its own cursor as the next one's is asked for again slowly; then the stream is followed.

    Slow because of the backoff.
    """
    stage.upstream.on(RUN_EVENTS, answer(200, page("e1", following="c")))
    stage.upstream.on(V2, stream(frame("e2"), then=HANG))
    async with stage.daemon(source("bctrl.run-events.stream", run="r", from_="start")) as running:
        line = await running.line("source.interrupted", progress=False)
        assert "own cursor" in line["reason"]
        await wait_until(lambda: stage.told() == ["e1", "e2"], "the stream behind the list")
    assert len(stage.upstream.of(RUN_EVENTS)) == 1 + ROUNDS
    assert stage.upstream.of(V2)[0].cursor[0] == "e1"
    (said,) = stage.gaps()
    assert (said["action"], said["certain"]) == ("backfill", False)


async def test_overlapping_pages_and_filters_of_the_stream(stage: Stage) -> None:
    """Pages may overlap; filters that the list has not are applied to what it tells."""
    network = page("e1", "e2", following="c2", kind="network")
    mixed = {"data": [*page("e2", "e3", kind="network")["data"], happened("e4", kind="console")], "nextCursor": None}
    stage.upstream.on(RUN_EVENTS, answer(200, network), answer(200, mixed))
    stage.upstream.on(V2, HANG)
    async with stage.daemon(
        source("bctrl.run-events.stream", run="r", from_="start", categories=["network"], types=["navigation"])
    ):  # fmt: skip
        await stage.upstream.asked(V2)
        await stage.log.has("e1", "e2", "e3")
    assert ("category", "network") not in stage.upstream.of(RUN_EVENTS)[0].query
    assert ("type", "navigation") in stage.upstream.of(RUN_EVENTS)[0].query
    assert dict(stage.upstream.of(V2)[0].query)["cursor"] == "e4"


async def test_kill_while_the_list_is_read(stage: Stage) -> None:
    """A kill -9 between two pages costs no page twice and no event."""
    ledger, held = Ledger(page=50), asyncio.Event()
    ledger.grow(400)
    stage.upstream.on(STREAM, streams(ledger))

    async def listed(exchange: Exchange) -> None:
        if len(stage.upstream.of(EVENTS)) == 5:
            await held.wait()
        await lists(ledger)(exchange)

    stage.upstream.on(EVENTS, listed)
    async with stage.daemon(source("bctrl.events.stream", from_="start"), window=100) as running:
        await stage.log.longer(149)
        running.kill()
        held.set()
        ledger.grow(1, late=390)  # created long ago, committed now
        ledger.grow(1)
        running.start()
        await wait_until(lambda: len(stage.told()) >= 402, "all events")
    assert sorted(stage.told()) == sorted(ledger.ids)
    assert len(stage.upstream.of(EVENTS)) <= 1 + 8 + 1  # the newest, the pages, and the one that was under way
