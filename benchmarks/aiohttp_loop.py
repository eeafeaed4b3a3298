"""The signed webhook loop that a user writes: aiohttp, 32 at once, a Standard Webhooks header each. Nothing durable.

The log is read into memory before; nothing is written about what was sent, and nothing is tried again.

    python -m benchmarks.aiohttp_loop REDIS RECEIVER EVENTS LANES TOGETHER BATCH uvloop|asyncio hmac|standardwebhooks
"""

import asyncio
import base64
import hashlib
import hmac
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import redis
import standardwebhooks
import uvloop

from benchmarks.daemon import SECRET
from benchmarks.processes import KEY

AT_ONCE = 32
KEY_BYTES = base64.b64decode(SECRET.removeprefix("whsec_"))

Sign = Callable[[str, int, bytes], str]


def by_hand(id_: str, timestamp: int, body: bytes) -> str:
    digest = hmac.digest(KEY_BYTES, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


def by_package(id_: str, timestamp: int, body: bytes) -> str:
    return standardwebhooks.Webhook(SECRET).sign(id_, datetime.fromtimestamp(timestamp, UTC), body.decode())


def ready(redis_url: str, batch: int) -> list[tuple[str, bytes]]:
    """Message ids and bodies, in the order of the log."""
    entries: Any = redis.Redis.from_url(redis_url).xrange(KEY)
    singles = [(fields[b"id"].decode(), fields[b"event"]) for _, fields in entries]
    if batch == 1:
        return singles
    parts = [singles[start : start + batch] for start in range(0, len(singles), batch)]
    return [(part[0][0], b"[" + b",".join(body for _, body in part) + b"]") for part in parts]


async def send(session: aiohttp.ClientSession, url: str, messages: Iterator[tuple[str, bytes]], sign: Sign) -> None:
    for id_, body in messages:
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/cloudevents+json",
            "webhook-id": id_,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(id_, timestamp, body),
        }
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            response.raise_for_status()


async def main(redis_url: str, url: str, batch: int, sign: Sign) -> None:
    messages = iter(ready(redis_url, batch))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as session:
        await asyncio.gather(*(send(session, url, messages, sign) for _ in range(AT_ONCE)))
        await asyncio.Event().wait()


if __name__ == "__main__":
    redis_url, url, _, _, _, batch, run, sign = sys.argv[1:]
    runs, signs = {"uvloop": uvloop.run, "asyncio": asyncio.run}, {"hmac": by_hand, "standardwebhooks": by_package}
    runs[run](main(redis_url, url, int(batch), signs[sign]))
