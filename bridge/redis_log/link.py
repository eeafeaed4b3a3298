"""One connection to the Redis that holds one partition, found through Sentinel or Cluster where that is the form.

Refuses to retry anything: a lost answer reaches the caller, who knows whether sending again is safe
(a client that retries by itself doubles appends). Every error is a LogUnavailable with Redis' own word for it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

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
LOOKUP_TIMEOUT = 1.0
"""Seconds for one of several nodes to say where the log is."""

Argument = str | bytes | float
Command = Sequence[Argument]
Reply = Any


@dataclass(slots=True, repr=False)
class Server:
    """Where the log lives: a URL of section 7, with the password kept apart. Never shows a secret.

    The password may change: the next connection is made with the new one.
    """

    url: str
    password: str | None = None

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    __repr__ = __str__


async def _ask(connection: AbstractConnection, *args: str) -> Reply:
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT):
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
    parts = urlsplit(server.url)
    found = {"username": unquote(parts.username or ""), "password": server.password or unquote(parts.password or "")}
    return {key: value for key, value in found.items() if value}


async def _sentinel_master(server: Server) -> dict[str, Any]:
    service, _, db = urlsplit(server.url).path.strip("/").partition("/")
    reasons = []
    for host, port in _seeds(server):
        try:
            found = await _ask(
                Connection(host=host, port=port, socket_timeout=None, protocol=2),
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
            ranges = await _ask(Connection(socket_timeout=None, **address), "CLUSTER", "SLOTS")
        except (RedisError, OSError) as error:
            reasons.append(f"{host}:{port}: {error}")
            continue
        for first, last, master, *_ in ranges:
            if first <= slot <= last:
                return {**address, "host": (master[0] or b"").decode() or host, "port": master[1]}
        reasons.append(f"{host}:{port}: slot {slot} is served by nobody")
    raise LogUnavailable("CLUSTERDOWN", "; ".join(reasons))


async def _connection(server: Server, key: str) -> AbstractConnection:
    scheme = urlsplit(server.url).scheme
    # Time-outs are set where the calls are made: the connection's own goes through asyncio.wait_for, which before
    # Python 3.12 loses a cancellation that comes with the result, and a worker that was told to end goes on for ever.
    options: dict[str, Any] = {"socket_timeout": None, "protocol": 2, "client_name": "runbridge"}
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
    said = str(error) or f"no answer within {SOCKET_TIMEOUT:g} s"
    return LogUnavailable(code if code.isupper() else "ERROR", said)


class Link:
    """One connection, opened when it is needed. `generation` counts how often it was.

    Calls wait for each other: a command and its answer are one step, a pipeline too.
    """

    def __init__(self, server: Server, key: str) -> None:
        self._server = server
        self._key = key
        self._connection: AbstractConnection | None = None
        self._lock = asyncio.Lock()
        self._known: set[str] = set()
        """Digests of the scripts that this connection has sent by text."""
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
        return await self._exchange(lambda: commands)

    async def scripts(self, calls: Iterable[tuple["Script", Command]]) -> list[Reply]:
        """Run scripts in one round trip, in this order: by text until this connection knows them, then by digest.

        Where the server has forgotten all of them, they are sent again. One forgotten among others is an error in its
        place (NOSCRIPT): it would run behind those that should have followed it.
        """
        calls = list(calls)
        replies = await self._evaluate(calls)
        if all(isinstance(reply, NoScriptError) for reply in replies):
            replies = await self._evaluate(calls)
        return replies

    async def _evaluate(self, calls: Sequence[tuple["Script", Command]]) -> list[Reply]:
        replies = await self._exchange(lambda: [self._evaluation(script, args) for script, args in calls])
        for (script, _), reply in zip(calls, replies, strict=True):
            if isinstance(reply, NoScriptError):
                self._known.discard(script.sha)
            elif not isinstance(reply, Exception):
                self._known.add(script.sha)
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

    async def _exchange(self, commands: Callable[[], Sequence[Command]]) -> list[Reply]:
        async with self._lock:
            try:
                connection = self._connection or await self._connect()
                # hiredis packs a batch five times as fast as the connection's own method (measured)
                packed = [pack_command(tuple(command)) for command in commands()]  # type: ignore[arg-type]
                async with asyncio.timeout(SOCKET_TIMEOUT):
                    await connection.send_packed_command(packed, check_health=False)
                return [await self._answer(connection) for _ in packed]
            except LogUnavailable:
                raise
            except (RedisError, OSError, TimeoutError) as error:
                await self._drop()
                raise classify(error) from error
            except asyncio.CancelledError:
                await self._drop()
                raise

    def _evaluation(self, script: "Script", args: Command) -> Command:
        if script.sha in self._known:
            return ("EVALSHA", script.sha, script.keys, *args)
        return ("EVAL", script.text, script.keys, *args)

    async def _connect(self) -> AbstractConnection:
        connection = await _connection(self._server, self._key)
        try:
            async with asyncio.timeout(SOCKET_TIMEOUT):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        self.generation += 1
        return connection

    async def _answer(self, connection: AbstractConnection) -> Reply:
        try:
            async with asyncio.timeout(SOCKET_TIMEOUT):
                return await connection.read_response()
        except ResponseError as error:
            if error.status_code in ("MOVED", "ASK", "READONLY"):
                await self._drop()  # the partition lives elsewhere by now: look it up again
                raise
            return error

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._known.clear()
        if connection is not None:
            await connection.disconnect(nowait=True)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script of this package: its text, its digest, and how many of its arguments are keys."""

    text: str
    sha: str
    keys: int
