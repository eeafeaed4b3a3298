"""`bctrl.run-events.wait` as the real daemon holds it against a scripted run, and over restarts."""

from collections.abc import Callable

from daemon import BCTRL_KEY, Daemon, Log, never, run_wait_source
from proxy import Answers, Proxy
from running_log import script_calls
from upstream import HANG, Exchange, Upstream, after, answer, at_once, gaps, happened, waited
from waited_run import Run
from waiting import wait_until

WAIT = "/v1/runs/{}/events/wait"
PATH, RUN = WAIT.format("r"), "/v1/runs/r"

BOTH = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local found = redis.call('HMGET', KEYS[2], 'cursor', 'sequence')
return {last[1] and last[1][2][2] or '', found[1] or '', tonumber(found[2] or '0'), redis.call('XLEN', KEYS[1])}
"""
"""In one step: the id of the newest event, the source's cursor and sequence, and how many events there are."""


def cursors(upstream: Upstream) -> list[str | None]:
    """What each wait was asked to go on from."""
    return [request.said.get("cursor") for request in upstream.of(PATH)]


async def test_every_field_goes_out_under_its_name(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """What is configured is in every body under the API's own names, the cursor from the second wait on."""
    path = WAIT.format("a%2Fb%20%C3%BC")
    upstream.on(path, waited(happened("e1"), cursor="c1"), HANG)
    source = run_wait_source(
        run="a/b ü", types=["navigation", "dialog"], kinds=["browser", "tool_call"], sources=["platform"],
        connection="k", page="p 1", context="x", wait_timeout="2s",
    )  # fmt: skip
    async with daemon(source, run_wait_source("plain", wait_timeout="25s")):
        await upstream.asked(path, 2)
        await upstream.asked(PATH)
    asked = {
        "type": ["navigation", "dialog"], "kind": ["browser", "tool_call"], "source": ["platform"],
        "connectionId": "k", "pageId": "p 1", "contextId": "x", "timeoutMs": 2000,
    }  # fmt: skip
    assert [request.said for request in upstream.of(path)] == [asked, {**asked, "cursor": "c1"}]
    assert upstream.of(PATH)[0].said == {"timeoutMs": 25_000}
    for request in upstream.requests:
        assert (request.method, request.target) == ("POST", request.path)
        assert request.headers["authorization"] == f"Bearer {BCTRL_KEY}"
        assert request.headers["content-type"] == "application/json"


async def test_cursor_and_event_are_stored_in_one_step(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """At every moment the stored cursor is the one that came with the newest event in the log; re-armed at once."""
    run, seen = Run(events=400), set[int]()

    def look() -> bool:
        keys = f"{log.prefix}:{{0}}:events", f"{log.prefix}:{{0}}:source:s"
        newest, cursor, sequence, length = log.server.call("EVAL", BOTH, 2, *keys)
        assert newest == (f"e{length - 1}" if length else "")
        assert (cursor, sequence) == (f"c{length}" if length else "", length)
        seen.add(length)
        return bool(length == 400)

    async def script(exchange: Exchange) -> None:
        look()
        await run.wait(exchange)
        look()

    upstream.on(PATH, script)
    async with daemon(run_wait_source(wait_timeout="25s")) as running:
        await wait_until(look, "all in the log")
        await upstream.asked(PATH, 401)
        running.kill()
    assert len(seen) > 100
    assert upstream.most_at_once == {PATH: 1}
    assert at_once(gaps(upstream.of(PATH)))


async def test_only_a_cursor_replaces_a_cursor(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Null, empty, absent or of another type, with an event or none: the stored cursor stays; any text replaces it."""
    upstream.on(
        PATH, waited(happened("e1"), cursor="c1"), waited(happened("e2"), cursor=None), waited(happened("e3")),
        waited(happened("e4"), cursor=""), waited(happened("e5"), cursor=5), after(1.0, waited(cursor=None)), HANG,
        after(1.0, waited(cursor="t|é\n2")), HANG,
    )  # fmt: skip
    async with daemon(run_wait_source()) as running:
        await upstream.asked(PATH, 7)
        await log.has("e1", "e2", "e3", "e4", "e5")
        assert log.source()["cursor"] == "c1"
        running.kill()
        running.start()
        await wait_until(lambda: log.source()["cursor"] == "t|é\n2", "the cursor of the time-out")
        await upstream.asked(PATH, 9)
        running.kill()
        running.start()
        await upstream.asked(PATH, 10)
    assert cursors(upstream) == [None, *["c1"] * 7, "t|é\n2", "t|é\n2"]


async def test_what_comes_while_an_append_is_under_way_is_batched(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """A log that does not answer keeps no wait from being made; what they brought is stored together, in order."""
    run = Run()
    upstream.on(PATH, run.wait)
    async with Proxy(log.server) as proxy, daemon(run_wait_source(wait_timeout="25s"), redis=proxy.url):
        await upstream.asked(PATH)
        proxy.answers = Answers.HOLD
        await run.grow(100)
        await upstream.asked(PATH, 101)
        log.server.call("CONFIG", "RESETSTAT")
        assert len(log.ids()) == 1
        proxy.answers = Answers.PASS
        await log.has(*run.ids())
        assert 1 <= script_calls(log.server) <= 3
    assert log.source()["cursor"] == "c100"


async def test_kill_in_mid_wait_loses_and_doubles_nothing(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """After kill -9 with a wait under way the next life goes on from the stored cursor, three times."""
    run = Run(events=5)
    upstream.on(PATH, run.wait)
    async with daemon(run_wait_source(wait_timeout="25s")) as running:
        for life in range(1, 4):
            await log.has(*run.ids())
            await upstream.asked(PATH, 6 * life)
            running.kill()
            await run.grow(5)
            running.start()
        await log.has(*run.ids())
    assert log.parked() == []
    assert log.source()["cursor"] == "c20"


async def test_stop_ends_a_wait_at_once(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """SIGTERM does not wait for the wait: it can be made again, and brings the same."""
    run = Run(events=1)
    upstream.on(PATH, run.wait)
    async with daemon(run_wait_source(wait_timeout="120s")) as running:
        await log.has("e0")
        await upstream.asked(PATH, 2)
        assert await running.stop(timeout=2.0) == 0
        assert running.lines("bridge.stopped", drained=True)
        await wait_until(lambda: upstream.of(PATH)[1].until, "the end of the wait")
        await run.grow()
        running.start()
        await log.has("e0", "e1")
    assert cursors(upstream)[2] == "c1"


async def test_end_of_a_run_is_for_good(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """After a time-out the run is looked at; one more wait, a short one, brings what came late, and that is all."""
    late = waited(happened("late"), cursor="c3")
    upstream.on(PATH, waited(happened("e1"), cursor="c1"), after(2.0, waited(cursor="c2")), late, waited(cursor="c4"))
    upstream.on(RUN, answer(200, {"id": "r", "status": "stopped", "finishedAt": "2026-06-25T12:01:00Z", "x": [1]}))
    async with daemon(run_wait_source(wait_timeout="2s")) as running:
        await log.has("e1", "late", "r:ended")
        await log.state("ended")
        assert await running.stop() == 0
        running.start()
        await running.line("source.ended", source="s", count=2)
        await never(lambda: len(upstream.requests) > 5, "a request about a run that is over", 1.0)
    assert [request.said["timeoutMs"] for request in upstream.of(PATH)] == [2000, 2000, 1000, 1000]
    assert len(upstream.of(RUN)) == 1
    last = log.events()[-1]
    assert (last["type"], last["subject"], last["time"]) == ("ai.bctrl.run.ended", "r", "2026-06-25T12:01:00Z")
    assert last["data"] == {"id": "r", "status": "stopped", "finishedAt": "2026-06-25T12:01:00Z", "x": [1]}


async def test_other_filters_drop_the_cursor(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """A cursor belongs to its filters: with others it is dropped, that is said, and `on_gap` is done, once."""
    upstream.on(PATH, waited(happened("e1"), cursor="c1"), HANG)
    before = run_wait_source(types=["navigation"], on_gap="earliest")
    async with daemon(before) as running:
        await log.has("e1")
        await upstream.asked(PATH, 2)
        assert await running.stop() == 0
        upstream.on(PATH, waited(happened("e1"), cursor="d1"), waited(happened("e2"), cursor="d2"), HANG)
        changed = running.config.read_text().replace('["navigation"]', '["navigation", "dialog"]')
        running.config.write_text(changed)
        for _ in range(2):
            running.start()
            await log.count("navigation", 2)
            await wait_until(lambda: upstream.of(PATH)[-1].until is None, "a wait under way")
            assert await running.stop() == 0
    assert [event["type"].rpartition(".")[2] for event in log.events()] == ["navigation", "gap", "navigation"]
    said = log.data("gap")[0]
    assert "filters" in said["reason"]
    assert (said["source"], said["action"], said["certain"]) == ("s", "earliest", True)
    assert cursors(upstream)[:5] == [None, "c1", None, "d1", "d2"]
