"""The real daemon following a scripted upstream into a real log: what the tests of sources with a history need."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from daemon import Daemon, Log
from upstream import Upstream

EVENTS, STREAM = "/v1/events", "/v1/events/stream"
RUN, RUN_EVENTS, RUN_STREAM = "/v1/runs/r", "/v1/runs/r/events", "/v1/runs/r/stream"
V2, V1 = "/v2/runs/r/events/stream", "/v1/runs/r/events/stream"


def source(kind: str, id_: str = "s", **keys: Any) -> str:
    """A source of the account; `from_` is its `from`."""
    named = {"account": "bctrl", "kind": kind, **{name.rstrip("_"): value for name, value in keys.items()}}
    return "\n".join([f'[sources."{id_}"]', *(f"{name} = {json.dumps(value)}" for name, value in named.items()), ""])


@dataclass(frozen=True, slots=True)
class Stage:
    """An upstream, a log, and daemons between them."""

    upstream: Upstream
    log: Log
    make: Callable[..., Daemon]
    """The fixture `daemon`."""

    def daemon(self, *sources: str, window: int = 10_000) -> Daemon:
        """A daemon, not yet started; a second one takes over from the first."""
        return self.make(*sources, BRIDGE_LOG__DEDUP_WINDOW=str(window))

    def told(self) -> list[str]:
        """The ids of the upstream's events in the log."""
        return [event["id"] for event in self.log.events() if not event["type"].startswith("dev.runbridge.")]

    def gaps(self, source_id: str = "s") -> list[dict[str, Any]]:
        """What the bridge has said about gaps of a source."""
        return [said for said in self.log.data("source.gap") if said["source"] == source_id]

    def cursor(self, source_id: str = "s") -> str:
        """The stored cursor of a source."""
        return self.log.source(source_id).get("cursor", "")
