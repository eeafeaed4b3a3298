"""Matches texts against globs in linear time. Pure; knows one special character, `*`, and no classes or escapes."""

from collections.abc import Callable, Sequence

Matcher = Callable[[str], bool]


def glob(pattern: str) -> Matcher:
    """Tests for texts that are `pattern` from end to end; `*` is any run of characters, dots and slashes too, or none.

    Everything else stands for itself, in its own case. The time is linear in the text: no engine that backtracks.
    """
    first, star, rest = pattern.partition("*")
    if not star:
        return pattern.__eq__
    *middle, last = rest.split("*")
    pieces = tuple(piece for piece in middle if piece)

    def matches(text: str) -> bool:
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return False
        for piece in pieces:  # the leftmost place leaves the most room for the next piece
            at = text.find(piece, at, end) + len(piece)
            if at < len(piece):
                return False
        return True

    return matches


def any_of(patterns: Sequence[str]) -> Matcher:
    """A test for texts that match one of the globs; plain ones and prefixes, the usual kinds, cost one look for all."""
    plain = frozenset(pattern for pattern in patterns if "*" not in pattern)
    prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.find("*") == len(pattern) - 1)
    others = tuple(glob(pattern) for pattern in patterns if "*" in pattern[:-1])

    def matches(text: str) -> bool:
        return text in plain or text.startswith(prefixes) or any(match(text) for match in others)

    return matches
