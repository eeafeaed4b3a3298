"""Holds delivery to its promises end to end: a real Redis, real receivers over HTTP, and a bridge between them."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from zlib import crc32

import pytest
from aiohttp import web
from delivering import QUICK, SECRET, SOURCE, Stage, destination, spread
from destination import gate_of
from receiver import Hook, Receiver, accept, hang, status
from servers import RedisServer
from standardwebhooks import Webhook
from waiting import wait_until

from bridge.deliver import Delivery
from bridge.delivery.filter import Filter
from bridge.delivery.lane import Limits, Outcome, Result, Unit
from bridge.facts import Fact
from bridge.redis_log import LogOptions, RedisLog, Server
from bridge.signing import message_id
from bridge.stop import Stop
from bridge.supervisor import Phase, Supervisor, Worker


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything, until a test says otherwise."""
    async with Receiver() as found:
        yield found


def secret(number: int) -> str:
    """One of many secrets."""
    return "whsec_" + base64.b64encode(b"%024d" % number).decode()


async def came(receiver: Receiver, *ids: str, timeout: float = 10.0) -> None:
    """Wait until all of these events have come."""
    await wait_until(lambda: set(ids) <= set(receiver.ids()), f"{ids} at the receiver", timeout)


# -- one request


async def test_a_webhook_is_the_logs_bytes_signed_with_every_secret(stage: Stage, receiver: Receiver) -> None:
    """POST, structured CloudEvents, the body byte for byte as in the log, one signature for each secret in order."""
    secrets = [secret(number) for number in range(3)]
    stage.put([("e1", "run-1"), ("caf\u00e9.\n2", "run-1")])
    async with stage.bridge(destination("crm", receiver.url + "/hooks?tenant=7&a=%2F", secrets=secrets)):
        await stage.all_settled("crm")
    entries = stage.entries()
    assert len(receiver.hooks) == 2
    for hook in receiver.hooks:
        assert (hook.request.method, hook.target) == ("POST", "/hooks?tenant=7&a=%2F")
        assert hook.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert hook.body == entries[hook.id][1]
        assert hook.headers["webhook-id"] == message_id(SOURCE + hook.subject, hook.id)
        signatures = hook.headers["webhook-signature"].split(" ")
        assert len(signatures) == len(secrets)
        for one, signature in zip(secrets, signatures, strict=True):
            headers = {**hook.headers, "webhook-signature": signature}
            assert Webhook(one).verify(hook.body.decode(), headers) == hook.event


async def test_every_attempt_has_the_same_id_and_a_time_of_its_own(stage: Stage, receiver: Receiver) -> None:
    """`webhook-id` stays, timestamp and signature are the attempt's; each is verified."""
    receiver.answer = status(500)
    stage.put([("e1", "run-1")])
    async with stage.bridge(destination("crm", receiver.url, retry_schedule=[1.3], max_attempts=10)):
        await wait_until(lambda: len(receiver.hooks) >= 2, "a second attempt")
        receiver.answer = accept
        await stage.all_settled("crm")
    ids = {hook.headers["webhook-id"] for hook in receiver.hooks}
    assert ids == {message_id(SOURCE + "run-1", "e1")}
    stamps = [int(hook.headers["webhook-timestamp"]) for hook in receiver.hooks]
    assert stamps == sorted(set(stamps))
    for hook in receiver.hooks:
        Webhook(SECRET).verify(hook.body.decode(), hook.headers)


# -- order


async def test_one_subject_is_in_order_and_many_are_parallel(stage: Stage, receiver: Receiver) -> None:
    """Never two of a subject at once, always the log's order; over subjects as many at once as allowed, no more."""

    async def slowly(hook: Hook) -> int:
        await asyncio.sleep(0.02)
        return 200

    receiver.answer = slowly
    events = spread(12, 12)
    stage.put(events)
    async with stage.bridge(destination("crm", receiver.url, max_in_flight=5)):
        await stage.all_settled("crm", 30)
    assert len(receiver.hooks) == len(events)
    for subject in {subject for _, subject in events}:
        assert receiver.ids(subject) == [id_ for id_, of in events if of == subject]
    assert (receiver.most_at_once, receiver.most_of_one_subject) == (5, 1)


async def test_order_survives_failures_and_growth(stage: Stage, receiver: Receiver) -> None:
    """A subject whose events fail now and then while more arrive: each is delivered after the one before it."""
    failures: dict[str, int] = {}

    async def now_and_then(hook: Hook) -> int:
        failures[hook.id] = failures.get(hook.id, 0) + 1
        return 200 if crc32(hook.id.encode()) % 4 or failures[hook.id] > 2 else 503

    receiver.answer = now_and_then
    events = spread(4, 60)
    async with stage.bridge(destination("crm", receiver.url, retry_schedule=[0.01])):
        for start in range(0, len(events), 20):
            stage.put(events[start : start + 20])
            await wait_until(lambda at=start: len(receiver.hooks) >= at // 2, "half of it has come")  # type: ignore[misc]
        await stage.all_settled("crm", 30)
    for subject in {subject for _, subject in events}:
        came = list(dict.fromkeys(receiver.ids(subject)))
        assert came == [id_ for id_, of in events if of == subject]
        assert receiver.ids(subject) == sorted(receiver.ids(subject))
    assert receiver.most_of_one_subject == 1
    assert max(failures.values()) == 3


async def test_partitions_keep_order_and_the_bound(stage: Stage, receiver: Receiver) -> None:
    """With several partitions `max_in_flight` is of the destination, and waiting for a place uses up no time-out."""

    async def slowly(hook: Hook) -> int:
        await asyncio.sleep(0.15)
        return 200

    receiver.answer = slowly
    stage.partitions = 4
    for partition in range(4):
        stage.keys = type(stage.keys)(stage.prefix, partition)
        stage.put([(f"{partition}-{number}", f"run-{partition}") for number in range(2)])
    async with stage.bridge(destination("crm", receiver.url, max_in_flight=1, timeout="400ms", retry_schedule=[9])):
        await wait_until(lambda: len(receiver.hooks) == 8, "all events")
        await stage.all_settled("crm")
    assert sorted(receiver.ids()) == sorted(set(receiver.ids()))
    assert receiver.most_at_once == 1


# -- what is wanted


async def test_only_wanted_types_are_sent_and_all_are_settled(stage: Stage, receiver: Receiver) -> None:
    """Globs over types, where only * is special; what nobody wants is passed over and holds nothing up."""
    for kind in ("ai.bctrl.run.ended", "ai.bctrl.run", "ai.bctrl.runtime.x", "ai.bctrl.page.error", "AI.BCTRL.RUN.X"):
        stage.put([(kind, "run-1")], kind)
    stage.put([(f"n{number}", f"run-{number}") for number in range(600)], "ai.bctrl.network")
    stage.put([("last", "run-1")], "ai.bctrl.run.last")
    async with stage.bridge(
        destination("crm", receiver.url, types=["ai.bctrl.run.*", "*.page.*rror", "ai.bctrl.netw?rk", "ai.[bx]*"])
    ):
        await stage.all_settled("crm")
    assert receiver.ids() == ["ai.bctrl.run.ended", "ai.bctrl.page.error", "last"]


@pytest.mark.parametrize(("start", "expected"), [("start", ["old", "new"]), ("now", ["new"])])
async def test_a_new_destination_begins_where_it_says(
    stage: Stage, receiver: Receiver, start: str, expected: list[str]
) -> None:
    """`from = "start"` is the whole log, `"now"` what comes later; a known destination goes on where it was."""
    stage.put([("old", "run-1")])
    there = destination("crm", receiver.url, **{"from": start})
    async with stage.bridge(there):
        await wait_until(lambda: stage.server.call("XINFO", "GROUPS", stage.keys.events), "the consumer group")
        stage.put([("new", "run-1")])
        await came(receiver, *expected)
        await stage.all_settled("crm")
    stage.put([("between", "run-1")])
    async with stage.bridge(there):
        await came(receiver, "between")
        await stage.all_settled("crm")
    assert receiver.ids() == [*expected, "between"]


# -- answers


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_retry_after_is_respected(stage: Stage, receiver: Receiver, form: str) -> None:
    """The next attempt comes no earlier than the receiver asked for, and soon after."""
    date = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    date_at = time.monotonic() + (date - datetime.now(UTC)).total_seconds()
    receiver.answer = status(503, Retry_After="1" if form == "seconds" else format_datetime(date, usegmt=True))
    stage.put([("e1", "run-1")])
    async with stage.bridge(destination("crm", receiver.url, retry_schedule=[0.01])):
        await came(receiver, "e1")
        receiver.answer = accept
        await wait_until(lambda: len(receiver.hooks) == 2, "a second attempt")
        await stage.all_settled("crm")
    first, second = (hook.at for hook in receiver.hooks)
    asked = first + 1 if form == "seconds" else date_at
    assert asked <= second < asked + 2


async def test_a_receiver_that_takes_too_long_is_cut_off(stage: Stage, receiver: Receiver) -> None:
    """No answer, a body that drips, one without an end: each is over in time; enough of an answer counts."""

    async def slowly(hook: Hook) -> web.StreamResponse:
        if hook.subject == "silent":
            await hang(hook)
        answer = web.StreamResponse(status=200)
        await answer.prepare(hook.request)
        while True:
            await answer.write(b"x" if hook.subject == "drip" else b"x" * 4096)
            await asyncio.sleep(0.05 if hook.subject == "drip" else 0)

    receiver.answer = slowly
    stage.put([("s", "silent"), ("d", "drip"), ("f", "flood")])
    started = time.monotonic()
    there = destination("crm", receiver.url, timeout="500ms", max_attempts=1)
    async with stage.bridge(there):
        await stage.all_settled("crm")
        took = time.monotonic() - started
    assert 0.5 <= took < 3
    assert sorted(receiver.ids()) == ["d", "f", "s"]
    letters = {letter["id"]: letter["last_error"] for letter in stage.dead("crm")}
    assert set(letters) == {"s", "d"}
    assert all("time" in error for error in letters.values())


async def test_entries_of_others_hold_nothing_up(stage: Stage, receiver: Receiver) -> None:
    """What somebody else put into the stream is delivered as it is, with an id of its own, always the same."""
    deep = b'{"data":' + b"[" * 100_000
    strange: list[dict[str, str | bytes]] = [
        {"nothing": "known"}, {"event": ""}, {"subject": "s", "event": "no JSON"},
        {"subject": b"\xff", "event": b"\xff"}, {"subject": "s", "event": deep},
        {"id": "x", "subject": "s", "event": '{"id":5,"source":null}'},
        {"subject": "s", "event": '{"id":"x","source":"y","data":"\\ud800"}'},
    ]  # fmt: skip
    for fields in strange:
        stage.put_raw(**fields)
    stage.put([("e1", "run-1")])
    receiver.answer = status(400)
    there = destination("crm", receiver.url, max_attempts=2, retry_schedule=QUICK)
    async with stage.bridge(there):
        await stage.all_settled("crm")
    ids: dict[bytes, set[str]] = {}
    for hook in receiver.hooks:
        ids.setdefault(hook.body, set()).add(hook.headers["webhook-id"])
    assert set(ids) >= {b"no JSON", b"\xff", deep, stage.entries()["e1"][1]}
    assert len(receiver.hooks) == 2 * (len(strange) + 1)
    assert all(len(seen) == 1 for body, seen in ids.items() if body)
    assert len(stage.dead("crm")) == len(strange) + 1


async def test_a_mistake_of_ours_uses_up_no_attempt(stage: Stage) -> None:
    """A sender that reports failures of this side: no attempt is counted, nothing is given up, and it goes on."""
    sent: list[tuple[str, int]] = []

    def broken(unit: Unit, done: Callable[[Unit, Outcome], None]) -> None:
        (entry,) = unit.entries
        sent.append((entry.id, unit.attempts))
        ours = entry.id == "e1" and len(sent) < 2
        outcome = Outcome(Result.OURS, None, "a mistake") if ours else Outcome(Result.DELIVERED, 204)
        asyncio.get_running_loop().call_soon(done, unit, outcome)

    stage.put([("e1", "run-1"), ("e2", "run-1")])
    stop, seen = Stop(), list[Fact]()
    log = RedisLog(Server(stage.server.url), LogOptions(prefix=stage.prefix), instance="one", observe=seen.append)
    supervisor = Supervisor(observe=seen.append, stop=stop)
    limits = Limits(max_attempts=1)
    delivery = Delivery(
        "crm", log.lanes("crm", "start")[0], broken, Filter(), limits,
        gate=gate_of(log, limits), observe=seen.append, stop=stop,
    )  # fmt: skip
    supervisor.start(Worker("deliver", delivery.run, Phase.FINISH))
    try:
        await stage.all_settled("crm")
    finally:
        stop.set()
        assert await supervisor.end(5.0, log.drained)
        await log.close()
    assert sent == [("e1", 0), ("e1", 0), ("e2", 0)]
    assert stage.dead("crm") == []
