"""One connection to the Redis that holds one partition, found through Sentinel or Cluster where that is the form.

Refuses to retry anything: a lost answer reaches the caller, who knows whether sending again is safe
(a client that retries by itself doubles appends). Every error is a LogUnavailable with Redis' own word for it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hiredis import pack_command
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.crc import key_slot
from redis.exceptions import NoScriptError, RedisError, ResponseError

from bridge.errors import LogUnavailable

SOCKET_TIMEOUT = 5.0
"""Seconds for one answer; a blocking read must block for less."""

Argument = str | bytes | float
Command = Sequence[Argument]
Reply = Any


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """Where the log lives: a URL of section 7, with the password kept apart. Never shows a secret."""

    url: str
    password: str | None = None

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    __repr__ = __str__


async def _ask(connection: AbstractConnection, *args: str) -> Reply:
    try:
        await connection.connect()
        await connection.send_command(*args, check_health=False)
        return await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)


def _seeds(server: Server) -> list[tuple[str, int]]:
    hosts = urlsplit(server.url).netloc.rpartition("@")[2].split(",")
    pairs = (host.rpartition(":") for host in hosts)
    return [(name.strip("[]"), int(port)) for name, _, port in pairs]


def _credentials(server: Server) -> dict[str, Any]:
    parts = urlsplit(server.url.replace(",", "."))  # a list of hosts is no valid netloc for the port property
    found = {"username": parts.username, "password": server.password or parts.password}
    return {key: value for key, value in found.items() if value}


async def _sentinel_master(server: Server) -> dict[str, Any]:
    service, _, db = urlsplit(server.url).path.strip("/").partition("/")
    reasons = []
    for host, port in _seeds(server):
        try:
            found = await _ask(
                Connection(host=host, port=port, socket_timeout=1.0, protocol=2),
                "SENTINEL", "get-master-addr-by-name", service,
            )  # fmt: skip
        except (RedisError, OSError) as error:
            reasons.append(f"{host}:{port}: {error}")
            continue
        if found:
            return {
                "host": found[0].decode(),
                "port": int(found[1]),
                "db": int(db or 0),
                **_credentials(server),
            }
        reasons.append(f"{host}:{port} knows no service {service!r}")
    raise LogUnavailable("SENTINEL", "; ".join(reasons))


async def _cluster_node(server: Server, key: str) -> dict[str, Any]:
    slot = key_slot(key.encode())
    reasons = []
    for host, port in _seeds(server):
        address: dict[str, Any] = {"host": host, "port": port, "protocol": 2, **_credentials(server)}
        try:
            ranges = await _ask(Connection(socket_timeout=1.0, **address), "CLUSTER", "SLOTS")
        except (RedisError, OSError) as error:
            reasons.append(f"{host}:{port}: {error}")
            continue
        for first, last, master, *_ in ranges:
            if first <= slot <= last:
                return {**address, "host": master[0].decode() or host, "port": master[1]}
        reasons.append(f"{host}:{port}: slot {slot} is served by nobody")
    raise LogUnavailable("CLUSTERDOWN", "; ".join(reasons))


async def _connection(server: Server, key: str) -> AbstractConnection:
    scheme = urlsplit(server.url).scheme
    options: dict[str, Any] = {"socket_timeout": SOCKET_TIMEOUT, "protocol": 2, "client_name": "runbridge"}
    if scheme == "redis+sentinel":
        return Connection(**options | await _sentinel_master(server))
    if scheme == "redis+cluster":
        return Connection(**options | await _cluster_node(server, key))
    parsed: dict[str, Any] = dict(parse_url(server.url))
    parsed.pop("connection_class", None)
    if server.password:
        parsed["password"] = server.password
    kind = {"rediss": SSLConnection, "unix": UnixDomainSocketConnection}.get(scheme, Connection)
    connection: AbstractConnection = kind(**options | parsed)
    return connection


def classify(error: Exception) -> LogUnavailable:
    """What Redis or the socket said, as the one error the callers know."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    if not isinstance(error, ResponseError) and not (code.isalpha() and code.isupper()):
        code = "CONNECTION"
    return LogUnavailable(code if code.isupper() else "ERROR", str(error))


class Link:
    """One connection, opened when it is needed. `generation` counts how often it was.

    Calls wait for each other: a command and its answer are one step, a pipeline too.
    """

    def __init__(self, server: Server, key: str) -> None:
        self._server = server
        self._key = key
        self._connection: AbstractConnection | None = None
        self._lock = asyncio.Lock()
        self.generation = 0

    @property
    def connected(self) -> bool:
        """False before the first call, and after one that failed."""
        return self._connection is not None

    async def call(self, *command: Argument) -> Reply:
        """One command's answer. Raises LogUnavailable."""
        (reply,) = await self.pipeline([command])
        if isinstance(reply, Exception):
            raise classify(reply) from reply
        return reply

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers in order; one that is an error is a `ResponseError` in its place. Raises LogUnavailable."""
        async with self._lock:
            try:
                connection = self._connection or await self._connect()
                # hiredis packs a batch five times as fast as the connection's own method (measured)
                packed = [pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]
                await connection.send_packed_command(packed, check_health=False)
                return [await self._answer(connection) for _ in commands]
            except LogUnavailable:
                raise
            except (RedisError, OSError, TimeoutError) as error:
                await self._drop()
                raise classify(error) from error
            except asyncio.CancelledError:
                await self._drop()
                raise

    async def scripts(self, calls: Iterable[tuple["Script", Command]]) -> list[Reply]:
        """Run scripts in one round trip, by digest; those the server doesn't know (any more) by text."""
        calls = list(calls)
        replies = await self.pipeline([("EVALSHA", script.sha, script.keys, *args) for script, args in calls])
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = [("EVAL", calls[at][0].text, calls[at][0].keys, *calls[at][1]) for at in unknown]
            for at, reply in zip(unknown, await self.pipeline(again), strict=True):
                replies[at] = reply
        return replies

    async def script(self, script: "Script", *args: Argument) -> Reply:
        """One script's answer. Raises LogUnavailable."""
        (reply,) = await self.scripts([(script, args)])
        if isinstance(reply, Exception):
            raise classify(reply) from reply
        return reply

    async def close(self) -> None:
        """Close the connection; a later call opens it again."""
        async with self._lock:
            await self._drop()

    async def _connect(self) -> AbstractConnection:
        connection = await _connection(self._server, self._key)
        await connection.connect()
        self._connection = connection
        self.generation += 1
        return connection

    async def _answer(self, connection: AbstractConnection) -> Reply:
        try:
            return await connection.read_response()
        except ResponseError as error:
            if error.status_code in ("MOVED", "ASK", "READONLY"):
                await self._drop()  # the partition lives elsewhere by now: look it up again
                raise
            return error

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script of this package: its text, its digest, and how many of its arguments are keys."""

    text: str
    sha: str
    keys: int
