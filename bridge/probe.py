"""Tries what a configuration points to, each thing once. Refuses to change anything there and to show a secret."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import NamedTuple

from bridge.delivery.template import Template
from bridge.dial import Tls, connect
from bridge.embedded import server_binary
from bridge.errors import BridgeError, LogUnavailable
from bridge.event import Entry
from bridge.guard import Guard
from bridge.http_client import HttpClient
from bridge.redis_log import Server, ping
from bridge.redis_log.fan_out import position_key
from bridge.redis_log.link import Link
from bridge.settings import AnyAccount, AnyDestination, RedisDestination, Settings, Sse, WebhookDestination
from bridge.settings.addresses import shown_url
from bridge.stop import within
from bridge.target import proxy_from_environment
from bridge.wiring import credentials_of, embedded_of, keys_of, server_of

LONGEST = 10.0
"""Seconds that one thing may take; all are tried at once."""


_MAY_FAN_OUT = """
if not redis.acl_check_cmd('HSET', KEYS[1], 'position', '') then return 'run HSET on ' .. KEYS[1] end
if not redis.acl_check_cmd('XADD', ARGV[1], '*', 'id', '') then return 'run XADD on ' .. ARGV[1] end
return ''"""
"""What the user may not do, or nothing. KEYS[1] is where the position is kept, ARGV[1] a stream such as all may be."""


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
        *(
            _tried(f"destinations.{name}", _destination(name, each, settings.log.prefix))
            for name, each in settings.destinations.items()
        ),
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


async def _destination(name: str, destination: AnyDestination, prefix: str) -> _Found:
    if isinstance(destination, RedisDestination):
        return await _streams(name, destination, prefix)
    return await _webhook(destination)


async def _webhook(destination: WebhookDestination) -> _Found:
    """A connection as an attempt makes it, and nothing over it: a request would be a delivery to somebody's hook."""
    url, proxy = destination.url, destination.proxy
    if proxy == "environment":
        proxy = proxy_from_environment(url)
    await connect(
        url,
        Guard(tuple(destination.allow_networks)),
        plain=not destination.inside_only,
        tls=Tls(**destination.tls.model_dump()),
        proxy=proxy,
    )
    through = f" through the proxy {shown_url(proxy)}" if proxy else ""
    return _Found(ok=True, detail=f"took a connection{through}" + (" with TLS" if url.startswith("https:") else ""))


async def _streams(name: str, destination: RedisDestination, prefix: str) -> _Found:
    """A script that asks what this user may do, and does none of it."""
    password = destination.password
    template = Template(destination.stream)
    position = position_key(prefix, 0, name, template.tag(0))
    stream = template.key(Entry("0-1", "", "type", "subject", b'{"source": "source"}'), 0)
    server = Server(destination.url, password.get_secret_value() if password else None)
    link = Link(server, position)
    try:
        await link.call("PING")
        missing = await link.call("EVAL", _MAY_FAN_OUT, 1, position, stream)
    finally:
        await link.close()
    if missing:
        return _Found(ok=False, detail=f"NOPERM: this user may not {missing.decode()}")
    return _Found(ok=True, detail=f"answered, and may write streams such as {stream}")
