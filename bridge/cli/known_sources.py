"""What there is to know of a source without running it: from the configuration, or as it was added while running."""

from dataclasses import dataclass

from bridge.redis_log import Definitions
from bridge.roster import Roster
from bridge.settings import Destination, EventWait, InvocationWait, OperationWait, Settings
from bridge.subscriptions import resource_of
from bridge.wiring import keys_of, server_of


@dataclass(frozen=True, slots=True)
class Known:
    """A source. `kind` and `resource` are "" where it is not defined anywhere."""

    id: str
    kind: str = ""
    resource: str = ""
    consuming: bool = False
    """Reading it takes away what is read."""
    cursors: bool = True
    """Whether it goes on after a cursor."""
    others: tuple[str, ...] = ()
    """The ids of all that are defined."""


async def known_source(settings: Settings, name: str) -> Known:
    """The source of this name, as the running bridge would have it. Raises LogUnavailable."""
    definitions = Definitions(server_of(settings), keys_of(settings))
    try:
        stored = await definitions.load()
    finally:
        await definitions.close()
    roster = Roster(settings)
    roster.adopt(stored.fields)
    others = tuple(roster.ids("sources"))
    source = roster.model(("sources", name))
    if source is None or isinstance(source, Destination):
        return Known(name, others=others)
    resource = resource_of(settings.model_copy(update={"sources": {name: source}}), name)
    return Known(
        name, source.kind, resource, isinstance(source, EventWait),
        not isinstance(source, EventWait | OperationWait | InvocationWait), others,
    )  # fmt: skip
