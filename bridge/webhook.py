"""One attempt at one webhook destination: a signed POST of a unit. Refuses to decide what comes next.

Standard Webhooks 1.0.0 headers around a CloudEvents format (`bridge.delivery.form`). The port `bridge.ports.Send`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bridge.clock import now, unix
from bridge.delivery.form import Form, webhook_id
from bridge.delivery.lane import Outcome, Result, Unit
from bridge.delivery.outcome import judge_error, judge_status, told
from bridge.errors import HttpError
from bridge.facts import AttemptMade
from bridge.ports import Observe, Span, Tracer
from bridge.post import Answer, PostClient
from bridge.retry_after import retry_after
from bridge.signing import Signer
from bridge.target import is_dns_name

__all__ = ["LONGEST_WAIT", "Endpoint", "Webhook", "webhook_id"]

LONGEST_WAIT = 3600.0
"""Seconds of a Retry-After that are honoured."""

Done = Callable[[Unit, Outcome], None]

_DELIVERED = {status: Outcome(Result.DELIVERED, status) for status in range(200, 300)}


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where a destination is, what is sent there and how it is signed. Never shows a header, a key or a query."""

    name: str
    url: str
    form: Form
    signer: Signer
    headers: tuple[tuple[str, str], ...] = ()
    """What its settings add, in ASCII, already held to be a token and a value without line breaks."""
    origin: str = ""
    """What this bridge calls itself where the handshake is on (`bridge.handshake`)."""
    marks: bytes = b""
    """Header lines of this bridge's own, such as b"Runbridge-Replay: 1\\r\\n"; each ends with CRLF."""

    @property
    def own(self) -> bytes:
        """Its own header lines: what its settings add."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.headers).encode("ascii")

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {self.url.partition('?')[0].partition('#')[0]}>"


def origin_headers(origin: str) -> bytes:
    """The header lines that every request of a sender with a handshake carries; none for "".

    `Origin` is what the CloudEvents webhook specification 1.0 asks for where 1.0.2 asks for the other. Raises
    ValueError for what is no DNS name.
    """
    if not origin:
        return b""
    if not is_dns_name(origin):
        raise ValueError(f"{origin!r} is no DNS name; the handshake names the sender with one, such as bridge.example")
    return f"WebHook-Request-Origin: {origin}\r\nOrigin: {origin}\r\n".encode()


class Webhook:
    """Sends to one endpoint over its client's connections. Belongs to the event loop that it is first called in."""

    def __init__(
        self, endpoint: Endpoint, client: PostClient, observe: Observe, tracer: Tracer | None = None
    ) -> None:  # fmt: skip
        self.name = endpoint.name
        self.observe = observe
        self._form = endpoint.form
        self._sign = endpoint.signer.header
        self._post = client.post
        self._trace = tracer.attempts(endpoint.name, endpoint.url) if tracer else None
        self._last = origin_headers(endpoint.origin) + endpoint.own + endpoint.marks

    def __call__(self, unit: Unit, done: Done) -> None:
        """Try once; `done` hears of it later, once, whatever happens. A mistake of ours is `Result.OURS`."""
        loop = asyncio.get_running_loop()
        attempt = _Attempt(self, unit, done, loop)
        try:
            id_, content, trace, body = self._form(unit)
            attempt.id = id_
            if self._trace is not None:
                attempt.span = span = self._trace(unit, id_, trace)
                trace = span.traceparent
            if trace:
                content += b"traceparent: %b\r\n" % trace
            timestamp = int(unix())
            signed = self._sign(id_, timestamp, body)
            headers = f"webhook-id: {id_}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signed}\r\n"
            self._post(content + headers.encode() + self._last, body, attempt)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not use up an attempt or stop the loop
            loop.call_soon(attempt, error)


class _Attempt:
    """What waits for one answer. Settles its unit once, though it be called again."""

    __slots__ = ("done", "id", "loop", "span", "started", "unit", "webhook")

    def __init__(self, webhook: Webhook, unit: Unit, done: Done, loop: asyncio.AbstractEventLoop) -> None:
        self.webhook = webhook
        self.unit = unit
        self.done: Done | None = done
        self.loop = loop
        self.started = loop.time()
        self.id = ""
        self.span: Span | None = None

    def __call__(self, answer: Answer | Exception) -> None:
        done, self.done = self.done, None
        if done is None:
            return
        try:
            outcome = outcome_of(answer)
        except Exception as error:  # noqa: BLE001  # as where it was sent
            outcome = _ours(error)
        try:
            self._tell(outcome)
        except Exception as error:  # noqa: BLE001  # what came of the attempt stands, whoever can't be told
            self.loop.call_exception_handler({"message": "an attempt could not be observed", "exception": error})
        done(self.unit, outcome)

    def _tell(self, outcome: Outcome) -> None:
        unit = self.unit
        event = unit.entries[0].id if len(unit.entries) == 1 else self.id
        if self.span is not None:
            self.span.end(outcome)
        self.webhook.observe(
            AttemptMade(
                self.webhook.name,
                event,
                unit.attempts + 1,
                outcome.result.value,
                outcome.status,
                self.loop.time() - self.started,
                outcome.error,
                len(unit.entries),
            )
        )


def outcome_of(answer: Answer | Exception) -> Outcome:
    """What came of a request, by the table of outcomes; a wait of at most `LONGEST_WAIT` where one was asked for."""
    if isinstance(answer, HttpError):
        return Outcome(judge_error(answer), None, answer.reason)
    if isinstance(answer, Exception):
        return _ours(answer)
    status = answer.status
    if status in _DELIVERED:
        return _DELIVERED[status]
    result = judge_status(status)
    asked = answer.headers.get("retry-after") if result is Result.THROTTLED else None
    wait = None if asked is None else retry_after({"Retry-After": asked}, now())
    return Outcome(
        result,
        status,
        f"answered {told(status)}",
        None if wait is None else min(wait, LONGEST_WAIT),
        answer.body,
    )


def _ours(error: Exception) -> Outcome:
    text = str(error)
    return Outcome(
        Result.OURS, None, f"a mistake of the bridge: {type(error).__name__}{': ' if text else ''}{text}"[:500]
    )
