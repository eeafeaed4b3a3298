"""Holds who has control of a run's browser, and each change of it. Knows no HTTP."""

import time
from dataclasses import dataclass, field

from bridge.emulator.runs import ENDLESS, Run
from bridge.emulator.wire import rfc3339

HOLDERS = ("agent", "human", "none")
MOST = 50  # changes between two events of a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change; it stands before the event at `index` of its run (which may not be there yet)."""

    index: int
    epoch: int
    holder: str
    reason: str
    by: str | None
    timestamp: str = field(default_factory=lambda: rfc3339(time.time()))


class ControlChanges:
    """The changes of every run. At the beginning, which is epoch 1, the agent has control."""

    def __init__(self) -> None:
        self._changes: dict[str, dict[int, list[Change]]] = {}
        self._last: dict[str, Change] = {}

    def change(self, run: Run, holder: object, reason: object = "requested", by: object = None) -> Change:
        """Gives control to somebody else, after what the run has by now; ValueError says what can't be."""
        if holder not in HOLDERS or not isinstance(reason, str) or not (by is None or isinstance(by, str)):
            raise ValueError('control: holder is "agent", "human" or "none", reason a text, by a text or null')
        if run.status != "active":
            raise ValueError(f"run {run.id} has ended: nobody can take control")
        head = run.head()
        index = run.read_to if head == ENDLESS else head
        before = self._changes.setdefault(run.id, {}).setdefault(index, [])
        if len(before) == MOST:
            raise ValueError(f"run {run.id}: {MOST} changes of control since its last event already")
        epoch = self._last[run.id].epoch + 1 if run.id in self._last else 2
        change = Change(index=index, epoch=epoch, holder=str(holder), reason=reason, by=by)
        before.append(change)
        self._last[run.id] = change
        run.changed.fire()
        return change

    def before(self, run: Run, index: int) -> list[Change]:
        """The changes that stand between the event at `index` and the one before it."""
        return self._changes.get(run.id, {}).get(index, [])

    def now(self, run: Run) -> tuple[str, str]:
        """The holder, and since when."""
        last = self._last.get(run.id)
        return (last.holder, last.timestamp) if last else ("agent", rfc3339(run.created))
