"""What a running bridge says of itself: who gets nothing, what waits there, and what a person should mend."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from daemon import Daemon, Log, stream_source
from delivering import destination
from receiver import Receiver, status
from servers import free_port
from upstream import HANG, Upstream, counting, frame, stream
from waiting import wait_until

PATH = "/v2/runs/r/events/stream"


class Asked:
    """A daemon, asked over HTTP."""

    def __init__(self, running: Daemon, session: aiohttp.ClientSession) -> None:
        self.running, self._session = running, session

    async def ready(self) -> tuple[int, dict[str, str]]:
        """The status of /readyz, and its problems."""
        async with self._session.get("/readyz") as response:
            return response.status, (await response.json())["problems"]

    async def overview(self) -> dict[str, Any]:
        """The overview."""
        async with self._session.get("/v1/status") as response:
            found: dict[str, Any] = await response.json()
            return found

    async def destination(self, name: str = "d") -> dict[str, Any]:
        """How one destination stands."""
        found: dict[str, Any] = {each["id"]: each for each in (await self.overview())["destinations"]}[name]
        return found

    async def do(self, path: str) -> None:
        """Ask for a change."""
        async with self._session.post(path) as response:
            assert response.status == 200

    async def metric(self, sample: str) -> float:
        """A sample of /metrics."""
        async with self._session.get("/metrics") as response:
            lines = (await response.text()).splitlines()
        return float(next((line.rpartition(" ")[2] for line in lines if line.startswith(f"{sample} ")), "nan"))


@asynccontextmanager
async def asked(running: Daemon) -> AsyncIterator[Asked]:
    """The daemon, running, with its HTTP server."""
    port = free_port()
    running.config.write_text(running.config.read_text().replace('listen = ""', f'listen = "127.0.0.1:{port}"'))
    async with running, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        await running.line("bridge.started")
        yield Asked(running, session)


async def test_a_destination_that_gets_nothing_is_not_in_order(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """`/readyz` names a disabled destination and one that was taken over; a paused one is as somebody wants it."""
    more = asyncio.Event()
    upstream.on(PATH, stream(frame("e1"), more, frame("e2"), then=HANG))
    async with Receiver(status(410)) as gone, Receiver() as well:
        hooks = destination("d", gone.url), destination("w", well.url, types=["ai.*"])
        async with asked(daemon(stream_source(), *hooks)) as bridge:

            async def problems() -> dict[str, str]:
                await bridge.overview()
                code, found = await bridge.ready()
                assert (code == 503) == bool(found)
                return found

            await wait_until(lambda: well.hooks, "an event")
            await wait_until(problems, "the disabled one")
            assert (await problems())["destination d"].startswith("is disabled: ")
            place = f"{log.prefix}:{{0}}:destination:w"
            log.server.call("HSET", place, "owner", "another:99", "epoch", "99")
            more.set()
            await bridge.running.line("destination.fenced")
            assert (await problems())["destination w"] == "is taken over: another:99 delivers to it now"
            await bridge.do("/v1/destinations/d/pause")
            assert (await problems()).keys() == {"destination w"}
            await bridge.do("/v1/destinations/w/resume")
            await wait_until(lambda: log.server.call("HGET", place, "owner") != "another:99", "it is taken back")
            assert await wait_until(lambda: _empty(problems), "all in order")


async def _empty(problems: Callable[[], Any]) -> bool:
    return not await problems()


async def test_what_waits_is_counted_and_says_why(daemon: Callable[..., Daemon], upstream: Upstream, log: Log) -> None:
    """Of one subject that fails, all entries behind it count; nothing is delivered, and the last failure is told."""
    upstream.on(PATH, counting(40), HANG)
    async with Receiver(status(500)) as receiver:
        hook = destination("d", receiver.url, types=["ai.*"], retry_schedule=["60s"])
        async with asked(daemon(stream_source(), hook)) as bridge:

            async def waiting() -> dict[str, Any] | None:
                found = await bridge.destination()
                return found if found["waiting_entries"] == 40 else None

            found = await wait_until(waiting, "all of them waiting")
            assert (found["state"], found["waiting"], found["delivered"], found["rate"]) == ("active", 1, 0, 0.0)
            assert found["reason"] == "answered 500: the receiver failed"
            assert await bridge.metric('runbridge_destination_waiting_entries{destination="d"}') == 40


async def test_delivered_counts_events_and_no_counter_goes_down(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """A batch counts each event; pausing and reloading takes no count away."""
    upstream.on(PATH, counting(30), HANG)
    async with Receiver() as receiver:
        hook = destination("d", receiver.url, types=["ai.*"], format="batched")
        async with asked(daemon(stream_source(), hook)) as bridge:
            names = (
                'runbridge_events_total{source="s"}',
                'runbridge_webhook_attempts_total{destination="d",outcome="delivered"}',
            )

            async def counted() -> list[float]:
                return [await bridge.metric(name) for name in names]

            await wait_until(lambda: sum(len(json.loads(each.body)) for each in receiver.hooks) == 30, "all events")
            found = await bridge.destination()
            assert found["delivered"] == 30
            before = await counted()
            assert before[0] == 30
            for path in ("sources/s/pause", "destinations/d/pause", "sources/s/resume", "destinations/d/resume"):
                await bridge.do(f"/v1/{path}")
                assert await counted() == before


async def test_a_refused_reload_is_seen_until_one_is_taken(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """The overview says it, though the bridge is ready: with that file it would not start again."""
    upstream.on(PATH, HANG)
    async with asked(daemon(stream_source())) as bridge:
        good = bridge.running.config.read_text()
        bridge.running.config.write_text(good + "typo = 1\n")
        bridge.running.signal(signal.SIGHUP)
        await bridge.running.line("reload.refused")
        found = (await bridge.overview())["bridge"]
        assert found["ready"]
        assert "typo: there is no such key" in found["problems"]["configuration"]
        assert (await bridge.ready())[0] == 200
        bridge.running.config.write_text(good)
        bridge.running.signal(signal.SIGHUP)
        await bridge.running.line("configuration.reloaded")
        assert (await bridge.overview())["bridge"]["problems"] == {}
