"""Tries what a configuration points to, each thing once. Refuses to change anything there and to show a secret."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import NamedTuple

from bridge.embedded import server_binary
from bridge.errors import BridgeError, LogUnavailable
from bridge.http_client import Guard, HttpClient, connect
from bridge.redis_log import ping
from bridge.settings import AnyAccount, Destination, Settings, Sse
from bridge.stop import within
from bridge.wiring import credentials_of, embedded_of, keys_of, server_of

LONGEST = 10.0
"""Seconds that one thing may take; all are tried at once."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What trying one thing told: `target` names it as in the configuration, `detail` says more."""

    target: str
    ok: bool
    detail: str


class _Found(NamedTuple):
    ok: bool
    detail: str


async def probe(settings: Settings) -> list[ProbeResult]:
    """Redis, each account, each stream without an account and each destination, in this order. Raises nothing.

    Done within some ten seconds.
    """
    tries = [
        _tried("redis", _redis(settings)),
        *(_tried(f"accounts.{name}", _account(account)) for name, account in settings.accounts.items()),
        *(_tried(f"sources.{name}", _sse(each)) for name, each in settings.sources.items() if isinstance(each, Sse)),
        *(_tried(f"destinations.{name}", _destination(each)) for name, each in settings.destinations.items()),
    ]
    return await asyncio.gather(*tries)


async def _tried(target: str, attempt: Awaitable[_Found]) -> ProbeResult:
    started = time.monotonic()
    try:
        found = await within(attempt, LONGEST)
    except (BridgeError, ValueError) as error:
        return ProbeResult(target, ok=False, detail=str(error))
    if found is None:
        return ProbeResult(target, ok=False, detail=f"no answer within {LONGEST:g} s")
    milliseconds = (time.monotonic() - started) * 1000
    return ProbeResult(target, found.ok, f"{found.detail} ({milliseconds:.0f} ms)")


async def _redis(settings: Settings) -> _Found:
    try:
        return _Found(ok=True, detail=f"version {await ping(server_of(settings), keys_of(settings)[0])}")
    except LogUnavailable as error:
        if embedded_of(settings) is None or error.code != "CONNECTION":
            raise
    server_binary()
    return _Found(ok=True, detail="not running now; it starts and ends with the bridge")


async def _account(account: AnyAccount) -> _Found:
    """One GET of the base URL: whatever answers there is reachable; only a refusal says something about the key."""
    async with HttpClient() as client:
        credentials = credentials_of(account)
        async with client.request("GET", account.base_url, headers=credentials, total=LONGEST) as response:
            status = response.status
    if status in {401, 403}:
        return _Found(ok=False, detail=f"answered {status}: the key was refused")
    return _Found(ok=status < 500, detail=f"answered {status}")


async def _sse(source: Sse) -> _Found:
    """One GET of the stream, dropped at its first byte: streams have no account that could be asked instead."""
    secrets = {name: value.get_secret_value() for name, value in source.headers.items()}
    async with HttpClient() as client:
        headers = {"Accept": "text/event-stream", **secrets}
        async with client.request("GET", source.url, headers=headers, total=LONGEST) as response:
            form = response.headers.get("Content-Type", "no content type").partition(";")[0]
            status = response.status
    return _Found(ok=status == 200, detail=f"answered {status}, {form}")


async def _destination(destination: Destination) -> _Found:
    """A connection and nothing sent over it: a request would be a delivery to somebody's hook."""
    await connect(destination.url, Guard(tuple(destination.allow_networks)))
    return _Found(ok=True, detail="took a connection" + (" with TLS" if destination.url.startswith("https:") else ""))
