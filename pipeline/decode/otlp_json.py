"""OTLP/JSON to OTLP protobuf, so that one decoder holds the truth: at the door, and after the bus.

The JSON mapping of protobuf does nearly all of it; OTLP differs in its ids, which are hexadecimal
in JSON and not base64. Field names that are not known are ignored, as OTLP demands; enums are taken
as numbers and, more than it demands, as names.
"""

import base64
import binascii
import re
from typing import Any, Final

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.errors import DecodeError
from pipeline.model.topics import OTLP_LOGS_FORMAT, OTLP_METRICS_FORMAT, OTLP_TRACES_FORMAT

FORMAT: Final = "otlp_json"

REQUESTS: Final[dict[str, type[Message]]] = {
    OTLP_TRACES_FORMAT: ExportTraceServiceRequest,
    OTLP_METRICS_FORMAT: ExportMetricsServiceRequest,
    OTLP_LOGS_FORMAT: ExportLogsServiceRequest,
}
"""The request message of each OTLP format."""

MAX_NESTING: Final = 64
"""Levels of nested values: objects and arrays each count."""

_ID_FIELDS: Final = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")

_POINT_HOLDERS: Final = (
    "gauge",
    "sum",
    "histogram",
    "exponentialHistogram",
    "exponential_histogram",
)

_IDS: Final = (
    *((spans, scopes, "spans") for spans, scopes in (
        ("resourceSpans", "scopeSpans"), ("resource_spans", "scope_spans"))),
    *((spans, scopes, "spans", "links") for spans, scopes in (
        ("resourceSpans", "scopeSpans"), ("resource_spans", "scope_spans"))),
    *((logs, scopes, records) for logs, scopes, records in (
        ("resourceLogs", "scopeLogs", "logRecords"),
        ("resource_logs", "scope_logs", "log_records"))),
    *((metrics, scopes, "metrics", holder, points, "exemplars")
      for metrics, scopes, points in (
        ("resourceMetrics", "scopeMetrics", "dataPoints"),
        ("resource_metrics", "scope_metrics", "data_points"))
      for holder in _POINT_HOLDERS),
)  # fmt: skip
"""The paths of all objects that have ids."""


_SPACE: Final = b" \t\r\n"
_PARSING: Final = re.compile(r"Failed to parse (\S+) field: ")


class JsonError(DecodeError):
    """JSON that is not a request; the text has the path and the value, the reason has neither."""

    def __init__(self, reason: str, *, detail: str) -> None:
        super().__init__(reason, format=FORMAT)
        self.args = (f"{self.args[0]} ({detail[:400]})",)


def may_be(body: bytes) -> bool:
    """Whether a request is OTLP/JSON and not OTLP protobuf.

    No request of OTLP protobuf begins with ``{``. White space in front of it may be the tag of a
    resource group and its length, so there only what is JSON from end to end counts.
    """
    if body[:1] == b"{":
        return True
    return body[:1].isspace() and body.lstrip(_SPACE)[:1] == b"{" and _is_json(body)


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def to_protobuf(body: bytes, request: type[Message]) -> bytes:
    """The bytes of a request that arrived as JSON.

    An id that is not hexadecimal becomes an id of a wrong length, so that the check which follows
    refuses that record alone.

    Raises:
        DecodeError: it is not JSON, nested too deep, or a field has a value it cannot have; the
            reason names the field.
    """
    document = _parse(body)
    for path in _IDS:
        for holder in _objects(document, path):
            _convert_ids(holder)
    message = request()
    try:
        json_format.ParseDict(
            document, message, ignore_unknown_fields=True, max_recursion_depth=MAX_NESTING
        )
    except json_format.ParseError as error:
        raise _refusal(str(error)) from error
    return message.SerializeToString()


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode("utf-8", "surrogatepass"))
        raise DecodeError(f"not JSON: {error.msg}", offset=offset, format=FORMAT) from error
    if not isinstance(document, dict):
        raise DecodeError("the document is not an object", offset=0, format=FORMAT)
    return document


def _objects(document: dict[str, Any], path: tuple[str, ...]) -> list[dict[str, Any]]:
    found = [document]
    for name in path:
        found = [item for holder in found for item in _listed(holder.get(name))]
    return found


def _listed(value: object) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def _convert_ids(holder: dict[str, Any]) -> None:
    for name in _ID_FIELDS:
        text = holder.get(name)
        if isinstance(text, str):
            try:
                raw = binascii.unhexlify(text)
            except ValueError:
                raw = b"\0"
            holder[name] = base64.b64encode(raw).decode()


def _refusal(text: str) -> JsonError:
    """``resourceSpans.scopeSpans: what is wrong`` out of protobuf's chain of sentences."""
    # a list where an object belongs is told by its items; they must not become countable reasons
    fields = [name for name in _PARSING.findall(text) if name.replace("_", "").isalpha()]
    rest = _PARSING.sub("", text).rstrip(".")
    field = fields[-1] if fields else "document"
    return JsonError(f"{field}: a value it cannot have", detail=f"{'.'.join(fields)}: {rest}")
