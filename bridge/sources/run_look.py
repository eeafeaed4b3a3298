"""Looks at a run by `GET /v1/runs/{id}`: whether it is over, where its stream didn't say (CONTRACT F.8, F.12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bridge.errors import CursorRefused, SourceError, SourceRefused
from bridge.event import Event
from bridge.normalize.attributes import Unreadable, fields
from bridge.normalize.run_event import RunStream, read
from bridge.normalize.surrogates import verbatim
from bridge.sources.account import Account
from bridge.sources.outcome import NOT_FOUND, UNSERVED

MAX_BODY = 1 << 20
TERMINAL = frozenset({"stopped", "completed", "ended", "failed", "cancelled", "canceled", "timed_out"})
"""The last statuses of a run in any generation (CONTRACT D.3)."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the upstream said of a run: `body` is the run as received."""

    body: bytes
    over: bool

    def ended(self, reads: RunStream, received: datetime) -> Event:
        """The event of its end."""
        return reads.ended(self.body, received)


class RunLook:
    """The call for one run. `headers` are those of its API's generation."""

    def __init__(self, account: Account, run: str, headers: Mapping[str, str]) -> None:
        self._account = account
        self._url = account.url("v1", "runs", run)
        self._headers = headers

    async def __call__(self) -> Run | None:
        """The run; None where it can't be told. Raises SourceRefused if there is no such run."""
        try:
            body = await self._account.fetch(self._url, headers=self._headers, params=(), cap=MAX_BODY, cursor="")
            return _run(body)
        except SourceRefused as refused:
            if refused.status == 404 and not refused.unserved:
                raise
            return None
        except (SourceError, Unreadable, UnicodeDecodeError):
            return None

    async def confirm(self, refused: SourceRefused, *, cursor: bool) -> None:
        """A 404 is about the run only if the run itself is gone, too (CONTRACT F.6): raises what else it means."""
        if refused.status != 404 or refused.unserved or await self() is None:
            return
        said = refused.reason.removesuffix(f": {NOT_FOUND}")
        if cursor:
            raise CursorRefused(f"{said}; the run is there, so it is the cursor") from refused
        raise SourceRefused(f"{said}; the run is there: {UNSERVED}", status=404, unserved=True) from refused


def _run(body: bytes) -> Run:
    said = read(body)
    inner = fields(body).get("data")  # the v2 era wraps what it answers
    if not said.status and inner is not None:
        body = verbatim(body, inner, "data")
        said = read(body)
    return Run(body, said.status in TERMINAL)
