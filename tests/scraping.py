"""A bridge with something of everything that is measured, and what Prometheus gets when it scrapes it over HTTP."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from delivering import Stage, destination
from prometheus_client.parser import text_string_to_metric_families
from receiver import Receiver, status
from servers import RedisServer, free_port
from upstream import HANG, Upstream, stream
from waiting import wait_until

PROMTOOL = shutil.which("promtool")
"""Prometheus' own judge of metrics and rules, where it is installed."""


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Name -> labels -> value."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float | None:
    """One sample's value; `name` without the prefix."""
    return samples(text).get(f"runbridge_{name}", {}).get(tuple(sorted(labels.items())))


@contextlib.asynccontextmanager
async def scraped(*tables: str, stage: Stage) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """What scrapes a bridge with these sources and destinations."""
    url = f"http://127.0.0.1:{(port := free_port())}/metrics"

    async def scrape() -> str:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200
            return await response.text()

    async def listening() -> bool:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            return bool(await scrape())
        return False

    async with stage.bridge(*tables, http=f'listen = "127.0.0.1:{port}"'):
        await wait_until(listening, "the bridge listens")
        yield scrape


async def everything(server: RedisServer, prefix: str) -> str:
    """A scrape of a bridge with a source, a destination that takes all, and one that is disabled by a 410."""
    stage = Stage(server, prefix)
    async with Upstream() as upstream, Receiver() as taking, Receiver(status(410)) as gone:
        upstream.on("/feed", stream(b'id: 1\ndata: {"a":1}\n\n', then=HANG))
        tables = (
            f'[sources.feed]\nkind = "sse"\nurl = "{upstream.url}/feed"\n',
            destination("crm", taking.url), destination("old", gone.url),
        )  # fmt: skip
        async with scraped(*tables, stage=stage) as scrape:

            async def whole() -> str:
                text = await scrape()
                told = value(text, "destination_changes_total", destination="old", what="disabled")
                sent = value(text, "webhook_attempts_total", destination="crm", outcome="delivered")
                return text if told and sent and value(text, "log_entries", partition="0") else ""

            return await wait_until(whole, "all has been measured")
