"""Where sources stand, as an operator sees it, and having one go on from elsewhere. Reads no upstream."""

from dataclasses import dataclass

from bridge.clock import now, rfc3339
from bridge.redis_log.keys import Keys, partition_of
from bridge.redis_log.link import Link
from bridge.redis_log.partitions import Partitions
from bridge.redis_log.scripts import SET_CURSOR

_FIELDS = (
    "cursor", "sequence", "state", "reason", "bookmark", "resource", "scope", "time", "owner", "epoch", "armed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredCursor:
    """What the log has about a source's place. All is "" but the cursor, which is None, where there is nothing."""

    source: str
    partition: int
    cursor: str | None = None
    sequence: int = 0
    state: str = ""
    reason: str = ""
    bookmark: str = ""
    resource: str = ""
    scope: str = ""
    time: str = ""
    """When something was stored last, RFC 3339."""
    owner: str = ""
    epoch: str = ""
    armed: bool = False
    """A wait that takes away what it reads is under way, or was when the bridge ended."""

    @property
    def known(self) -> bool:
        """Whether the source has ever run."""
        return bool(self.state or self.owner or self.cursor is not None)


class Cursors(Partitions):
    """The sources' places in all partitions, over connections of its own. Every coroutine raises LogUnavailable."""

    async def look(self, source: str) -> StoredCursor:
        """Where a source stands now."""
        partition, keys, link = self._home(source)
        found = await link.call("HMGET", keys.source(source), *_FIELDS)
        text = {
            name: None if value is None else value.decode(errors="replace")
            for name, value in zip(_FIELDS, found, strict=True)
        }
        cursor, sequence, armed = text.pop("cursor"), text.pop("sequence"), text.pop("armed")
        said = {name: value or "" for name, value in text.items()}
        return StoredCursor(source, partition, cursor, int(sequence or 0), armed=armed == "1", **said)

    async def set(self, shown: StoredCursor, cursor: str | None, *, resource: str, again: bool = False) -> bool:
        """Have the source go on after `cursor`, or with None from its beginning, if it is still as it was `shown`.

        False where its resource or its owner is another by now: nothing was done. A bridge that runs it goes on there
        within some two seconds, otherwise the next one does. `again` forgets which events the log has, so that they
        are logged once more. `resource` is what the source reads; a source that never ran begins at `cursor`.
        """
        _, keys, link = self._home(shown.source)
        done = await link.script(
            SET_CURSOR, keys.source(shown.source), keys.recent(shown.source), shown.resource, shown.owner, shown.epoch,
            int(cursor is not None), cursor or "", int(again), rfc3339(now()), resource,
        )  # fmt: skip
        return bool(done == 1)

    def _home(self, source: str) -> tuple[int, Keys, Link]:
        partition = partition_of(source, len(self._keys))
        return partition, self._keys[partition], self._links[partition]
