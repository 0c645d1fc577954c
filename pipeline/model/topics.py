"""The bus topics, and the formats of the messages on them.

Names and encodings of topics are those of the OpenTelemetry Collector's Kafka exporter.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

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
ENVOY_METRICS_FORMAT: Final = "envoy_metrics"
JAEGER_JSON_FORMAT: Final = "jaeger_json"
ZIPKIN_JSON_FORMAT: Final = "zipkin_json"
ZIPKIN_PROTO_FORMAT: Final = "zipkin_proto"
APIGEE_FORMAT: Final = "apigee"
CLOUDWATCH_METRICS_FORMAT: Final = "cloudwatch_metrics"
PROMETHEUS_TEXT_FORMAT: Final = "prometheus_text"
OPENMETRICS_TEXT_FORMAT: Final = "openmetrics_text"
REMOTE_WRITE_FORMAT: Final = "remote_write"
REMOTE_WRITE_2_FORMAT: Final = "remote_write_2"

TOPIC_FORMAT: Final = {
    OTLP_SPANS: OTLP_TRACES_FORMAT,
    OTLP_METRICS: OTLP_METRICS_FORMAT,
    OTLP_LOGS: OTLP_LOGS_FORMAT,
}
"""The format of a topic's messages when no header tells another; other writers send no headers."""


class FormatKind(Enum):
    """What messages of a format are made of, which says how they are checked, masked and cut."""

    PROTOBUF = auto()
    LINES = auto()
    EXPOSITION = auto()
    DOCUMENTS = auto()


class Format(NamedTuple):
    """What all stages must know of a format.

    Attributes:
        kind: what its messages are made of: protobuf, lines of text, scraped text, or JSON.
        signal: the table that it mainly fills: what its records are called when they are counted.
    """

    kind: FormatKind
    signal: str


FORMATS: Final[Mapping[str, Format]] = {
    OTLP_TRACES_FORMAT: Format(FormatKind.PROTOBUF, "spans"),
    OTLP_METRICS_FORMAT: Format(FormatKind.PROTOBUF, "metric_points"),
    OTLP_LOGS_FORMAT: Format(FormatKind.PROTOBUF, "logs"),
    ENVOY_ALS_FORMAT: Format(FormatKind.PROTOBUF, "access_logs"),
    ENVOY_METRICS_FORMAT: Format(FormatKind.PROTOBUF, "metric_points"),
    JAEGER_JSON_FORMAT: Format(FormatKind.DOCUMENTS, "spans"),
    ZIPKIN_JSON_FORMAT: Format(FormatKind.DOCUMENTS, "spans"),
    ZIPKIN_PROTO_FORMAT: Format(FormatKind.PROTOBUF, "spans"),
    REMOTE_WRITE_FORMAT: Format(FormatKind.PROTOBUF, "metric_points"),
    REMOTE_WRITE_2_FORMAT: Format(FormatKind.PROTOBUF, "metric_points"),
    "envoy_text": Format(FormatKind.LINES, "access_logs"),
    "linkerd_apache": Format(FormatKind.LINES, "access_logs"),
    "ztunnel": Format(FormatKind.LINES, "access_logs"),
    "envoy_json": Format(FormatKind.LINES, "access_logs"),
    "linkerd_json": Format(FormatKind.LINES, "access_logs"),
    "combined": Format(FormatKind.LINES, "access_logs"),
    "kong_json": Format(FormatKind.LINES, "access_logs"),
    "aws_apigateway": Format(FormatKind.LINES, "access_logs"),
    APIGEE_FORMAT: Format(FormatKind.LINES, "access_logs"),
    CLOUDWATCH_METRICS_FORMAT: Format(FormatKind.LINES, "metric_points"),
    PROMETHEUS_TEXT_FORMAT: Format(FormatKind.EXPOSITION, "metric_points"),
    OPENMETRICS_TEXT_FORMAT: Format(FormatKind.EXPOSITION, "metric_points"),
}
"""All formats of messages, each a module of ``pipeline/decode`` of that name. Where a line could be
of several, the first counts."""


def _of(kind: FormatKind) -> tuple[str, ...]:
    return tuple(name for name, format in FORMATS.items() if format.kind is kind)


LINE_FORMATS: Final = _of(FormatKind.LINES)
"""Formats whose records are lines of text."""

EXPOSITION_FORMATS: Final = _of(FormatKind.EXPOSITION)
"""Formats of scraped text."""

DOCUMENT_FORMATS: Final = _of(FormatKind.DOCUMENTS)
"""Formats whose messages are JSON documents."""

FORMAT_SIGNAL: Final = {name: format.signal for name, format in FORMATS.items()}
"""The signal of each format."""
