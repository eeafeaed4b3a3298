"""Reads the filters of a run event query and says which events pass. Pure.

A key may be repeated: one of its values has to fit. Different keys all have to fit. Unknown keys are ignored.
"""

from collections.abc import Mapping
from typing import Protocol

from bridge.emulator.wire import Traits

# The query names of each API version, and the trait that each looks at.
V1: Mapping[str, str] = {"type": "type", "status": "status", "pageId": "page", "contextId": "context"}
LIST: Mapping[str, str] = {**V1, "source": "source", "spanId": "span"}  # two generations of the list in one
WAIT: Mapping[str, str] = {
    "type": "type",
    "kind": "kind",
    "source": "origin",
    "connectionId": "connection",
    "pageId": "page",
    "contextId": "context",
}
V2: Mapping[str, str] = {"type": "type", "category": "category", "connectionId": "connection"}


class Query(Protocol):
    """What is read of a query: whether a key is there, and all its values."""

    def __contains__(self, key: object, /) -> bool: ...

    def getall(self, key: str) -> list[str]: ...  # noqa: D102 - the class says it


class Filter:
    """The events that a client asked for."""

    def __init__(self, query: Query, names: Mapping[str, str]) -> None:
        fields = Traits._fields
        self._wanted = [
            (fields.index(trait), frozenset(query.getall(name))) for name, trait in names.items() if name in query
        ]

    @property
    def takes_all(self) -> bool:
        """Whether no event is left out."""
        return not self._wanted

    def takes(self, traits: Traits) -> bool:
        """Whether an event passes."""
        return all(traits[at] in wanted for at, wanted in self._wanted)
