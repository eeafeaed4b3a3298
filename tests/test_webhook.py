"""Holds one attempt to its headers, its signature, its outcome and its one answer, over real HTTP."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from typing import Any

import pytest
import standardwebhooks
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from receiver import Answer, Receiver, status
from waiting import wait_until

from bridge.delivery.form import Form, form
from bridge.delivery.lane import Outcome, Result, Unit
from bridge.event import Entry
from bridge.facts import AttemptMade, Fact
from bridge.guard import Guard
from bridge.post import MAX_ANSWER, PostClient
from bridge.post_connection import Done
from bridge.signing import Signer, message_id
from bridge.webhook import LONGEST_WAIT, Endpoint, Webhook

KEYS = (b"k" * 24, b"q" * 32)
FORMATS = ("structured", "binary", "batched", "thin")


def entry(id_: str) -> Entry:
    """An entry of the log."""
    event = {"specversion": "1.0", "id": id_, "source": "/runs/r", "type": "t", "subject": "r \u00e9", "data": {"n": 1}}
    return Entry("7-1", id_, "t", "r", json.dumps(event).encode())


ONE = Unit((entry("e"),))


class Attempts:
    """A destination's sender, with all that its attempts said."""

    def __init__(self, client: PostClient, url: str, format_: str | Form = "structured", **more: Any) -> None:
        self.seen: list[Fact] = []
        self.told: list[tuple[Unit, Outcome]] = []
        formed = form(format_, lambda one: f"https://b.example/{one.entry}") if isinstance(format_, str) else format_
        self.send = Webhook(Endpoint("crm", url, formed, Signer(KEYS), **more), client, self.seen.append)

    async def make(self, unit: Unit = ONE) -> Outcome:
        """One attempt; nothing is told before its call has returned, and then it is told once, with one fact."""
        seen, told = len(self.seen), len(self.told)
        self.send(unit, lambda *outcome: self.told.append(outcome))
        assert len(self.told) == told
        await wait_until(lambda: len(self.told) > told, "the attempt is told")
        await asyncio.sleep(0)
        ((of, outcome),) = self.told[told:]
        (fact,) = self.seen[seen:]
        assert of is unit
        assert isinstance(fact, AttemptMade)
        assert fact == AttemptMade(
            "crm", fact.event, unit.attempts + 1, outcome.result.value, outcome.status, fact.seconds, outcome.error,
            len(unit.entries),
        )  # fmt: skip
        assert 0 <= fact.seconds < 10
        return outcome


def spawn(tasks: set[asyncio.Task[None]]) -> Callable[[Coroutine[Any, Any, None], str], None]:
    """Runs what the client asks for."""

    def run(coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return run


@asynccontextmanager
async def client(url: str) -> AsyncIterator[PostClient]:
    """A client that may reach this machine."""
    made = PostClient(url, guard=Guard((ip_network("127.0.0.0/8"),)), spawn=spawn(set()), plain=True, timeout=5.0)
    try:
        yield made
    finally:
        await made.close()


async def attempted(answer: Answer, unit: Unit = ONE, **more: Any) -> tuple[Outcome, Receiver]:
    """One attempt at a receiver that answers so."""
    async with Receiver(answer) as receiver, client(receiver.url + "/hook?token=1") as post:
        return await Attempts(post, receiver.url, **more).make(unit), receiver


@pytest.mark.parametrize("format_", FORMATS)
async def test_the_reference_packages_read_what_is_sent(format_: str) -> None:
    """Every format is signed, with every key, over the bytes of its body, and is the CloudEvent it was made of."""
    outcome, receiver = await attempted(status(202), format_=format_)
    assert outcome == Outcome(Result.DELIVERED, 202)
    (hook,) = receiver.hooks
    assert hook.headers["webhook-id"] == message_id("/runs/r", "e")
    for key in KEYS:
        judge = standardwebhooks.Webhook("whsec_" + base64.b64encode(key).decode())
        assert judge.verify(hook.body, hook.headers) == json.loads(hook.body)
    assert (hook.request.method, hook.target) == ("POST", "/hook?token=1")
    headers, body = hook.headers, hook.body
    if format_ == "batched":
        headers, body = {"content-type": "application/cloudevents+json"}, json.dumps(json.loads(body)[0]).encode()
    event = from_http_event(HTTPMessage(headers, body))
    assert (event.get_id(), event.get_subject()) == ("e", "r \u00e9")
    assert event.get_data() == (None if format_ == "thin" else {"n": 1})


async def test_the_destinations_own_headers_come_last() -> None:
    """Content, signature, the handshake's origin, what the settings add, and the mark of a replay, in this order."""
    _, receiver = await attempted(
        status(204), origin="bridge.example", headers=(("X-Api-Key", "a b"), ("authorization", "Bearer t")),
        marks=b"Runbridge-Replay: r1\r\n",
    )  # fmt: skip
    sent = [(name.decode(), value.decode()) for name, value in receiver.hooks[0].request.raw_headers]
    at = [name for name, _ in sent].index("Content-Type")
    names = ["Content-Type", "webhook-id", "webhook-timestamp", "webhook-signature"]
    assert [name for name, _ in sent[at : at + 4]] == names
    assert sent[at + 4 : at + 9] == [
        ("WebHook-Request-Origin", "bridge.example"), ("Origin", "bridge.example"), ("X-Api-Key", "a b"),
        ("authorization", "Bearer t"), ("Runbridge-Replay", "r1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "result"),
    [(200, "delivered"), (299, "delivered"), (302, "failed"), (410, "gone"), (425, "failed"), (400, "refused"),
     (429, "throttled"), (500, "failed"), (503, "throttled")],
)  # fmt: skip
async def test_an_answer_is_judged_by_the_table(number: int, result: str) -> None:
    """Result, status and what a person reads; the beginning of the body is kept of all that is no delivery."""
    from aiohttp import web

    async def answer(hook: object) -> web.StreamResponse:
        return web.Response(status=number, body=b"<" + b"x" * 10_000, headers={"Location": "/elsewhere"})

    outcome, receiver = await attempted(answer)
    assert (outcome.result, outcome.status, outcome.retry_after) == (Result(result), number, None)
    if result == "delivered":
        assert (outcome.error, outcome.answer) == ("", b"")
    else:
        assert outcome.error.startswith(f"answered {number}: ")
        assert outcome.answer == b"<" + b"x" * (MAX_ANSWER - 1)
    assert len(receiver.hooks) == 1


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        ("7", 7, 7), ("0", 0, 0), ("soon", None, None), ("99999", LONGEST_WAIT, LONGEST_WAIT),
        (timedelta(minutes=5), 290, 300), (timedelta(days=9), LONGEST_WAIT, LONGEST_WAIT), (-timedelta(days=9), 0, 0),
    ],
)  # fmt: skip
async def test_a_wait_that_is_asked_for_is_passed_on(said: Any, least: float | None, most: float | None) -> None:
    """Seconds or a date, at most an hour; what is neither is nothing."""
    text = said if isinstance(said, str) else format_datetime(datetime.now(UTC) + said, usegmt=True)
    outcome, _ = await attempted(status(503, Retry_After=text))
    if least is None or most is None:
        assert outcome.retry_after is None
    else:
        assert outcome.retry_after is not None
        assert least <= outcome.retry_after <= most


async def test_no_answer_is_a_failure() -> None:
    """A receiver that isn't there has a result, no status, and an error that shows no path and no query."""
    async with Receiver() as gone:
        url = gone.url + "/hook?token=1"
    async with client(url) as post:
        outcome = await Attempts(post, url).make()
    assert (outcome.result, outcome.status) == (Result.FAILED, None)
    assert outcome.error
    assert "hook" not in outcome.error


async def test_an_end_of_this_side_uses_up_no_attempt() -> None:
    """What the bridge's own stop interrupts, or never sent, is ours."""
    async with client("http://127.0.0.1:9") as post:
        await post.close()
        outcome = await Attempts(post, "http://127.0.0.1:9").make()
    assert (outcome.result, outcome.status) == (Result.OURS, None)


async def test_a_mistake_of_ours_uses_up_no_attempt() -> None:
    """An exception before the request is sent becomes an outcome that names it; the caller never sees it."""

    def broken(unit: Unit) -> tuple[str, bytes, bytes]:
        raise LookupError("no such link")

    outcome, receiver = await attempted(status(204), format_=broken)
    assert outcome == Outcome(Result.OURS, None, "a mistake of the bridge: LookupError: no such link")
    assert receiver.hooks == []


class Twice(PostClient):
    """A client with a mistake: it raises though it has taken the request."""

    def post(self, headers: bytes, body: bytes, done: Done, *, method: bytes = b"POST") -> None:
        """Take it, and say no."""
        super().post(headers, body, done, method=method)
        raise RuntimeError("full")


async def test_an_attempt_is_told_once() -> None:
    """What is heard of a request after it was told is dropped."""
    async with Receiver() as receiver:
        post = Twice(receiver.url, guard=None, spawn=spawn(set()), plain=True)
        attempts = Attempts(post, receiver.url)
        assert await attempts.make() == Outcome(Result.OURS, None, "a mistake of the bridge: RuntimeError: full")
        await wait_until(lambda: receiver.hooks, "the request has come")
        await post.close()  # tells whoever still waits
    assert (len(attempts.told), len(attempts.seen)) == (1, 1)


async def test_what_came_of_an_attempt_stands_though_nobody_can_be_told() -> None:
    """An observer that raises is shown to the event loop; the delivery is one still."""
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))

    def observe(fact: Fact) -> None:
        raise OSError("disk full")

    told: list[Outcome] = []
    async with Receiver() as receiver, client(receiver.url) as post:
        send = Webhook(Endpoint("crm", receiver.url, form("structured"), Signer(KEYS)), post, observe)
        send(ONE, lambda _, outcome: told.append(outcome))
        await wait_until(lambda: told, "the attempt is told")
    assert told == [Outcome(Result.DELIVERED, 204)]
    assert [str(context["exception"]) for context in raised] == ["disk full"]


async def test_attempts_share_their_id_and_a_batch_is_one_fact() -> None:
    """The same `webhook-id` each time, also from another replica; a batch is known by its own."""
    batch = Unit((entry("a"), entry("b")), attempts=3)
    async with Receiver() as receiver, client(receiver.url) as post:
        first, second = (Attempts(post, receiver.url, "batched") for _ in range(2))
        for one in (first, second, first):
            assert (await one.make(batch)).result is Result.DELIVERED
        assert (await first.make()).result is Result.DELIVERED
    ids = [hook.headers["webhook-id"] for hook in receiver.hooks]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    facts = [fact for fact in first.seen if isinstance(fact, AttemptMade)]
    assert [(fact.event, fact.attempt) for fact in facts] == [(ids[0], 4), (ids[0], 4), ("e", 1)]


def test_an_endpoint_shows_no_secret() -> None:
    """Neither keys nor headers nor a query; a name for the handshake is checked when the sender is made."""
    endpoint = Endpoint(
        "crm", "https://crm.example/hooks?token=1#x", form("binary"), Signer(KEYS), (("Authorization", "Bearer t"),)
    )
    assert repr(endpoint) == "<Endpoint crm https://crm.example/hooks>"
