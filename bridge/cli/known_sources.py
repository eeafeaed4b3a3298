"""What there is to know of a source without running it: from the configuration, or as it was added while running."""

from dataclasses import dataclass

from bridge.settings import AnySource, EventWait, InvocationWait, OperationWait, Settings
from bridge.subscriptions import resource_of


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
    """The source of this name. Raises LogUnavailable."""
    sources = settings.sources
    if name not in sources:
        return Known(name, others=tuple(sources))
    return _known(name, sources[name], resource_of(settings, name), tuple(sources))


def _known(name: str, source: AnySource, resource: str, others: tuple[str, ...]) -> Known:
    consuming = isinstance(source, EventWait)
    cursors = not isinstance(source, EventWait | OperationWait | InvocationWait)
    return Known(name, source.kind, resource, consuming, cursors, others)
