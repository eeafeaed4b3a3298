"""All cases and their negative controls, in the sizes of `make kill` and of `make test`."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kill import mutants, stream_cases
from kill.findings import Findings
from kill.mutants import Mutant
from kill.stage import Stage, stage

Play = Callable[[Stage], Awaitable[Findings]]


@dataclass(frozen=True, slots=True)
class Case:
    """A case in one size. With a `mutant` it is a negative control: it must fail, or it proves nothing."""

    name: str
    title: str
    play: Play
    mutant: Mutant | None = None

    async def run(self, seed: int) -> Findings:
        """Play it; a case that can't go on has a fault. The same seed makes the same choices, not the same timing."""
        async with stage(seed, self.mutant) as made:
            try:
                return await self.play(made)
            except AssertionError as stuck:
                return Findings(faults=[f"stuck: {stuck}"])
