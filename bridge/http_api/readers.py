"""The API's own looks at the log, each over connections that are opened when they are needed. Decides nothing.

At most six connections a partition, however many requests there are: calls over one wait for each other.
"""

from collections.abc import Sequence

from bridge.redis_log import DeadLetters, Keys, Lookup, ReplayRequests, Server
from bridge.redis_log.parked import ParkedRecords
from bridge.redis_log.tail import Tail


class Readers:
    """One of each kind."""

    def __init__(self, server: Server, keys: Sequence[Keys]) -> None:
        self.events = Lookup(server, keys)
        self.dead = DeadLetters(server, keys)
        self.replays = ReplayRequests(server, keys)
        self.parked = ParkedRecords(server, keys)
        self.tail = Tail(server, keys)
        self.recent = Tail(server, keys)

    async def close(self) -> None:
        """Close all connections."""
        for each in (self.events, self.dead, self.replays, self.parked, self.tail, self.recent):
            await each.close()
