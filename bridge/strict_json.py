"""Reads JSON that somebody sends, strictly: refuses what is too deep, doubled, or no JSON (RFC 8259). Pure.

Stricter than most: a doubled key, a number that is none (NaN, 1e999) or half a surrogate would mean one thing here and
another where it is stored.
"""

import json
from typing import Any, NoReturn

DEEPEST = 32
"""Objects and lists within each other."""
_EXACT = 1 << 53
"""Whole numbers below are the same as a float and as an integer."""


class BadJson(Exception):  # it always reaches whoever sent the text, in other words
    """Why a text is not taken. `syntax`: it is no JSON at all; else `key` is the key at fault, where it is one."""

    def __init__(self, detail: str, *, key: str = "", syntax: bool = False) -> None:
        super().__init__(detail)
        self.detail, self.key, self.syntax = detail, key, syntax


def strict(text: str | bytes) -> Any:  # noqa: ANN401  # whatever JSON holds
    """The value of a JSON text. Raises BadJson."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return _checked(
            json.loads(decoded, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_number)
        )  # fmt: skip
    except UnicodeDecodeError:
        raise BadJson("is not UTF-8", syntax=True) from None
    except RecursionError:
        raise BadJson(f"is nested deeper than {DEEPEST}") from None
    except ValueError as error:
        raise BadJson(f"is not JSON: {error}", syntax=True) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise BadJson("has a key twice", key=doubled[:100].encode(errors="replace").decode())
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _number(text: str) -> float:
    """JSON has one kind of number: 5.0 is 5."""
    found = float(text)
    if found in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return int(found) if found.is_integer() and abs(found) < _EXACT else found


def _checked(value: Any) -> Any:  # noqa: ANN401  # as above
    """The value, if it is neither too deep nor holds text that can't be encoded."""
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                inner += each
            elif isinstance(each, str) and not _encodable(each):
                raise BadJson("holds half a surrogate pair, which is no character")
        if not inner:
            return value
        level = inner
    raise BadJson(f"is nested deeper than {DEEPEST}")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
