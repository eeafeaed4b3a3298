"""Plays the cases and their negative controls, prints a table, and exits 1 if one is not as it must be.

python -m tests.kill                  all of it, five and a half minutes
python -m tests.kill --only C D       these cases and their controls
python -m tests.kill --seed 7         the choices of an earlier run again
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from kill.findings import Findings, table
from kill.suite import CASES, CONTROLS, Case


def play(cases: list[Case], seed: int, failed: list[Case]) -> Iterator[tuple[str, Findings, str]]:
    """Play each case and say what came of it; those that are not as they must be join `failed`."""
    for case in cases:
        began = time.monotonic()
        found = asyncio.run(case.run(seed))
        passed = case.passed(found)
        if not passed:
            failed.append(case)
        title = f"{case.key}  {case.title}"
        yield title, found, f"{_verdict(case, passed=passed)}, {time.monotonic() - began:.0f} s"


def _verdict(case: Case, *, passed: bool) -> str:
    if case.mutant is None:
        return "as promised" if passed else "FAILED"
    return "fails as it must" if passed else "PASSES: the case proves nothing"


def main() -> int:
    """Run the suite; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of all random choices")
    parser.add_argument(
        "--only", nargs="+", metavar="CASE", default=sorted({case.key for case in CASES}), help="A to I"
    )
    given = parser.parse_args()
    print(f"seed {given.seed}\n")
    failed: list[Case] = []
    began = time.monotonic()
    for kind, cases in (
        ("", CASES),
        ("\nnegative controls: a guard is taken out of a copy of the package\n", CONTROLS),
    ):
        print(kind, end="")
        for line in table(play([case for case in cases if case.key in given.only], given.seed, failed)):
            print(line, flush=True)
    print(f"\n{len(failed)} not as they must be, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
