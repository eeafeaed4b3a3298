"""An OTLP/HTTP collector: a real server that decodes what it gets and answers as a test says. Knows nothing of bridge.

async with Collector() as collector:
collector.url, collector.spans, collector.requests
"""

import gzip
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Sent:
    """One span, with the attributes of its resource."""

    span: Span
    resource: dict[str, Any]

    @property
    def context(self) -> list[str]:
        """Its trace and its own id, as they stand in a header `traceparent`."""
        return [self.span.trace_id.hex(), self.span.span_id.hex()]

    @property
    def about(self) -> dict[str, Any]:
        """Its attributes."""
        return _plain(self.span.attributes)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.span.end_time_unix_nano - self.span.start_time_unix_nano) / 1e9


class Collector:
    """Takes spans at /v1/traces. `status` is the answer; `headers` are those of the last request."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.spans: list[Sent] = []
        self.requests = 0
        self.headers: dict[str, str] = {}
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._take, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Its origin."""
        assert self._runner is not None
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def named(self, name: str) -> list[Sent]:
        """The spans of this name, in the order of their starts."""
        return sorted(
            (one for one in self.spans if one.span.name == name), key=lambda one: one.span.start_time_unix_nano
        )

    async def _take(self, request: web.BaseRequest) -> web.Response:
        assert (request.method, request.path, request.content_type) == ("POST", "/v1/traces", "application/x-protobuf")
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.requests += 1
        if self.status == 200:
            plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            for group in ExportTraceServiceRequest.FromString(plain).resource_spans:
                resource = _plain(group.resource.attributes)
                self.spans += [Sent(span, resource) for scope in group.scope_spans for span in scope.spans]
        return web.Response(status=self.status, text="no such key: otlp-secret", content_type="application/x-protobuf")


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> Any:
    kind = pair.value.WhichOneof("value")
    return None if kind is None else getattr(pair.value, kind)
