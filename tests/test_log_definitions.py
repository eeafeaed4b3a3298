"""Definitions, the command that brings one, and its answer in the log change in one step, once."""

from collections.abc import AsyncIterator

import pytest
from servers import RedisServer

from bridge.errors import LogUnavailable, Moved
from bridge.event import Entry
from bridge.redis_log import Definitions, Keys, Server
from bridge.redis_log.definitions import Version

NONE = Version()
ANSWER = Entry("", "command:1", "dev.runbridge.command.done", "ref", b"{}")


@pytest.fixture
def keys(prefix: str) -> list[Keys]:
    """Two partitions of a log of its own."""
    return [Keys(prefix, 0), Keys(prefix, 1)]


@pytest.fixture
async def definitions(server: RedisServer, keys: list[Keys]) -> AsyncIterator[Definitions]:
    """What is under test."""
    found = Definitions(Server(server.url), keys)
    yield found
    await found.close()


def ask(server: RedisServer, keys: list[Keys], **fields: str) -> str:
    """Put a command into its stream; its entry."""
    found: str = server.call("XADD", keys[0].commands, "*", *(part for pair in fields.items() for part in pair))
    return found


async def test_a_change_a_command_and_its_answer_are_one_step(
    server: RedisServer, keys: list[Keys], definitions: Definitions
) -> None:
    """The command leaves its stream with what it changes and with what is said about it."""
    entry = ask(server, keys, do="source.add", id="a")
    (received,) = await definitions.commands() or await definitions.commands()
    assert (received.entry, received.fields) == (entry, {"do": "source.add", "id": "a"})
    version, done = await definitions.store(NONE, {"sources a": "{}"}, command=entry, answer=ANSWER)
    stored = await definitions.load()
    assert (version.revision, done) == (1, True)
    assert (stored.version, stored.fields) == (version, {"sources a": "{}"})
    assert server.call("XLEN", keys[0].commands) == 0
    ((_, fields),) = server.call("XRANGE", keys[0].events, "-", "+")
    assert fields == {"id": "command:1", "type": ANSWER.type, "subject": "ref", "event": "{}"}


async def test_a_command_that_was_done_is_not_done_again(
    server: RedisServer, keys: list[Keys], definitions: Definitions
) -> None:
    """Whoever sends the same step again after a lost answer changes nothing and says nothing twice."""
    entry = ask(server, keys, do="source.add", id="a")
    first, _ = await definitions.store(NONE, {"sources a": "{}"}, command=entry, answer=ANSWER)
    assert await definitions.store(NONE, {"sources a": "{}"}, command=entry, answer=ANSWER) == (first, False)
    assert server.call("XLEN", keys[0].events) == 1


async def test_who_continues_from_an_older_revision_is_told(
    server: RedisServer, keys: list[Keys], definitions: Definitions
) -> None:
    """Two bridges never overwrite each other's definitions unseen, though both have counted to the same number."""
    version, _ = await definitions.store(NONE, {"sources a": "{}"})
    entry = ask(server, keys, do="source.add", id="b")
    for other in (NONE, Version(version.revision, "another's")):
        with pytest.raises(Moved):
            await definitions.store(other, {"sources b": "{}"}, command=entry, answer=ANSWER)
    assert (await definitions.load()).fields == {"sources a": "{}"}
    assert server.call("XLEN", keys[0].commands) == 1
    assert not server.call("EXISTS", keys[0].events)


async def test_what_is_removed_is_gone(definitions: Definitions) -> None:
    """An empty value removes its field; the revision counts on."""
    first, _ = await definitions.store(NONE, {"sources a": "{}", "paused sources a": "now"})
    second, _ = await definitions.store(first, {"sources a": "", "paused sources a": ""})
    assert ((await definitions.load()).fields, await definitions.version()) == ({}, second)
    assert second.revision == 2
    third, _ = await definitions.store(second, {"sources b": "{}"}, above=40)
    assert third.revision == 41


async def test_a_refusal_half_way_changes_nothing(
    server: RedisServer, keys: list[Keys], definitions: Definitions
) -> None:
    """A script is not rolled back: what can be refused is refused before the first write."""
    server.call("SET", keys[0].events, "no stream")
    with pytest.raises(LogUnavailable, match="WRONGTYPE"):
        await definitions.store(NONE, {"sources a": "{}"}, answer=ANSWER)
    assert not server.call("EXISTS", keys[0].definitions)
    server.call("DEL", keys[0].events)


async def test_a_forgotten_destination_leaves_nothing_but_its_dead_letters(
    server: RedisServer, keys: list[Keys], definitions: Definitions
) -> None:
    """Its group, its waiting lanes and its requests go; what was given up stays for a person to see."""
    first = keys[1]
    for group in ("crm", "crm~replay1"):
        server.call("XGROUP", "CREATE", first.events, group, "0", "MKSTREAM")
        server.call("HSET", first.destination(group), "owner", "x")
    server.call("HSET", first.held("crm"), "run-1", "1-1 1 0", "run-2", "1-2 1 0")
    server.call("ZADD", first.oldest("crm"), 1, "run-1")
    for subject in ("run-1", "run-2"):
        server.call("RPUSH", first.lane("crm") + subject, "1-3")
    server.call("SADD", first.requests(), "crm")
    server.call("RPUSH", first.requests("crm"), "enable")
    server.call("XADD", first.dead("crm"), "*", "id", "x")
    assert not await definitions.idle("crm")
    await definitions.forget_destination("crm")
    left = set(server.client().scan_iter(f"{first.root}:*"))
    assert left == {first.events, first.dead("crm")}
    assert server.call("XINFO", "GROUPS", first.events) == []
