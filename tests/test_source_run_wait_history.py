"""Where `bctrl.run-events.wait` begins: `from`, its list and the seam between the list and the waits."""

from collections.abc import Callable
from typing import Any

import pytest
from daemon import Daemon, Log, run_wait_source
from upstream import HANG, Upstream, answer, happened, waited
from waited_run import Run
from waiting import wait_until

PATH, LIST = "/v1/runs/r/events/wait", "/v1/runs/r/events"


def cursors(upstream: Upstream) -> list[str | None]:
    """What each wait was asked to go on from."""
    return [request.said.get("cursor") for request in upstream.of(PATH)]


@pytest.mark.parametrize("live", [False, True], ids=["from the start", "from now"])
@pytest.mark.parametrize("filters", [{}, {"kinds": ["browser"]}], ids=["all", "filtered"])
async def test_history_then_waits_without_loss_or_doubling(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, live: bool, filters: dict[str, Any]
) -> None:
    """`from = "start"`: the list, then the waits, wherever one without a cursor begins, and more than the window.

    The list does not know all filters of the wait, and something happens while it is read.
    """
    run = Run(events=250, live=live, page=100)
    growths = iter([10])
    run.between = lambda: run.more(next(growths, 0))
    upstream.on(PATH, run.wait)
    upstream.on(LIST, run.list)
    source = run_wait_source(wait_timeout="2s", **{"from": "start"}, **filters)
    async with daemon(source, BRIDGE_LOG__DEDUP_WINDOW="20") as running:
        await wait_until(lambda: len(run.events) == 260, "the end of the list")
        await log.has(*run.ids(filters))
        await run.grow(2)
        await log.has(*run.ids(filters))
        running.kill()
        await run.grow(2)
        running.start()
        await log.has(*run.ids(filters))
        assert log.source()["bookmark"] == ""
    assert [dict(request.query) for request in upstream.of(LIST)] == [
        {"limit": "100"}, {"limit": "100", "cursor": "100"}, {"limit": "100", "cursor": "200"},
    ]  # fmt: skip
    first, second, *_ = upstream.of(PATH)
    assert first.said["timeoutMs"] < 1000
    assert second.said.get("cursor") == ("c250" if live else None)


@pytest.mark.parametrize("live", [False, True], ids=["from the start", "from now"])
async def test_empty_history_then_waits(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log, live: bool
) -> None:
    """A run without events so far: what happens while its list is read, and before the first wait, is stored once."""
    run = Run(live=live)
    growths = iter([2])
    run.between = lambda: run.more(next(growths, 0))
    upstream.on(PATH, run.wait)
    upstream.on(LIST, run.list)
    async with daemon(run_wait_source(**{"from": "start"})) as running:
        await wait_until(lambda: len(run.events) == 2, "the end of the list")
        await log.has(*run.ids())
        running.kill()
        await run.grow()
        running.start()
        await log.has(*run.ids())


async def test_first_cursor_survives_kill_before_the_list(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Killed between the first cursor and the list: the next life reads the list, and goes on from that cursor."""
    run = Run(events=5, live=True)
    upstream.on(PATH, run.wait)
    upstream.on(LIST, HANG, run.list)
    async with daemon(run_wait_source(**{"from": "start"})) as running:
        await upstream.asked(LIST)
        await wait_until(lambda: log.source().get("cursor") == "c5", "the cursor of now")
        running.kill()
        await run.grow(3)
        running.start()
        await log.has(*run.ids())
        await upstream.asked(PATH, 2)
    assert cursors(upstream)[:2] == [None, "c5"]


async def test_first_cursor_is_no_condition(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """An upstream that refuses so short a wait is no reason not to read the list, and to wait as long as it likes."""
    run = Run(events=5)
    upstream.on(PATH, answer(400, {"code": "request.invalid", "error": "timeoutMs is too small"}), run.wait)
    upstream.on(LIST, run.list)
    async with daemon(run_wait_source(**{"from": "start"})):
        await log.has(*run.ids())
        await upstream.asked(PATH, 7)
    assert log.source()["state"] == "running"


async def test_without_a_list_the_waits_begin_where_they_do(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Where no list is served, that is said, and no cursor is sent: perhaps a wait without one begins at the start."""
    upstream.on(PATH, waited(cursor="now"), waited(happened("e1"), cursor="c1"), HANG)
    async with daemon(run_wait_source(**{"from": "start"})):
        await upstream.asked(PATH, 3)
    assert cursors(upstream) == [None, None, "c1"]
    assert [event["type"].rpartition(".")[2] for event in log.events()] == ["gap", "navigation"]
    assert "no list" in log.data("gap")[0]["reason"]


async def test_from_now_leaves_out_what_was(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """`from = "now"`: the waits go through what happened before the first start, and it is not stored."""
    run = Run(events=20)
    upstream.on(PATH, run.wait)
    async with daemon(run_wait_source(wait_timeout="25s", **{"from": "now"})) as running:
        await upstream.asked(PATH, 21)
        await wait_until(lambda: log.source()["cursor"] == "c20", "the cursor behind it")
        running.kill()
        await run.grow(2)
        running.start()
        await upstream.asked(PATH, 24)
        run.day = "2999-01-01"
        await run.grow(2)
        await log.has("e22", "e23")
    assert upstream.of(LIST) == []
