"""What the handlers share: whom they ask, and how an answer is written. Asks nobody itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from bridge.http_api.body import JSON
from bridge.http_api.readers import Readers
from bridge.ports import Steering
from bridge.stop import Stop


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the bridge does its job, and in words what is not in order."""

    ready: bool
    problems: dict[str, str]


@dataclass(frozen=True, slots=True)
class Served:
    """What the handlers are made with."""

    alive: Callable[[], dict[str, str]]
    """What makes no progress, and since when in words; nothing where all is well."""
    readiness: Callable[[], Readiness]
    metrics: Callable[[], Awaitable[bytes]]
    steering: Steering
    readers: Readers
    schemas: Mapping[str, Any]
    """JSON schemas of the keys that define `sources` and `destinations`."""
    stop: Stop
    """Set when followers have to end."""


def answer(
    value: object, status: int = 200, *, location: str = "", content_type: str = JSON
) -> web.Response:  # fmt: skip
    """A JSON answer, never kept by anybody."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    headers = {"Content-Type": content_type, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    if location:
        headers["Location"] = location
    return web.Response(status=status, body=body, headers=headers)


def nothing() -> web.Response:
    """It is done, and there is nothing to say."""
    return web.Response(status=204)
