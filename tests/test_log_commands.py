"""The asking side of commands in Redis: what it writes, how it finds its answer, what it says where there is none."""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from delivering import Stage, destination
from servers import RedisServer
from waiting import wait_until

from bridge import commands
from bridge.commands import Command, Done, command_of
from bridge.errors import Declined, LogUnavailable, Problem
from bridge.redis_log import Keys, Server
from bridge.redis_log.commands import DONE, MOST, REFUSED, Commands, fields_of

EVERY: list[Command] = [
    commands.AddSource("a", {"kind": "sse", "headers": {"X": "é\n"}, "types": ["x"]}),
    commands.ChangeSource("a", {"url": None, "n": 1.5}, patch=True),
    commands.PauseSource("a"),
    commands.ResumeSource("a"),
    commands.RemoveSource("a", forget=True),
    commands.AddDestination("b", {}),
    commands.ChangeDestination("b", {"batch": {"max_events": 5}}),
    commands.PauseDestination("b"),
    commands.ResumeDestination("b"),
    commands.RemoveDestination("b"),
    commands.TestDestination("b"),
    commands.WatchRun("r"),
    commands.WatchRun("r", "acc", "id", "bctrl.run.stream", {"url": "https://x.example"}, "5m"),
    commands.RetryParked("1-2", 3),
]


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@asynccontextmanager
async def asking(server: RedisServer, prefix: str) -> AsyncIterator[Commands]:
    """The asking side."""
    asked = Commands(Server(server.url), Keys(prefix, 0))
    try:
        yield asked
    finally:
        await asked.close()


async def taken(server: RedisServer, keys: Keys) -> dict[str, str]:
    """The next command, off its stream."""
    await wait_until(lambda: server.call("XLEN", keys.commands), "a command is there")
    ((entry, fields),) = server.call("XRANGE", keys.commands, "-", "+")
    server.call("XDEL", keys.commands, entry)
    found: dict[str, str] = fields
    return found


def put(server: RedisServer, keys: Keys, type_: str, subject: str, event: str) -> None:
    """Add an entry to the log."""
    server.call("XADD", keys.events, "*", "id", "x", "type", type_, "subject", subject, "event", event)


@pytest.mark.parametrize("command", EVERY, ids=lambda command: command.__struct_config__.tag)
def test_a_command_is_read_as_it_was_asked(command: Command) -> None:
    """What the fields of an entry say is the command again, and all of them are texts."""
    fields = fields_of(command)
    assert all(type(value) is str for value in fields.values())
    assert command_of(fields) == command


async def test_the_answer_is_the_one_with_the_reference(server: RedisServer, prefix: str) -> None:
    """Among other events and answers to others, before and after; a batch of them each."""
    keys = Keys(prefix, 0)
    put(server, keys, DONE, "before", "{}")
    said = {"do": "source.pause", "id": "s", "changed": True, "state": "paused", "detail": {"n": 1}}
    async with asking(server, prefix) as asked:
        answer = asyncio.ensure_future(asked.ask(commands.PauseSource("s"), 10))
        fields = await taken(server, keys)
        request = fields.pop("request")
        assert fields == {"do": "source.pause", "id": "s"}
        for number in range(600):  # more than one read
            put(server, keys, "ai.bctrl.navigation", request, json.dumps({"data": {"id": number}}))
        put(server, keys, DONE, request + "0", json.dumps({"data": {**said, "id": "other"}}))
        put(server, keys, DONE, request, json.dumps({"data": said, "specversion": "1.0"}))
        assert await answer == Done("s", changed=True, state="paused", detail={"n": 1})


async def test_no_answer_comes_too_early(stage: Stage) -> None:
    """One that is there before the asker looks again is found, however quick the bridge is."""
    server, keys = stage.server, stage.keys

    def quick(count: int) -> None:
        client: Any = server.client()
        after = "0-0"
        for _ in range(count):
            ((_, ((after, fields),)),) = client.xread({keys.commands: after}, count=1, block=5000)
            event = json.dumps({"data": {"id": fields["id"], "changed": True}})
            client.xadd(keys.events, {"id": "x", "type": DONE, "subject": fields["request"], "event": event})

    async with asking(server, stage.prefix) as asked:
        answering = asyncio.ensure_future(asyncio.to_thread(quick, 50))
        for number in range(50):
            assert await asked.ask(commands.PauseSource(str(number)), 10) == Done(str(number), changed=True)
        await answering


@pytest.mark.parametrize(
    ("type_", "event", "declined"),
    [
        (
            REFUSED,
            {"data": {"kind": "invalid", "detail": "no", "errors": [{"path": "run", "message": "is missing"}]}},
            ("invalid", "no", (Problem("run", "is missing"),)),
        ),
        (REFUSED, {"data": {"kind": "missing", "detail": "none"}}, ("missing", "none", ())),
        (REFUSED, {"data": {"kind": "other"}}, ("unavailable", "the answer, entry ", ())),
        (DONE, {}, ("unavailable", "the answer, entry ", ())),
    ],
)  # fmt: skip
async def test_a_refusal_is_declined(
    stage: Stage, type_: str, event: dict[str, Any], declined: tuple[str, str, tuple[Problem, ...]]
) -> None:  # fmt: skip
    """With every problem; an answer that can't be read is one too, and never a success."""
    async with asking(stage.server, stage.prefix) as asked:
        answer = asyncio.ensure_future(asked.ask(commands.PauseSource("s"), 10))
        fields = await taken(stage.server, stage.keys)
        put(stage.server, stage.keys, type_, fields["request"], json.dumps(event))
        with pytest.raises(Declined) as found:
            await answer
    assert (found.value.kind, found.value.problems) == (declined[0], declined[2])
    assert found.value.detail.startswith(declined[1])


async def test_no_answer_leaves_the_command(stage: Stage) -> None:
    """None after the wait; a bridge that comes later does it, and says so in the log."""
    webhook = destination("crm", "http://127.0.0.1:1/")
    async with asking(stage.server, stage.prefix) as asked:
        assert await asked.ask(commands.PauseDestination("crm"), 0.05) is None
        assert stage.server.call("XLEN", stage.keys.commands) == 1
        async with stage.bridge(webhook):
            await wait_until(lambda: not stage.server.call("XLEN", stage.keys.commands), "it is done")
            done = await asked.ask(commands.PauseDestination("crm"), 10)
            assert done == Done("crm", changed=False, state="paused")
            with pytest.raises(Declined, match="no destination 'cmr'"):
                await asked.ask(commands.PauseDestination("cmr"), 10)


async def test_no_more_than_so_many_wait(stage: Stage) -> None:
    """With a thousand commands that nobody answers none is added, and that is said."""
    pipe = stage.server.client().pipeline(transaction=False)
    for _ in range(MOST):
        pipe.xadd(stage.keys.commands, {"do": "source.pause", "id": "s"})
    pipe.execute()
    async with asking(stage.server, stage.prefix) as asked:
        with pytest.raises(Declined, match="1000 commands wait") as found:
            await asked.ask(commands.PauseSource("s"), 10)
    assert found.value.kind == "unavailable"
    assert stage.server.call("XLEN", stage.keys.commands) == MOST


PAGE = (Path(__file__).parent.parent / "docs" / "commands.md").read_text()
ACCOUNT = '[accounts.bctrl]\nprovider = "bctrl"\napi_key = "k"\nbase_url = "http://127.0.0.1:1"\n'


async def test_what_the_page_shows(stage: Stage) -> None:
    """The command of docs/commands.md, as it stands there, gets the answers that stand there."""
    (line,) = re.findall(r"```sh\n(.*)\n```", PAGE)
    program, *command = [part.replace("bridge:", f"{stage.prefix}:") for part in shlex.split(line)]
    assert program == "redis-cli"
    shown = [json.loads(text) for text in re.findall(r"```json\n(.*)\n```", PAGE)]
    wrong = [part.replace(', "run": "0b0c4d1e"', "") for part in command]
    found = []
    async with stage.bridge(ACCOUNT):
        for each in (command, [part.replace("checkout", "other") for part in wrong], command):
            stage.server.call(*each)
            await wait_until(lambda: not stage.server.call("XLEN", stage.keys.commands), "it is done")
        for _, fields in stage.server.call("XRANGE", stage.keys.events, "-", "+"):
            if fields["subject"] == "order-17":
                event = json.loads(fields["event"].replace("'other'", "'checkout'"))
                found.append({name: event[name] for name in ("type", "subject", "data")})
    assert found[:2] == shown
    assert (found[2]["type"], found[2]["data"]["changed"]) == (DONE, False)


def test_the_page_names_every_command() -> None:
    """With its arguments."""
    rows = re.findall(r"^\| (`[a-z.`, ]+`) \| (`[a-z`, ]+`) \|", PAGE, re.MULTILINE)
    told = {
        name: set(re.findall(r"[a-z]+", arguments)) for names, arguments in rows for name in names[1:-1].split("`, `")
    }
    fields = {kind.__struct_config__.tag: set(kind.__struct_fields__) for kind in get_args(Command)}
    assert told == fields


async def test_redis_away() -> None:
    """LogUnavailable, at once."""
    asked = Commands(Server("redis://127.0.0.1:1"), Keys("p", 0))
    with pytest.raises(LogUnavailable):
        await asked.ask(commands.PauseSource("s"), 10)
    await asked.close()


def test_done_is_what_msgspec_reads() -> None:
    """An answer of a later release, with more in it, is read all the same."""
    assert msgspec.json.decode(b'{"id":"s","changed":false,"do":"x","more":1}', type=Done) == Done("s", changed=False)
