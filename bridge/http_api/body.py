"""Reads a request's JSON strictly: refuses what is too large, too slow, too deep, doubled, or no JSON (RFC 8259).

Stricter than most: a doubled key, a number that is none (NaN, 1e999) or half a surrogate would mean one thing here and
another where it is stored.
"""

import asyncio
import json
from typing import Any, NoReturn

from aiohttp import web

from bridge.errors import Problem
from bridge.http_api.problem import Refused

LARGEST = 256 << 10
"""Bytes of a body."""
DEEPEST = 32
"""Objects and lists within each other."""
SLOWEST = 10.0
"""Seconds for a body to arrive."""
_EXACT = 1 << 53
"""Whole numbers below are the same as a float and as an integer."""
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


async def read_json(request: web.Request, types: tuple[str, ...] = (JSON,), *, required: bool = True) -> Any:  # noqa: ANN401  # whatever JSON holds
    """The body's value; an empty object where there is no body and none is required. Raises Refused."""
    raw = await _bytes(request)
    if not raw and not required:
        return {}
    if request.content_type not in types or (request.charset or "utf-8").lower() != "utf-8":
        raise Refused(415, f"expected a body of type {' or '.join(types)}, UTF-8")
    try:
        return _checked(parsed(raw))
    except RecursionError:
        raise Refused(422, f"the body is nested deeper than {DEEPEST}") from None


async def _bytes(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(415, "expected a body that is not compressed")
    try:
        async with asyncio.timeout(SLOWEST):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, f"the body has more than {LARGEST} bytes") from None
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {SLOWEST:g} s", headers={"Connection": "close"}) from None


def parsed(raw: bytes) -> Any:  # noqa: ANN401  # as above
    """The value of a JSON text. Raises Refused, and RecursionError."""
    try:
        return json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_no_number, parse_float=_number)
    except UnicodeDecodeError:
        raise Refused(400, "the body is not UTF-8") from None
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise Refused(422, "a key is there twice", (Problem(_shown(doubled), "is there twice"),))
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
                raise Refused(422, "a text holds half a surrogate pair, which is no character")
        if not inner:
            return value
        level = inner
    raise Refused(422, f"the body is nested deeper than {DEEPEST}")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(key: str) -> str:
    return key[:100].encode(errors="replace").decode()
