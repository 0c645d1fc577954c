"""Meshweir's own traces and metrics, through the OpenTelemetry SDK; off until an endpoint is set.

Honours ``OTEL_EXPORTER_OTLP_ENDPOINT`` and its variants for traces and metrics,
``OTEL_EXPORTER_OTLP_PROTOCOL`` (``http/protobuf``, the default, or ``grpc``) and
``OTEL_SDK_DISABLED``. The endpoint may be Meshweir itself: receiving makes no span, and of jobs
only slow or failed runs do, so that what is exported does not beget more.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import InvalidInput
from pipeline.jobs.job import Job
from pipeline.model.ledger import Ledger

SCOPE: Final = "meshweir"
SLOW_SECONDS: Final = 1.0
"""A job's run that takes longer becomes a span."""

CLOSING_SECONDS: Final = 3.0
"""How long the last export may take when the process stops."""

METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
"""Methods told by name; anything else is one, as the semantic conventions say."""


@dataclass(slots=True)
class Telemetry:
    """What this process tells of itself; nothing at all when neither signal is on.

    Attributes:
        tracer: makes spans; None when traces are off.
        requests: durations of HTTP requests, seconds; None when metrics are off.
        runs: durations of job runs, seconds; None when metrics are off.
    """

    tracer: Tracer | None = None
    requests: Histogram | None = None
    runs: Histogram | None = None
    _providers: list[SdkTracerProvider | SdkMeterProvider] = field(default_factory=list)

    @classmethod
    def from_environment(
        cls, ledger: Ledger, version: str, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Telemetry as the OpenTelemetry environment variables ask for it.

        Raises:
            InvalidInput: the protocol is not one of the two.
        """
        told = os.environ if environment is None else environment
        return cls.exporting(
            ledger,
            version,
            spans=_span_exporter(told) if _wanted(told, "TRACES") else None,
            reader=_metric_reader(told) if _wanted(told, "METRICS") else None,
        )

    @classmethod
    def exporting(
        cls,
        ledger: Ledger,
        version: str,
        *,
        spans: SpanExporter | None = None,
        reader: MetricReader | None = None,
    ) -> Self:
        """Telemetry that goes to the exporter and reader given."""
        if spans is None and reader is None:
            return cls()
        made = cls()
        resource = Resource.create({"service.name": "meshweir", "service.version": version})
        if spans is not None:
            tracers = SdkTracerProvider(resource=resource, shutdown_on_exit=False)
            tracers.add_span_processor(BatchSpanProcessor(spans))
            made.tracer = tracers.get_tracer(SCOPE, version)
            made._providers.append(tracers)
        if reader is not None:
            meters = SdkMeterProvider([reader], resource=resource, shutdown_on_exit=False)
            made._measure(meters, ledger, version)
            made._providers.append(meters)
        return made

    def middleware(self) -> list[Middleware]:
        """What HTTP requests pass to be told of; empty when nothing is on."""
        return [Middleware(ObservedRequests, telemetry=self)] if self._providers else []

    def observed(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs, told of."""
        return [ObservedJob(job, self) for job in jobs] if self._providers else list(jobs)

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        closing = threading.Thread(target=self._shut_down, daemon=True)
        closing.start()
        closing.join(CLOSING_SECONDS)

    def _shut_down(self) -> None:
        for provider in self._providers:
            provider.shutdown()

    def _measure(self, meters: MeterProvider, ledger: Ledger, version: str) -> None:
        meter = meters.get_meter(SCOPE, version)
        self.requests = meter.create_histogram(
            "http.server.request.duration", "s", "Duration of HTTP server requests."
        )
        self.runs = meter.create_histogram("meshweir.job.duration", "s", "Duration of job runs.")

        def counts(_: CallbackOptions) -> Iterable[Observation]:
            return _observations(ledger)

        meter.create_observable_counter(
            "meshweir.ingest.records", [counts], "{record}", "Records by what became of them."
        )


def _observations(ledger: Ledger) -> Iterator[Observation]:
    for flow, counts in ledger.snapshot().items():
        for outcome, records in counts.outcomes.items():
            yield Observation(
                records,
                {"source": flow.source, "signal": flow.signal, "outcome": outcome.value},
            )


def _wanted(environment: Mapping[str, str], signal: str) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return any(environment.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", f"{signal}_"))


def _span_exporter(environment: Mapping[str, str]) -> SpanExporter:
    from api.exporters import SPAN_EXPORTERS  # noqa: PLC0415 - slow to import, and seldom wanted

    return SPAN_EXPORTERS[_protocol(environment, "TRACES")]()


def _metric_reader(environment: Mapping[str, str]) -> MetricReader:
    from api.exporters import METRIC_EXPORTERS  # noqa: PLC0415 - likewise

    return PeriodicExportingMetricReader(METRIC_EXPORTERS[_protocol(environment, "METRICS")]())


def _protocol(environment: Mapping[str, str], signal: str) -> str:
    general = environment.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    name = f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL"
    found = environment.get(name) or general
    if found not in {"grpc", "http/protobuf"}:
        raise InvalidInput(name, found=found, allowed="grpc or http/protobuf")
    return found


class ObservedJob:
    """A job whose runs are measured, and become spans when they are slow or fail."""

    def __init__(self, job: Job, telemetry: Telemetry) -> None:
        self._job = job
        self._telemetry = telemetry

    @property
    def name(self) -> str:
        """The job's own name."""
        return self._job.name

    @property
    def cadence(self) -> float:
        """The job's own cadence, seconds."""
        return self._job.cadence

    async def run(self) -> bool:
        """Run the job once."""
        began, began_ns = time.monotonic(), time.time_ns()
        failure: BaseException | None = None
        try:
            return await self._job.run()
        except BaseException as error:
            failure = error
            raise
        finally:
            self._tell(time.monotonic() - began, began_ns, failure)

    def _tell(self, seconds: float, began_ns: int, failure: BaseException | None) -> None:
        told = {"job": self._job.name}
        if self._telemetry.runs is not None:
            self._telemetry.runs.record(seconds, told)
        if self._telemetry.tracer is None or (failure is None and seconds < SLOW_SECONDS):
            return
        span = self._telemetry.tracer.start_span(
            f"job {self._job.name}", kind=SpanKind.INTERNAL, attributes=told, start_time=began_ns
        )
        if failure is not None:
            span.record_exception(failure)
            span.set_status(Status(StatusCode.ERROR, type(failure).__name__))
        span.end()


class ObservedRequests:
    """Middleware: one server span and one measurement per HTTP request."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and tell of it once it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, began_ns = time.monotonic(), time.time_ns()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            self._tell(scope, status, time.monotonic() - began, began_ns)

    def _tell(self, scope: Scope, status: int, seconds: float, began_ns: int) -> None:
        route = getattr(scope.get("route"), "path", None)
        told: dict[str, str | int] = {
            "http.request.method": scope["method"] if scope["method"] in METHODS else "_OTHER",
            "http.response.status_code": status,
            "url.scheme": scope.get("scheme", "http"),
        }
        if route is not None:
            told["http.route"] = route
        if self._telemetry.requests is not None:
            self._telemetry.requests.record(seconds, told)
        if self._telemetry.tracer is not None:
            self._trace(self._telemetry.tracer, scope, told, began_ns)

    def _trace(
        self, tracer: Tracer, scope: Scope, told: dict[str, str | int], began_ns: int
    ) -> None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        name = " ".join(
            str(told[key]) for key in ("http.request.method", "http.route") if key in told
        )
        span = tracer.start_span(
            name,
            context=TraceContextTextMapPropagator().extract(headers),
            kind=SpanKind.SERVER,
            attributes=told | {"url.path": scope["path"]},
            start_time=began_ns,
        )
        if int(told["http.response.status_code"]) >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()
