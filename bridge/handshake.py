"""Asks a receiver whether it wants webhooks from here, as CloudEvents has it. Refuses to send events.

HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4 (https://github.com/cloudevents/spec, http-webhook.md), without
the callback: consent is in the answer, in its headers, whatever its status.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from bridge.delivery.gate import Gate
from bridge.delivery.lane import Outcome, Result, Unit
from bridge.errors import HttpError
from bridge.facts import HandshakeAccepted, HandshakeRefused
from bridge.ports import Observe, Send
from bridge.post import Answer, PostClient
from bridge.webhook import Endpoint, origin_headers, outcome_of

_rate = re.compile(r"0{0,9}[1-9][0-9]{0,8}").fullmatch
_SHOWN = 100
"""Characters of a receiver's header that go into an error."""


@dataclass(frozen=True, slots=True)
class Consent:
    """What came of a question: DELIVERED is consent, anything else counts as the destination's failure or as ours.

    `per_minute` is the rate to keep to, the lower of what was asked for and what was granted; None is no limit.
    """

    outcome: Outcome
    per_minute: int | None = None

    @property
    def granted(self) -> bool:
        """True where events may be sent."""
        return self.outcome.result is Result.DELIVERED


def ask(
    client: PostClient, origin: str, per_minute: int | None, heard: Callable[[Consent], None], *, headers: bytes = b""
) -> None:  # fmt: skip
    """Ask once, for `per_minute` requests a minute if that is not None; ends by the client's own time-out.

    `heard` is called once, later, from the event loop. `headers` are the destination's own lines (an Authorization,
    say), each with its CRLF. Raises ValueError for an `origin` that is no DNS name.
    """
    if not origin:
        raise ValueError("the handshake needs a name for the sender")
    lines = origin_headers(origin)
    if per_minute is not None:
        lines += b"WebHook-Request-Rate: %d\r\n" % per_minute
    client.post(
        lines + headers, b"", lambda answer: heard(consent(answer, origin, per_minute)), method=b"OPTIONS"
    )  # fmt: skip


class Introduced:
    """A sender (`bridge.ports.Send`) whose first unit asks for consent, until it is given; without, nothing is sent.

    A unit whose question brings none was not tried: that is a failure of ours to it, and one of the destination to the
    gate, which lets one unit at a time ask again as it would let probes go.
    """

    def __init__(self, send: Send, endpoint: Endpoint, client: PostClient, gate: Gate, observe: Observe) -> None:
        self._send, self._endpoint, self._client, self._gate, self._observe = send, endpoint, client, gate, observe
        rate = gate.per_second
        self._per_minute = None if rate is None else max(1, int(rate * 60))
        self._said = ""
        """The last refusal, which is told once."""

    def __call__(self, unit: Unit, done: Callable[[Unit, Outcome], None]) -> None:
        """Send it, or ask first."""
        if not self._gate.stranger:
            self._send(unit, done)
            return
        endpoint = self._endpoint
        ask(
            self._client, endpoint.origin, self._per_minute, lambda found: self._heard(found, unit, done),
            headers=endpoint.own,
        )  # fmt: skip

    def _heard(self, found: Consent, unit: Unit, done: Callable[[Unit, Outcome], None]) -> None:
        name, outcome, rate = self._endpoint.name, found.outcome, found.per_minute
        if found.granted:
            self._observe(HandshakeAccepted(name, rate))
            self._gate.welcome(None if rate is None else rate / 60)
            self._send(unit, done)
            return
        if self._said != outcome.error:
            self._said = outcome.error
            self._observe(HandshakeRefused(name, outcome.status, outcome.error))
        self._gate.unwelcome(outcome)
        done(unit, replace(outcome, result=Result.OURS, retry_after=None))


def consent(answer: Answer | HttpError, origin: str, per_minute: int | None) -> Consent:
    """What an answer says. Pure but for the clock that a Retry-After with a date is read by.

    A refusal is a failure of the destination, also where its status would only be one of an event (405: it doesn't
    know OPTIONS). A rate that can't be read is no consent: a guess could flood the receiver.
    """
    if isinstance(answer, HttpError):
        judged = outcome_of(answer)
        return Consent(replace(judged, error=f"the handshake failed: {judged.error}"))
    allowed = answer.headers.get("webhook-allowed-origin", "").strip()
    if allowed != "*" and allowed.lower() != origin.lower():
        said = f"WebHook-Allowed-Origin is {allowed[:_SHOWN]!r}" if allowed else "no WebHook-Allowed-Origin"
        return _refused(answer, f"{said}, expected * or {origin}")
    rate = answer.headers.get("webhook-allowed-rate", "*").strip()
    if rate != "*" and not _rate(rate):
        return _refused(answer, f"WebHook-Allowed-Rate is {rate[:_SHOWN]!r}, expected * or requests per minute")
    rates = [per_minute] if per_minute is not None else []
    rates += [int(rate)] if rate != "*" else []
    return Consent(Outcome(Result.DELIVERED, answer.status), min(rates, default=None))


def _refused(answer: Answer, reason: str) -> Consent:
    judged = outcome_of(answer)
    result = judged.result if judged.result in {Result.GONE, Result.THROTTLED} else Result.FAILED
    error = f"the receiver does not allow webhooks from here: {reason} (handshake, status {answer.status})"
    return Consent(replace(judged, result=result, error=error, answer=answer.body))
