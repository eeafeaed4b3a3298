"""Holds the webhook handshake to the CloudEvents specification: consent is a header, and nothing else."""

import asyncio

import pytest
from aiohttp import web
from receiver import Answer as Reply
from receiver import Hook, Receiver, hang, status
from test_webhook import client
from waiting import wait_until

from bridge.delivery.lane import Result
from bridge.errors import HttpError
from bridge.handshake import Consent, ask, consent
from bridge.post import Answer, PostClient
from bridge.webhook import origin_headers

ORIGIN = "bridge.example"


async def consent_of(client: PostClient, per_minute: int | None = None, headers: bytes = b"") -> Consent:
    """What a question brings."""
    found: asyncio.Future[Consent] = asyncio.get_running_loop().create_future()
    ask(client, ORIGIN, per_minute, found.set_result, headers=headers)
    assert not found.done(), "heard inside the call"
    return await found


async def asked(reply: Reply, per_minute: int | None = None, headers: bytes = b"") -> tuple[Consent, Hook]:
    """What comes of a handshake with a receiver that answers so, and what it was asked."""
    async with Receiver(reply) as receiver, client(receiver.url + "/hook?a=b") as post:
        found = await consent_of(post, per_minute, headers)
    (hook,) = receiver.hooks
    return found, hook


async def test_the_question_is_an_options_request_without_events() -> None:
    """To the very URL, with the origin, the rate where there is one, and the destination's own headers."""
    found, hook = await asked(status(200, WebHook_Allowed_Origin=ORIGIN), 120, b"Authorization: Bearer t\r\n")
    assert found.granted
    assert (hook.request.method, hook.target, hook.body) == ("OPTIONS", "/hook?a=b", b"")
    assert hook.headers["webhook-request-origin"] == ORIGIN
    assert hook.headers["webhook-request-rate"] == "120"
    assert hook.headers["authorization"] == "Bearer t"
    assert not {"webhook-request-callback", "webhook-signature", "content-type"} & set(hook.headers)
    _, hook = await asked(status(200))
    assert "webhook-request-rate" not in hook.headers


@pytest.mark.parametrize("number", [200, 204, 405, 500])
async def test_a_status_is_no_consent_and_no_refusal(number: int) -> None:
    """The header alone grants; without it the destination fails, whatever the status says of a single event."""
    granted, _ = await asked(status(number, WebHook_Allowed_Origin="*"))
    assert granted.granted
    refused, _ = await asked(status(number))
    assert not refused.granted
    assert (refused.outcome.result, refused.outcome.status) == (Result.FAILED, number)
    assert "no WebHook-Allowed-Origin, expected * or bridge.example" in refused.outcome.error


@pytest.mark.parametrize(
    ("allowed", "granted"),
    [("*", True), (ORIGIN, True), ("Bridge.Example", True), (" * ", True), ("", False), ("bridge", False),
     ("evil.bridge.example", False), ("bridge.example, other.example", False), ("**", False), ("null", False)],
)  # fmt: skip
def test_only_this_origin_or_all_are_meant(allowed: str, granted: bool) -> None:
    """The asterisk, or the name that asked; what a receiver says instead is shown, in part."""
    found = consent(Answer(200, {"webhook-allowed-origin": allowed}, b""), ORIGIN, None)
    assert found.granted is granted
    long = consent(Answer(200, {"webhook-allowed-origin": "x" * 5000}, b""), ORIGIN, None)
    assert len(long.outcome.error) < 400


@pytest.mark.parametrize(
    ("said", "wanted", "kept"),
    [(None, None, None), (None, 60, 60), ("*", None, None), ("*", 60, 60), ("100", 60, 60), ("30", 60, 30),
     ("30", None, 30), (" 007 ", 60, 7)],
)  # fmt: skip
def test_a_granted_rate_lowers_the_limit(said: str | None, wanted: int | None, kept: int | None) -> None:
    """In requests a minute, the lower of both; it never raises what the settings say."""
    headers = {"webhook-allowed-origin": "*"} | ({} if said is None else {"webhook-allowed-rate": said})
    found = consent(Answer(200, headers, b""), ORIGIN, wanted)
    assert (found.granted, found.per_minute) == (True, kept)


@pytest.mark.parametrize("said", ["0", "", "-5", "1.5", "many", "\u0663", "9" * 99])
def test_a_rate_that_can_not_be_read_is_no_consent(said: str) -> None:
    """The error shows what was said."""
    found = consent(Answer(200, {"webhook-allowed-origin": "*", "webhook-allowed-rate": said}, b""), ORIGIN, 60)
    assert (found.outcome.result, found.per_minute) == (Result.FAILED, None)
    assert "WebHook-Allowed-Rate" in found.outcome.error


async def test_a_refusal_keeps_what_the_answer_asks_for() -> None:
    """Gone and throttled are what they are for events too; the beginning of the body and Retry-After are kept."""

    async def answer(hook: Hook) -> web.StreamResponse:
        return web.Response(status=429, text="slower", headers={"Retry-After": "9"})

    found, _ = await asked(answer)
    assert (found.outcome.result, found.outcome.retry_after, found.outcome.answer) == (Result.THROTTLED, 9.0, b"slower")
    found, _ = await asked(status(410))
    assert found.outcome.result is Result.GONE


async def test_no_answer_is_no_consent() -> None:
    """A receiver that isn't there failed; an end of this side, also while it asks, is ours."""
    assert consent(HttpError("no route", sent=False), ORIGIN, None).outcome.result is Result.FAILED
    async with Receiver(hang) as receiver, client(receiver.url) as post:
        found: list[Consent] = []
        ask(post, ORIGIN, None, found.append)
        await wait_until(lambda: receiver.hooks, "the question has come")
        await post.close()
        await wait_until(lambda: found, "the end is heard of")
    assert [one.outcome.result for one in found] == [Result.OURS]


@pytest.mark.parametrize("origin", ["a b", "a\r\nX: y", "http://a", "-a", "a.", "\u00e9", "x" * 254])
def test_an_origin_is_a_dns_name(origin: str) -> None:
    """Anything else never becomes a header."""
    with pytest.raises(ValueError, match="is no DNS name"):
        origin_headers(origin)
    assert origin_headers("") == b""
