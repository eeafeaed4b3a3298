"""All cases and their negative controls, in the sizes of `make kill` and of `make test`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from kill import mutants
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


CASES = [
    Case("A", "bridge killed", partial(killed_bridge, kills=10)),
    Case("B", "Redis killed, and put back to an older copy", partial(killed_redis, kills=3)),
    Case("C", "answers of the append lost", partial(lost_answers, mishaps=15, silences=1)),
    Case("D", "old owner frozen and woken", partial(frozen_owner, frozen=[5.5, 0.3])),
    Case("E", "bridge killed in waits for named events", partial(killed_waits, kills=6)),
    Case("F", "bridge killed while it delivers webhooks", partial(killed_deliveries, kills=10)),
]
"""What `make kill` plays."""

QUICK = [
    Case("A", "bridge killed", partial(killed_bridge, kills=3)),
    Case("B", "Redis killed, and put back to an older copy", partial(killed_redis, kills=1)),
    Case("C", "answers of the append lost", partial(lost_answers, mishaps=10, silences=0)),
    Case("D", "old owner frozen and woken", partial(frozen_owner, frozen=[0.3])),
    Case("E", "bridge killed in waits for named events", partial(killed_waits, kills=3)),
    Case("F", "bridge killed while it delivers webhooks", partial(killed_deliveries, kills=3)),
]
"""The same, small enough for every run of the tests."""

QUICK_CONTROLS = [
    Case("A", "window not stored", partial(killed_bridge, kills=3), mutants.WINDOW),
    Case("B", "compare off", partial(killed_redis, kills=1), mutants.COMPARE),
    Case("C", "compare off", partial(lost_answers, mishaps=6, silences=0), mutants.COMPARE),
    Case("D", "fence off", partial(frozen_owner, frozen=[0.3]), mutants.FENCE),
    Case("F", "attempts not stored", partial(killed_deliveries, kills=2), mutants.ATTEMPTS),
]
"""Cases whose guard has been taken out of a copy of the package."""

CONTROLS = [
    *QUICK_CONTROLS,
    Case("D", "compare and fence off", partial(frozen_owner, frozen=[0.3]), mutants.BOTH),
    Case("E", "waits not marked", partial(killed_waits, kills=3, kinds=(Before.GHOST,)), mutants.ARMED),
]
"""Those of `make kill`."""
