"""How everything stands, asked of the running bridge over HTTP, or else of Redis itself. Changes nothing."""

import os
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from bridge.clock import now, rfc3339, unix
from bridge.listing import listed_destination, listed_source
from bridge.overview import Overview
from bridge.redis_log import Definitions, Overviews
from bridge.redis_log import Look as Stored
from bridge.roster import Roster
from bridge.settings import Settings
from bridge.stop import nap
from bridge.views import LEAST, SPAN, Rates, Views
from bridge.wiring import keys_of, server_of

PATIENCE = 2.0
"""Seconds for a bridge's answer."""
LARGEST = 64 << 20
"""Bytes of its answer, at most: 5,000 sources take some 2 MB."""
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what listens there answers here


@dataclass(frozen=True, slots=True)
class Look:
    """How everything stands; `unanswered` is why no bridge said so, "" where one did or none could be asked."""

    overview: Overview
    unanswered: str = ""


class Looks:
    """Looks for one configuration, over connections that end with the block."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._views = Views(settings.redis.address, Rates())
        server, keys = server_of(settings), keys_of(settings)
        self._definitions, self._overviews = Definitions(server, keys), Overviews(server, keys)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._definitions.close()
        await self._overviews.close()

    async def look(self) -> Look:
        """As the bridge says, or else Redis. Raises LogUnavailable where neither does."""
        try:
            overview = await self._asked()
        except _Unanswered as reason:
            return Look(await self.stored(), str(reason))
        return Look(overview or await self.stored())

    async def look_with_rates(self) -> Look:
        """The same, and again a second later where something moves but no rate is known yet: it takes two looks."""
        found = await self.look()
        if not _moves(found.overview):
            return found
        await nap(LEAST * 1.1)
        return await self.look()

    async def roster(self) -> Roster:
        """What is defined, in the file and in Redis. Raises LogUnavailable."""
        roster = Roster(self._settings)
        roster.adopt((await self._definitions.load()).fields)
        return roster

    async def stored(self) -> Overview:
        """As Redis says. Raises LogUnavailable."""
        return (await self.stored_whole())[0]

    async def stored_whole(self) -> tuple[Overview, Stored]:
        """The same, and what it is made of. Raises LogUnavailable."""
        roster = await self.roster()
        sources = [listed_source(roster, id_, {}) for id_ in roster.ids("sources")]
        destinations = [listed_destination(roster, id_, {}) for id_ in roster.ids("destinations")]
        look = await self._overviews.look([one.id for one in sources], [one.id for one in destinations])
        overview = self._views.overview(
            sources, destinations, look, bridge=None, time=rfc3339(now()), now=monotonic()
        )  # fmt: skip
        return overview, look

    async def _asked(self) -> Overview | None:
        """What the bridge says; None where it can't be asked. Raises _Unanswered."""
        address, token = self._settings.http.address, self._settings.http.token
        if address is None:
            return None
        host = _EVERYWHERE.get(address[0], address[0])
        where = f"{f'[{host}]' if ':' in host else host}:{address[1]}"
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        try:
            async with self._session.get(
                f"http://{where}/v1/status", headers=headers, allow_redirects=False
            ) as response:  # fmt: skip
                if response.status != 200:
                    raise _Unanswered(f"{where} answers {response.status}: {_WHY.get(response.status, 'no bridge')}")
                body = await _whole(response, where)
            overview = msgspec.json.decode(body, type=Overview)
        except TimeoutError:
            raise _Unanswered(f"no bridge answers at {where} within {PATIENCE:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Unanswered(f"no bridge answers at {where} ({_short(error)})") from None
        except msgspec.MsgspecError:
            raise _Unanswered(f"what answers at {where} is no bridge of this release") from None
        if overview.redis != self._settings.redis.address:
            raise _Unanswered(f"the bridge at {where} is another one, with its log at {overview.redis}")
        return overview


_WHY = {401: "http.token is another one there", 404: "what listens there is no bridge of this release"}


class _Unanswered(Exception):  # a reason on its way to a Look
    """Why no bridge said how it stands."""


async def _whole(response: aiohttp.ClientResponse, where: str) -> bytes:
    """The answer to its end, which comes in many parts. Raises _Unanswered where it is larger than LARGEST."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > LARGEST:
            raise _Unanswered(f"{where} answers with more than {LARGEST >> 20} MiB")
    return bytes(body)


def _moves(overview: Overview) -> bool:
    """Whether something was added, or is behind, of late, and no rate says how much."""
    rates = [log.rate for log in overview.log] + [view.rate for view in overview.destinations]
    if any(rates):
        return False
    newest = max((int(log.last.partition("-")[0] or 0) for log in overview.log), default=0)
    busy = any(view.behind and view.state == "active" for view in overview.destinations)
    return busy or unix() - newest / 1000 < SPAN


def _short(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.os_error.errno).lower() if error.os_error.errno else str(error.os_error)
    return str(error) or type(error).__name__
