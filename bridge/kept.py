"""The definitions in Redis as this bridge knows them, and which of two is newer. Judges none, and starts nothing.

What was answered is never forgotten because Redis came back with an older copy: the bridge stores its own again.
"""

from collections.abc import Callable, Mapping

from bridge.event import Entry
from bridge.facts import DefinitionsRestored
from bridge.ports import Observe
from bridge.redis_log import Definitions
from bridge.redis_log.definitions import Version


class Kept:
    """`adopt` hears of every change. Every coroutine raises LogUnavailable."""

    def __init__(self, definitions: Definitions, adopt: Callable[[Mapping[str, str]], None], observe: Observe) -> None:
        self._definitions, self._tell, self._observe = definitions, adopt, observe
        self.loaded = False
        self._version = Version()
        self._fields: dict[str, str] = {}

    async def store(self, changes: Mapping[str, str], *, command: str = "", answer: Entry | None = None) -> None:
        """Store a change with its answer, and tell of it. Raises Moved: agree first, and plan anew.

        That is so too where an earlier change was stored whose answer was lost.
        """
        version, done = await self._definitions.store(self._version, changes, command=command, answer=answer)
        if not done:
            await self.agree()
        elif changes:
            self._adopt(version, {**self._fields, **changes})

    async def look(self) -> bool:
        """See whether what is known is what is stored, and agree; True if something else is known now."""
        return await self.agree() if await self._definitions.version() != self._version else False

    async def agree(self) -> bool:
        """Take what is stored if that is newer, else store again what is known; True if something else is known now."""
        stored = await self._definitions.load()
        if not self.loaded or stored.version.revision > self._version.revision:
            self.loaded = True
            self._adopt(stored.version, stored.fields)
            return True
        if stored.version != self._version:
            gone = dict.fromkeys(stored.fields.keys() - self._fields.keys(), "")
            self._version, _ = await self._definitions.store(
                stored.version, {**gone, **self._fields}, above=self._version.revision
            )
            self._observe(DefinitionsRestored(self._version.revision))
        return False

    def _adopt(self, version: Version, fields: Mapping[str, str]) -> None:
        self._version, self._fields = version, {name: value for name, value in fields.items() if value}
        self._tell(self._fields)
