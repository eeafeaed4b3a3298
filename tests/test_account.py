"""One account for many sources: its rate, its connections, and the quiet that one answer asks of all of them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from daemon import ANCHOR_KEY, BCTRL_KEY, Daemon, Log, never, stream_source, wait_source
from upstream import CUT, HANG, Exchange, Script, Upstream, after, answer, frame, stream
from virtual_time import clock, run
from waiting import wait_until

from bridge.backoff import RETRY_AFTER_CAP
from bridge.errors import HttpError, SourceError
from bridge.http_client import HttpClient
from bridge.sources.account import Account

OK = answer(200, {"data": []})
SPREAD = 1.0
"""Seconds over which the sources of an account come back after a quiet time, at most."""


def told(status: int, retry_after: str) -> Script:
    """An answer that asks to be left alone."""
    return answer(status, b"", {"Retry-After": retry_after})


class Asked:
    """A script that writes down when it was asked, in the loop's time."""

    def __init__(self, script: Script = OK) -> None:
        self.at: list[float] = []
        self._script = script

    async def __call__(self, exchange: Exchange) -> None:
        """Answer."""
        self.at.append(clock())
        await self._script(exchange)


@asynccontextmanager
async def account_at(upstream: Upstream, *, rate: float = 500.0, limit: int = 0) -> AsyncIterator[Account]:
    """An account with its own pool of connections."""
    async with HttpClient(limit=limit) as client:
        yield Account("a", upstream.url, {"Authorization": f"Bearer {BCTRL_KEY}"}, client, rate=rate)


async def ask(account: Account, path: str = "x") -> int:
    """One request; the status of its answer."""
    async with account.request("GET", account.url(path), headers={}) as response:
        await response.read(1000)
        return response.status


def virtually(test: Callable[[Upstream], Awaitable[None]]) -> None:
    """Run a test against a scripted upstream on a clock that jumps."""

    async def whole() -> None:
        async with Upstream() as upstream:
            await test(upstream)

    run(whole())


# ---- the rate


def test_rate_holds_for_all_sources_together() -> None:
    """Whoever asks, no stretch of time has more requests than its share, a second's share and one."""

    async def test(upstream: Upstream) -> None:
        asked = Asked()
        upstream.on("/x", asked)

        async def source(account: Account) -> None:
            for _ in range(10):
                await ask(account)

        async with account_at(upstream, rate=20.0) as account:
            await asyncio.gather(*(source(account) for _ in range(8)))
        assert len(asked.at) == 80
        for first, start in enumerate(asked.at):
            for count, end in enumerate(asked.at[first:], 1):
                assert count <= (end - start + 1) * 20 + 1.001
        assert asked.at[-1] >= 80 / 20 - 1 - 0.1

    virtually(test)


# ---- the quiet


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [(429, "7", 7.0), (503, "7", 7.0), (429, "0.5", 0.5), (503, "86400", RETRY_AFTER_CAP), (401, "7", 7.0)],
)
def test_retry_after_quiets_the_account(status: int, value: str, seconds: float) -> None:
    """A refusal's Retry-After, of 300 s at most, keeps all of the account from asking; then they come back spread."""

    async def test(upstream: Upstream) -> None:
        others = Asked()
        upstream.on("/busy", told(status, value))
        upstream.on("/x", others)
        async with account_at(upstream) as account:
            assert await ask(account, "busy") == status
            assert account.quiet
            start = clock()
            await asyncio.gather(*(ask(account) for _ in range(20)))
        assert RETRY_AFTER_CAP == 300.0
        assert min(others.at) >= start + seconds - 0.01
        assert max(others.at) <= start + seconds + SPREAD + 0.1
        assert len({round(at, 6) for at in others.at}) > 10, "not all in the same moment"

    virtually(test)


@pytest.mark.parametrize(("status", "value"), [(429, "0"), (503, "soon"), (429, ""), (500, "-5"), (200, "60")])
def test_nothing_to_honour_quiets_nobody(status: int, value: str) -> None:
    """Zero, nonsense, and the header of an answer that is no refusal keep nobody from asking."""

    async def test(upstream: Upstream) -> None:
        upstream.on("/busy", told(status, value))
        upstream.on("/x", OK)
        async with account_at(upstream) as account:
            await ask(account, "busy")
            assert not account.quiet
            await ask(account)
        assert clock() < 0.5

    virtually(test)


def test_quiet_only_lengthens() -> None:
    """A second Retry-After prolongs the quiet, for those too who wait already; a shorter one never ends it."""

    async def test(upstream: Upstream) -> None:
        others, later = Asked(), asyncio.Event()
        upstream.on("/long", after(later, told(429, "30")))
        upstream.on("/short", after(later, after(0.5, told(503, "1"))))
        upstream.on("/busy", told(429, "5"))
        upstream.on("/x", others)
        async with account_at(upstream) as account:
            under_way = [asyncio.ensure_future(ask(account, path)) for path in ("long", "short")]
            await upstream.asked("/long")
            await upstream.asked("/short")
            await ask(account, "busy")
            waiting = asyncio.ensure_future(ask(account))
            await asyncio.sleep(2.0)
            later.set()
            start = clock()
            await asyncio.gather(*under_way, waiting)
        assert others.at[0] >= start + 30 - 0.01

    virtually(test)


def test_quiet_leaves_what_is_open_and_who_is_another() -> None:
    """While an account is quiet its open streams go on, and another account is asked as ever."""

    async def test(upstream: Upstream) -> None:
        told_off = asyncio.Event()
        upstream.on("/stream", stream(frame("e1"), told_off, frame("e2"), then=HANG))
        upstream.on("/busy", told(429, "60"))
        upstream.on("/x", OK)
        async with account_at(upstream) as account, account_at(upstream) as other:
            async with account.request("GET", account.url("stream"), headers={}) as response:
                chunks = response.chunks()
                assert b"e1" in await anext(chunks)
                await ask(account, "busy")
                told_off.set()
                assert b"e2" in await anext(chunks)
                await chunks.aclose()
            await ask(other)
            assert account.quiet
            assert not other.quiet
        assert clock() < 1.0

    virtually(test)


def test_who_is_admitted_is_not_held_up() -> None:
    """A request that was admitted before, as a wait's is before it is armed, goes out whatever was said since."""

    async def test(upstream: Upstream) -> None:
        upstream.on("/busy", told(429, "60"))
        upstream.on("/x", OK)
        async with account_at(upstream) as account:
            await ask(account, "busy")
            async with account.request("GET", account.url("x"), headers={}, admitted=True) as response:
                assert response.status == 200
        assert clock() < 0.5

    virtually(test)


# ---- the connections


def test_connections_are_bounded() -> None:
    """No more connections are open than the pool's limit; who finds none free gets one when it is."""

    async def test(upstream: Upstream) -> None:
        release = asyncio.Event()
        upstream.on("/x", after(release, OK))
        async with account_at(upstream, limit=3) as account:
            asking = [asyncio.ensure_future(ask(account)) for _ in range(12)]
            await asyncio.sleep(5.0)
            assert len(upstream.requests) == 3
            release.set()
            assert await asyncio.gather(*asking) == [200] * 12
        assert len(upstream.requests) == 12
        assert upstream.most_at_once == {"/x": 3}

    virtually(test)


# ---- the key


async def test_key_is_never_shown() -> None:
    """No repr, no error and nothing that the upstream repeats holds the key, with its scheme or without."""
    async with Upstream() as upstream:
        for credentials, key in (
            ({"Authorization": f"Bearer {BCTRL_KEY}"}, BCTRL_KEY), ({"anchor-api-key": ANCHOR_KEY}, ANCHOR_KEY),
            ({"Authorization": "Token abc-1"}, "abc-1"),
        ):  # fmt: skip
            header = next(iter(credentials.values()))
            upstream.on("/x", answer(400, f"bad {header}, that is {key}".encode()))
            async with HttpClient() as client:
                account = Account("a", upstream.url, credentials, client)
                assert repr(account) == f"Account('a', {upstream.url!r})"
                with pytest.raises(SourceError) as refused:
                    await account.fetch(account.url("x"), headers={}, params=(), cap=100, cursor="")
                assert refused.value.reason.startswith("400 bad ***, that is ***: ")
        await upstream.stop()
        async with account_at(upstream) as account:
            with pytest.raises(HttpError) as broken:
                await ask(account)
            assert BCTRL_KEY not in f"{broken.value!r} {broken.value.__cause__!r}"
    nobody = Account("a", "http://127.0.0.1:1", {"X-Empty": ""}, HttpClient())
    assert nobody.hide(b"as it is") == b"as it is"


# ---- the daemon


async def test_requests_per_second_of_a_daemon(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """`requests_per_second` spreads the start of an account's sources, and only of that account's."""
    sources = [stream_source(f"s{at}", run=f"r{at}") for at in range(30)]
    sources += [stream_source(f"f{at}", run=f"f{at}", account="free") for at in range(30)]
    accounts: dict[str, dict[str, Any]] = {
        "bctrl": {"provider": "bctrl", "base_url": upstream.url, "requests_per_second": 20},
        "free": {"provider": "bctrl", "base_url": f"{upstream.url}/free"},
    }
    for at in range(30):
        upstream.on(f"/v2/runs/r{at}/events/stream", HANG)
        upstream.on(f"/free/v2/runs/f{at}/events/stream", HANG)
    async with daemon(*sources, accounts=accounts):
        await wait_until(lambda: len(upstream.requests) == 60, "all sources")
    slow = sorted(request.at for request in upstream.requests if not request.path.startswith("/free"))
    free = sorted(request.at for request in upstream.requests if request.path.startswith("/free"))
    assert slow[-1] - slow[0] >= 29 / 20 - 1 - 0.1
    assert free[-1] < slow[-1]


async def test_max_connections_of_a_daemon(daemon: Callable[..., Daemon], upstream: Upstream) -> None:
    """`max_connections` bounds what an account has open: with two streams and three, lists are read one by one."""
    accounts = {"bctrl": {"provider": "bctrl", "base_url": upstream.url, "max_connections": 3}}
    nothing = answer(200, {"data": [], "nextCursor": None})
    for name in ("r1", "r2"):
        # an empty history is read once more while the stream is open
        upstream.on(f"/v1/runs/{name}/events", nothing, after(0.3, nothing))
        upstream.on(f"/v2/runs/{name}/events/stream", stream(then=HANG))
    sources = [stream_source(name, run=name, **{"from": "start"}) for name in ("r1", "r2")]
    async with daemon(*sources, accounts=accounts):
        for name in ("r1", "r2"):
            await upstream.asked(f"/v1/runs/{name}/events", 2)
        lists = [upstream.of(f"/v1/runs/{name}/events")[1] for name in ("r1", "r2")]
        await wait_until(lambda: all(request.until for request in lists), "the ends of both lists")
    first, second = sorted(lists, key=lambda request: request.at)
    assert second.at >= (first.until or 0.0) - 0.1


async def test_nothing_is_armed_while_the_account_is_quiet(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """One wait's Retry-After lets another under way bring its signal and arms none; a stop then ends at once."""
    path = "/v1/runs/r/events/stream"
    busy, other = "/v1/events/busy/wait", "/v1/events/otp/wait"
    upstream.on(busy, after(0.3, told(429, "60")))
    upstream.on(other, after(0.6, answer(200, {"data": {"code": "1"}})))
    upstream.on(path, *(stream(frame(f"e{at}"), then=CUT) for at in range(20)), HANG)
    async with daemon(wait_source(), wait_source("busy", event="busy"), stream_source(api="v1")) as running:
        await running.line("source.interrupted", source="busy")
        await log.count("signaled", 1)
        await wait_until(lambda: log.source("w").get("armed") == "0", "that no wait is armed")
        await upstream.asked(path, 21)
        await never(lambda: len(upstream.of(other)) > 1, "a wait while the account is quiet", 0.3)
        assert log.source("busy")["armed"] == "0"
        running.signal(signal.SIGTERM)
        assert await running.end(timeout=5.0) == 0
        assert running.lines("bridge.stopped", drained=True)
        for key in (ANCHOR_KEY, BCTRL_KEY):
            assert key not in running.text
    assert (len(upstream.of(busy)), len(upstream.of(other))) == (1, 1)
    assert log.events("gap") == []
