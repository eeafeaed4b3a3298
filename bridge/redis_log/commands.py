"""Asks something of a running bridge through Redis, and finds its answer in the log. Does nothing of it itself.

A command is an entry of `<prefix>:{0}:commands`: `do` is its name, its arguments are texts, `spec` and `destination`
are JSON, and `request` is a reference made here. The answer is an event in partition 0 of the log with that reference
as its subject: `dev.runbridge.command.done` or `dev.runbridge.command.refused` (`bridge.commands`).
"""

import json
import secrets
from typing import Literal

import msgspec
from msgspec import Struct

from bridge.commands import Command, Done
from bridge.errors import Declined, Problem
from bridge.event import Entry
from bridge.redis_log.keys import Keys
from bridge.redis_log.link import Link, Server
from bridge.redis_log.reader import Reader
from bridge.stop import within

MOST = 1000
"""Commands that may wait for a bridge; with so many, no more are asked."""
DONE, REFUSED = "dev.runbridge.command.done", "dev.runbridge.command.refused"
"""The types of answers."""


class _Problem(Struct, frozen=True):
    path: str
    message: str


class _Refusal(Struct, frozen=True):
    kind: Literal["invalid", "missing", "conflict", "unavailable"]
    detail: str
    errors: tuple[_Problem, ...] = ()


class _Data(Struct, frozen=True):
    """An event, as far as an answer needs it."""

    data: msgspec.Raw


def fields_of(command: Command) -> dict[str, str]:
    """The fields of a command's entry, as `bridge.commands.command_of` reads them; `request` is not among them."""
    values = msgspec.to_builtins(command)
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


class Commands:
    """Asks over connections of its own. `keys` are those of partition 0."""

    def __init__(self, server: Server, keys: Keys) -> None:
        self._server = server
        self._keys = keys
        self._link = Link(server, keys.events)

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    async def ask(self, command: Command, wait_s: float) -> Done | None:
        """What came of it; None where no bridge answered within `wait_s` seconds.

        The command then stays in the stream, and a bridge does it when one comes.

        Raises:
            Declined: it can't be done, or MOST commands wait already; nothing was changed.
            LogUnavailable: Redis can't be used. A command that was on its way may be done: asking again is safe.
        """
        reader = Reader(self._server, self._keys, "$")
        try:
            await reader.open()  # the log's end before the command is there: no answer can be missed
            request = await self._add(command)
            return await within(_answer(reader, request), wait_s)
        finally:
            await reader.close()

    async def _add(self, command: Command) -> str:
        waiting = await self._link.call("XLEN", self._keys.commands)
        if waiting >= MOST:
            raise Declined("unavailable", f"{waiting} commands wait for a bridge already: none runs, or it is stuck")
        fields = {**fields_of(command), "request": (request := secrets.token_hex(8))}
        await self._link.call("XADD", self._keys.commands, "*", *(part for pair in fields.items() for part in pair))
        return request


async def _answer(reader: Reader, request: str) -> Done:
    while True:
        for entry in await reader.read():
            if entry.subject == request and entry.type in {DONE, REFUSED}:
                return _read(entry)


def _read(entry: Entry) -> Done:
    try:
        data = msgspec.json.decode(entry.event, type=_Data).data
        if entry.type == DONE:
            return msgspec.json.decode(data, type=Done)
        refusal = msgspec.json.decode(data, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Declined("unavailable", f"the answer, entry {entry.entry} of the log, can't be read: {error}") from None
    problems = tuple(Problem(each.path, each.message) for each in refusal.errors)
    raise Declined(refusal.kind, refusal.detail, problems)
