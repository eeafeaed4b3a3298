"""What the log knows of a destination as a whole, for people: its state, how far it is, what waits. Writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bridge.delivery.health import Standing
from bridge.redis_log.delivery_clock import DeliveryClock
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Link, Server


@dataclass(frozen=True, slots=True)
class DestinationLook:
    """A destination over all partitions. Times in seconds from now."""

    standing: Standing
    """As it was stored last."""
    since: float | None
    """How long it has been in this state; None where it never left the first one."""
    positions: tuple[str, ...]
    """Up to which entry each partition was looked at; "" where it never was."""
    lag: int | None
    """Entries that were not looked at; None where Redis does not know."""
    in_flight: int
    """Entries that were taken up and neither settled nor put back."""
    lanes: int
    """Subjects, or batches, that wait for a retry or behind one."""
    next_due: float | None
    """When the next of them is due; negative: it is due already."""
    dead: int
    """Dead letters."""


class DestinationLooks:
    """Looks over connections of its own. Every coroutine raises LogUnavailable."""

    def __init__(self, server: Server, keys: Sequence[Keys]) -> None:
        self._both = [(each, Link(server, each.events)) for each in keys]
        first, link = self._both[0]
        self._clock = DeliveryClock(link, first)

    async def close(self) -> None:
        """Close the connections."""
        for _, link in self._both:
            await link.close()

    async def look(self, destination: str) -> DestinationLook:
        """What is stored now; one round trip a partition."""
        await self._clock.start()
        now = self._clock.seconds()
        standing, positions, lag, dues = b"", list[str](), list[int | None](), list[float]()
        in_flight = lanes = dead = 0
        for keys, link in self._both:
            stored, groups, held, due, letters = await link.pipeline([
                ("HGET", keys.destination(destination), "standing"), ("XINFO", "GROUPS", keys.events),
                ("HLEN", keys.held(destination)), ("ZRANGE", keys.due(destination), 0, 0, "WITHSCORES"),
                ("XLEN", keys.dead(destination)),
            ])  # fmt: skip
            standing = standing or stored or b""
            group = _group(groups, destination)
            positions.append(group["last-delivered-id"].decode() if group else "")
            lag.append(group.get("lag") if group else 0)
            in_flight += group["pending"] if group else 0
            lanes, dead = lanes + held, dead + letters
            dues += [float(due[1]) / 1000] if due else []
        found = Standing.decode(standing)
        return DestinationLook(
            found,
            max(0.0, now - found.since) if found.since else None,
            tuple(positions),
            None if None in lag else sum(each or 0 for each in lag),
            in_flight,
            lanes,
            min(dues) - now if dues else None,
            dead,
        )


def _group(groups: Any, name: str) -> dict[str, Any] | None:  # noqa: ANN401  # an answer of Redis
    for flat in () if isinstance(groups, Exception) else groups:
        found = {field.decode(): value for field, value in zip(flat[::2], flat[1::2], strict=True)}
        if found["name"].decode(errors="replace") == name:
            return found
    return None
