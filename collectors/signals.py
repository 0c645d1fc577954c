"""The signals of OTLP: under which names each goes, and how its answers are spelled."""

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from pipeline.model.topics import (
    OTLP_LOGS,
    OTLP_LOGS_FORMAT,
    OTLP_METRICS,
    OTLP_METRICS_FORMAT,
    OTLP_SPANS,
    OTLP_TRACES_FORMAT,
)


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of OTLP.

    Attributes:
        topic: the bus topic its requests go on.
        format: the name of their format.
        path: where they are posted over HTTP.
        service: the gRPC service that takes them, by its method ``Export``.
        request: the class of a request; used for OTLP/JSON only.
        records: what one record is called in the answer, such as ``spans``.
    """

    topic: str
    format: str
    path: str
    service: str
    request: type[Message]
    records: str


TRACES: Final = Signal(
    OTLP_SPANS,
    OTLP_TRACES_FORMAT,
    "/v1/traces",
    "opentelemetry.proto.collector.trace.v1.TraceService",
    ExportTraceServiceRequest,
    "spans",
)
METRICS: Final = Signal(
    OTLP_METRICS,
    OTLP_METRICS_FORMAT,
    "/v1/metrics",
    "opentelemetry.proto.collector.metrics.v1.MetricsService",
    ExportMetricsServiceRequest,
    "data points",
)
LOGS: Final = Signal(
    OTLP_LOGS,
    OTLP_LOGS_FORMAT,
    "/v1/logs",
    "opentelemetry.proto.collector.logs.v1.LogsService",
    ExportLogsServiceRequest,
    "log records",
)

SIGNALS: Final = (TRACES, METRICS, LOGS)


def partial_success(signal: Signal, rejected: int, reason: str) -> Message:
    """The answer to a request of which some records were rejected."""
    text = f"{rejected} {signal.records} rejected: {reason}"
    if signal is TRACES:
        spans = ExportTracePartialSuccess(rejected_spans=rejected, error_message=text)
        return ExportTraceServiceResponse(partial_success=spans)
    if signal is METRICS:
        points = ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=text)
        return ExportMetricsServiceResponse(partial_success=points)
    records = ExportLogsPartialSuccess(rejected_log_records=rejected, error_message=text)
    return ExportLogsServiceResponse(partial_success=records)
