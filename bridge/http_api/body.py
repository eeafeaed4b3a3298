"""Reads a request's JSON: refuses what is too large, too slow, or not strict (`bridge.strict_json`)."""

import asyncio
from typing import Any

from aiohttp import web

from bridge.errors import Problem
from bridge.http_api.problem import Refused
from bridge.strict_json import BadJson, strict

LARGEST = 256 << 10
"""Bytes of a body."""
SLOWEST = 10.0
"""Seconds for a body to arrive."""
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


async def read_json(request: web.Request, types: tuple[str, ...] = (JSON,), *, required: bool = True) -> Any:  # noqa: ANN401  # whatever JSON holds
    """The body's value; an empty object where there is no body and none is required. Raises Refused."""
    raw = await _bytes(request)
    if not raw and not required:
        return {}
    if request.content_type not in types or (request.charset or "utf-8").lower() != "utf-8":
        raise Refused(415, f"expected a body of type {' or '.join(types)}, UTF-8")
    return parsed(raw)


async def _bytes(request: web.Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        # its bytes are left where they are, so the next request can't be told from them
        raise Refused(415, "expected a body that is not compressed", headers={"Connection": "close"})
    try:
        async with asyncio.timeout(SLOWEST):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refused(413, f"the body has more than {LARGEST} bytes") from None
    except TimeoutError:
        raise Refused(408, f"the body did not arrive within {SLOWEST:g} s", headers={"Connection": "close"}) from None


def parsed(raw: bytes) -> Any:  # noqa: ANN401  # as above
    """The value of a JSON text. Raises Refused."""
    try:
        return strict(raw)
    except BadJson as bad:
        if bad.syntax:
            raise Refused(400, f"the body {bad.detail}") from None
        problems = (Problem(bad.key, "is there twice"),) if bad.key else ()
        raise Refused(422, f"the body {bad.detail}", problems) from None
