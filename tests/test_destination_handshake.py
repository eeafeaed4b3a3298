"""Holds a destination with a handshake to sending nothing before its receiver allows it, and to asking politely."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from delivering import QUICK, Stage, destination
from destination_tables import mistakes, read
from receiver import Hook, Receiver
from servers import RedisServer
from structlog.testing import capture_logs
from waiting import wait_until

PUBLIC = 'listen = ""\npublic_url = "https://bridge.example/x"'
TYPES = ["ai.bctrl.*"]


@pytest.fixture
def stage(shared_servers: dict[str, RedisServer], prefix: str) -> Stage:
    """A log on a shared Valkey."""
    return Stage(shared_servers["valkey"], prefix)


class Gatekeeper:
    """A receiver's answer: consent once it is given, and what a rate is."""

    def __init__(self) -> None:
        self.consents = True
        self.status = 200
        self.headers: dict[str, str] = {}

    async def __call__(self, hook: Hook) -> web.StreamResponse:
        """An answer to a question, or to an event."""
        if hook.request.method != "OPTIONS":
            return web.Response(status=204)
        allowed = {"WebHook-Allowed-Origin": "bridge.example"} if self.consents else {}
        return web.Response(status=self.status, headers={**allowed, **self.headers})


@pytest.fixture
def keeper() -> Gatekeeper:
    """One that consents, until a test says otherwise."""
    return Gatekeeper()


@pytest.fixture
async def receiver(keeper: Gatekeeper) -> AsyncIterator[Receiver]:
    """A receiver that answers as its keeper says."""
    async with Receiver(keeper) as found:
        yield found


def crm(receiver: Receiver, **keys: Any) -> str:
    """The destination of these tests."""
    given = {"handshake": True, "types": TYPES, "retry_schedule": QUICK, **keys}
    return destination("crm", receiver.url + "/hook?a=b", **given)


def questions(receiver: Receiver) -> list[Hook]:
    """The requests that only ask."""
    return [hook for hook in receiver.hooks if hook.request.method == "OPTIONS"]


def sent(receiver: Receiver) -> list[Hook]:
    """The requests with events."""
    return [hook for hook in receiver.hooks if hook.request.method == "POST"]


async def test_consent_is_asked_for_once_and_first(stage: Stage, receiver: Receiver) -> None:
    """Once a start and a destination, whatever its partitions; every event names the origin then."""
    stage.partitions = 2
    for partition in range(2):
        stage.keys = type(stage.keys)(stage.prefix, partition)
        stage.put([(f"{partition}-{number}", f"run-{number}") for number in range(20)])
    there = crm(receiver)
    async with stage.bridge(there, http=PUBLIC):
        await stage.all_settled("crm")
    assert [hook.request.method for hook in receiver.hooks] == ["OPTIONS"] + ["POST"] * 40
    assert questions(receiver)[0].target == "/hook?a=b"
    assert {hook.headers["webhook-request-origin"] for hook in receiver.hooks} == {"bridge.example"}
    stage.put([("late", "run-1")])
    async with stage.bridge(there, http=PUBLIC):
        await stage.all_settled("crm")
    assert [hook.request.method for hook in receiver.hooks[41:]] == ["OPTIONS", "POST"]


async def test_without_consent_nothing_is_sent(stage: Stage, receiver: Receiver, keeper: Gatekeeper) -> None:
    """It is asked again as probes are, no attempt is used up, one line says why; then all comes, in order."""
    keeper.consents = False
    events = [(f"{number}-{subject}", f"run-{subject}") for number in range(3) for subject in range(3)]
    stage.put(events)
    with capture_logs() as lines:
        async with stage.bridge(crm(receiver, max_attempts=1), http=PUBLIC):
            await wait_until(lambda: len(questions(receiver)) == 2, "one question more")
            assert sent(receiver) == []
            keeper.consents = True
            await wait_until(lambda: sent(receiver), "an event")
            await stage.all_settled("crm", 20)
    waits = [later.at - earlier.at for earlier, later in pairwise(questions(receiver))]
    assert [wait > least for wait, least in zip(waits, (0.7, 1.5), strict=True)] == [True] * 2
    for subject in range(3):
        assert receiver_ids(receiver, f"run-{subject}") == [f"{number}-{subject}" for number in range(3)]
    assert stage.dead("crm") == []
    (refused,) = [line for line in lines if line["event"] == "handshake.refused"]
    assert "no WebHook-Allowed-Origin" in refused["error"]
    assert [line["per_minute"] for line in lines if line["event"] == "handshake.accepted"] == [None]


def receiver_ids(receiver: Receiver, subject: str) -> list[str]:
    """The ids of a subject's events that were sent."""
    return [hook.id for hook in sent(receiver) if hook.subject == subject]


@pytest.mark.parametrize("number", [200, 410])
async def test_refusals_count_for_the_destinations_health(
    stage: Stage, receiver: Receiver, keeper: Gatekeeper, number: int
) -> None:
    """Nothing but refusals disables as nothing but failure would, 410 at once; enabled, it asks again."""
    keeper.consents, keeper.status = False, number
    stage.put([("e1", "run-1"), ("e2", "run-1")])
    async with stage.bridge(crm(receiver, disable_after="1s"), http=PUBLIC):
        await wait_until(lambda: "disabled" in stage.told("crm"), "the end")
        assert (len(questions(receiver)) == 1) == (number == 410)
        keeper.consents, keeper.status = True, 200
        stage.ask("crm", "enable")
        await stage.all_settled("crm", 20)
    assert receiver_ids(receiver, "run-1") == ["e1", "e2"]
    assert stage.told("crm")[-2:] == ["disabled", "enabled"]
    assert stage.dead("crm") == []


async def test_the_granted_rate_is_kept_to(stage: Stage, receiver: Receiver, keeper: Gatekeeper) -> None:
    """1,200 a minute asked for by the settings, 600 granted: a second's worth at once, then ten a second."""
    keeper.headers = {"WebHook-Allowed-Rate": "600"}
    stage.put([(f"e{number}", f"run-{number}") for number in range(20)])
    async with stage.bridge(crm(receiver, rate_limit="20/s"), http=PUBLIC):
        await stage.all_settled("crm")
    assert questions(receiver)[0].headers["webhook-request-rate"] == "1200"
    first, *_, last = (hook.at for hook in sent(receiver))
    assert 0.7 <= last - first < 3


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("HTTP__PUBLIC_URL", "https://b.example/x", "b.example"), ("INSTANCE", "one.example", "one.example"),
        ("HTTP__PUBLIC_URL", "https://10.0.0.5", ""), ("HTTP__PUBLIC_URL", "https://[::1]", ""),
        ("INSTANCE", "one:two", ""),
    ],
)  # fmt: skip
def test_the_bridge_has_to_have_a_name(tmp_path: Path, key: str, value: str, name: str) -> None:
    """The host of `http.public_url`, else the instance's name; an address and what is no DNS name are mistakes."""
    environ = {f"BRIDGE_{key}": value}
    if name:
        assert read(tmp_path, "handshake = true", environ=environ).sender == name
    else:
        found = mistakes(tmp_path, "handshake = true", environ=environ)
        assert list(found) == ["destinations.d.handshake"]
        assert "needs a DNS name" in found["destinations.d.handshake"]
    read(tmp_path, "handshake = false", environ=environ)
