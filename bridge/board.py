"""What a running bridge shows of itself: the overview, readiness, a line for systemd. Changes nothing."""

from collections.abc import Callable
from importlib.metadata import version
from time import monotonic

from bridge.clock import now, rfc3339
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


class Board:
    """Of one bridge. `trouble` tells what else is not in order, by what it is."""

    def __init__(
        self, roster: Roster, fleet: Fleet, log: RedisLog, overviews: Overviews,
        *, live: Live, stop: Stop, trouble: Callable[[], dict[str, str]],
    ) -> None:  # fmt: skip
        self._roster, self._fleet, self._log, self._overviews = roster, fleet, log, overviews
        self._live, self._stop, self._trouble = live, stop, trouble
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
        return await self._overviews.recent(ids("sources"), ids("destinations"))

    async def overview(self) -> Overview:
        """Everything on one screen. Raises LogUnavailable."""
        look = await self.look()
        sources, destinations = self.listed()
        known = [one for one in sources if one.id in look.sources]
        meant = [one for one in destinations if one.id in look.destinations]
        return self._views.overview(
            known, meant, look, bridge=self.bridge(), time=rfc3339(now()), now=monotonic()
        )  # fmt: skip

    def bridge(self) -> BridgeView:
        """The process."""
        readiness = self.readiness()
        return BridgeView(
            instance=self._roster.file.instance, version=version("runbridge"), started=self._since,
            uptime_seconds=round(monotonic() - self._started, 1), ready=readiness.ready, problems=readiness.problems,
        )  # fmt: skip

    def readiness(self) -> Readiness:
        """Whether the bridge does its job, and in words what is not in order."""
        problems = {"redis": self._log.blocked} if self._log.blocked else {}
        problems |= self._trouble()
        for writer in self._log.writers:
            if writer.position.state is State.FAILED:
                problems[f"source {writer.source}"] = writer.position.reason
        problems |= {f"destination {name}": "has no place in the log yet" for name in self._log.beginning}
        problems |= {name: "; ".join(map(str, found)) for name, found in self._fleet.problems.items()}
        for (section, name), found in self._roster.unusable.items():
            problems[f"{section[:-1]} {name}"] = "; ".join(map(str, found))
        return Readiness(not problems and not self._stop.is_set(), problems)

    def figures(self) -> str:
        """One line for `systemctl status`."""
        problems = self.readiness().problems
        events = sum(source.events for source in self._live.sources.values())
        delivered = sum(destination.delivered for destination in self._live.destinations.values())
        sources, destinations = (len(self._roster.ids(section)) for section in ("sources", "destinations"))
        counts = f"{sources} sources, {destinations} destinations, {events} events in, {delivered} delivered"
        first = next((f"{name}: {why}" for name, why in problems.items()), "")
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        return f"{counts}; {first}{more}" if first else counts
