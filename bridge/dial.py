"""Opens guarded connections to one server: names, sockets, proxy tunnel, TLS. Refuses to speak HTTP with the server.

Every address is judged where its socket is made. Failures are told as HttpError, with whose fault they are.
"""

import asyncio
import contextlib
import errno
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, zip_longest
from typing import Any, TypeVar, cast

from bridge.errors import ConfigurationError, HttpError, Problem
from bridge.guard import Guard, open_socket
from bridge.target import Target, target_of

CONNECT_TIMEOUT = 10.0
"""Seconds for all of it: resolving, every address in turn, tunnel and TLS."""
MAX_ADDRESSES = 16
"""Addresses of a name that are tried."""
MAX_TUNNEL_HEAD = 1 << 14
"""Bytes of a proxy's answer to CONNECT."""

_OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""This machine has no more of something: another address would fare no better."""
_OURS = _OUT_OF | {errno.EADDRNOTAVAIL, errno.EAGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY}
_NO_WAY = {errno.EADDRNOTAVAIL: 1, errno.ENETUNREACH: 2}
"""What an address of a family that this machine lacks fails with: told only where no other address says more."""

P = TypeVar("P", bound=asyncio.BaseProtocol)
Info = tuple[int, int, int, str, Any]
"""An entry of `getaddrinfo`."""


@dataclass(frozen=True)
class Tls:
    """Files in PEM form, "" for none: the authorities that are trusted instead of the system's, and who we are."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer, with the host name checked. Raises ConfigurationError that names the file."""
        if self == SYSTEM_TLS:
            return _shared_context()
        try:
            context = _modern(ssl.create_default_context(cafile=self.ca_file or None))
        except OSError as error:
            problem = Problem("tls.ca_file", f"{self.ca_file} can't be used: {_reason(error)}")
            raise ConfigurationError((problem,)) from error
        if self.key_file and not self.cert_file:
            raise ConfigurationError((Problem("tls.key_file", "has no certificate; set tls.cert_file too"),))
        if self.cert_file:
            try:
                # a key with a passphrase would be asked for on the terminal; "" makes it an error instead
                context.load_cert_chain(self.cert_file, self.key_file or None, password="")
            except OSError as error:
                files = " and ".join(filter(None, (self.cert_file, self.key_file)))
                problem = Problem("tls.cert_file", f"{files} can't be used: {_reason(error)}")
                raise ConfigurationError((problem,)) from error
        return context


SYSTEM_TLS = Tls()
"""The system's authorities, and no certificate of our own."""


@cache
def _shared_context() -> ssl.SSLContext:
    """One for all who want nothing special: each holds a copy of the system's authorities."""
    return _modern(ssl.create_default_context())


def _modern(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Dialler:
    """Opens connections to one target.

    A `guard` judges each address; None lets all pass. Without `plain`, http goes to the guard's allowed networks only.
    With a `proxy` only what a URL spells out can be judged; the proxy's own address counts as allowed.
    """

    def __init__(
        self, target: Target, *, guard: Guard | None, plain: bool = False, tls: Tls = SYSTEM_TLS,
        proxy: Target | None = None,
    ) -> None:  # fmt: skip
        self._target = target
        self._guard = guard
        self._plain = plain or target.scheme == "https"
        self._proxy = proxy
        self._tls = tls.context() if target.scheme == "https" else None
        self._lookup: asyncio.Future[list[Info]] | None = None

    async def open(self, make: Callable[[], P], seconds: float = CONNECT_TIMEOUT) -> P:
        """The protocol that `make` returned, connected; within `seconds` and CONNECT_TIMEOUT. Raises HttpError."""
        seconds = min(seconds, CONNECT_TIMEOUT)
        try:
            async with asyncio.timeout(seconds):
                return await self._open(make, asyncio.get_running_loop().time() + seconds)
        except TimeoutError as error:
            raise HttpError(f"can't connect within {seconds:.3g} s", sent=False) from error
        except (OSError, RuntimeError) as error:  # a thread that can't be started is a RuntimeError
            ours = isinstance(error, RuntimeError) or error.errno in _OURS
            raise HttpError(f"can't connect: {_reason(error)}", sent=False, ours=ours) from error

    async def _open(self, make: Callable[[], P], deadline: float) -> P:
        clock = asyncio.get_running_loop().time
        self._judge_literal()
        server = self._proxy or self._target
        found = _in_turn(_numeric(server) or await self._addresses(server))
        failures: list[OSError] = []
        for number, info in enumerate(found):
            try:
                # each gets its share of the time, so that one that swallows everything doesn't hide the next
                async with asyncio.timeout((deadline - clock()) / (len(found) - number)):
                    return await self._over(info, make)
            except OSError as error:
                failures.append(error)
                if error.errno in _OUT_OF:
                    raise
        if len(failures) == 1 and type(failures[0]) is TimeoutError and not failures[0].errno:
            raise failures[0]
        raise min(failures, key=lambda error: _NO_WAY.get(error.errno or 0, 0))

    def _judge_literal(self) -> None:
        if self._proxy is None or self._guard is None:
            return
        known = _numeric(self._target)
        for info in known:
            self._guard.check(info[4][0], plain=self._plain)
        if not known and not self._plain:
            raise OSError("plain http through a proxy goes nobody knows where: use https, or set allow_http")

    async def _addresses(self, server: Target) -> list[Info]:
        """What the name means now. One look-up at a time: threads are few, and all destinations share them."""
        if self._lookup is None or self._lookup.done():
            resolve: Callable[[], Any] = partial(socket.getaddrinfo, server.host, server.port, type=socket.SOCK_STREAM)
            self._lookup = asyncio.get_running_loop().run_in_executor(None, resolve)
        return await asyncio.shield(self._lookup)

    async def _over(self, info: Info, make: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        if self._guard is not None and self._proxy is None:
            made = self._guard.make_socket(info, plain=self._plain)
        else:
            made = open_socket(info)
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(made, info[4])
            if self._proxy is not None and self._tls is not None:
                await self._tunnel(made, self._proxy)
        except BaseException:
            made.close()
            raise
        # from here on the socket is the transport's, which closes it when this fails
        name = self._target.name if self._tls else None
        _, protocol = await loop.create_connection(make, sock=made, ssl=self._tls, server_hostname=name)
        return protocol

    async def _tunnel(self, made: socket.socket, proxy: Target) -> None:
        loop = asyncio.get_running_loop()
        login = f"Proxy-Authorization: Basic {proxy.login}\r\n" if proxy.login else ""
        asked = f"CONNECT {self._target.endpoint} HTTP/1.1\r\nHost: {self._target.endpoint}\r\n{login}\r\n"
        await loop.sock_sendall(made, asked.encode())
        head = b""
        while b"\r\n\r\n" not in head and len(head) < MAX_TUNNEL_HEAD:
            chunk = await loop.sock_recv(made, 4096)
            if not chunk:
                raise ConnectionResetError("the proxy closed the connection")
            head += chunk
        status = re.match(rb"HTTP/1\.[01] ([0-9]{3})\b", head)
        if status is None or (status[1].startswith(b"2") and not head.endswith(b"\r\n\r\n")):
            raise OSError("the proxy's answer is no valid HTTP")
        if not status[1].startswith(b"2"):
            raise OSError(f"the proxy answered {status[1].decode()}")


async def connect(
    url: str, guard: Guard, *, plain: bool = True, tls: Tls = SYSTEM_TLS, proxy: str = ""
) -> None:  # fmt: skip
    """Open a connection as a request to `url` would, TLS included, and drop it: nothing is asked.

    Raises HttpError, and ConfigurationError where a file of `tls` can't be used.
    """
    try:
        dialler = Dialler(
            target_of(url), guard=guard, plain=plain, tls=tls, proxy=target_of(proxy) if proxy else None
        )  # fmt: skip
    except ValueError as error:
        raise HttpError(str(error), sent=False) from error
    (await dialler.open(_Touch)).drop()


class _Touch(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.drop = cast(asyncio.Transport, transport).abort  # uvloop's is one in all but its class


def _numeric(server: Target) -> list[Info]:
    """What a host spells out, as the system reads it (`127.1`, `0x7f.1`, zones); empty for a name. Never waits."""
    with contextlib.suppress(socket.gaierror):
        return list(socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    return []


def _in_turn(found: Sequence[Info]) -> list[Info]:
    """The families by turns, in the system's order within each, at most MAX_ADDRESSES."""
    families: dict[int, list[Info]] = {}
    for info in dict.fromkeys(found):
        families.setdefault(info[0], []).append(info)
    mixed = chain.from_iterable(zip_longest(*families.values()))
    return [info for info in mixed if info is not None][:MAX_ADDRESSES]


def _reason(error: BaseException) -> str:
    if type(error) is TimeoutError and not str(error):
        return "no answer"
    return " ".join((str(error) or type(error).__name__).split())[:200]
