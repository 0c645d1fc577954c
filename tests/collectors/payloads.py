"""Requests for tests, made with the official classes."""

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def traces(spans: int, *, wrong_ids: int = 0, pad: int = 0) -> ExportTraceServiceRequest:
    """A request of good spans, followed by spans whose trace id is one byte short."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    attribute = resource.resource.attributes.add(key="service.name")
    attribute.value.string_value = "shop"
    scope = resource.scope_spans.add()
    for number in range(spans + wrong_ids):
        length = 16 if number < spans else 15
        span = scope.spans.add(
            trace_id=number.to_bytes(length, "big"),
            span_id=(number + 1).to_bytes(8, "big"),
            name="GET /",
            start_time_unix_nano=1_700_000_000_000_000_000,
            end_time_unix_nano=1_700_000_000_010_000_000,
        )
        span.trace_id = b"\1" + span.trace_id[1:]
        if pad:
            span.attributes.add(key="pad").value.string_value = "x" * pad
    return request


def metrics(points: int) -> ExportMetricsServiceRequest:
    """A request of one gauge."""
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    gauge = scope.metrics.add(name="queue.length").gauge
    for number in range(points):
        gauge.data_points.add(time_unix_nano=1_700_000_000_000_000_000, as_int=number)
    return request


def logs(records: int) -> ExportLogsServiceRequest:
    """A request of log records."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for number in range(records):
        record = scope.log_records.add(time_unix_nano=1_700_000_000_000_000_000)
        record.body.string_value = f"line {number}"
    return request


def zipkin(spans: int, *, pad: int = 0) -> list[dict]:
    """Spans of Zipkin, as its JSON tells them."""
    tags = {"http.method": "GET"} | ({"pad": "x" * pad} if pad else {})
    return [
        {
            "traceId": f"{number + 1:032x}",
            "id": f"{number + 1:016x}",
            "kind": "SERVER",
            "name": "get /",
            "timestamp": 1_700_000_000_000_000,
            "duration": 10_000,
            "localEndpoint": {"serviceName": "shop", "ipv4": "10.0.0.1"},
            "tags": tags,
        }
        for number in range(spans)
    ]


def kong(number: int, *, pad: int = 0) -> dict[str, object]:
    """A log record of Kong."""
    return {
        "started_at": 1_764_172_800_000 + number,
        "request": {"id": f"r{number}", "method": "GET", "uri": "/" + "x" * pad},
        "response": {"status": 200},
        "latencies": {"kong": 1, "proxy": 5, "receive": 1, "request": 7},
    }


def kong_body(records: int, *, pad: int = 0) -> bytes:
    """An array of log records, as http-log sends batches."""
    return orjson.dumps([kong(number, pad=pad) for number in range(records)])


def apigee(number: int, *, pad: int = 0) -> dict[str, object]:
    """A record of an Apigee proxy."""
    return {
        "client.received.start.timestamp": str(1_764_172_800_000 + number),
        "messageid": f"m{number}",
        "apiproxy.name": "orders",
        "request.verb": "GET",
        "response.status.code": "200",
        "proxy.pathsuffix": "/" + "x" * pad,
    }
