"""What a running bridge shows of itself: the overview, readiness, a line for systemd. Changes nothing."""

import contextlib
from collections.abc import Callable
from importlib.metadata import version
from time import monotonic

from bridge.clock import now, rfc3339
from bridge.errors import LogUnavailable
from bridge.event import State
from bridge.fleet import Fleet
from bridge.http_api.served import Readiness
from bridge.listing import listed_destination, listed_source
from bridge.live import Live
from bridge.overview import BridgeView, Overview
from bridge.redis_log import RedisLog
from bridge.redis_log.overview import Look, Overviews
from bridge.roster import Roster
from bridge.stop import Stop
from bridge.views import Listed, Rates, Views

LOOK = 5.0
"""Seconds between two looks at Redis, while nobody asks for one."""


class Board:
    """Of one bridge. `trouble` tells what else is not in order, by what it is; `remarks` what a person should mend."""

    def __init__(
        self, roster: Roster, fleet: Fleet, log: RedisLog, overviews: Overviews,
        *, live: Live, stop: Stop, trouble: Callable[[], dict[str, str]], remarks: Callable[[], dict[str, str]],
    ) -> None:  # fmt: skip
        self._roster, self._fleet, self._log, self._overviews = roster, fleet, log, overviews
        self._live, self._stop, self._trouble, self._remarks = live, stop, trouble, remarks
        self._seen: Look | None = None
        """The last look at Redis."""
        self._views = Views(roster.file.redis.address, Rates(), live)
        self._started = monotonic()
        self._since = rfc3339(now())

    def listed(self) -> tuple[list[Listed], list[Listed]]:
        """The sources and the destinations there are."""
        roster, problems = self._roster, self._fleet.problems
        sources = [listed_source(roster, name, problems) for name in roster.ids("sources")]
        return sources, [listed_destination(roster, name, problems) for name in roster.ids("destinations")]

    async def look(self) -> Look:
        """What Redis has, at most a second ago. Raises LogUnavailable."""
        ids = self._roster.ids
        self._seen = await self._overviews.recent(ids("sources"), ids("destinations"))
        return self._seen

    async def watch(self) -> None:
        """Look now and then, though nobody asks: who asks later finds rates, and what is disabled; until cancelled."""
        while not await self._stop.pause(LOOK):
            with contextlib.suppress(LogUnavailable):  # the committers say what is wrong with Redis
                await self.overview()

    async def overview(self) -> Overview:
        """Everything on one screen. Raises LogUnavailable."""
        look = await self.look()
        self._prune()
        sources, destinations = self.listed()
        known = [one for one in sources if one.id in look.sources]
        meant = [one for one in destinations if one.id in look.destinations]
        return self._views.overview(
            known, meant, look, bridge=self.bridge(), time=rfc3339(now()), now=monotonic()
        )  # fmt: skip

    def _stopped(self) -> dict[str, str]:
        """The destinations to which nothing is delivered, though somebody wants it."""
        found, paused = {}, self._roster.paused
        for name, look in self._seen.destinations.items() if self._seen else ():
            if look.standing.state == "disabled" and ("destinations", name) not in paused:
                found[name] = f"is disabled: {look.standing.reason}"
        for name, live in self._live.destinations.items():
            if live.fenced and ("destinations", name) not in paused:
                found[name] = f"is taken over: {live.fenced} delivers to it now"
        known = set(self._roster.ids("destinations"))
        return {f"destination {name}": why for name, why in found.items() if name in known}

    def _prune(self) -> None:
        """Count nothing more of what is defined no more; what is only paused keeps its counts."""
        for name in self._live.sources.keys() - set(self._roster.ids("sources")):
            self._live.forget(name)
        for name in self._live.destinations.keys() - set(self._roster.ids("destinations")):
            self._live.forget_destination(name)

    def bridge(self) -> BridgeView:
        """The process."""
        readiness = self.readiness()
        problems = {**readiness.problems, **self._remarks()}
        return BridgeView(
            instance=self._roster.file.instance, version=version("runbridge"), started=self._since,
            uptime_seconds=round(monotonic() - self._started, 1), ready=readiness.ready, problems=problems,
        )  # fmt: skip

    def readiness(self) -> Readiness:
        """Whether the bridge does its job, and in words what is not in order."""
        problems = {"redis": self._log.blocked} if self._log.blocked else {}
        problems |= self._trouble()
        for writer in self._log.writers:
            if writer.position.state is State.FAILED:
                problems[f"source {writer.source}"] = writer.position.reason
        problems |= self._stopped()
        problems |= {f"destination {name}": "has no place in the log yet" for name in self._log.beginning}
        problems |= {name: "; ".join(map(str, found)) for name, found in self._fleet.problems.items()}
        for (section, name), found in self._roster.unusable.items():
            problems[f"{section[:-1]} {name}"] = "; ".join(map(str, found))
        return Readiness(not problems and not self._stop.is_set(), problems)

    def figures(self) -> str:
        """One line for `systemctl status`."""
        problems = {**self.readiness().problems, **self._remarks()}
        events = sum(source.events for source in self._live.sources.values())
        delivered = sum(destination.delivered for destination in self._live.destinations.values())
        sources, destinations = (len(self._roster.ids(section)) for section in ("sources", "destinations"))
        counts = f"{sources} sources, {destinations} destinations, {events} events in, {delivered} delivered"
        first = next((f"{name}: {why}" for name, why in problems.items()), "")
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return f"{counts}; {first}{more}" if first else counts
