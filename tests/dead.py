"""Dead letters in a test's hands: put into the log as if given up, asked for, and what became of them."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from delivering import Stage, body

from bridge.redis_log import DeadLetters, Keys, Server
from bridge.redis_log.dead_letters import Done, Place


def bury(
    stage: Stage, id_: str, subject: str = "run-1", *, name: str = "crm", kind: str = "ai.bctrl.navigation",
    status: str = "400", error: str = "answered 400", letter: str = "*", entry: str = "1-1", partition: int = 0,
    event: str = "", **more: str,
) -> str:  # fmt: skip
    """Write a dead letter as delivery does; its id in the stream."""
    fields = {
        "id": id_, "type": kind, "subject": subject, "event": event or body(id_, subject, kind), "entry": entry,
        "attempts": "3", "last_status": status, "last_error": error, "time": "2026-11-22T12:00:00.000Z", **more,
    }  # fmt: skip
    keys = Keys(stage.prefix, partition)
    return str(stage.server.call("XADD", keys.dead(name), letter, *(part for pair in fields.items() for part in pair)))


@asynccontextmanager
async def letters_of(stage: Stage) -> AsyncIterator[DeadLetters]:
    """The operator's side."""
    letters = DeadLetters(Server(stage.server.url), [Keys(stage.prefix, number) for number in range(stage.partitions)])
    try:
        yield letters
    finally:
        await letters.close()


async def places(letters: DeadLetters, name: str = "crm") -> list[Place]:
    """All letters of a destination, oldest first."""
    return [
        letter.place
        for partition in letters.partitions
        async for page in letters.pages(name, partition)
        for letter in page
    ]


async def retry(stage: Stage, only: Sequence[str] = (), *, name: str = "crm") -> Done:
    """Ask for letters, all or those about some events, the newest first: it's not the caller who puts them in order."""
    ids = {id_ for id_, fields in raw(stage, name) if not only or fields["id"] in only}
    async with letters_of(stage) as letters:
        return await letters.retry([place for place in await places(letters, name) if place.letter in ids][::-1])


def raw(stage: Stage, name: str = "crm") -> list[tuple[str, dict[str, str]]]:
    """The stream of dead letters as it is."""
    found: list[tuple[str, dict[str, str]]] = stage.server.call("XRANGE", stage.keys.dead(name), "-", "+")
    return found


def marks(stage: Stage, name: str = "crm") -> dict[str, str]:
    """Letter -> how far its other try has come."""
    found: dict[str, str] = stage.server.call("HGETALL", stage.keys.destination(name))
    return {key.removeprefix("again:"): value for key, value in found.items() if key.startswith("again:")}


def events_of(raw_body: bytes) -> list[dict[str, Any]]:
    """The events of a request, one or a batch."""
    found: Any = json.loads(raw_body)
    return found if isinstance(found, list) else [found]
