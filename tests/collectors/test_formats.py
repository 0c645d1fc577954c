"""How formats are told apart."""

import pytest
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors import formats
from collectors.formats import JAEGER_JSON, LOGS, METRICS, TRACES, ZIPKIN_JSON
from pipeline.errors import InvalidInput


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"resourceSpans": []}, TRACES),
        ({"batches": []}, TRACES),
        ({"trace": {"resourceSpans": []}}, TRACES),
        ({"resource_metrics": []}, METRICS),
        ({"resourceLogs": []}, LOGS),
        ({"data": [{"traceID": "1", "spans": []}]}, JAEGER_JSON),
        ({"data": []}, JAEGER_JSON),
        ({"spans": [], "process": {}}, JAEGER_JSON),
        ({"traceID": "1", "operationName": "x"}, JAEGER_JSON),
        ([{"traceId": "1", "id": "2"}], ZIPKIN_JSON),
        ([[{"traceId": "1", "id": "2"}]], ZIPKIN_JSON),
        ({"data": {"result": []}, "status": "success"}, None),
        ([], None),
        (5, None),
        ({}, None),
    ],
)
def test_json(value: object, name: str | None) -> None:
    assert formats.of_json(value) == name


def test_protobuf() -> None:
    traces = ExportTraceServiceRequest()
    span = traces.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = b"t" * 16, b"s" * 8, "x"
    metrics = ExportMetricsServiceRequest()
    metric = metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="m", unit="s")
    metric.gauge.data_points.add(as_double=1.0)
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=1)
    assert formats.of_protobuf(traces.SerializeToString()) == TRACES
    assert formats.of_protobuf(metrics.SerializeToString()) == METRICS
    assert formats.of_protobuf(logs.SerializeToString()) == LOGS
    assert formats.of_protobuf(b"") is None


@given(st.binary(max_size=60))
def test_any_bytes_are_answered(data: bytes) -> None:
    assert formats.of_protobuf(data) in (None, TRACES, METRICS, LOGS)
    assert isinstance(formats.looks_like_text(data), bool)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("auto", "auto"), ("Jaeger-JSON", JAEGER_JSON), ("zipkin", ZIPKIN_JSON), ("otlp", "otlp")],
)
def test_spellings(spelling: str, name: str) -> None:
    assert formats.known(spelling) == name


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="jaeger_json, zipkin_json"):
        formats.known("csv")
