"""Holds the spans to what happened: the real daemon, a real receiver, and a collector that decodes what it is sent."""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from collector import Collector
from daemon import Daemon, Log, stream_source
from delivering import destination
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from receiver import Hook, Receiver
from upstream import HANG, Upstream, frame, stream
from waiting import wait_until

from bridge.facts import Fact, TracesUnsent
from bridge.telemetry import traces

PATH = "/v2/runs/r/events/stream"
TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACE = f"00-{TRACE_ID}-{PARENT_ID}-01"
DOC = Path(__file__).parents[1] / "docs" / "tracing.md"
SHOWN = dict(line.split("=", 1) for line in re.findall(r"```sh\n(.*?)```", DOC.read_text(), re.DOTALL)[0].splitlines())
"""The variables that the document shows."""
SECRET = "otlp-secret"
AT_THE_STOP = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
"""Spans are sent only once the bridge ends."""
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


def hook(url: str, name: str = "crm", **keys: object) -> str:
    """A destination for the upstream's events."""
    return destination(name, f"{url}/{name}", types=["ai.bctrl.*"], retry_schedule=[0.05], **keys)


def named(hook: Hook) -> list[str]:
    """The trace and the span that a request names, which is to be recorded by whoever comes next."""
    version, trace, span, flags = hook.headers["traceparent"].split("-")
    assert version == "00"
    assert int(flags, 16) & 1
    return [trace, span]


async def test_each_attempt_and_each_append_is_a_span(
    daemon: Callable[..., Daemon], upstream: Upstream, log: Log
) -> None:
    """Under the event's trace, with what came of it, true times, and the header that names it; sent by the stop."""
    upstream.on(PATH, stream(frame("e1", traceparent=TRACE), frame("e2"), then=HANG))

    async def answer(hook: Hook) -> int:
        await asyncio.sleep(0.2)
        return 500 if receiver.ids() == ["e1"] else 204

    async with Receiver(answer) as receiver, Collector() as collector:
        variables = {**SHOWN, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **AT_THE_STOP}
        async with daemon(stream_source(), hook(receiver.url), **variables) as running:
            await wait_until(lambda: len(receiver.hooks) == 3, "two attempts of e1, one of e2")
            assert not collector.requests
            assert await running.stop() == 0
            assert running.lines("traces.sent", address=collector.url)
            assert SECRET not in running.text
        assert collector.headers["x-api-key"] == SECRET
    attempts = collector.named("send crm")
    assert [(one.about["cloudevents.event_id"], one.about["runbridge.attempt"]) for one in attempts] == [
        ("e1", 1), ("e1", 2), ("e2", 1),
    ]  # fmt: skip
    assert [one.context for one in attempts] == [named(hook) for hook in receiver.hooks]
    assert [one.span.trace_id.hex() == TRACE_ID for one in attempts] == [True, True, False]
    assert [one.span.parent_span_id.hex() for one in attempts] == [PARENT_ID, PARENT_ID, ""]
    assert {hook.event.get("traceparent") for hook in receiver.hooks if hook.id == "e1"} == {TRACE}
    said = [(one.about["runbridge.outcome"], one.about["http.response.status_code"]) for one in attempts]
    assert said == [("failed", 500), ("delivered", 204), ("delivered", 204)]
    assert [one.span.status.code for one in attempts] == [Status.STATUS_CODE_ERROR, 0, 0]
    assert attempts[0].span.status.message.startswith("answered 500")
    assert attempts[0].about["error.type"] == "500"
    for one in attempts:
        assert one.span.kind == Span.SPAN_KIND_CLIENT
        assert 0.2 <= one.seconds < 2.0
        assert abs(one.span.end_time_unix_nano / 1e9 - time.time()) < 60
        assert (one.about["server.address"], one.about["server.port"]) == ("127.0.0.1", receiver.port)
        assert one.about["cloudevents.event_type"] == "ai.bctrl.navigation"
        assert one.resource["service.name"] == "runbridge-eu"
        assert one.resource["deployment.environment.name"] == "production"
    appends = collector.named("append")
    assert {one.about["runbridge.source"] for one in appends} == {"s"}
    assert sum(one.about["messaging.batch.message_count"] for one in appends) == len(log.ids())
    assert all(0 <= one.seconds < 2.0 for one in appends)


async def test_a_batch_of_several_traces_is_a_trace_of_its_own(
    daemon: Callable[..., Daemon], upstream: Upstream
) -> None:
    """Its span has the count of its events and names none of them."""
    upstream.on(PATH, stream(frame("e1", traceparent=TRACE), frame("e2"), frame("e3"), then=HANG))
    bulk = hook("RECEIVER", "bulk", format="batched") + "batch = { max_events = 3, max_wait_ms = 5000 }\n"
    async with Receiver() as receiver, Collector() as collector:
        variables = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces", **AT_ONCE}
        async with daemon(stream_source(), bulk.replace("RECEIVER", receiver.url), **variables):
            await wait_until(lambda: collector.named("send bulk"), "the batch's span")
        ((span,), (request,)) = collector.named("send bulk"), receiver.hooks
    assert span.about["messaging.batch.message_count"] == 3
    assert span.about["runbridge.webhook_id"] == request.headers["webhook-id"]
    assert "cloudevents.event_id" not in span.about
    assert (span.context, span.span.parent_span_id) == (named(request), b"")
    assert TRACE_ID not in span.context


async def test_a_collector_that_refuses_is_told_of_once_and_holds_up_nothing(
    daemon: Callable[..., Daemon], upstream: Upstream
) -> None:
    """Deliveries go on; one line says so and one that it works again, neither with a word of the headers."""
    more = [asyncio.Event() for _ in range(3)]
    parts = [part for number, event in enumerate(more) for part in (event, frame(f"e{number}"))]
    upstream.on(PATH, stream(*parts, then=HANG))
    async with Receiver() as receiver, Collector(status=401) as collector:
        endpoint = collector.url.replace("://", f"://user:{SECRET}@")
        variables = {**SHOWN, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **AT_ONCE}
        variables["OTEL_EXPORTER_OTLP_HEADERS"] = f"x-api-key={SECRET},no header at all {SECRET}"
        async with daemon(stream_source(), hook(receiver.url), **variables) as running:
            for number, event in enumerate(more):
                collector.status = 401 if number < 2 else 200
                before = collector.requests
                event.set()
                await wait_until(lambda: len(receiver.hooks) > number, f"e{number} at the receiver")  # noqa: B023
                await wait_until(lambda: collector.requests > before, "spans at the collector")  # noqa: B023
            await running.line("traces.sent", address=collector.url)
            (line,) = running.lines("traces.unsent")
            assert (line["level"], line["reason"]) == ("warning", f"{collector.url}: answered 401")
            assert SECRET not in running.text


async def test_a_collector_that_never_answers_makes_no_stop_long(
    daemon: Callable[..., Daemon], upstream: Upstream
) -> None:
    """The spans that are left have what is left of the grace; whoever takes them and says nothing gets no more."""
    upstream.on(PATH, stream(frame("e1"), then=HANG))
    async with Receiver() as receiver, Receiver(_hang) as silent:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": silent.url, **AT_THE_STOP}
        async with daemon(stream_source(), hook(receiver.url), more="grace = 1", **variables) as running:
            await wait_until(lambda: receiver.hooks, "the event at the receiver")
            started = time.monotonic()
            assert await running.stop() == 0
            assert 0.5 < time.monotonic() - started < 3.0
            assert silent.hooks


async def _hang(hook: Hook) -> int:
    await asyncio.Event().wait()
    return 500


@pytest.mark.parametrize("on", [False, True])
async def test_nothing_is_loaded_that_nobody_asked_for(
    daemon: Callable[..., Daemon], upstream: Upstream, on: bool
) -> None:
    """Without an endpoint the daemon loads no exporter, and the event's trace context goes out as it is.

    With one, and a sampler that takes nothing, the header names a span that nobody records, under the same trace.
    """
    upstream.on(PATH, stream(frame("e1", traceparent=TRACE), then=HANG))
    async with Receiver() as receiver, Collector() as collector:
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER": "always_off"} if on else {}
        async with daemon(stream_source(), hook(receiver.url), PYTHONPROFILEIMPORTTIME="1", **given) as running:
            await wait_until(lambda: receiver.hooks, "the event at the receiver")
            assert await running.stop() == 0
            assert "bridge.telemetry" in running.text
            for module in ("bridge.telemetry.otlp", "opentelemetry.exporter", "opentelemetry.sdk.trace.export"):
                assert (module in running.text) is on
        assert not collector.requests
    ((sent,),) = [hook.request.headers.getall("traceparent") for hook in receiver.hooks]
    assert (sent == TRACE) is not on
    assert (sent[:36], sent[-2:]) == (TRACE[:36], "00" if on else "01")


@pytest.mark.parametrize(
    "switch", [{"OTEL_SDK_DISABLED": "True"}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}]
)
async def test_a_switch_turns_traces_off(switch: dict[str, str]) -> None:
    """Whatever else the environment says, and without a word."""
    told: list[Fact] = []
    assert traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **switch}, "i", told.append) is None
    assert not told


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER names another exporter than otlp or none"),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL names another protocol than http/protobuf",
        ),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "a variable of OpenTelemetry can't be used: max_queue_size must be"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[", "a variable of OpenTelemetry can't be used: Invalid IPv6 URL"),
    ],
)
async def test_a_variable_that_can_not_be_used_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    """And the bridge runs without traces: they are not what it is for."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", name: value}
    for key, text in environment.items():
        monkeypatch.setenv(key, text)
    told: list[Fact] = []
    assert traces(environment, "i", told.append) is None
    (fact,) = told
    assert isinstance(fact, TracesUnsent)
    assert fact.reason.startswith(reason)


async def test_without_the_extra_the_log_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and no traces."""
    monkeypatch.delitem(sys.modules, "bridge.telemetry.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    told: list[Fact] = []
    assert traces({"OTEL_TRACES_EXPORTER": "otlp"}, "i", told.append) is None
    assert told == [TracesUnsent("the extra otel is not installed (runbridge[otel])")]
