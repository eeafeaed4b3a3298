"""The limit for a bridge in Python: read, split at blank lines, one script call a batch. No compare, no cursor, no JSON.

It trusts its upstream: three lines a frame, LF only. While Redis works on a batch, the next one is read.

    python -m benchmarks.pass_through UPSTREAM REDIS RUN KEY
"""

import asyncio
import hashlib
import sys
from urllib.parse import urlsplit

import uvloop
from hiredis import pack_command

READ = 1 << 18
SCRIPT = """
local add, key = redis.call, KEYS[1]
for at = 1, #ARGV, 4 do
  add('XADD', key, '*', 'id', ARGV[at], 'type', ARGV[at + 1], 'subject', ARGV[at + 2], 'event', ARGV[at + 3])
end
return redis.status_reply('OK')
"""


async def main(upstream: str, redis_url: str, run: str, key: str) -> None:
    source, answers = urlsplit(upstream), urlsplit(redis_url)
    reader, request = await asyncio.open_connection(source.hostname, source.port, limit=READ)
    request.write(f"GET /v2/runs/{run}/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    replies, redis = await asyncio.open_connection(answers.hostname, answers.port)
    redis.write(pack_command(("SCRIPT", "LOAD", SCRIPT)))
    await replies.readuntil(b"\r\n")
    await replies.readuntil(b"\r\n")
    sha, subject = hashlib.sha1(SCRIPT.encode()).hexdigest(), run.encode()
    rest, busy = b"", False
    while chunk := await reader.read(READ):
        *frames, rest = (rest + chunk).split(b"\n\n")
        arguments: list[bytes] = []
        for frame in frames:
            if not frame.startswith(b":"):
                event, id_, data = frame.split(b"\n")
                arguments += (id_[4:], event[7:], subject, data[6:])
        if busy:
            await acknowledged(replies)
        if busy := bool(arguments):
            redis.write(pack_command(("EVALSHA", sha, 1, key, *arguments)))


async def acknowledged(replies: asyncio.StreamReader) -> None:
    answer = await replies.readuntil(b"\r\n")
    if answer != b"+OK\r\n":
        raise SystemExit(answer.decode())


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
