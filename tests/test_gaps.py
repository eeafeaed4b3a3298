"""A cursor that the upstream no longer knows: what is said in the log, what is asked next, what it holds at the end.

A daemon waits a second or two after a refusal, by its backoff: so do these tests.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from following import EVENTS, RUN, RUN_EVENTS, RUN_STREAM, STREAM, V1, V2, Stage, source
from ledger import Ledger, lists, streams
from upstream import CUT, HANG, Script, answer, frame, gaps, happened, stream
from waiting import wait_until

REFUSALS: dict[str, Script] = {
    "400": answer(400, {"error": {"code": "pagination.cursor_invalid", "message": "no"}}),
    "410": answer(410, b""),
    "404": answer(404, {"error": {"code": "event.not_found", "message": "no such event"}}),
}
ACTIONS = ("backfill", "earliest", "now", "stop")


def _same(found: Callable[[str], Any], name: str, expected: Any) -> bool:
    return bool(found(name) == expected)


LATER = "2999-01-01T00:00:00Z"


async def test_every_refusal_of_a_run(stage: Stage) -> None:
    """400 with the code, 410, and 404 of the event: each is one gap event, and what `on_gap` says is asked next."""
    wanted = {
        "backfill": [None, "e1", "e3"], "earliest": [None, "e1", None], "now": [None, "e1", None], "stop": [None, "e1"],
    }  # fmt: skip
    names = [(action, status) for action in ACTIONS for status in REFUSALS]
    tables = []
    for action, status in names:
        run = f"{action}-{status}"
        told = {"backfill": [], "earliest": [frame("e1"), frame("e2"), frame("e3")],
                "now": [frame("e1"), frame("e2"), frame("e3", time=LATER)], "stop": []}[action]  # fmt: skip
        stage.upstream.on(V2.replace("/r/", f"/{run}/"), stream(frame("e1"), then=CUT), REFUSALS[status],
                          stream(b": alive\n\n", *told, then=HANG))  # fmt: skip
        listed = {"data": [happened(f"e{number}") for number in (1, 2, 3)], "nextCursor": None}
        stage.upstream.on(RUN_EVENTS.replace("/r/", f"/{run}/"), answer(200, listed))
        tables.append(source("bctrl.run-events.stream", run, run=run, on_gap=action))

    def events_of(run: str) -> list[str]:
        found = [event for event in stage.log.events() if event["source"].endswith(f"/runs/{run}")]
        return [event["id"] if event["type"].startswith("ai.") else event["data"]["action"] for event in found]

    ends = {"backfill": ["e2", "e3"], "earliest": ["e2", "e3"], "now": ["e3"], "stop": []}
    async with stage.daemon(*tables):
        for action, status in names:
            run = f"{action}-{status}"
            expected = ["e1", action, *ends[action]]
            await wait_until(partial(_same, events_of, run, expected), f"{expected} of {run}")
            path, count = V2.replace("/r/", f"/{run}/"), len(wanted[action])
            await stage.upstream.asked(path, count)
            assert [request.cursor[0] for request in stage.upstream.of(path)][:count] == wanted[action]
            (said,) = stage.gaps(run)
            assert (said["cursor"], said["certain"], said["action"]) == ("e1", True, action)
            assert said["reason"].startswith(status)
            state = stage.log.source(run)["state"]
            assert state == ("failed" if action == "stop" else "running")


async def test_every_action_of_an_account(stage: Stage) -> None:
    """The account's stream: `backfill` and `earliest` read the list and resume behind it, `now` behind the newest."""
    ledger = Ledger()
    ledger.grow(10)
    for action in ACTIONS:
        stage.upstream.on(EVENTS, lists(ledger))
        stage.upstream.on(STREAM, streams(ledger, stays=False), REFUSALS["400"], streams(ledger))
        async with stage.daemon(source("bctrl.events.stream", action, on_gap=action)):
            await wait_until(partial(stage.gaps, action), f"the gap of {action}")
            if action != "stop":
                await stage.upstream.asked(STREAM, 3)
                await wait_until(partial(_same, stage.cursor, action, "e9"), "the last cursor")
        (said,) = stage.gaps(action)
        assert (said["cursor"], said["action"]) == ("e9", action)
        asked = [dict(request.query).get("after") for request in stage.upstream.of(STREAM)]
        stage.upstream.requests.clear()
        last = {"backfill": "e9", "now": "e9", "earliest": "e9"}
        assert asked == [None, "e9", *([last[action]] if action in last else [])]
    assert stage.told() == ledger.ids * 4


async def test_what_was_stopped_goes_on_as_it_is_told_later(stage: Stage) -> None:
    """A source that `stop` has failed does what `on_gap` says once that is something else."""
    ledger = Ledger()
    ledger.grow(2)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger, stays=False), REFUSALS["400"])
    async with stage.daemon(source("bctrl.events.stream", on_gap="stop", recheck="1s")):
        await stage.log.state("failed")
        await stage.upstream.asked(STREAM, 3)
    assert len(stage.gaps()) == 1
    stage.upstream.on(STREAM, REFUSALS["400"], streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", on_gap="backfill")):
        await stage.log.state("running")
    assert [said["action"] for said in stage.gaps()] == ["stop", "backfill"]


@pytest.mark.parametrize("kind", ["bctrl.events.stream", "bctrl.run.stream"])
async def test_expired_while_down(stage: Stage, kind: str) -> None:
    """3,000 events, a window of 500, the cursor expired while the bridge was down: nothing lost, nothing twice.

    Slow because it is long, and because of the backoff.
    """
    ledger, wrapped = Ledger(), kind == "bctrl.run.stream"
    path, keys = (RUN_STREAM, {"run": "r"}) if wrapped else (STREAM, {})
    ledger.grow(1500)
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(RUN, answer(200, {"id": "r", "status": "active"}))
    stage.upstream.on(path, streams(ledger, wrapped=wrapped))
    async with stage.daemon(source(kind, **keys), window=500) as running:
        await stage.log.longer(1499)
        running.kill()
        ledger.grow(1480)
        ledger.grow(20, late=15)  # committed after others that were created after them
        ledger.refused |= set(ledger.ids[:1600])
        ledger.epoch += 1
        running.start()
        await wait_until(lambda: len(stage.told()) >= 3000, "all events", 20)
        await stage.upstream.asked(path, 3)
        running.kill()  # and once more: nothing is told again
        ledger.grow(1)
        running.start()
        await wait_until(lambda: stage.told()[-1:] == ["e3000"], "the last one")
        await wait_until(lambda: stage.cursor().endswith("e3000"), "all of the stream")
    assert sorted(stage.told()) == sorted(ledger.ids)
    assert len(stage.gaps()) == 1


async def test_kill_between_the_gap_and_what_follows(stage: Stage) -> None:
    """What is done about a gap is stored with its event: a kill -9 behind it says it no second time."""
    ledger = Ledger()
    ledger.grow(5)
    stage.upstream.on(STREAM, streams(ledger, stays=False), REFUSALS["410"], streams(ledger))
    stage.upstream.on(EVENTS, HANG)
    async with stage.daemon(source("bctrl.events.stream")) as running:
        await wait_until(stage.gaps, "the gap")
        running.kill()
        assert "seek" in stage.log.source()["bookmark"]
        assert stage.log.source()["cursor"] == ""
        ledger.grow(5)
        stage.upstream.on(EVENTS, lists(ledger))
        running.start()
        await wait_until(lambda: stage.told() == ledger.ids, "all ten")
        await stage.upstream.asked(STREAM, 3)
    assert len(stage.gaps()) == 1


async def test_every_cursor_is_refused(stage: Stage) -> None:
    """An upstream that refuses each cursor is slowed down more and more, although the list brings what is new."""
    ledger = Ledger()
    ledger.grow(3)
    stage.upstream.on(EVENTS, lists(ledger))
    ledger.asked = lambda: ledger.grow(1)
    stage.upstream.on(STREAM, streams(ledger, stays=False), REFUSALS["400"])
    async with stage.daemon(source("bctrl.events.stream")):
        await stage.upstream.asked(STREAM, 4)
    pauses = gaps(stage.upstream.of(STREAM))[1:]
    assert min(pauses) > 0.95
    assert len(stage.gaps()) <= len(stage.upstream.of(STREAM)) - 1


async def test_list_cursor_expires_half_way(stage: Stage) -> None:
    """A refused cursor of the list itself costs a page, not the way so far; it is no gap of the source."""
    ledger = Ledger()
    ledger.grow(1000)
    pages = 0

    def asked() -> None:
        nonlocal pages
        pages += 1
        ledger.epoch += pages in {4, 8}

    ledger.asked = asked
    stage.upstream.on(EVENTS, lists(ledger))
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream", from_="start"), window=200):
        await wait_until(lambda: len(stage.told()) >= 1000, "all events", 15)
        await stage.upstream.asked(STREAM)
    assert stage.told() == ledger.ids
    assert stage.gaps() == []
    assert pages <= 1 + 10 + 2 * 2


async def test_changed_filters(stage: Stage) -> None:
    """Other filters, or another API, are a gap: the cursor belongs to them. The same in another order are none."""
    listed = {"data": [happened("e1"), happened("e2")], "nextCursor": None}
    stage.upstream.on(RUN_EVENTS, answer(200, listed))
    for path in (V1, V2):
        stage.upstream.on(path, stream(frame("e1"), then=HANG))
    async with stage.daemon(source("bctrl.run-events.stream", run="r", types=["a", "navigation"])):
        await stage.log.has("e1")
    async with stage.daemon(source("bctrl.run-events.stream", run="r", types=["navigation", "a", "a"])):
        await stage.upstream.asked(V2, 2)
        assert stage.upstream.of(V2)[1].cursor[0] == "e1"
    assert stage.gaps() == []
    async with stage.daemon(source("bctrl.run-events.stream", run="r", types=["navigation"])):
        await stage.upstream.asked(V2, 3)
        assert stage.upstream.of(V2)[2].cursor[0] == "e2"  # behind what the list has
    async with stage.daemon(source("bctrl.run-events.stream", run="r", types=["navigation"], api="v1")):
        await stage.upstream.asked(V1)
    assert [(said["cursor"], said["certain"]) for said in stage.gaps()] == [("e1", True), ("e1", True)]
    assert stage.told() == ["e1", "e2"]


async def test_changed_filters_of_an_account(stage: Stage) -> None:
    """An account's cursor is an event's id and belongs to no filter: with others it goes on where it was."""
    ledger = Ledger()
    ledger.grow(2)
    stage.upstream.on(STREAM, streams(ledger))
    async with stage.daemon(source("bctrl.events.stream")):
        await stage.log.has("e0", "e1")
    async with stage.daemon(source("bctrl.events.stream", type=["page.loaded"])):
        await stage.upstream.asked(STREAM, 2)
    assert dict(stage.upstream.of(STREAM)[1].query)["after"] == "e1"
    assert stage.gaps() == []
