"""A destination played at random over a real log: any answers, crashes, trims and retried letters; then all is well."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from destination import PATIENT, Types
from running_log import beside
from servers import RedisServer
from waiting import wait_until

from bridge.deliver import Delivery
from bridge.delivery.gate import Gate
from bridge.delivery.lane import Limits, Outcome, Result, Unit
from bridge.redis_log import Keys, Server
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.feed import Feed
from bridge.redis_log.lanes import RedisLanes
from bridge.redis_log.link import Link
from bridge.stop import Stop

SUBJECTS = ["", "a", "b", "c", "d"]
NAME = "crm"


@dataclass
class Play:
    """One destination, one log, one seed."""

    server: RedisServer
    prefix: str
    limits: Limits
    seed: int
    trims: bool = False
    well: bool = False
    """Everything is delivered from now on."""
    taken: list[str] = field(default_factory=list)
    put: dict[str, str] = field(default_factory=dict)
    """Event id -> subject, in the log's order."""
    trimmed: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    most_attempts: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.keys = Keys(self.prefix, 0)
        self.life = 0

    async def run(self) -> None:
        """Play, heal, and look at what came of it."""
        for _ in range(5):
            await self._live(self._mishaps)
            self.life += 1
        self.well = True
        await self._live(self._healed)

    async def _live(self, during: Callable[[], Any]) -> None:
        """One life of the delivery; at its end it is cut off wherever it is."""
        links = [Link(Server(self.server.url), self.keys.events) for _ in range(3)]
        clock, feed = DeliveryClock(links[0], self.keys), Feed(links[1], links[2], self.keys)
        lanes = RedisLanes(
            links[0], feed, clock, self.keys, NAME, instance=f"i{self.life}", start="start",
            together=self.limits.together,
        )  # fmt: skip
        gate = Gate(PATIENT, self.limits.max_in_flight, clock.seconds, self.random)
        delivery = Delivery(
            NAME, lanes, _Sender(self), Types(), self.limits, gate=gate, observe=lambda _: None, stop=Stop()
        )  # fmt: skip
        try:
            async with beside(delivery.run, feed.run):
                self.ask = delivery._ask
                await during()
        finally:
            for link in links:
                await link.close()

    async def _mishaps(self) -> None:
        for _ in range(self.random.randrange(2, 9)):
            self._append(self.random.randrange(25))
            await asyncio.sleep(self.random.choice([0.0, 0.001, 0.003, 0.01]))
            if self.random.random() < 0.4:
                self._again(self.random.randrange(1, 4))
            if self.trims and self.random.random() < 0.2:
                self._trim()
            if self.trims and self.random.random() < 0.5:
                self._drop()

    def _append(self, count: int) -> None:
        pipeline = self.server.client().pipeline(transaction=False)
        for _ in range(count):
            id_, subject = f"e{len(self.put)}", self.random.choice(SUBJECTS)
            self.put[id_] = subject
            pipeline.xadd(self.keys.events, {"id": id_, "type": "t", "subject": subject, "event": "x" * len(id_)})
        pipeline.execute()

    def _letters(self) -> list[tuple[str, dict[str, str]]]:
        found: list[tuple[str, dict[str, str]]] = self.server.call("XRANGE", self.keys.dead(NAME), "-", "+")
        self.dead |= {letter["id"] for _, letter in found}
        return found

    def _again(self, count: int) -> None:
        letters = self._letters()
        for id_, _ in self.random.sample(letters, min(count, len(letters))):
            self.server.call("RPUSH", self.keys.requests(NAME), f"retry {id_}")
            self.server.call("SADD", self.keys.requests(), NAME)
        self.ask()

    def _drop(self) -> None:
        """A letter is lost although it may be waiting again, as by the bound on their number."""
        letters = self._letters()
        if letters:
            id_, letter = self.random.choice(letters)
            self.server.call("XDEL", self.keys.dead(NAME), id_)
            self.trimmed.add(letter["id"])

    def _trim(self) -> None:
        entries = self.server.call("XRANGE", self.keys.events, "-", "+")
        gone = entries[: self.random.randrange(len(entries) + 1)]
        if gone:
            self.server.call("XDEL", self.keys.events, *(id_ for id_, _ in gone))
        self.trimmed |= {entry["id"] for _, entry in gone}

    async def _healed(self) -> None:
        self._again(1000)
        await wait_until(self._settled, f"all is settled, seed {self.seed}", 20.0)

    def _settled(self) -> bool:
        (group,) = self.server.client().xinfo_groups(self.keys.events)
        entries = self.server.call("XREVRANGE", self.keys.events, "+", "-", "COUNT", 1)
        behind = bool(entries) and _place(group["last-delivered-id"]) < _place(entries[0][0])
        if behind or group["pending"] or self.server.call("EXISTS", self.keys.held(NAME)):
            return False
        letters = self._letters()
        if letters:
            self._again(1000)
        return not letters

    def check(self) -> None:
        """What has to hold in the end."""
        owed = set(self.put) - self.trimmed
        assert owed <= set(self.taken), f"seed {self.seed}: never taken: {sorted(owed - set(self.taken))}"
        if self.limits.ordered:
            first = defaultdict(list)
            for id_ in dict.fromkeys(self.taken):
                if id_ not in self.dead:
                    first[self.put[id_]].append(int(id_[1:]))
            assert all(numbers == sorted(numbers) for numbers in first.values()), f"seed {self.seed}: {first}"
        assert self.most_attempts <= self.limits.max_attempts
        left = set(self.server.call("KEYS", f"{self.prefix}:*"))
        assert left <= {self.keys.events, self.keys.destination(NAME), self.keys.dead(NAME)}, (
            f"seed {self.seed}: {left}"
        )
        stored = self.server.call("HGETALL", self.keys.destination(NAME))
        assert not [name for name in stored if name.startswith("again")], f"seed {self.seed}: {stored}"


def _place(id_: str) -> tuple[int, ...]:
    return tuple(int(part) for part in id_.split("-"))


class _Sender:
    """Answers at random, sooner or later, as long as this life lasts."""

    def __init__(self, play: Play) -> None:
        self.play, self.life = play, play.life
        self.out: set[str] = set()

    def __call__(self, unit: Unit, done: Callable[[Unit, Outcome], None]) -> None:
        """One attempt."""
        play = self.play
        subjects = {entry.subject for entry in unit.entries}
        if play.limits.ordered:
            assert not subjects & self.out, f"seed {play.seed}: two of one subject at once"
            self.out |= subjects
        play.most_attempts = max(play.most_attempts, unit.attempts + 1)
        chance = 1.0 if play.well else play.random.random()
        result = Result.DELIVERED
        if chance < 0.25:
            result = Result.FAILED
        elif chance < 0.33:
            result = Result.REFUSED
        elif chance < 0.335:
            result = Result.OURS
        if result is Result.DELIVERED:
            play.taken += [entry.id for entry in unit.entries]

        def ended() -> None:
            if self.life == play.life:
                self.out -= subjects
                done(unit, Outcome(result, 200 if result is Result.DELIVERED else 503, "", None))

        asyncio.get_running_loop().call_later(play.random.choice([0.0, 0.0, 0.001, 0.004]), ended)
