"""What every source has: its name, its resource, where it begins, and the bridge's own events about it."""

import asyncio
import hashlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from bridge.clock import now, rfc3339, uuid7
from bridge.errors import CursorRefused
from bridge.event import Batch, Event, Parked, Position, State
from bridge.normalize.own import own_event
from bridge.sources.account import Account
from bridge.sources.bookmark import STARTED, Bookmark, dropped
from bridge.sources.history import History, unlisted

OnGap = Literal["backfill", "earliest", "now", "stop"]
FILTERS_CHANGED = "its filters or its API version are others now, and a cursor belongs to them"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a source begins (`from`: "upstream", "start", "now" or a time), and what it does at a gap (`on_gap`)."""

    begin: str = "upstream"
    on_gap: OnGap = "earliest"


FROM_UPSTREAM = Start()


class Subscription(ABC):
    """One upstream subscription: `resource` is the CloudEvents `source`, `subject` the ordering key of its events.

    `history` is its list call, where there is one.
    """

    history: History | None = None

    def __init__(
        self, id_: str, account: Account, *, resource: str, subject: str, recheck: float, scope: str = "",
        start: Start = FROM_UPSTREAM,
    ) -> None:  # fmt: skip
        self.id = id_
        self.account = account
        self.resource = resource
        self.subject = subject
        self.scope = scope
        self.recheck = recheck
        self.floor = 0.0
        self.start = start

    @property
    def quiet(self) -> bool:
        """True while the account is asked to be quiet."""
        return self.account.quiet

    async def admit(self) -> None:
        """Return when the account may ask once more."""
        await self.account.admit()

    def failed(self, reason: str, status: int) -> Batch:
        """The event and the state of a refusal."""
        event = self.notice("failed", {"reason": reason, "status": status})
        return Batch([event], state=State.FAILED, reason=reason)

    def lost(self, reason: str) -> Batch:
        """The event of a possible loss."""
        return Batch([self.notice("gap", {"reason": reason, "certain": False})], lost=reason)

    def gap(self, reason: str, position: Position) -> tuple[Batch, str]:
        """The event of a cursor's end, what is stored in its place, and what is done: the source's `on_gap`."""
        action = self.start.on_gap
        cursor = position.cursor or dropped(position.bookmark) or ""
        said = {"reason": reason, "cursor": cursor, "action": action, "certain": True}
        batch = Batch([self.notice("gap", said)])
        if action == "stop":
            batch.state, batch.reason = State.FAILED, reason
            return batch, action
        batch.cursor = ""
        batch.bookmark = {
            "earliest": self._earliest().text,
            "now": self._now().text,
            "backfill": Bookmark(page="", seek=position.sequence > 0).text,
        }[action]
        return batch, action

    def begin(self, position: Position) -> Bookmark:
        """How the source goes on from its position. Raises CursorRefused where its filters have changed."""
        if dropped(position.bookmark) is not None:
            raise CursorRefused(FILTERS_CHANGED)
        if position.bookmark:
            return Bookmark.read(position.bookmark)
        if position.cursor or self.start.begin == "upstream":
            return Bookmark()
        if self.start.begin == "now":
            return self._now()
        begin = "" if self.start.begin == "start" else self.start.begin
        return Bookmark(page="", begin=begin, since=begin)

    def _earliest(self) -> Bookmark:
        """All that there still is: from the list where the stream alone may begin with what happens from now on."""
        return Bookmark(page="") if self.history and self.history.ordered and self.history.resumes else Bookmark()

    def _now(self) -> Bookmark:
        """From now on. A list that takes a time says which event is the newest, so that the stream resumes after it."""
        time = rfc3339(now())
        return (
            Bookmark(page="", begin=time, since=time, now=True)
            if self.history and self.history.ordered
            else Bookmark(since=time)
        )

    @abstractmethod
    def batches(self, position: Position) -> AsyncGenerator[Batch]:
        """One connection's batches (`bridge.ports.Source`)."""

    @abstractmethod
    def again(self, raw: bytes, name: str, received: datetime) -> Event | Parked | None:
        """What a record says now that was parked as `raw`; None for nothing.

        `name` becomes the event's id where the record has none of its own; `received` is when it came.
        """

    async def prologue(self, position: Position) -> AsyncGenerator[Batch]:
        """What is stored before the upstream is followed: the history, or the moment from which on events count."""
        bookmark = self.begin(position)
        if bookmark.page is not None and self.history is None:
            yield unlisted(self.notice, "this call has none", bookmark)
        elif self.history and (bookmark.page is not None or (bookmark.again and not position.cursor)):
            async with aclosing(self.history.batches(bookmark, position.known)) as pages:
                async for batch in pages:
                    yield batch
        elif bookmark.text != (position.bookmark or STARTED):
            yield Batch(bookmark=bookmark.text)

    def notice(self, what: str, said: dict[str, object]) -> Event:
        """An event of the bridge's own about this source."""
        return own_event(
            id_=f"{self.id}:{what}:{uuid7()}", resource=self.resource, subject=self.subject, what=what,
            data={"source": self.id, **said}, time=rfc3339(now()),
        )  # fmt: skip


def after(position: Position, batch: Batch) -> Position:
    """Where a source stands once the batch is in the log."""
    return replace(
        position,
        cursor=position.cursor if batch.cursor is None else batch.cursor,
        bookmark=position.bookmark if batch.bookmark is None else batch.bookmark,
    )


def scope_of(generation: str, filters: Sequence[tuple[str, str]]) -> str:
    """What a cursor belongs to besides its resource, as a short text: order and repetition don't matter."""
    text = "\n".join(sorted({f"{name}={value}" for name, value in filters}))
    return f"{generation}:{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def clock() -> float:
    """The event loop's time in seconds."""
    return asyncio.get_running_loop().time()
