"""Holds the events about destinations to the schema and to what `docs/events.md` says of them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import pytest
from delivering import QUICK, Stage, destination
from judges import judged
from receiver import Receiver, accept, status
from servers import RedisServer
from waiting import wait_until

from bridge.delivery.health import What

OWN = "dev.runbridge.destination."
SUBJECTS = 12
"""Enough for a breaker: each event's first attempt fails."""


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver whose answers a test changes."""
    async with Receiver(status(500)) as found:
        yield found


async def test_what_becomes_of_a_destination_is_in_the_log(stage: Stage, receiver: Receiver) -> None:
    """Each of the five kinds, valid by all judges, in the log's four fields, with the data that the page lists."""
    types = ["ai.bctrl.*"]
    weary = destination("weary", receiver.url, types=types, retry_schedule=["30ms"], disable_after="100ms",
                        max_attempts=1000)  # fmt: skip
    probed = destination("probed", receiver.url, types=["probed", f"{OWN}*"], retry_schedule=QUICK, disable_after="off")
    stage.put([("e", "run")])
    stage.put([(f"p{number}", f"run-{number}") for number in range(SUBJECTS)], kind="probed")
    async with stage.bridge(weary, probed):
        await wait_until(
            lambda: {"weary failing", "weary disabled", "probed probing"} <= set(said(stage)), "the bad news"
        )  # fmt: skip
        receiver.answer = accept
        ask(stage, "weary", "enable")
        await wait_until(lambda: {"weary enabled", "probed recovered"} <= set(said(stage)), "the good news")
        own = {name for name in said(stage) if name.startswith("probed")}
        await wait_until(
            lambda: own <= {f"{hook.subject} {hook.event['type'].removeprefix(OWN)}" for hook in receiver.hooks},
            "the events about a destination at that destination",
        )
    found = said(stage)

    assert {name.partition(" ")[2] for name in found} == set(get_args(What))
    page = (Path(__file__).parents[1] / "docs" / "events.md").read_text("utf-8")
    for name, event in found.items():
        where, what = name.split()
        data = event["data"]
        assert (event["subject"], event["partitionkey"], data["destination"]) == (where, where, where)
        assert event["source"] == f"urn:runbridge:destination:{where}"
        assert event["time"] == event["recordedtime"]
        assert data["state"] == (what if what in {"probing", "disabled"} else "active")
        good = what in {"enabled", "recovered"}
        assert (data["reason"], data["status"]) == (("", None) if good else ("answered 500: the receiver failed", 500))
        assert data["share"] == pytest.approx(data["failures"] / data["attempts"], abs=0.001)
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {OWN}{what} |")]
        assert row
        assert all(f"`{field}`" in page for field in data)


def said(stage: Stage) -> dict[str, dict[str, Any]]:
    """What the log says of destinations: `<destination> <what>` -> the event, which has to be one."""
    entries = [fields for _, fields in stage.server.call("XRANGE", stage.keys.events, "-", "+")]
    own = [fields for fields in entries if fields["type"].startswith(OWN)]
    for fields in own:
        event = judged(fields["event"].encode())
        assert list(fields) == ["id", "type", "subject", "event"]
        assert {name: event[name] for name in ("id", "type", "subject")} | {"event": fields["event"]} == fields
        assert "sequence" not in event
    return {f"{fields['subject']} {fields['type'].removeprefix(OWN)}": json.loads(fields["event"]) for fields in own}


def ask(stage: Stage, name: str, text: str) -> None:
    """What an operator's command does."""
    pipe = stage.server.client().pipeline()
    pipe.rpush(stage.keys.requests(name), text)
    pipe.sadd(stage.keys.requests(), name)
    pipe.execute()
