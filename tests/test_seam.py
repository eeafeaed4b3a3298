"""History, seam and gaps under random plays: commits at any moment, late ones too; crashes, cuts, expired cursors."""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, cast

import pytest
from direct import Account, Log
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger import Ledger

from bridge.sources.account import Account as RealAccount
from bridge.sources.events_stream import EventsStream
from bridge.sources.run_stream import RunStream
from bridge.sources.subscription import Start, Subscription

WINDOW = 200
"""Ids that the log remembers; lists are longer."""
MOST_IN_DOUBT = 4
"""Events of a play that may come twice where nobody can be sure."""
VERSION = {"BCTRL-Version": "2026-10-03"}


def _account_stream(account: Any, start: Start) -> Subscription:
    return EventsStream("s", cast("RealAccount", account), headers=VERSION, start=start)


def _run_stream(account: Any, start: Start) -> Subscription:
    return RunStream("s", cast("RealAccount", account), run="r", headers=VERSION, start=start)


def _older_run_stream(account: Any, start: Start) -> Subscription:
    return RunStream("s", cast("RealAccount", account), run="r", headers={}, start=start)


class Play:
    """One play: a ledger that grows while it is read, and a source that is killed while it reads."""

    def __init__(self, seed: int, make: Callable[[Any, Start], Subscription], *, refuses: bool, **kind: Any) -> None:
        self.random = Random(seed)
        self.ledger = Ledger(page=self.random.choice((3, 7, 100)), begins=self.random.choice(("start", "now")), **kind)
        self.ledger.grow(self.random.choice((0, 0, 5, 150, 500)))
        self.late = make is not _older_run_stream  # whose list has no order that tells
        self.refuses = refuses
        self.troubled = True
        self.log = Log(WINDOW)
        self.ledger.asked = self._asked
        account = Account(self.ledger, self.random, wrapped=make is not _account_stream)
        account.broken = lambda: self._now_and_then(0.2)
        self.source = make(account, Start("start", "backfill"))

    async def perform(self) -> "Play":
        """Trouble for a while, then peace until nothing new comes."""
        for _ in range(self.random.randrange(40)):
            await self._life()
        self.troubled = False
        self.ledger.refused.clear()
        quiet = 0
        for _ in range(200):
            quiet = 0 if await self._life() else quiet + 1
            if quiet == 3:
                return self
        raise AssertionError("it never came to rest")

    async def _life(self) -> int:
        return await self.log.life(self.source, lambda: self._now_and_then(0.1), lambda: self._now_and_then(0.5))

    def _asked(self) -> None:
        if self._now_and_then(0.3):
            late = self.random.choice((0.0, 0.0, 2.5, 20.0)) if self.late else 0.0
            self.ledger.grow(self.random.randint(1, 4), late=late)
        if self._now_and_then(0.05):
            self.ledger.epoch += 1
        if self.refuses and self._now_and_then(0.05):
            self.ledger.refused |= set(self.ledger.ids)

    def _now_and_then(self, share: float) -> bool:
        return self.troubled and self.random.random() < share

    def told(self) -> Counter[str]:
        """How often each of the ledger's events is in the log."""
        return Counter(id_ for id_ in self.log.ids if not id_.startswith("s:"))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
@pytest.mark.parametrize("refuses", [False, True], ids=["kept", "refused"])
def test_account_stream(seed: int, *, refuses: bool) -> None:
    """Each event of an account comes once, whatever happens while the list is read, and behind every gap."""
    play = asyncio.run(Play(seed, _account_stream, refuses=refuses).perform())
    assert play.told() == Counter(play.ledger.ids)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
@pytest.mark.parametrize("make", [_run_stream, _older_run_stream], ids=["today", "older"])
def test_run_stream(seed: int, make: Callable[[Any, Start], Subscription]) -> None:
    """Each event and each span of a run comes once, although its stream tells again what the list has told."""
    play = asyncio.run(Play(seed, make, refuses=False, traced=True).perform())
    assert not _missing(play)
    assert max(play.told().values(), default=1) == 1


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_run_stream_in_doubt(seed: int) -> None:
    """Of late commits into a list longer than the window few come twice and none is left out (decision 8)."""
    play = asyncio.run(Play(seed, _run_stream, refuses=False, traced=True).perform())
    assert not _missing(play)
    doubled = [count for count in play.told().values() if count > 1]
    assert set(doubled) <= {2}
    assert len(doubled) <= (MOST_IN_DOUBT if len(play.ledger.ids) > WINDOW else 0)


def _missing(play: Play) -> set[str]:
    """What never came; spans from before a beginning that nobody asked for are not among it."""
    spans = {event["id"] for event in play.ledger.events if not event.get("object")}
    return set(play.ledger.ids) - set(play.told()) - (spans if play.ledger.begins == "now" else set())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_run_stream_behind_gaps(seed: int) -> None:
    """Behind a gap nothing that the list has is missed, and nothing comes twice."""
    play = asyncio.run(Play(seed, _run_stream, refuses=True, traced=True).perform())
    listed = {event["id"] for event in play.ledger.events if event.get("object")}
    assert not listed - set(play.told())
    assert max((count for id_, count in play.told().items() if id_ in listed), default=1) == 1
