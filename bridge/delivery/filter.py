"""Decides which events a destination wants: by globs, and by an expression (docs/filters.md). Pure; never raises.

What needs no decoding is asked first, then the envelope's attributes, and the data last, so that an event that its
type refuses costs nothing, and one that its attributes refuse is never decoded further.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter

from bridge.delivery.comparing import Condition, Path, of_text
from bridge.delivery.expression import compiled
from bridge.delivery.globs import any_of
from bridge.delivery.reading import Reader, Reading
from bridge.delivery.syntax import FilterError
from bridge.event import Entry

MAX_GLOBS = 1000
"""Globs of one kind; each has at most `MAX_GLOB` characters."""
MAX_GLOB = 1024
_SOURCE = attrgetter("source")
_KNOWN_TYPES = 1024
"""Types whose verdict is kept; a longer text than `MAX_GLOB` isn't, so that strangers' types can't fill the memory."""

__all__ = ["MAX_GLOB", "MAX_GLOBS", "Filter", "FilterError"]


class Filter:
    """What a destination wants; without arguments, everything.

    An event is wanted if its type, its subject and its source match one of the globs each (or there are none of that
    kind), and the expression holds. The bytes of an event are anybody's: of what is no CloudEvent only `id`, `type`
    and `subject` are there, as the log's entry has them.

    Raises:
        FilterError: the expression or a glob can't be used; the text says where, what is wrong, and what is allowed.
    """

    def __init__(
        self,
        types: Sequence[str] = (),
        subjects: Sequence[str] = (),
        sources: Sequence[str] = (),
        expression: str = "",
    ) -> None:
        members: dict[str, str] = {}
        wanted = [
            *_globs("types", types, Path(lambda event: event.entry.type, "type")),
            *_globs("subjects", subjects, Path(lambda event: event.entry.subject, "subject")),
            *_globs("sources", sources, Path(lambda event: _SOURCE(event.attributes()), "source")),
            *compiled(expression, members),
        ]
        wanted.sort(key=lambda condition: condition.cost)
        names = frozenset[str]().union(*(condition.names for condition in wanted))
        self._reader = Reader(names - {"data"}, members)
        self._of_type = tuple(condition.test for condition in wanted if condition.names <= {"type"})
        self._others = tuple(condition.test for condition in wanted if not condition.names <= {"type"})
        self._known = lru_cache(_KNOWN_TYPES)(self._judge)

    def type(self, type_: str) -> bool:
        """False where surely no event of this type is wanted, whatever else it holds."""
        return self._known(type_) if len(type_) <= MAX_GLOB else self._judge(type_)

    def __call__(self, entry: Entry) -> bool:
        """Whether this event is wanted."""
        if not self.type(entry.type):
            return False
        if not self._others:
            return True
        event = Reading(self._reader, entry)
        for test in self._others:  # noqa: SIM110  # all() makes a generator for every event, which takes twice as long
            if not test(event):
                return False
        return True

    def _judge(self, type_: str) -> bool:
        event = Reading(self._reader, Entry("", "", type_, "", b""))
        return all(test(event) for test in self._of_type)


def _globs(kind: str, patterns: Sequence[str], path: Path) -> list[Condition]:
    if not patterns:
        return []
    if isinstance(patterns, str):
        raise FilterError(f'{kind} is a text; write a list of globs, as ["ai.bctrl.run.*"]')
    if len(patterns) > MAX_GLOBS:
        raise FilterError(f"{kind} has {len(patterns)} globs; at most {MAX_GLOBS} are allowed, * stands for any text")
    for at, pattern in enumerate(patterns):
        if not 1 <= len(pattern) <= MAX_GLOB:
            raise FilterError(f"{kind}[{at}] has {len(pattern)} characters; a glob has 1 to {MAX_GLOB}")
    return [of_text(path, any_of(patterns))]
