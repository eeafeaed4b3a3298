"""What every source has: its name, its resource, and the bridge's own events about it."""

from bridge.clock import now, rfc3339, uuid7
from bridge.event import Batch, Event, State
from bridge.normalize.own import own_event


class Subscription:
    """One upstream subscription: `resource` is the CloudEvents `source`, `subject` the ordering key of its events."""

    def __init__(self, id_: str, *, resource: str, subject: str, recheck: float) -> None:
        self.id = id_
        self.resource = resource
        self.subject = subject
        self.recheck = recheck
        self.floor = 0.0

    def failed(self, reason: str, status: int) -> Batch:
        """The event and the state of a refusal."""
        event = self._notice("failed", {"reason": reason, "status": status})
        return Batch([event], state=State.FAILED, reason=reason)

    def lost(self, reason: str) -> Batch:
        """The event of a possible loss."""
        return Batch([self._notice("gap", {"reason": reason, "certain": False})])

    def _notice(self, what: str, said: dict[str, object]) -> Event:
        return own_event(
            id_=f"{self.id}:{what}:{uuid7()}", resource=self.resource, subject=self.subject, what=what,
            data={"source": self.id, **said}, time=rfc3339(now()),
        )  # fmt: skip
