"""All cases and their negative controls, in the sizes of `make kill` and of `make test`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from kill import delivery_case, mutants, rounds
from kill.delivery_case import mixed_deliveries
from kill.every_call import Plan, every_call
from kill.findings import Findings
from kill.mutants import Mutant
from kill.signal_case import Before, killed_waits
from kill.stage import Stage, stage
from kill.stream_cases import frozen_owner, killed_bridge, killed_redis, lost_answers
from kill.webhook_case import killed_deliveries

Play = Callable[[Stage], Awaitable[Findings]]


@dataclass(frozen=True, slots=True)
class Case:
    """A case in one size. With a `mutant` it is a negative control: it must fail, or the case proves nothing."""

    key: str
    title: str
    play: Play
    mutant: Mutant | None = None

    async def run(self, seed: int) -> Findings:
        """Play it; one that can't go on has a fault. A seed makes the same choices again, not the same timing."""
        async with stage(seed, self.mutant) as made:
            try:
                return await self.play(made)
            except AssertionError as stuck:
                return Findings(faults=[f"stuck: {stuck}"])

    def passed(self, found: Findings) -> bool:
        """True if it went as it must. A control has to fail for what it is about, not because it got stuck."""
        if self.mutant is None:
            return found.good
        stuck = any(fault.startswith("stuck") for fault in found.faults)
        return not found.good and not stuck


STREAMS = ("v1", "v2")
SMALL = ("wait", *STREAMS, "now", "whole")
"""What needs no more than a small window: these resume exactly, or read their history and go on behind it."""
SOME = tuple(
    each for each in rounds.ROUNDS
    if each.name.startswith(("cut_a", "replay", "no_event", "single", "status 429", "expired cursor, 400"))
)  # fmt: skip

EVERY = Plan(rounds.ROUNDS, works=50, signals=True, kills=5)
FORGETFUL = Plan((rounds.REPLAY, rounds.KILLED_IN_LIST, rounds.RESTART), SMALL, works=2, window=100, kills=2)
QUICK_EVERY = Plan(SOME, works=5, signals=True, kills=3)
QUICK_FORGETFUL = Plan((rounds.KILLED_IN_LIST,), SMALL, works=2, window=100)

MIXED = delivery_case.Plan(kills=10, redis_kills=2)
QUICK_MIXED = delivery_case.Plan(kills=3, redis_kills=1, slow=(0.3, 0.6), pause=2.0)


def _control(title: str, plan: Plan, mutant: Mutant) -> Case:
    return Case("H", title, partial(every_call, plan=plan), mutant)


CALL_CONTROLS = [
    _control("bookmark not stored", Plan((rounds.CUT, rounds.KILLED_IN_LIST), STREAMS, window=5, shuffled=False),
             mutants.BOOKMARK),
    _control("gap not said", Plan((rounds.EXPIRED,), ("now",)), mutants.UNSAID),
    _control("cursor not stored", Plan((rounds.CUT,), STREAMS, window=1, kills=1), mutants.CURSOR),
    _control("known ids not left out", Plan((rounds.REPLAY,), STREAMS), mutants.DEDUP),
    _control("null cursor replaces the stored one", Plan((rounds.NULL_CURSOR,), ("wait",), window=1),
             mutants.NULL_CURSOR),
    _control("end not stored", Plan((), STREAMS, works=2), mutants.ENDED),
    _control("window not stored", Plan((rounds.REPLAY,), STREAMS, kills=1), mutants.WINDOW),
]  # fmt: skip
"""Those of G and H: the same play, of the kinds and rounds that the guard is there for."""


def _delivery_control(
    title: str, mutant: Mutant, name: str, *, kills: int = 1, redis_kills: int = 0, rate: float = delivery_case.RATE
) -> Case:
    plan = delivery_case.Plan(
        kills, redis_kills, slow=(0.3, 0.6), pause=2.0, names=(name,), rate=rate, settling=3.0
    )  # fmt: skip
    return Case("I", title, partial(mixed_deliveries, plan=plan), mutant)


DELIVERY_CONTROLS = [
    _delivery_control("claims not made", mutants.CLAIMS, "slow", rate=40.0),
    _delivery_control("lanes not joined", mutants.LANES, "poison"),
    _delivery_control("attempts not stored", mutants.ATTEMPTS, "poison"),
    _delivery_control("webhook-id made anew", mutants.IDENTITY, "flaky"),
    _delivery_control("outcomes forgotten", mutants.KNOWN, "slow", kills=0, redis_kills=2),
    _delivery_control("clock jumps at a start", mutants.CLOCK, "poison", kills=2),
]
"""Those of I: the destination that the guard is there for."""

CASES = [
    Case("A", "bridge killed", partial(killed_bridge, kills=10)),
    Case("B", "Redis killed, and put back to an older copy", partial(killed_redis, kills=3)),
    Case("C", "answers of the append lost", partial(lost_answers, mishaps=15, silences=1)),
    Case("D", "old owner frozen and woken", partial(frozen_owner, frozen=[5.5, 0.3])),
    Case("E", "bridge killed in waits for named events", partial(killed_waits, kills=6)),
    Case("F", "bridge killed while it delivers webhooks", partial(killed_deliveries, kills=10)),
    Case("G", "every kind under every fault in turn, bridge killed", partial(every_call, plan=EVERY)),
    Case("H", "cursors and bookmarks alone, window of 100 ids", partial(every_call, plan=FORGETFUL)),
    Case("I", "deliveries of every temper, bridge and Redis killed", partial(mixed_deliveries, plan=MIXED)),
]
"""What `make kill` plays."""

QUICK = [
    Case("A", "bridge killed", partial(killed_bridge, kills=3)),
    Case("B", "Redis killed, and put back to an older copy", partial(killed_redis, kills=1)),
    Case("C", "answers of the append lost", partial(lost_answers, mishaps=10, silences=0)),
    Case("D", "old owner frozen and woken", partial(frozen_owner, frozen=[0.3])),
    Case("E", "bridge killed in waits for named events", partial(killed_waits, kills=3)),
    Case("F", "bridge killed while it delivers webhooks", partial(killed_deliveries, kills=3)),
    Case("G", "every kind under some faults, bridge killed", partial(every_call, plan=QUICK_EVERY)),
    Case("H", "cursors and bookmarks alone, window of 100 ids", partial(every_call, plan=QUICK_FORGETFUL)),
    Case("I", "deliveries of every temper, bridge and Redis killed", partial(mixed_deliveries, plan=QUICK_MIXED)),
]
"""The same, small enough for every run of the tests."""

QUICK_CONTROLS = [
    Case("A", "window not stored", partial(killed_bridge, kills=3), mutants.WINDOW),
    Case("B", "compare off", partial(killed_redis, kills=1), mutants.COMPARE),
    Case("C", "compare off", partial(lost_answers, mishaps=6, silences=0), mutants.COMPARE),
    Case("D", "fence off", partial(frozen_owner, frozen=[0.3]), mutants.FENCE),
    Case("F", "attempts not stored", partial(killed_deliveries, kills=2), mutants.ATTEMPTS),
    *CALL_CONTROLS[:2],
    *DELIVERY_CONTROLS[:2],
]
"""Cases whose guard has been taken out of a copy of the package."""

CONTROLS = [
    *QUICK_CONTROLS,
    Case("D", "compare and fence off", partial(frozen_owner, frozen=[0.3]), mutants.BOTH),
    Case("E", "waits not marked", partial(killed_waits, kills=3, kinds=(Before.GHOST,)), mutants.ARMED),
    *CALL_CONTROLS[2:],
    *DELIVERY_CONTROLS[2:],
]
"""Those of `make kill`."""
