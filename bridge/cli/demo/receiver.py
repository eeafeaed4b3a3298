"""A webhook's receiver: verifies Standard Webhooks signatures, knows duplicates. Refuses what is not signed.

Written from the specification alone and not with `bridge.signing`: a check that shared its code would agree with its
mistakes. https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping

from aiohttp import web

from bridge.clock import unix

TOLERANCE = 300.0
"""Seconds that a timestamp may lie in the past or the future, so that nobody plays an old request again."""
REMEMBERED = 100_000
"""Ids that are known as duplicates."""


class Refused(Exception):
    """The request is not signed as it has to be; the text says why."""


def verified_id(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The `webhook-id` of a request that was signed with `key`, `now` being seconds since 1970. Raises Refused."""
    try:
        id_, timestamp, signatures = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as missing:
        raise Refused(f"no header {missing.args[0]}") from None
    if not timestamp.isascii() or not timestamp.isdigit():
        raise Refused("webhook-timestamp is no number")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise Refused(f"webhook-timestamp is more than {TOLERANCE:g} s away")
    signed = f"{id_}.{timestamp}.".encode(errors="surrogateescape") + body
    expected = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
    given = signatures.encode(errors="surrogateescape").split(b" ")
    fits = [hmac.compare_digest(expected, each) for each in given]  # all of them, each in constant time
    if not any(fits):
        raise Refused("no signature fits")
    return id_


class Receiver:
    """An HTTP server on a free port. `accept` gets the body of each request that is verified and new."""

    def __init__(self, secret: str, accept: Callable[[bytes], None]) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._accept = accept
        self._seen: dict[str, None] = {}
        self._runner: web.AppRunner | None = None
        self.verified = 0
        self.duplicates = 0
        self.refused = 0
        self.reason = ""
        """Why the last refused one was."""

    async def start(self) -> str:
        """Listen; returns the URL to send to. Raises OSError."""
        application = web.Application()
        application.router.add_post("/hooks", self._receive)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/hooks"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            id_ = verified_id(self._key, request.headers, body, unix())
        except Refused as refused:
            self.refused += 1
            self.reason = str(refused)
            return web.Response(status=401, text=self.reason)
        self.verified += 1
        if id_ in self._seen:
            self.duplicates += 1  # what has been accepted is answered with 2xx again, or it would come once more
            return web.Response(status=204)
        self._seen[id_] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._accept(body)
        return web.Response(status=204)
