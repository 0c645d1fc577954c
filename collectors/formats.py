"""Which format a file is in: the names that ``meshweir import --format`` takes, and how to tell.

Nothing here reads files; it looks at values and bytes that others have read.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson
from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.decode.gates.line_gate import format_of_lines, line_format, logged_lines
from pipeline.errors import InvalidInput
from pipeline.model.topics import (
    DOCUMENT_FORMATS,
    EXPOSITION_FORMATS,
    JAEGER_JSON_FORMAT,
    LINE_FORMATS,
    OPENMETRICS_TEXT_FORMAT,
    OTLP_LOGS_FORMAT as LOGS,
    OTLP_METRICS_FORMAT as METRICS,
    OTLP_TRACES_FORMAT as TRACES,
    PROMETHEUS_TEXT_FORMAT,
    ZIPKIN_JSON_FORMAT,
)

AUTO: Final = "auto"
OTLP: Final = "otlp"
JAEGER_JSON: Final = JAEGER_JSON_FORMAT
ZIPKIN_JSON: Final = ZIPKIN_JSON_FORMAT

OTLP_FORMATS: Final = (TRACES, METRICS, LOGS)
"""Formats that are OTLP, one for each signal."""

FORMATS: Final = (
    AUTO, OTLP, *OTLP_FORMATS, *DOCUMENT_FORMATS, *LINE_FORMATS, *EXPOSITION_FORMATS,
)  # fmt: skip
"""What ``--format`` takes: ``auto`` finds out, ``otlp`` finds out which signal."""

_ALSO: Final = {
    "jaeger": JAEGER_JSON,
    "zipkin": ZIPKIN_JSON,
    "otlp_json": OTLP,
    "otlp_proto": OTLP,
    "otlp_protobuf": OTLP,
    "prometheus": PROMETHEUS_TEXT_FORMAT,
    "openmetrics": OPENMETRICS_TEXT_FORMAT,
}
_OTLP_KEYS: Final = {
    "resourceSpans": TRACES,
    "resource_spans": TRACES,
    "batches": TRACES,
    "resourceMetrics": METRICS,
    "resource_metrics": METRICS,
    "resourceLogs": LOGS,
    "resource_logs": LOGS,
}
_HEAD_LINES: Final = 64
"""How many lines at the head of a file are looked at to tell its format."""
_METRIC_TYPE: Final = re.compile(rb"# TYPE \S+ [a-z]+\s*$|# meshweir scrape \{")
_SAMPLE: Final = re.compile(
    rb'[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[^{}]*="[^{}]*\})?[ \t]+[-+]?(?:\d[\d.eE+-]*|Inf|NaN)(?:\s|$)'
)
_SMALL_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r\x1e"))


def known(name: str) -> str:
    """The format of that name, ``-`` and ``_`` alike; raises InvalidInput."""
    found = name.strip().lower().replace("-", "_")
    found = _ALSO.get(found, found)
    if found not in FORMATS:
        raise InvalidInput("format", found=name, allowed=", ".join(FORMATS))
    return found


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file can be JSON; protobuf is full of control characters."""
    start = head[:4096]
    return start.lstrip(b"\xef\xbb\xbf \t\r\n\x1e")[:1] in (b"{", b"[") and not _has_controls(start)


def may_be_protobuf(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an OTLP request, bare or behind its size."""
    return len(head) > 5 and (head[0] == 0x0A or head[0] < 0x05) and _has_controls(head[:4096])


def of_lines(head: bytes, told: str = AUTO) -> str | None:
    """The format of lines that a file is in, or None when it is to be read in another way.

    What a container runtime wrapped lines into is not looked at, but at what is in it.

    Args:
        head: the first bytes of the file.
        told: the format the user named.
    """
    lines = logged_lines(b"\n".join(head.split(b"\n", _HEAD_LINES)[:_HEAD_LINES]))
    if told in LINE_FORMATS:
        known_as = line_format(told)
        in_lines = not known_as.json or any(map(known_as.fits, lines))
        return told if in_lines else None
    return format_of_lines(lines) if told == AUTO and not may_be_protobuf(head) else None


def is_exposition(head: bytes, told: str = AUTO) -> bool:
    """Whether a file is scraped text: the user says so, or a line says of which type a metric is.

    Text without such a line is taken for it when every line of its head is a sample.
    """
    if told != AUTO:
        return told in EXPOSITION_FORMATS
    lines = [line for line in head.split(b"\n", _HEAD_LINES)[:_HEAD_LINES] if line.strip()]
    if _has_controls(head[:4096]):
        return False
    samples = [line for line in lines if not line.startswith(b"#")]
    typed = any(_METRIC_TYPE.match(line) for line in lines)
    return typed or _all(_SAMPLE.match(line) is not None for line in samples)


def of_exposition(text: bytes, told: str = AUTO) -> str:
    """Which of the two formats a scraped text is in; only OpenMetrics says that it ends."""
    if told in EXPOSITION_FORMATS:
        return told
    return OPENMETRICS_TEXT_FORMAT if text.rstrip().endswith(b"# EOF") else PROMETHEUS_TEXT_FORMAT


def _has_controls(data: bytes) -> bool:
    return len(data.translate(None, _SMALL_CONTROLS)) != len(data)


def of_json(value: object) -> str | None:
    """The format that a JSON value is in, or None when it is none that is known."""
    while isinstance(value, list):
        if not value:
            return None
        value = value[0]
    if not isinstance(value, dict):
        return None
    for key, name in _OTLP_KEYS.items():
        if key in value:
            return name
    return _of_foreign(value)


def _of_foreign(value: Mapping[str, Any]) -> str | None:
    if isinstance(value.get("trace"), dict) and "resourceSpans" in value["trace"]:
        return TRACES
    if "operationName" in value or "spans" in value:
        return JAEGER_JSON
    if "data" in value:
        data = value["data"]
        return JAEGER_JSON if not data or of_json(data) == JAEGER_JSON else None
    if "traceId" in value and "id" in value:
        return ZIPKIN_JSON
    return format_of_lines([orjson.dumps(value)])


def of_protobuf(request: bytes) -> str | None:
    """The OTLP format that the bytes of a request are in, or None when they are none.

    Requests of the three signals have the same outer shape; only the innermost records differ.
    """
    for name, fits in _PROBES:
        try:
            if fits(request):
                return name
        except ProtobufError:
            continue
    return None


def _all(checks: Iterable[bool]) -> bool:
    """Whether there is something to check and all of it holds."""
    found = list(checks)
    return bool(found) and all(found)


def _has_spans(data: bytes) -> bool:
    request = ExportTraceServiceRequest.FromString(data)
    return _all(
        len(span.trace_id) == 16 and len(span.span_id) == 8
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )


def _has_metrics(data: bytes) -> bool:
    request = ExportMetricsServiceRequest.FromString(data)
    return _all(
        bool(metric.name) and metric.WhichOneof("data") is not None
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def _has_logs(data: bytes) -> bool:
    request = ExportLogsServiceRequest.FromString(data)
    return _all(
        bool(record.time_unix_nano or record.observed_time_unix_nano)
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    )


_PROBES: Final[tuple[tuple[str, Callable[[bytes], bool]], ...]] = (
    (TRACES, _has_spans),
    (METRICS, _has_metrics),
    (LOGS, _has_logs),
)
