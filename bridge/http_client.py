"""The only importer of the HTTP client library: sessions, time-outs, the address guard, mapped errors.

Refuses to carry credentials to another origin, to read a proxy from the environment, to keep cookies, and to hold a
body beyond a stated bound.
"""

import contextlib
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from bridge.errors import HttpError
from bridge.guard import Guard
from bridge.stop import within

Params = Sequence[tuple[str, str]]

CONNECT_TIMEOUT = 10.0
READ_BUFFER = 1 << 16
"""Bytes: above twice this, reading from the socket pauses. With four times as much, a busy stream's batches have some
2,000 events, and Redis takes almost twice as long for each of them (measured)."""
MAX_REDIRECTS = 3
REDIRECTS = {301, 302, 303, 307, 308}


class Response:
    """An answer whose body is read by the caller, within bounds."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes. Raises HttpError when the connection breaks, after the bytes that came before."""
        content = self._response.content
        with _mapped(sent=True):
            try:
                while chunk := await content.readany():
                    yield chunk
            except (aiohttp.ClientError, OSError):
                # The library drops what it has received but not handed out when a connection is reset. A stream that
                # is cut often would then bring nothing while the log is slow (tests/test_source_stream.py).
                received = b"".join(content._buffer)  # noqa: SLF001  # there is no public way to these bytes
                content._buffer.clear()  # noqa: SLF001
                if received:
                    yield received
                raise

    async def read(self, cap: int, seconds: float | None = None) -> bytes:
        """The body, at most `cap` bytes of it, and what comes of it within `seconds`. Raises HttpError."""
        body = bytearray()
        await within(self._fill(body, cap), seconds)
        return bytes(body[:cap])

    async def _fill(self, body: bytearray, cap: int) -> None:
        async with contextlib.aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) >= cap:
                    return


@contextlib.contextmanager
def _mapped(*, sent: bool) -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        ours = error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
        raise HttpError(f"can't connect: {error.os_error}", sent=False, ours=ours) from error
    except aiohttp.ConnectionTimeoutError as error:
        raise HttpError(f"can't connect within {CONNECT_TIMEOUT:g} s", sent=False) from error
    except TimeoutError as error:
        raise HttpError("no byte within the time allowed", sent=sent) from error
    except aiohttp.InvalidURL as error:
        raise HttpError("the URL is not valid", sent=False) from error
    except (aiohttp.ClientResponseError, aiohttp.http_exceptions.HttpProcessingError) as error:
        raise HttpError(f"the answer is no valid HTTP: {_line(error.message)}", sent=sent) from error
    except aiohttp.ClientPayloadError as error:
        if isinstance(error.__cause__, aiohttp.http_exceptions.ContentEncodingError):
            raise HttpError(f"the answer is no valid HTTP: {_line(error.__cause__.message)}", sent=sent) from error
        raise HttpError("the connection broke before the end of the body", sent=sent) from error
    except (aiohttp.ClientError, OSError) as error:
        raise HttpError(f"the connection broke: {_line(str(error) or type(error).__name__)}", sent=sent) from error


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


class HttpClient:
    """One pool of connections: to one account, or to one destination.

    `limit` bounds its open connections; 0 where whoever uses it does, as a destination bounds its attempts. With a
    `guard`, every socket is checked where it is made: literals, each resolved address, every attempt.
    """

    def __init__(
        self, *, guard: Guard | None = None, resolver: AbstractResolver | None = None, limit: int = 0
    ) -> None:  # fmt: skip
        self._guard = guard
        self._limit = limit
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=self._limit, resolver=self._resolver, socket_factory=self._guard.make_socket if self._guard else None
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            read_bufsize=READ_BUFFER,
            headers={"User-Agent": "runbridge"},
            auto_decompress=self._guard is None,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @contextlib.asynccontextmanager
    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], params: Params = (), body: bytes | None = None,
        idle: float | None = None, total: float | None = None, follow: bool = True,
    ) -> AsyncIterator[Response]:  # fmt: skip
        """One request. `idle`: seconds without a byte, `total`: seconds for all of it; the path is taken as it is.

        Redirects within the origin are followed where `follow` says so; one to another origin is returned as it is.
        Raises HttpError.
        """
        if self._session is None:
            raise HttpError("the client is closed", sent=False)
        timeout = aiohttp.ClientTimeout(total=total, connect=None, sock_connect=CONNECT_TIMEOUT, sock_read=idle)
        target = URL(url, encoded=True).extend_query(params) if params else URL(url, encoded=True)
        for _ in range(MAX_REDIRECTS + 1):
            with _mapped(sent=True):
                response = await self._session.request(
                    method, target, headers=headers, data=body, timeout=timeout, allow_redirects=False
                )
            try:
                onward = _onward(response, target) if follow else None
                if onward is None:
                    yield Response(response)
                    return
                target = onward
            finally:
                response.close() if _unfinished(response) else response.release()
        raise HttpError(f"more than {MAX_REDIRECTS} redirects", sent=True)


def _unfinished(response: aiohttp.ClientResponse) -> bool:
    return not response.content.at_eof()


def _onward(response: aiohttp.ClientResponse, target: URL) -> URL | None:
    location = response.headers.get("Location", "")
    if response.status not in REDIRECTS or not location:
        return None
    try:
        onward = target.join(URL(location)).with_user(None)
        return onward if onward.origin() == target.origin() else None
    except ValueError:  # no URL, or one without an origin
        return None
