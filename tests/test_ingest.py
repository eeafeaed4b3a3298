"""When a source that can be read again comes back, by a clock that jumps: the log is real, the upstream is a script."""

from collections.abc import AsyncGenerator
from random import Random

import pytest
import virtual_time
from running_log import Upstream, running_log
from servers import RedisServer

from bridge.backoff import STABLE, Pace
from bridge.event import Batch, Position
from bridge.facts import SourceInterrupted
from bridge.ingest import ingest
from bridge.stop import Stop, nap


class Quiet(Upstream):
    """An upstream whose connections last `seconds` each and bring nothing; it stops the bridge after ten."""

    def __init__(self, seconds: float, stop: Stop) -> None:
        super().__init__("quiet")
        self._seconds = seconds
        self._stop = stop
        self._left = 10

    async def batches(self, position: Position) -> AsyncGenerator[Batch, None]:
        """One connection."""
        yield Batch()
        await nap(self._seconds)
        self._left -= 1
        if not self._left:
            self._stop.set()


async def _delays(url: str, prefix: str, seconds: float) -> list[float]:
    """The waits between ten connections that last so long."""
    stop = Stop()
    async with running_log(url, prefix) as running:
        await ingest(
            Quiet(seconds, stop), running.log, Pace(Random(1)), observe=running.facts.append, stop=stop
        )  # fmt: skip
        return [fact.delay for fact in running.of(SourceInterrupted)]


@pytest.mark.parametrize(("seconds", "grows"), [(STABLE + 1, False), (1.0, True)])
def test_a_connection_that_stood_for_long_is_replaced_soon(
    server: RedisServer, prefix: str, seconds: float, *, grows: bool
) -> None:
    """A stream that is quiet for its whole idle time-out is no failing one: only short connections back off."""
    delays = virtual_time.run(_delays(server.url, prefix, seconds))
    assert len(delays) == 10
    assert (max(delays) > 4.0) is grows
