"""An upstream account: where it is, how it is asked, and how often. Never shows its key."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from random import Random
from urllib.parse import parse_qsl

from bridge.backoff import RETRY_AFTER_CAP, Rate
from bridge.clock import now
from bridge.errors import HttpError
from bridge.http_client import HttpClient, Params, Response
from bridge.normalize.resource import below
from bridge.retry_after import retry_after
from bridge.sources.outcome import ERROR_BODY, ERROR_TIME, refusal, unanswered
from bridge.stop import nap

ASIDE = 30.0
"""Seconds that a call beside the stream or the wait may take: a page of a list, the state of a run."""
SHORTEST = 8
"""Characters of a query's value that is hidden by itself: a shorter one is no token, but part of many a word."""


class Account:
    """One account with its pool of connections, its rate of requests, and the quiet that it was asked for.

    `credentials` are the headers that carry its key; `rate` is in requests a second.
    """

    def __init__(
        self, name: str, base_url: str, credentials: Mapping[str, str], client: HttpClient, *, rate: float = 500.0
    ) -> None:  # fmt: skip
        self.name = name
        self.base_url = base_url
        self._credentials = credentials
        self._secrets = _secrets(base_url, credentials)
        self._client = client
        self._rate = Rate(rate)
        self._quiet_until = 0.0
        self._random = Random()

    def url(self, *segments: str) -> str:
        """An address below the base URL; each segment is percent-encoded whole, `/` and dots in it too."""
        return below(self.base_url, *segments)

    def hide(self, said: bytes) -> bytes:
        """What the upstream said, without this account's key or its URL's query: an error message may repeat them."""
        for secret in self._secrets:
            said = said.replace(secret, b"***")
        return said

    async def said(self, response: Response) -> bytes:
        """What an error's body says, as far as it comes in ERROR_TIME, and without secrets. Raises HttpError."""
        return self.hide(await response.read(ERROR_BODY, ERROR_TIME))

    @property
    def quiet(self) -> bool:
        """True while a Retry-After keeps all of the account from asking."""
        return self._quiet_until > asyncio.get_running_loop().time()

    async def admit(self) -> None:
        """Return when one more request may go out: the account is not asked to be quiet, and its rate allows it."""
        clock = asyncio.get_running_loop().time
        while True:
            quiet = self._quiet_until - clock()
            if quiet > 0:
                # spread, or all sources of the account would come back in the same moment
                await nap(quiet + self._random.uniform(0, min(1.0, quiet / 10)))
                continue
            wait = self._rate.reserve(clock())
            if wait <= 0:
                return
            await nap(wait)
            if self._quiet_until <= clock():
                return

    @contextlib.asynccontextmanager
    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], params: Params = (), body: bytes | None = None,
        idle: float | None = None, total: float | None = None, admitted: bool = False,
    ) -> AsyncIterator[Response]:  # fmt: skip
        """One request with the account's key, once it is admitted. A refusal's Retry-After quiets the account.

        Raises HttpError.
        """
        if not admitted:
            await self.admit()
        async with self._client.request(
            method, url, headers={**headers, **self._credentials}, params=params, body=body, idle=idle, total=total
        ) as response:
            if response.status >= 400:
                self._quieten(response)
            yield response

    async def fetch(self, url: str, *, headers: Mapping[str, str], params: Params, cap: int, cursor: str) -> bytes:
        """The body of a GET that answers 200, up to `cap` bytes. Raises SourceError and its kinds.

        `cursor` is the one that the parameters hold, or "".
        """
        accept = {"Accept": "application/json", **headers}
        try:
            async with self.request("GET", url, headers=accept, params=params, total=ASIDE) as response:
                if response.status == 200:
                    return await response.read(cap)
                said = await self.said(response)
        except HttpError as error:
            raise unanswered(error, consuming=False) from error
        raise refusal(response.status, response.headers, said, now(), cursor=cursor)

    def _quieten(self, response: Response) -> None:
        seconds = retry_after(response.headers, now())
        if seconds:
            until = asyncio.get_running_loop().time() + min(seconds, RETRY_AFTER_CAP)
            self._quiet_until = max(self._quiet_until, until)

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.base_url!r})"


def _secrets(url: str, credentials: Mapping[str, str]) -> list[bytes]:
    """The headers' values, with their scheme (`Bearer`) and without, and the query; a longer one comes first."""
    query = url.partition("?")[2]
    values = [value for _, value in parse_qsl(query) if len(value) >= SHORTEST]
    headers = [part for header in credentials.values() for part in (header, header.partition(" ")[2])]
    return sorted((secret.encode() for secret in {query, *values, *headers} if secret), key=len, reverse=True)
