"""What commands do beside changing definitions: tests, other looks, parked records. Stores no definition."""

from dataclasses import dataclass

from bridge import commands, parked
from bridge.commands import Command, Done
from bridge.delivery.health import Standing
from bridge.errors import Declined
from bridge.fleet import Fleet
from bridge.redis_log import DeadLetters, ParkedRecords, ReplayRequests
from bridge.roster import Roster
from bridge.settings import WebhookDestination
from bridge.supervisor import Supervisor
from bridge.trial import trial


@dataclass(frozen=True, slots=True)
class Effects:
    """Of one bridge; called with every command, and does nothing for most."""

    fleet: Fleet
    supervisor: Supervisor
    letters: DeadLetters
    replays: ReplayRequests
    records: ParkedRecords

    async def __call__(self, command: Command, roster: Roster) -> Done | None:
        """What came of it; None where there is nothing to do beside the plan. Raises Declined and LogUnavailable."""
        match command:
            case commands.TestDestination():
                return await self._test(command.id, roster)
            case commands.ResumeDestination():
                return await self._enable(command.id, roster)
            case commands.ResumeSource():
                return await self._look_again(command.id, roster)
            case commands.RetryParked():
                return await parked.retry(self.records, command, self.fleet.reading)
            case _:
                return None

    async def close(self) -> None:
        """Close the connections."""
        for each in (self.letters, self.replays, self.records):
            await each.close()

    async def _test(self, name: str, roster: Roster) -> Done:
        destination = roster.model(("destinations", name))
        if destination is None:
            raise Declined("missing", f"there is no destination {name!r} that can be used")
        if not isinstance(destination, WebhookDestination):
            raise Declined("conflict", f"destination {name!r} is a stream; `runbridge check --connect` tries those")
        group = self.supervisor.group()
        try:
            around = self.fleet.around(roster.file.http.links, roster.file.sender, group)
            told = await trial(name, destination, around)
        finally:
            await group.end(0)
        return Done(name, changed=False, detail=told)

    async def _enable(self, name: str, roster: Roster) -> Done | None:
        if not roster.known(("destinations", name)):
            return None  # the plan says so
        disabled = Standing.decode(await self.replays.health(name)).state == "disabled"
        taken_over = ("destinations", name) not in roster.paused and self.fleet.taken_over(name)
        if disabled:
            await self.letters.enable(name)
        if taken_over:
            await self.fleet.restart(self.fleet.destinations, name)
        return Done(name, changed=True, state="active") if disabled or taken_over else None

    async def _look_again(self, name: str, roster: Roster) -> Done | None:
        if ("sources", name) in roster.paused or not self.fleet.stopped(name):
            return None
        await self.fleet.restart(self.fleet.sources, name)
        return Done(name, changed=True, state="connecting")
