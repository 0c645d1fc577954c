"""The exporters of the OpenTelemetry SDK that carry Meshweir's own traces and metrics.

Importing them takes a third of a second of processor time, so ``api.telemetry`` imports this module
only when an endpoint is set.
"""

from collections.abc import Callable
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetricExporter,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace.export import SpanExporter

SPAN_EXPORTERS: Final[dict[str, Callable[[], SpanExporter]]] = {
    "grpc": GrpcSpanExporter,
    "http/protobuf": OTLPSpanExporter,
}
"""By the value of ``OTEL_EXPORTER_OTLP_PROTOCOL``."""

METRIC_EXPORTERS: Final[dict[str, Callable[[], MetricExporter]]] = {
    "grpc": GrpcMetricExporter,
    "http/protobuf": OTLPMetricExporter,
}
"""By the value of ``OTEL_EXPORTER_OTLP_PROTOCOL``."""
