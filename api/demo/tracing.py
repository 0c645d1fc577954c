"""The demo's services as applications tell of them: spans of the OpenTelemetry SDK, over OTLP.

One tracer provider for each instance, as if each were a process of its own. What a service serves
is a server span under its sidecar's, what it calls a client span under that; attributes are those
of the semantic conventions for HTTP.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.semconv.attributes import http_attributes, server_attributes, url_attributes
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from api.demo.envoy import Address, Sidecar, authority
from api.demo.mesh import Call, Mesh

FLUSH_MILLISECONDS: Final = 500
"""How long spans may wait in an application, as long as in a proxy."""

_PROPAGATOR: Final = TraceContextTextMapPropagator()


class Tracing:
    """The tracers of all instances.

    Args:
        mesh: the declaration.
        sidecars: all instances.
        telemetry: where Meshweir takes OTLP/gRPC.
    """

    def __init__(self, mesh: Mesh, sidecars: tuple[Sidecar, ...], telemetry: Address) -> None:
        self._mesh = mesh
        self._providers = {place.workload: _provider(mesh, place, telemetry) for place in sidecars}

    @contextmanager
    def serving(
        self, place: Sidecar, method: str, path: str, headers: Mapping[bytes, bytes]
    ) -> Iterator[Span]:
        """The server span of a request with these headers; ``answered`` gives it its status."""
        carrier = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()
        }
        with self._tracer(place).start_as_current_span(
            f"{method} {path}",
            context=_PROPAGATOR.extract(carrier),
            kind=SpanKind.SERVER,
            attributes={
                http_attributes.HTTP_REQUEST_METHOD: method,
                http_attributes.HTTP_ROUTE: path,
                url_attributes.URL_PATH: path,
            },
        ) as span:
            yield span

    @contextmanager
    def calling(
        self, place: Sidecar, call: Call, method: str, headers: MutableMapping[bytes, bytes]
    ) -> Iterator[Span]:
        """The client span of a call; its context goes into the headers to send."""
        callee = self._mesh.service(call.service)
        with self._tracer(place).start_as_current_span(
            method,
            kind=SpanKind.CLIENT,
            attributes={
                http_attributes.HTTP_REQUEST_METHOD: method,
                server_attributes.SERVER_ADDRESS: authority(self._mesh, callee),
                url_attributes.URL_PATH: call.path,
            },
        ) as span:
            carrier: dict[str, str] = {}
            _PROPAGATOR.inject(carrier)
            headers.update((name.encode(), value.encode()) for name, value in carrier.items())
            yield span

    def shut_down(self) -> None:
        """Send what waits, and end."""
        for provider in self._providers.values():
            provider.shutdown()

    def _tracer(self, place: Sidecar) -> Tracer:
        return self._providers[place.workload].get_tracer("meshweir.demo")


def answered(span: Span, status: int, *, serves: bool) -> None:
    """Note the status; to a server only its own failures are errors, to a client all are."""
    span.set_attribute(http_attributes.HTTP_RESPONSE_STATUS_CODE, status)
    if status >= (500 if serves else 400):
        span.set_status(Status(StatusCode.ERROR))


@asynccontextmanager
async def tracing(
    mesh: Mesh, sidecars: tuple[Sidecar, ...], telemetry: Address
) -> AsyncIterator[Tracing]:
    """Tracers that send what they have when they end."""
    tracers = Tracing(mesh, sidecars, telemetry)
    try:
        yield tracers
    finally:
        await asyncio.to_thread(tracers.shut_down)


def _provider(mesh: Mesh, place: Sidecar, telemetry: Address) -> TracerProvider:
    resource = Resource.create(
        {
            "service.name": place.service.name,
            "service.namespace": mesh.namespace,
            "service.version": place.version.name,
            "service.instance.id": f"{place.workload}.{mesh.namespace}",
            "k8s.deployment.name": place.workload,
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=str(telemetry), insecure=True)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, schedule_delay_millis=FLUSH_MILLISECONDS)
    )
    return provider
