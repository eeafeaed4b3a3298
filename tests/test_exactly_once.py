"""Exactly once, however it is killed: a quick form of `make kill`, with its negative controls."""

import random

import pytest
from kill.suite import QUICK, QUICK_CONTROLS, Case


def _name(case: Case) -> str:
    return f"{case.key}: {case.title}"


@pytest.mark.parametrize("case", QUICK, ids=_name)
async def test_every_event_once_and_in_order(case: Case) -> None:
    """Whatever is killed, frozen or cut off, each source's events are in the log once and in order."""
    seed = random.getrandbits(32)
    found = await case.run(seed)
    assert case.passed(found), f"seed {seed}: {found}"
    assert found.events > 0


@pytest.mark.parametrize("control", QUICK_CONTROLS, ids=_name)
async def test_without_its_guard_a_case_fails(control: Case) -> None:
    """The same case with a guard taken out of a copy of the package does not pass, so that passing means something."""
    seed = random.getrandbits(32)
    found = await control.run(seed)
    assert control.passed(found), f"seed {seed}: {found}"
