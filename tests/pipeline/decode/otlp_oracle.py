"""What OTLP metrics and logs mean, told a second time with the official protobuf objects.

Slow and plain. Rows are dictionaries of table columns, except that ``resource`` and ``scope`` stand
for the ids, and JSON columns are the values that the JSON stands for.
"""

import base64
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from pipeline.model.decoded import Decoded
from pipeline.model.tables import LOGS, METRIC_POINTS, RESOURCES, SCOPES

Row = dict[str, Any]
LAST_NANOSECOND = 2**63 - 1


def any_value(value) -> object:
    """An AnyValue as what its JSON text stands for."""
    match value.WhichOneof("value"):
        case "string_value" | "bool_value" | "int_value" as kind:
            return getattr(value, kind)
        case "double_value":
            return double(value.double_value)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value":
            return [any_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return attributes(value.kvlist_value.values)
    return None


def double(value: float) -> object:
    """A double as JSON has it: numbers that are none are written as words."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def attributes(pairs) -> dict[str, object]:
    """Attributes; of a key told twice, the last."""
    return {pair.key: any_value(pair.value) for pair in pairs}


def metric_rows(request: ExportMetricsServiceRequest) -> Iterator[Row]:
    """The rows of a request, without those that must be refused."""
    for of_resource in request.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is None:
                    continue
                data = getattr(metric, kind)
                for point in data.data_points:
                    if _late(point.time_unix_nano, point.start_time_unix_nano):
                        continue
                    row = dict.fromkeys(METRIC_POINTS.names)
                    del row["resource_id"], row["scope_id"]
                    row |= _origin(of_resource.resource, of_scope.scope)
                    row |= _of_metric(metric, kind, data)
                    row |= _of_point(point)
                    row |= POINTS[kind](point)
                    yield row


def _late(*times: int) -> bool:
    return any(time > LAST_NANOSECOND for time in times)


def _origin(resource, scope) -> Row:
    told = (scope.name or None, scope.version or None, attributes(scope.attributes))
    return {"resource": attributes(resource.attributes), "scope": told}


def _of_metric(metric, kind: str, data) -> Row:
    row: Row = {"name": metric.name, "unit": metric.unit or None, "type": kind}
    if kind not in {"gauge", "summary"}:
        told = data.aggregation_temporality
        row["temporality"] = told if told in {1, 2} else 0
    if kind == "sum":
        row["is_monotonic"] = data.is_monotonic
    return row


def _of_point(point) -> Row:
    return {
        "time": point.time_unix_nano or None,
        "start_time": point.start_time_unix_nano or None,
        "flags": point.flags,
        "attributes": attributes(point.attributes),
        "exemplars": [_exemplar(one) for one in getattr(point, "exemplars", [])] or None,
    }


def _exemplar(exemplar) -> Row:
    row: Row = {"time_unix_nano": exemplar.time_unix_nano}
    match exemplar.WhichOneof("value"):
        case "as_int":
            row["value"] = exemplar.as_int
        case "as_double":
            row["value"] = double(exemplar.as_double)
    if exemplar.trace_id:
        row["trace_id"] = exemplar.trace_id.hex()
    if exemplar.span_id:
        row["span_id"] = exemplar.span_id.hex()
    if exemplar.filtered_attributes:
        row["attributes"] = attributes(exemplar.filtered_attributes)
    return row


def _number(point) -> Row:
    match point.WhichOneof("value"):
        case "as_int":
            return {"value": float(point.as_int), "value_int": point.as_int}
        case "as_double":
            return {"value": point.as_double}
    return {}


def _told(point, *names: str) -> Row:
    return {name: getattr(point, name) for name in names if point.HasField(name)}


def _histogram(point) -> Row:
    return {
        "count": point.count,
        "explicit_bounds": list(point.explicit_bounds),
        "bucket_counts": list(point.bucket_counts),
    } | _told(point, "sum", "min", "max")


def _exponential_histogram(point) -> Row:
    return {
        "count": point.count,
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": point.zero_threshold,
        "positive_offset": point.positive.offset,
        "positive_counts": list(point.positive.bucket_counts),
        "negative_offset": point.negative.offset,
        "negative_counts": list(point.negative.bucket_counts),
    } | _told(point, "sum", "min", "max")


def _summary(point) -> Row:
    return {
        "count": point.count,
        "sum": point.sum,
        "quantiles": [pair.quantile for pair in point.quantile_values],
        "quantile_values": [pair.value for pair in point.quantile_values],
    }


POINTS = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "exponential_histogram": _exponential_histogram,
    "summary": _summary,
}


def log_rows(request: ExportLogsServiceRequest) -> Iterator[Row]:
    """The rows of a request, without those that must be refused."""
    for of_resource in request.resource_logs:
        for of_scope in of_resource.scope_logs:
            for record in of_scope.log_records:
                if _late(record.time_unix_nano, record.observed_time_unix_nano):
                    continue
                row = dict.fromkeys(LOGS.names)
                del row["resource_id"], row["scope_id"]
                row |= _origin(of_resource.resource, of_scope.scope)
                yield row | _of_record(record)


def _of_record(record) -> Row:
    body, kind = any_value(record.body), record.body.WhichOneof("value")
    high, low = halves(record.trace_id)
    severity = record.severity_number
    return {
        "time": record.time_unix_nano or record.observed_time_unix_nano or None,
        "observed_time": record.observed_time_unix_nano or None,
        "severity_number": severity if 0 <= severity <= 24 else 0,
        "severity_text": record.severity_text or None,
        "event_name": record.event_name or None,
        "body": body if kind in {None, "string_value"} else Json(body),
        "trace_id_high": high,
        "trace_id_low": low,
        "span_id": number(record.span_id),
        "flags": record.flags,
        "attributes": attributes(record.attributes),
    }


class Json:
    """A value that a column holds as JSON text; equal to every text that means the same."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and json.loads(other) == self.value

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def __repr__(self) -> str:
        return f"Json({self.value!r})"


def halves(trace_id: bytes) -> tuple[int | None, int | None]:
    """Both halves of a trace id; None for what the specification calls invalid."""
    if len(trace_id) != 16 or not any(trace_id):
        return None, None
    return int.from_bytes(trace_id[:8]), int.from_bytes(trace_id[8:])


def number(span_id: bytes) -> int | None:
    """A span id; None for what the specification calls invalid."""
    return int.from_bytes(span_id) if len(span_id) == 8 and any(span_id) else None


def decoded_rows(decoded: Decoded, table: str) -> list[Row]:
    """The rows of a decoder in the oracle's form."""
    if table not in decoded.batches:
        return []
    resources = {row["resource_id"]: row for row in decoded.batches[RESOURCES.name].to_pylist()}
    scopes = {row["scope_id"]: row for row in decoded.batches[SCOPES.name].to_pylist()}
    return [_plain(row, resources, scopes) for row in plain_times(decoded.batches[table])]


def plain_times(table: pa.Table) -> list[Row]:
    """Rows with times as integers of nanoseconds."""
    columns = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names).to_pylist()


def _plain(row: Row, resources: Row, scopes: Row) -> Row:
    resource = resources[row.pop("resource_id")]
    scope = scopes[row.pop("scope_id")]
    row["resource"] = json.loads(resource["attributes"] or "{}")
    row["scope"] = (scope["name"], scope["version"], json.loads(scope["attributes"] or "{}"))
    row["attributes"] = json.loads(row["attributes"] or "{}")
    if row.get("exemplars") is not None:
        row["exemplars"] = json.loads(row["exemplars"])
    return row


def comparable(rows: Iterable[Row]) -> list[Row]:
    """Rows that can be compared with ``==`` although NaN is not equal to itself."""
    return [
        {
            name: [double(item) if isinstance(item, float) else item for item in value]
            if isinstance(value, list)
            else double(value)
            if isinstance(value, float)
            else value
            for name, value in row.items()
        }
        for row in rows
    ]


def with_base64_ids(value: object) -> object:
    """OTLP JSON as protobuf's own JSON: OTLP writes ids in hex."""
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(inner)).decode()
            if key in {"traceId", "spanId", "parentSpanId"}
            else with_base64_ids(inner)
            for key, inner in value.items()
        }
    return [with_base64_ids(item) for item in value] if isinstance(value, list) else value
