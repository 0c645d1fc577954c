"""The bus topics: names and encodings are those of the OpenTelemetry Collector's Kafka exporter."""

from typing import Final

OTLP_SPANS: Final = "otlp_spans"
OTLP_METRICS: Final = "otlp_metrics"
OTLP_LOGS: Final = "otlp_logs"
RAW_TELEMETRY: Final = "raw_telemetry"

TOPICS: Final = (OTLP_SPANS, OTLP_METRICS, OTLP_LOGS, RAW_TELEMETRY)

TELEMETRY_DLQ: Final = "telemetry_dlq"
"""Where messages go that could not be decoded, with reason headers; nothing here reads it."""

FORMAT_HEADER: Final = "format"
SOURCE_HEADER: Final = "source"
RECEIVED_AT_HEADER: Final = "received_at"
CONTENT_TYPE_HEADER: Final = "content-type"

RECORDS_HEADER: Final = "records"
"""How many records a message holds, good and bad."""

REJECTED_HEADER: Final = "rejected"
"""How many of them the sender was told at the door that they are not taken."""

ORIGIN_HEADER: Final = "origin"
"""Where the records of a message stood in what they were read from, such as a file; optional."""

OTLP_TRACES_FORMAT: Final = "otlp_traces"
OTLP_METRICS_FORMAT: Final = "otlp_metrics"
OTLP_LOGS_FORMAT: Final = "otlp_logs"
ENVOY_ALS_FORMAT: Final = "envoy_als"
ZIPKIN_JSON_FORMAT: Final = "zipkin_json"
ZIPKIN_PROTO_FORMAT: Final = "zipkin_proto"
APIGEE_FORMAT: Final = "apigee"
CLOUDWATCH_METRICS_FORMAT: Final = "cloudwatch_metrics"

TOPIC_FORMAT: Final = {
    OTLP_SPANS: OTLP_TRACES_FORMAT,
    OTLP_METRICS: OTLP_METRICS_FORMAT,
    OTLP_LOGS: OTLP_LOGS_FORMAT,
}
"""The format of a topic's messages when no header tells another; other writers send no headers."""

LINE_FORMATS: Final = (
    "envoy_text", "linkerd_apache", "ztunnel", "envoy_json", "linkerd_json", "combined",
    "kong_json", "aws_apigateway", APIGEE_FORMAT, CLOUDWATCH_METRICS_FORMAT,
)  # fmt: skip
"""Formats whose records are lines of text, each a module of ``pipeline/decode`` of that name.
Where a line could be of several, the first counts."""

PROMETHEUS_TEXT_FORMAT: Final = "prometheus_text"
OPENMETRICS_TEXT_FORMAT: Final = "openmetrics_text"

ENVOY_METRICS_FORMAT: Final = "envoy_metrics"
REMOTE_WRITE_FORMAT: Final = "remote_write"
REMOTE_WRITE_2_FORMAT: Final = "remote_write_2"

EXPOSITION_FORMATS: Final = (PROMETHEUS_TEXT_FORMAT, OPENMETRICS_TEXT_FORMAT)
"""Formats of scraped text, each a module of ``pipeline/decode`` of that name."""

FORMAT_SIGNAL: Final = {
    OTLP_TRACES_FORMAT: "spans",
    OTLP_METRICS_FORMAT: "metric_points",
    OTLP_LOGS_FORMAT: "logs",
    ENVOY_ALS_FORMAT: "access_logs",
    "jaeger_json": "spans",
    ZIPKIN_JSON_FORMAT: "spans",
    ZIPKIN_PROTO_FORMAT: "spans",
    **dict.fromkeys(LINE_FORMATS, "access_logs"),
    CLOUDWATCH_METRICS_FORMAT: "metric_points",
    **dict.fromkeys(EXPOSITION_FORMATS, "metric_points"),
    REMOTE_WRITE_FORMAT: "metric_points",
    ENVOY_METRICS_FORMAT: "metric_points",
    REMOTE_WRITE_2_FORMAT: "metric_points",
}
"""The table that a format mainly fills: what its records are called when they are counted."""
