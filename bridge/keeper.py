"""Tells the log what becomes of a destination as a whole: its standing, and the event that says so. Does no I/O."""

from typing import Any

from bridge.clock import now, rfc3339, uuid7
from bridge.delivery.gate import Gate
from bridge.delivery.health import Change, Standing
from bridge.event import Entry
from bridge.facts import DestinationChanged
from bridge.normalize.own import destination_event
from bridge.ports import Observe

Mark = tuple[bytes, Entry | None]
"""What `bridge.ports.Lanes.exchange` stores, and the event that goes into the log with it."""


class Keeper:
    """One destination's, in the one partition that keeps its standing."""

    def __init__(self, destination: str, gate: Gate, observe: Observe) -> None:
        self._destination, self._gate, self._observe = destination, gate, observe
        self._said: tuple[Change, Entry] | None = None
        """The change that is being told, and its event: the same one however often the log has to be asked."""

    def adopt(self, stored: bytes) -> None:
        """Begin with what the log knows."""
        self._gate.adopt(stored)
        changes = self._gate.changes
        if changes and changes[0].standing.encode() == stored:
            self._gate.saved(changes[0].standing)  # only the answer was lost

    def mark(self) -> tuple[Mark | None, Standing | None]:
        """What the next exchange tells, and the standing to call saved once it has."""
        if not self._gate.changes:
            standing = self._gate.unsaved()
            return (None, None) if standing is None else ((standing.encode(), None), standing)
        change = self._gate.changes[0]
        if self._said is None or self._said[0] is not change:
            self._said = change, self._announce(change)
        return (change.standing.encode(), self._said[1]), change.standing

    def _announce(self, change: Change) -> Entry:
        self._observe(
            DestinationChanged(
                self._destination, change.what, change.reason, change.status, change.attempts, change.failures
            )
        )
        id_ = uuid7()
        data: dict[str, Any] = {
            "destination": self._destination, "state": change.standing.state, "reason": change.reason,
            "status": change.status, "attempts": change.attempts, "failures": change.failures,
            "share": round(change.share, 3),
        }  # fmt: skip
        type_, event = destination_event(
            id_=id_, destination=self._destination, what=change.what, data=data, time=rfc3339(now())
        )
        return Entry("", id_, type_, self._destination, event)
