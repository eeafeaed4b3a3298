"""A call to Redis that is cancelled ends, whatever it was doing: a worker told to end may not go on for ever."""

import asyncio

from servers import RedisServer

from bridge.redis_log.link import Link, Server


async def test_cancellation_is_never_lost(server: RedisServer) -> None:
    """Cancelled at any step of a call, its task is cancelled, though the answer may come at the same moment."""
    steps = finished = 0
    while not finished:
        link = Link(Server(server.url), "key")
        await link.call("PING")
        task = asyncio.create_task(link.call("PING"))
        for _ in range(steps):
            await asyncio.sleep(0)
        finished = task.done()
        asked = task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() == asked, f"cancelled after {steps} steps, it went on"
        await link.close()
        steps += 1
    assert steps > 3
