"""Holds the formats to what comes over the wire, and batches to their bounds: all or nothing, in order."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from delivering import SECRET, SOURCE, Stage, body, destination, spread
from receiver import Hook, Receiver, accept
from servers import RedisServer, free_port
from standardwebhooks import Webhook
from waiting import wait_until

from bridge.signing import message_id, text_of

TYPES = ["ai.bctrl.*"]
STRUCTURED = "application/cloudevents+json; charset=utf-8"
BATCHED = "application/cloudevents-batch+json; charset=utf-8"


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


def members(hook: Hook) -> list[str]:
    """The ids of a batch's events."""
    found: list[dict[str, Any]] = json.loads(hook.body)
    return [event["id"] for event in found]


def batched(receiver: Receiver, *, wait: int = 100, events: int = 100, **keys: Any) -> str:
    """A destination that takes batches."""
    there = destination("crm", receiver.url, types=TYPES, format="batched", **keys)
    return f"{there}batch = {{ max_events = {events}, max_wait_ms = {wait}, max_bytes = 4096 }}\n"


async def test_each_format_over_the_wire(stage: Stage, receiver: Receiver) -> None:
    """The same event in all four, each signed, with the same id, and with the settings' headers."""
    stage.put([("e1", "run-1")])
    (whole,) = (event for _, event in stage.entries().values())
    formats = ("structured", "binary", "batched", "thin")
    headers = {"Authorization": "Bearer t", "X-Tenant": "7"}
    there = [destination(f"to-{name}", f"{receiver.url}/{name}", format=name, types=TYPES) for name in formats]
    there = [text + "".join(f'headers.{name} = "{value}"\n' for name, value in headers.items()) for text in there]
    async with stage.bridge(*there, http='public_url = "https://bridge.example"'):
        await wait_until(lambda: len(receiver.hooks) == 4, "all four")
        for name in formats:
            await stage.all_settled(f"to-{name}")
    hooks = {hook.target[1:]: hook for hook in receiver.hooks}
    for hook in hooks.values():
        Webhook(SECRET).verify(hook.body.decode(), hook.headers)
        assert hook.headers["webhook-id"] == message_id(SOURCE + "run-1", "e1")
        assert (hook.headers["authorization"], hook.headers["x-tenant"]) == ("Bearer t", "7")
        assert not {"cookie", "origin", "webhook-request-origin"} & set(hook.headers)
    types = {name: hook.headers["content-type"] for name, hook in hooks.items()}
    assert types == {
        "structured": STRUCTURED, "binary": "application/json", "batched": BATCHED, "thin": STRUCTURED,
    }  # fmt: skip
    event = json.loads(whole)
    entry, _ = stage.entries()["e1"]
    assert hooks["structured"].body == whole
    assert hooks["batched"].body == b"[%b]" % whole
    assert hooks["binary"].event == event["data"]
    assert {name: hooks["binary"].headers[f"ce-{name}"] for name in ("id", "type", "source", "subject")} == {
        name: event[name] for name in ("id", "type", "source", "subject")
    }
    expected = {name: value for name, value in event.items() if name != "data"}
    assert hooks["thin"].event == {**expected, "dataref": f"https://bridge.example/v1/events/0-{entry}"}


async def test_a_thin_events_link_leads_to_the_whole(stage: Stage, receiver: Receiver) -> None:
    """In each partition to its own, for bearers of the token; 404 once the log is trimmed."""
    stage.partitions = 2
    for partition in range(2):
        stage.keys = type(stage.keys)(stage.prefix, partition)
        fields = {"id": f"e{partition}", "type": "ai.bctrl.x", "subject": "s", "event": body(f"e{partition}", "s")}
        stage.server.client().xadd(stage.keys.events, fields, id="5-5")  # type: ignore[arg-type]  # dict is invariant
    port, token = free_port(), "a-token-of-some-length"
    there = destination("crm", receiver.url, format="thin")
    async with stage.bridge(there, http=f'listen = "127.0.0.1:{port}"\ntoken = "{token}"'):
        await wait_until(lambda: len(receiver.hooks) == 2, "both")
        links = {hook.id: hook.event["dataref"] for hook in receiver.hooks}
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            for id_, link in links.items():
                async with session.get(link) as response:
                    assert response.headers["Content-Type"] == STRUCTURED
                    assert await response.json(content_type=None) == json.loads(body(id_, "s"))
            stage.server.client().xtrim(stage.keys.events, maxlen=0)
            async with session.get(links["e1"]) as response:
                assert (response.status, response.content_type) == (404, "application/problem+json")
        await stage.all_settled("crm")


@pytest.mark.parametrize("bound", ["events", "bytes", "time"])
async def test_a_batch_ends_at_its_bounds(stage: Stage, receiver: Receiver, bound: str) -> None:
    """So many events, so many bytes, or so long; a larger event goes alone."""
    events = spread(5, 8)
    if bound == "bytes":
        stage.put_raw(id="large", type="ai.bctrl.x", subject="s", event=body("large", "s", text="x" * 9000))
    stage.put(events)
    keys = {"events": {"events": 7, "wait": 1000}, "bytes": {"wait": 1000}, "time": {"wait": 150}}[bound]
    async with stage.bridge(batched(receiver, **keys)):
        if bound == "time":
            await stage.all_settled("crm")
            stage.put([("late", "run-0")])
        await stage.all_settled("crm")
    batches = [members(hook) for hook in receiver.hooks]
    ids = [id_ for batch in batches for id_ in batch]
    assert sorted(ids) == sorted([id_ for id_, _ in events] + {"bytes": ["large"], "time": ["late"]}.get(bound, []))
    for subject in range(5):
        own = [id_ for id_ in ids if id_.startswith(f"{subject}-")]
        assert own == sorted(own)
    if bound == "events":
        assert [len(batch) for batch in batches] == [7] * 5 + [5]
    elif bound == "bytes":
        assert ["large"] in batches
        assert all(len(hook.body) <= 4096 + len(batch) + 1 for hook, batch in zip(receiver.hooks, batches, strict=True)
                   if batch != ["large"])  # fmt: skip
        assert max(map(len, batches)) > 5
    else:
        assert batches[-1] == ["late"]


async def test_a_batch_is_all_or_nothing(stage: Stage, receiver: Receiver) -> None:
    """One that is refused comes again as it was, while others flow; given up, each of its events is a dead letter."""

    async def refusing(hook: Hook) -> int:
        return 400 if "0-000" in members(hook) else 204

    receiver.answer = refusing
    events = spread(4, 4)
    stage.put(events)
    async with stage.bridge(batched(receiver, events=4, wait=50, retry_schedule=[0.3])):
        await wait_until(lambda: len(receiver.hooks) >= 1, "the first batch")
        stage.put([(f"5-{number:03d}", "run-5") for number in range(3)])
        await wait_until(lambda: any("5-002" in members(hook) for hook in receiver.hooks), "others")
        refused = [hook for hook in receiver.hooks if "0-000" in members(hook)]
        assert len(refused) < 3
        await stage.all_settled("crm")
    batches = [(hook.headers["webhook-id"], members(hook)) for hook in receiver.hooks]
    (again,) = {(id_, tuple(batch)) for id_, batch in batches if "0-000" in batch}
    assert [batch for batch in batches if batch[0] == again[0]] == [(again[0], list(again[1]))] * 3
    assert [letter["id"] for letter in stage.dead("crm")] == list(again[1])
    assert {letter["attempts"] for letter in stage.dead("crm")} == {"3"}
    taken = [id_ for id_, batch in batches if id_ != again[0]]
    assert len(taken) == len(set(taken))
    ids = [id_ for webhook, batch in batches if webhook != again[0] for id_ in batch]
    assert sorted([*ids, *again[1]]) == sorted([id_ for id_, _ in events] + [f"5-{number:03d}" for number in range(3)])
    for subject in range(6):
        own = [id_ for id_ in ids if id_.startswith(f"{subject}-")]
        assert own == sorted(own)


async def test_a_secret_rotates_while_the_bridge_runs(stage: Stage, receiver: Receiver, tmp_path: Path) -> None:
    """Its file is replaced: what comes later is signed with the new one, and no request is missed or unsigned."""
    old, new = text_of(b"o" * 24), text_of(b"n" * 24)
    file = tmp_path / "crm.secret"
    file.write_text(old)
    there = destination("crm", receiver.url, secrets=[], secret_files=[str(file)])
    stage.put([("e0", "run-1")])
    async with stage.bridge(there):
        await stage.all_settled("crm")
        beside = tmp_path / "new"
        beside.write_text(new)
        beside.rename(file)
        made = iter(range(1, 10_000))

        async def rotated() -> bool:
            stage.put([(f"e{next(made)}", "run-1")])
            await stage.all_settled("crm")
            return signed(receiver.hooks[-1]) == new

        await wait_until(rotated, "the new secret")
        await stage.all_settled("crm")
    keys = [signed(hook) for hook in receiver.hooks]
    assert keys == sorted(keys, key=[old, new].index)
    assert receiver.answer is accept


def signed(hook: Hook) -> str:
    """The secret that a request was signed with."""
    for key in (b"o" * 24, b"n" * 24):
        try:
            Webhook(text_of(key)).verify(hook.body.decode(), hook.headers)
        except Exception:  # noqa: BLE001, S112  # the package's own kind for a signature of another key
            continue
        return text_of(key)
    raise AssertionError("signed with neither")
