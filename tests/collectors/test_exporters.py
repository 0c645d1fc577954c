"""The real OpenTelemetry SDK as the sender: what it exports is what lies on the bus."""

import asyncio
import logging
from pathlib import Path

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc import (
    _log_exporter as grpc_logs,
    metric_exporter as grpc_metrics,
    trace_exporter as grpc_traces,
)
from opentelemetry.exporter.otlp.proto.http import (
    Compression,
    _log_exporter as http_logs,
    metric_exporter as http_metrics,
    trace_exporter as http_traces,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from pipeline.model.ledger import Outcome
from pipeline.model.messages import Partition
from pipeline.model.topics import OTLP_SPANS
from tests.collectors.bench import Bench, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def trace_exporter(bench: Bench, transport: str):
    if transport == "grpc":
        return grpc_traces.OTLPSpanExporter(f"http://{bench.grpc}", insecure=True)
    return http_traces.OTLPSpanExporter(f"{bench.http}/v1/traces", compression=Compression.Gzip)


def export_spans(bench: Bench, transport: str, spans: int) -> bool:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(trace_exporter(bench, transport)))
    tracer = provider.get_tracer("test")
    for number in range(spans):
        with tracer.start_as_current_span(f"span {number}"):
            pass
    flushed = provider.force_flush(20_000)
    provider.shutdown()
    return flushed


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_spans(tmp_path: Path, transport: str) -> None:
    async with running(tmp_path) as at:
        assert await asyncio.to_thread(export_spans, at, transport, 700)
        names = [
            span.name
            for message in await at.messages(OTLP_SPANS)
            for resource in ExportTraceServiceRequest.FromString(message.value).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        assert sorted(names) == sorted(f"span {number}" for number in range(700))
        assert at.count(f"otlp_{transport}", "spans", Outcome.ACCEPTED) == 700


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_metrics(tmp_path: Path, transport: str) -> None:
    def export(bench: Bench) -> None:
        exporter = (
            grpc_metrics.OTLPMetricExporter(f"http://{bench.grpc}", insecure=True)
            if transport == "grpc"
            else http_metrics.OTLPMetricExporter(f"{bench.http}/v1/metrics")
        )
        provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)])
        meter = provider.get_meter("test")
        meter.create_counter("requests").add(3, {"route": "/"})
        meter.create_histogram("latency").record(0.2)
        provider.shutdown()

    async with running(tmp_path) as at:
        await asyncio.to_thread(export, at)
        assert at.count(f"otlp_{transport}", "metric_points", Outcome.ACCEPTED) >= 2


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_logs(tmp_path: Path, transport: str) -> None:
    def export(bench: Bench) -> None:
        exporter = (
            grpc_logs.OTLPLogExporter(f"http://{bench.grpc}", insecure=True)
            if transport == "grpc"
            else http_logs.OTLPLogExporter(f"{bench.http}/v1/logs")
        )
        provider = LoggerProvider()
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        logger = provider.get_logger("test")
        for number in range(3):
            logger.emit(severity_number=SeverityNumber.INFO, body=f"line {number}")
        provider.shutdown()

    async with running(tmp_path) as at:
        await asyncio.to_thread(export, at)
        assert at.count(f"otlp_{transport}", "logs", Outcome.ACCEPTED) == 3


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_full_bus_slows_the_sdk_and_loses_nothing(
    tmp_path: Path, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    bus = {"max_bytes": 100_000, "retry_after_seconds": 0.2}
    async with running(tmp_path, bus=bus) as at:
        exporting = asyncio.create_task(asyncio.to_thread(export_spans, at, transport, 1500))
        while not exporting.done():
            held = await at.messages(OTLP_SPANS)
            if at.count(f"otlp_{transport}", "spans", Outcome.REJECTED) and held:
                await at.bus.consumed({Partition(OTLP_SPANS): held[-1].offset + 1})
            await asyncio.sleep(0.02)
        assert await exporting
        assert at.count(f"otlp_{transport}", "spans", Outcome.REJECTED) > 0
        assert at.count(f"otlp_{transport}", "spans", Outcome.ACCEPTED) == 1500
