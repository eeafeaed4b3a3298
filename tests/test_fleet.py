"""What runs becomes what is wanted, one slot at a time, and what rests keeps its place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from delivering import SECRET
from destination import destination, fill
from running_log import running_log
from servers import RedisServer
from test_roster import HOOK, file, run
from waiting import wait_until

from bridge.fleet import Fleet
from bridge.live import Live
from bridge.redis_log import RedisLog
from bridge.settings import Settings
from bridge.spool import Spool
from bridge.stop import Stop
from bridge.supervisor import Supervisor


@asynccontextmanager
async def fleet(server: RedisServer, prefix: str) -> AsyncIterator[tuple[Fleet, RedisLog]]:
    """A fleet on a log that keeps nothing by age."""
    async with running_log(server.url, prefix, retention=0.0) as running:
        stop = Stop()
        supervisor = Supervisor(observe=lambda _: None, stop=stop)
        found = Fleet(
            running.log, supervisor, Spool(None, lambda _: None), observe=lambda _: None, live=Live(), stop=stop
        )  # fmt: skip
        try:
            yield found, running.log
        finally:
            stop.set()
            await supervisor.end(1.0, running.log.drained)
            await found.close()


def with_hook(**keys: object) -> Settings:
    """A configuration with one webhook, to where nobody listens."""
    settings = file()
    hook = {**HOOK, "url": "http://127.0.0.1:9/", "allow_networks": ["127.0.0.0/8"], "secrets": [SECRET], **keys}
    model = Settings(instance="x", destinations={"crm": hook}).destinations["crm"]  # type: ignore[dict-item]
    return settings.model_copy(update={"destinations": {"crm": model}})


async def test_what_rests_keeps_its_place(server: RedisServer, prefix: str) -> None:
    """What a paused destination has not settled is spared; once it is no more, it goes."""
    fill(server, prefix, [(f"e{number}", "s") for number in range(3)])
    async with fleet(server, prefix) as (found, log), destination(server, prefix):
        await found.apply(file(), ["crm"])
        assert await log.trim(0) == (0, 0)
        await found.apply(file())
        assert await log.trim(0) == (3, 0)


async def test_the_last_word_counts(server: RedisServer, prefix: str) -> None:
    """However often what is wanted changes meanwhile, in the end that runs which was wanted last, once."""
    async with fleet(server, prefix) as (found, log):
        for seconds in (5, 6, 7, 0, 8):
            wanted = with_hook(timeout=seconds) if seconds else file()
            await found.apply(wanted)
        slot = found.destinations["crm"]
        await wait_until(lambda: slot.settled, "the last one to run")
        assert slot.running is not None
        assert log.destinations == {"crm"}
        await found.apply(file())
        await wait_until(lambda: not log.destinations, "nothing to run")


async def test_a_source_that_goes_is_forgotten(server: RedisServer, prefix: str) -> None:
    """Its place in memory goes with it, so that sources may come and go for years."""
    async with fleet(server, prefix) as (found, log):
        for number in range(3):
            await found.apply(file(**{f"s{number}": run(f"r{number}")}))
            await wait_until(lambda: len(log.writers) == 1, "the one writer there is")
        await found.apply(file())
        await wait_until(lambda: not log.writers, "no writer")
        await found.apply(file())
        assert (found.sources, found.subscriptions) == ({}, {})
