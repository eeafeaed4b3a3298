"""What delivery tests share: events put into the log by others, a bridge in this process, and looks at what it left."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from daemon import configuration
from redis import Redis
from servers import RedisServer
from waiting import wait_until

from bridge.app import App
from bridge.redis_log import Keys
from bridge.settings import load
from bridge.stop import Stop

SECRET = "whsec_Zm9yIHRoZSB0ZXN0cyBvbmx5LCBub3Qgc2VjcmV0"
SOURCE = "https://api.bctrl.ai/runs/"
OWN = "dev.runbridge.destination."
"""What the types of events about destinations begin with."""
QUICK = [0.05]
"""A retry schedule for tests: fifty milliseconds between attempts."""


def destination(name: str, url: str, **keys: Any) -> str:
    """A destination on the loopback; keys as in the configuration."""
    values = {"url": url, "secrets": [SECRET], "allow_networks": ["127.0.0.0/8"], **keys}
    # a JSON text, number or list is TOML too
    return "\n".join(
        [f'[destinations."{name}"]', *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    )


def body(id_: str, subject: str, kind: str = "ai.bctrl.navigation", **data: Any) -> str:
    """An event as the bridge encodes it, more or less: readers may not depend on how."""
    event = {
        "specversion": "1.0", "id": id_, "source": SOURCE + subject, "type": kind, "subject": subject,
        "time": "2026-06-25T12:00:05Z", "datacontenttype": "application/json", "sequence": "0" * 20,
        "partitionkey": subject, "recordedtime": "2026-06-25T12:00:06Z", "data": {"id": id_, **data},
    }  # fmt: skip
    return json.dumps(event)


def spread(subjects: int, each: int) -> list[tuple[str, str]]:
    """Events of several subjects, taking turns: ids tell subject and order."""
    return [(f"{subject}-{number:03d}", f"run-{subject}") for number in range(each) for subject in range(subjects)]


class Stage:
    """One log on a real server: what is put into it, and what the bridge made of it."""

    def __init__(self, server: RedisServer, prefix: str, partitions: int = 1) -> None:
        self.server = server
        self.prefix = prefix
        self.partitions = partitions
        self.keys = Keys(prefix, 0)

    def config(self, *destinations: str, more: str = "", http: str = "") -> str:
        """A configuration with these destinations; `more` are keys of the top level, `http` those of that table."""
        text = configuration(self.server.url, "\n".join(destinations), prefix=self.prefix, more=more)
        text = text.replace('[http]\nlisten = ""', f"[http]\n{http}") if http else text
        return text.replace("[log]\n", f"[log]\npartitions = {self.partitions}\n")

    def put(self, events: Iterable[tuple[str, str]], kind: str = "ai.bctrl.navigation") -> None:
        """Add events, each an id and its subject, as a bridge's append would."""
        pipe = self.server.client().pipeline(transaction=False)
        for id_, subject in events:
            fields = {"id": id_, "type": kind, "subject": subject, "event": body(id_, subject, kind)}
            pipe.xadd(self.keys.events, fields)  # type: ignore[arg-type]  # dict is invariant
        pipe.execute()

    def put_raw(self, **fields: str | bytes) -> None:
        """Add one entry with these fields."""
        self.server.client().xadd(self.keys.events, fields)  # type: ignore[arg-type]  # dict is invariant

    @contextlib.asynccontextmanager
    async def bridge(
        self, *destinations: str, more: str = "", url: str = "", http: str = ""
    ) -> AsyncIterator[App]:  # fmt: skip
        """A bridge with these destinations; stopped politely at the end. `url` is another way to the server."""
        with TemporaryDirectory() as directory:
            path = Path(directory) / "bridge.toml"
            config = self.config(*destinations, more=more, http=http)
            path.write_text(config.replace(self.server.url, url) if url else config)
            stop = Stop()
            app = App(load(path, {}), stop)
        running = asyncio.ensure_future(app.run())
        try:
            yield app
        finally:
            stop.set()
            await asyncio.wait_for(running, 30)

    def ask(self, name: str, text: str) -> None:
        """Ask something of a destination, as the command line does: "enable" or "retry <dead letter id>"."""
        pipe = self.server.client().pipeline()
        pipe.rpush(self.keys.requests(name), text)
        pipe.sadd(self.keys.requests(), name)
        pipe.execute()

    def told(self, name: str) -> list[str]:
        """What became of a destination, by the events about it in the log."""
        entries = self.server.call("XRANGE", self.keys.events, "-", "+")
        own = [fields["type"] for _, fields in entries if fields["subject"] == name]
        return [kind.removeprefix(OWN) for kind in own if kind.startswith(OWN)]

    def settled(self, name: str) -> bool:
        """Whether the destination has nothing left: nothing unread, nothing in flight, nothing waiting."""
        return all(self._settled(name, Keys(self.prefix, partition)) for partition in range(self.partitions))

    def _settled(self, name: str, keys: Keys) -> bool:
        client: Any = self.server.client()
        groups = client.xinfo_groups(keys.events) if client.exists(keys.events) else []
        (group,) = [group for group in groups if group["name"] == name] or [None]
        newest = client.xrevrange(keys.events, count=1)
        if group is None or group["pending"] or client.exists(keys.held(name)):
            return False
        return not newest or group["last-delivered-id"] == newest[0][0]

    async def all_settled(self, name: str, timeout: float = 10.0) -> None:
        """Wait until the destination has nothing left."""
        await wait_until(lambda: self.settled(name), f"{name} has settled everything", timeout)

    def dead(self, name: str) -> list[dict[str, str]]:
        """The dead letters of a destination."""
        return [fields for _, fields in self.server.call("XRANGE", self.keys.dead(name), "-", "+")]

    def entries(self) -> dict[str, tuple[str, bytes]]:
        """Event id -> the id of its entry in the log, and the event's bytes there."""
        client = Redis.from_url(self.server.url, protocol=2)
        try:
            found: Any = client.execute_command("XRANGE", self.keys.events, "-", "+")
        finally:
            client.close()
        return {fields[b"id"].decode(): (id_.decode(), fields[b"event"]) for id_, fields in found if b"id" in fields}

    def attempts(self, name: str, subject: str) -> int:
        """How many attempts the waiting head of a subject has had, as stored; -1 where it does not wait."""
        found = self.server.call("HGET", self.keys.held(name), subject)
        return int(found.split(" ")[1]) if found else -1
