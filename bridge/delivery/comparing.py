"""The tests that a filter is made of, as closures over an event being read. Pure; no test raises, whatever it reads.

Values of two kinds are neither equal nor ordered: texts, numbers and booleans are the kinds. Lists and objects equal
nothing. Absent and null are one value, which equals itself and has no order. Texts are ordered by code point.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.delivery.reading import IN_ENTRY, Reading

Test = Callable[[Reading], bool]
Read = Callable[[Reading], Any]
Order = Callable[[Any, Any], bool]

_MIRRORED: dict[Order, Order] = {
    operator.lt: operator.gt,
    operator.le: operator.ge,
    operator.gt: operator.lt,
    operator.ge: operator.le,
}
_NUMBERS = frozenset({int, float})
_PLAIN = frozenset({int, float, str})


@dataclass(frozen=True, slots=True)
class Path:
    """A place in an event, and the name of the attribute it begins with."""

    read: Read
    name: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that the filter itself holds."""

    value: str | float | bool | None

    def read(self, _: Reading) -> object:
        """The value, for whatever event."""
        return self.value


Operand = Path | Literal


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of an event, and the names of the attributes it looks at, `data` among them."""

    test: Test
    names: frozenset[str]

    @property
    def cost(self) -> int:
        """What has to be decoded: 0 nothing, 1 the envelope, 2 the data as well."""
        return 2 if "data" in self.names else 1 if self.names - IN_ENTRY else 0


def condition(test: Test, *operands: Operand) -> Condition:
    """The condition that a test of these operands is."""
    return Condition(test, frozenset(operand.name for operand in operands if isinstance(operand, Path)))


def opposite(inner: Condition) -> Condition:
    """Holds where `inner` doesn't."""
    test = inner.test
    return Condition(lambda event: not test(event), inner.names)


def joined(parts: Sequence[Condition], *, by_and: bool) -> Condition:
    """Holds where all parts do, or any; the cheap ones are asked first, since none has an effect."""
    tests = tuple(part.test for part in sorted(parts, key=lambda part: part.cost))

    def every(event: Reading) -> bool:
        for test in tests:  # noqa: SIM110  # all() makes a generator for every event, which takes twice as long
            if not test(event):
                return False
        return True

    def some(event: Reading) -> bool:
        for test in tests:  # noqa: SIM110  # as above
            if test(event):
                return True
        return False

    return Condition(every if by_and else some, frozenset[str]().union(*(part.names for part in parts)))


def equal(left: Operand, right: Operand) -> Condition:
    """Holds where both are the same text, number or boolean, or both are null."""
    if isinstance(left, Literal):
        left, right = right, left
    read, other = left.read, right.read
    test: Test = lambda event: _same(read(event), other(event))  # noqa: E731  # the general case of three
    if isinstance(right, Literal):
        value = right.value
        if isinstance(value, str):
            test = lambda event: bool(read(event) == value)  # noqa: E731  # a text equals only texts
        elif value is None or isinstance(value, bool):
            test = lambda event: read(event) is value  # noqa: E731
    return condition(test, left, right)


def ordered(order: Order, left: Operand, right: Operand) -> Condition:
    """Holds where both are texts, or both numbers, and in this order."""
    if isinstance(left, Literal):
        order, left, right = _MIRRORED[order], right, left
    read, other = left.read, right.read

    def test(event: Reading) -> bool:
        first, second = read(event), other(event)
        kind = type(first)
        alike = type(second) is str if kind is str else kind in _NUMBERS and type(second) in _NUMBERS
        return alike and order(first, second)

    return condition(test, left, right)


def among(value: Path, items: Sequence[Literal]) -> Condition:
    """Holds where the value equals one of the items; their number costs no time."""
    plain = frozenset(item.value for item in items if type(item.value) in _PLAIN)
    others = [item.value for item in items if type(item.value) not in _PLAIN]
    read = value.read

    def test(event: Reading) -> bool:
        found = read(event)
        return found in plain if type(found) in _PLAIN else any(found is item for item in others)

    return condition(test, value)


def within(value: Operand, container: Path) -> Condition:
    """Holds where the container is a list with an item that equals the value."""
    read, items = value.read, container.read

    def test(event: Reading) -> bool:
        found, wanted = items(event), read(event)
        return type(found) is list and any(_same(item, wanted) for item in found)

    return condition(test, value, container)


def of_text(value: Path, holds: Callable[[str], bool]) -> Condition:
    """Holds where the value is a text of which `holds` is true."""
    read = value.read
    return condition(lambda event: type(text := read(event)) is str and holds(text), value)


def true(value: Operand) -> Condition:
    """Holds where the value is the boolean true."""
    read = value.read
    return condition(lambda event: read(event) is True, value)


def walk(read: Read, steps: Sequence[str | int]) -> Read:
    """Goes on from a value by members and positions, -1 being the last; absent where there is no such thing."""
    if not steps:
        return read

    def found(event: Reading) -> object:
        value = read(event)
        for step in steps:
            if isinstance(step, str):
                value = value.get(step) if type(value) is dict else None
            else:
                value = value[step] if type(value) is list and -len(value) <= step < len(value) else None
        return value

    return found


def _same(left: object, right: object) -> bool:
    kind, other = type(left), type(right)
    if kind in _NUMBERS and other in _NUMBERS:
        return left == right
    return kind is other and (left is right if left is None or kind is bool else kind is str and left == right)
