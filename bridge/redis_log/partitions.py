"""One connection of its own to each partition of the log, for whoever looks at all of them."""

from collections.abc import Iterable, Sequence

from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Link, Server


class Partitions:
    """All partitions, over connections that are opened when they are needed. Every coroutine raises LogUnavailable."""

    def __init__(self, server: Server, keys: Sequence[Keys]) -> None:
        self._keys = keys
        self._links = [Link(server, each.events) for each in keys]

    @property
    def partitions(self) -> range:
        """The partitions' numbers."""
        return range(len(self._keys))

    async def close(self) -> None:
        """Close the connections."""
        for link in self._links:
            await link.close()

    def _both(self) -> Iterable[tuple[Keys, Link]]:
        return zip(self._keys, self._links, strict=True)
