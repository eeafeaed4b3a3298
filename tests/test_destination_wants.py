"""Holds a destination to what it wants of the log and from when, and what waits for it to costing no memory."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from daemon import Daemon
from delivering import SOURCE, Stage, destination
from receiver import Hook, Receiver, accept
from servers import RedisServer
from waiting import wait_until

TYPES = ["ai.bctrl.*"]


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


async def test_each_destination_gets_what_it_wants(stage: Stage, receiver: Receiver) -> None:
    """By subjects, by sources and by an expression over attributes and data, each alone and together."""
    for number in range(6):
        stage.put([(f"e{number}", f"run-{number % 3}")], "ai.bctrl.network" if number % 2 else "ai.bctrl.page")
    wants: dict[str, dict[str, object]] = {
        "subjects": {"subjects": ["run-1", "*-2"]},
        "sources": {"sources": [f"{SOURCE}run-0"]},
        "filter": {"filter": 'type == "ai.bctrl.network" and data.id != "e3"'},
        "both": {"filter": 'subject == "run-1"', "types": ["*.page"]},
    }
    there = [destination(name, f"{receiver.url}/{name}", **{"types": TYPES, **keys}) for name, keys in wants.items()]
    expected = {
        "subjects": ["e1", "e2", "e4", "e5", "last"], "sources": ["e0", "e3"], "filter": ["e1", "e5"],
        "both": ["e4", "last"],
    }  # fmt: skip
    async with stage.bridge(*there):
        stage.put([("last", "run-1")], "ai.bctrl.last.page")
        await wait_until(lambda: came(receiver) == expected, f"{expected} at the receiver")


def came(receiver: Receiver) -> dict[str, list[str]]:
    """Destination -> the ids that came, sorted."""
    found: dict[str, list[str]] = {}
    for hook in receiver.hooks:
        found.setdefault(hook.target[1:], []).append(hook.id)
    return {name: sorted(ids) for name, ids in found.items()}


async def test_a_new_destination_begins_at_a_time(stage: Stage, receiver: Receiver) -> None:
    """`from = "<time>"`: with the first entry of that moment, none before."""
    moment = datetime(2026, 6, 1, 12, tzinfo=UTC)
    milliseconds = int(moment.timestamp() * 1000)
    for id_, at in (("before", milliseconds - 1), ("then", milliseconds), ("after", milliseconds + 1)):
        fields = {"id": id_, "type": "ai.bctrl.x", "subject": "s", "event": f'{{"id":"{id_}","subject":"s"}}'}
        stage.server.client().xadd(stage.keys.events, fields, id=f"{at}-0")  # type: ignore[arg-type]  # dict is invariant
    async with stage.bridge(destination("crm", receiver.url, **{"from": moment.isoformat()})):
        await stage.all_settled("crm")
    assert receiver.ids() == ["then", "after"]


async def test_what_waits_costs_no_memory(stage: Stage, receiver: Receiver, tmp_path: Path) -> None:
    """20,000 events behind one that fails: the daemon is no larger than before, and they come in order afterwards."""

    async def answer(hook: Hook) -> int:
        return 500 if hook.subject == "run-bad" else 204

    receiver.answer = answer
    there = destination("crm", receiver.url, types=TYPES, retry_schedule=[0.5], max_attempts=1000)
    stage.put([("b-0", "run-bad"), *((f"w{number}", f"run-{number}") for number in range(2000))])
    async with Daemon(tmp_path, stage.config(there)) as daemon:
        await wait_until(lambda: len(receiver.hooks) > 2000, "the daemon has warmed up", 20)
        before = resident(daemon.pid)
        waiting = [(f"b-{number}", "run-bad") for number in range(1, 20_001)]
        for start in range(0, 20_000, 1000):
            stage.put(waiting[start : start + 1000])
        stage.put([("last", "run-1")])
        await wait_until(lambda: "last" in receiver.ids("run-1"), "what is behind them", 20)
        grown = resident(daemon.pid) - before
        assert stage.server.call("LLEN", stage.keys.lane("crm") + "run-bad") == 20_000
        receiver.answer = accept
        await wait_until(lambda: len(receiver.hooks) > 3000, "they flow", 20)
    flowed = list(dict.fromkeys(receiver.ids("run-bad")))
    assert flowed == ["b-0", *(id_ for id_, _ in waiting)][: len(flowed)]
    assert len(flowed) > 500
    assert grown < 6 << 20  # the events alone are 9 MB


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
