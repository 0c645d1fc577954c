"""The bus topics: names and encodings are those of the OpenTelemetry Collector's Kafka exporter."""

from typing import Final

OTLP_SPANS: Final = "otlp_spans"
OTLP_METRICS: Final = "otlp_metrics"
OTLP_LOGS: Final = "otlp_logs"
RAW_TELEMETRY: Final = "raw_telemetry"

TOPICS: Final = (OTLP_SPANS, OTLP_METRICS, OTLP_LOGS, RAW_TELEMETRY)

FORMAT_HEADER: Final = "format"
SOURCE_HEADER: Final = "source"
RECEIVED_AT_HEADER: Final = "received_at"
CONTENT_TYPE_HEADER: Final = "content-type"
