"""A source on a ledger without any network, and a log without any server: for thousands of random plays.

The source, its history, its seam and the writer with its window are the real ones; the rest is what the upstream and
Redis promise.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from random import Random
from typing import Any

from ledger import Ledger

from bridge.clock import now
from bridge.errors import CursorRefused, SourceError
from bridge.event import Position
from bridge.normalize.resource import below
from bridge.redis_log.writer import Writer
from bridge.sources.outcome import refusal
from bridge.sources.subscription import Subscription


class Answer:
    """A stream of the ledger."""

    status = 200
    headers = {"Content-Type": "text/event-stream"}  # noqa: RUF012  # read only

    def __init__(self, account: "Account", at: int) -> None:
        self._account = account
        self._at = at

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Some frames at a time, until there are no more or it breaks."""
        account, ledger = self._account, self._account.ledger
        while True:
            ledger.asked()
            if self._at == len(ledger.events):
                return
            stop = min(len(ledger.events), self._at + account.random.randint(1, 9))
            yield b"".join(ledger.frame(number, wrapped=account.wrapped) for number in range(self._at, stop))
            self._at = stop
            if account.broken():
                return


class Account:
    """Answers from a ledger as `bridge.sources.account.Account` would."""

    base_url = "https://api.example"
    quiet = False

    def __init__(self, ledger: Ledger, random: Random, *, wrapped: bool) -> None:
        self.ledger = ledger
        self.random = random
        self.wrapped = wrapped
        self.broken: Callable[[], bool] = lambda: False

    def url(self, *segments: str) -> str:
        """An address."""
        return below(self.base_url, *segments)

    def hide(self, said: bytes) -> bytes:
        """There is no key."""
        return said

    async def fetch(self, url: str, *, params: Any, cursor: str, **_: Any) -> bytes:
        """A page of the list, or the run, which is never over."""
        if url.endswith("/runs/r"):
            return b'{"id":"r","status":"active"}'
        status, body = self.ledger.list(list(params))
        said = json.dumps(body).encode()
        if status != 200:
            raise refusal(status, {}, said, now(), cursor=cursor)
        return said

    @contextlib.asynccontextmanager
    async def request(self, _: str, url: str, *, params: Any, **__: Any) -> AsyncIterator[Answer]:
        """A connection of the stream."""
        assert url.endswith("/stream")
        cursor = dict(params).get("after")
        at = self.ledger.after(cursor)
        if at is None:
            raise refusal(410, {}, b"", now(), cursor=cursor or "")
        yield Answer(self, at)


class Log:
    """What is stored; `lives` of a source begin from it. It is its writers' home as well."""

    memory = 0

    def __init__(self, window: int) -> None:
        self.ids: list[str] = []
        self._window = window
        self._position = Position()
        self._chunks: list[str] = []

    def wake(self) -> None:
        """Nobody sends."""

    async def load(self, writer: Writer) -> None:
        """Never asked for: a life ends instead."""

    async def mark(self, writer: Writer, *, armed: bool) -> None:
        """Nothing here consumes."""

    async def life(self, source: Subscription, crashes: Callable[[], bool], kept: Callable[[], bool]) -> int:
        """One connection or less: `crashes` ends it anywhere, `kept` stores what was collected. New events."""
        writer, before = Writer(self, "s", "resource", self._window), len(self.ids)
        writer.reset(self._position, "one:1", 1, list(self._chunks))
        with contextlib.suppress(SourceError):
            try:
                async with contextlib.aclosing(source.batches(writer.position)) as batches:
                    async for batch in batches:
                        writer.take(batch)
                        if kept():
                            self._store(writer)
                        if crashes():
                            return len(self.ids) - before
            except CursorRefused as refused:
                writer.take(source.gap(refused.reason, writer.position)[0])
        self._store(writer)
        return len(self.ids) - before

    def _store(self, writer: Writer) -> None:
        sealed = writer.seal()
        self.ids += [str(id_) for id_ in sealed.events[::4]]
        if sealed.ids:
            self._chunks.append("\n".join(sealed.ids))
        del self._chunks[: sealed.drop]
        old = self._position
        self._position = replace(
            old, sequence=sealed.sequence,
            cursor=old.cursor if sealed.cursor is None else sealed.cursor,
            bookmark=old.bookmark if sealed.bookmark is None else sealed.bookmark,
        )  # fmt: skip
        writer.committed()
