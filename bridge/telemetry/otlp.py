"""Makes OpenTelemetry spans and sends them by OTLP/HTTP. Refuses to hold up the event loop and to show a secret.

A span costs the event loop its making; a thread of the SDK sends what waits, at most OTEL_BSP_MAX_QUEUE_SIZE spans
(2,048), beyond which the oldest are dropped. Names: its semantic conventions for messaging, HTTP and CloudEvents.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from bridge.clock import unix
from bridge.delivery.lane import Outcome, Result, Unit
from bridge.facts import BatchStored, Fact, TracesSent, TracesUnsent
from bridge.ports import Observe
from bridge.stop import within

LONGEST = 500
"""Characters of an id, a subject or an error that a span carries."""
LAST_WORDS = 5.0
"""Seconds that the spans left at a stop may take to be sent: a collector that is away makes no stop long."""

_NO_PARENT = Context()


class Traces:
    """The tracer of one bridge (`bridge.ports.Tracer`). Belongs to the event loop that it is made in.

    Raises ValueError for a variable that the SDK refuses.
    """

    def __init__(self, instance: str, observe: Observe) -> None:
        # the SDK's own lines repeat every failure and may hold OTEL_EXPORTER_OTLP_HEADERS; `_Exporter` says what counts
        log = logging.getLogger("opentelemetry")
        log.propagate = False
        log.addHandler(logging.NullHandler())
        ours = {"service.name": "runbridge", "service.version": version("runbridge"), "service.instance.id": instance}
        resource = Resource.create(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        loop = asyncio.get_running_loop()

        def say(fact: Fact) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                loop.call_soon_threadsafe(observe, fact)

        self._provider.add_span_processor(BatchSpanProcessor(_Exporter(say)))
        self._start = self._provider.get_tracer("runbridge", version("runbridge")).start_span

    def attempts(self, destination: str, url: str) -> "Callable[[Unit, str, bytes], Attempt]":
        """What begins a span of an attempt at this webhook; see `bridge.ports.Tracer`."""
        parts = urlsplit(url)
        name = f"send {destination}"
        about: dict[str, AttributeValue] = {
            "messaging.system": "runbridge", "messaging.operation.type": "send", "messaging.operation.name": "send",
            "messaging.destination.name": destination, "http.request.method": "POST",
            "server.address": parts.hostname or "", "server.port": parts.port or {"http": 80}.get(parts.scheme, 443),
        }  # fmt: skip

        def begin(unit: Unit, id_: str, parent: bytes) -> Attempt:
            attributes = about | _of(unit, id_)
            span = self._start(name, _context(parent), SpanKind.CLIENT, attributes, start_time=_nanoseconds())
            return Attempt(span)

        return begin

    def watching(self, observe: Observe) -> Observe:
        """The same `observe`, which makes a span of each append that stored something, too."""

        def watch(fact: Fact) -> None:
            observe(fact)
            if isinstance(fact, BatchStored) and (fact.events or fact.parked):
                self._appended(fact)

        return watch

    async def stop(self, seconds: float) -> None:
        """Send what waits, for so long or `LAST_WORDS` at most; nothing more is sent afterwards."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # as in `say`
                loop.call_soon_threadsafe(ended.set)

        # no thread of the loop's own: those are waited for at its end, however long the collector takes
        threading.Thread(target=end, name="traces", daemon=True).start()
        await within(ended.wait(), min(seconds, LAST_WORDS))

    def _appended(self, fact: BatchStored) -> None:
        now = _nanoseconds()
        attributes: dict[str, AttributeValue] = {
            "db.system.name": "redis", "messaging.batch.message_count": fact.events, "runbridge.source": fact.source,
            "runbridge.parked": fact.parked, "runbridge.duplicates": fact.duplicates,
        }  # fmt: skip
        start = now - int(fact.seconds * 1e9)
        self._start("append", _NO_PARENT, SpanKind.CLIENT, attributes, start_time=start).end(now)


class Attempt:
    """One attempt's span (`bridge.ports.Span`)."""

    __slots__ = ("_span", "_started", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._started = monotonic_ns()  # the event loop's time has milliseconds, the wall clock may be set
        own = span.get_span_context()
        self.traceparent = b"00-%032x-%016x-%02x" % (own.trace_id, own.span_id, own.trace_flags)

    def end(self, outcome: Outcome) -> None:
        """It is over, and this came of it."""
        span = self._span
        if not isinstance(span, ReadableSpan) or span.start_time is None:
            return  # not sampled
        said: dict[str, AttributeValue] = {"runbridge.outcome": outcome.result.value}
        if outcome.status is not None:
            said["http.response.status_code"] = outcome.status
        if outcome.result is not Result.DELIVERED:
            said["error.type"] = outcome.result.value if outcome.status is None else str(outcome.status)
            span.set_status(Status(StatusCode.ERROR, _text(outcome.error)))
        span.set_attributes(said)
        span.end(span.start_time + monotonic_ns() - self._started)


class _Exporter(SpanExporter):
    """The SDK's exporter, which says once that it fails, and once that it works. Used in the SDK's thread."""

    def __init__(self, say: Callable[[Fact], None]) -> None:
        self._say = say
        self._session = _Session()
        self._exporter = OTLPSpanExporter(session=self._session)
        self._address = _address(os.environ)
        self._works: bool | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them, as often as the SDK tries."""
        result = self._exporter.export(spans)
        works = result is SpanExportResult.SUCCESS
        if works is not self._works:
            self._works = works
            reason = f"{self._address}: {self._session.last or 'the spans are too many or too large'}"
            self._say(TracesSent(self._address) if works else TracesUnsent(reason))
        return result

    def shutdown(self) -> None:
        """End a wait between two tries, and close the connections."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # half typed


class _Session(requests.Session):
    """Remembers what came of the last request, without a word that could be a secret."""

    last = ""

    def request(self, *args: Any, **keys: Any) -> requests.Response:  # noqa: ANN401  # as its base says
        try:
            response = super().request(*args, **keys)
        except Exception as error:
            self.last = type(error).__name__  # its text may hold a header
            raise
        self.last = f"answered {response.status_code}"
        return response


def _of(unit: Unit, id_: str) -> dict[str, AttributeValue]:
    """What a span says of the events that go out."""
    said: dict[str, AttributeValue] = {"runbridge.webhook_id": id_, "runbridge.attempt": unit.attempts + 1}
    if len(unit.entries) > 1:
        return said | {"messaging.batch.message_count": len(unit.entries)}
    entry = unit.entries[0]
    said["messaging.message.id"] = said["cloudevents.event_id"] = _text(entry.id)
    said["cloudevents.event_type"] = _text(entry.type)
    said["cloudevents.event_subject"] = _text(entry.subject)
    return said


def _text(text: str) -> str:
    """What a span can carry: one surrogate that UTF-8 has no bytes for would cost all spans sent with it."""
    text = text[:LONGEST]
    return text if text.isascii() else text.encode(errors="replace").decode()


def _context(parent: bytes) -> Context:
    """The event's trace, from a value that W3C Trace Context allows; a new one for b""."""
    if not parent:
        return _NO_PARENT
    _, trace, span, flags = parent.split(b"-")
    context = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(context), _NO_PARENT)


def _nanoseconds() -> int:
    """The wall clock, in nanoseconds since 1970."""
    return int(unix() * 1e9)


def _address(environment: Mapping[str, str]) -> str:
    """Where the spans go: scheme, host and port, since the rest may hold a secret."""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if environment.get(name):
            parts = urlsplit(environment[name])
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return "http://localhost:4318"
