"""OTLP/JSON: what the official mapping reads is what comes out; the rest is named or ignored."""

import base64
from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collectors.signals import LOGS, METRICS, TRACES
from pipeline.decode.otlp_json import may_be, to_protobuf
from pipeline.errors import DecodeError
from tests.collectors.payloads import logs, metrics, traces


def spans(*documents: dict[str, Any]) -> bytes:
    return orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(documents)}]}]})


def span_of(body: bytes) -> Any:
    request = ExportTraceServiceRequest.FromString(to_protobuf(body, TRACES.request))
    return request.resource_spans[0].scope_spans[0].spans[0]


def hexed(value: Any) -> Any:
    """A document of the official mapping, with its ids in hexadecimal as OTLP wants them."""
    if isinstance(value, list):
        return [hexed(item) for item in value]
    if not isinstance(value, dict):
        return value
    ids = {"traceId", "spanId", "parentSpanId"}
    return {
        name: base64.b64decode(item).hex() if name in ids else hexed(item)
        for name, item in value.items()
    }


@pytest.mark.parametrize(
    ("signal", "request_"),
    [(TRACES, traces(5)), (METRICS, metrics(5)), (LOGS, logs(5))],
    ids=["traces", "metrics", "logs"],
)
def test_what_protobuf_writes_as_json_comes_back(signal, request_) -> None:
    document = hexed(json_format.MessageToDict(request_))
    assert (
        signal.request.FromString(to_protobuf(orjson.dumps(document), signal.request)) == request_
    )


@pytest.mark.parametrize(
    "text", ["5B8EFFF798038103D269B633813FC60C", "5b8efff798038103d269b633813fc60c"]
)
def test_ids_are_hexadecimal_in_either_case(text: str) -> None:
    span = span_of(spans({"traceId": text, "links": [{"traceId": text, "spanId": text[:16]}]}))
    assert span.trace_id == bytes.fromhex(text)
    assert span.links[0].trace_id == bytes.fromhex(text)
    assert span.links[0].span_id == bytes.fromhex(text[:16])


def test_ids_of_exemplars_are_hexadecimal_too() -> None:
    for kind in ("gauge", "sum", "histogram", "exponentialHistogram"):
        exemplar = {"traceId": "ab" * 16, "spanId": "cd" * 8}
        document = {
            "resourceMetrics": [
                {
                    "scopeMetrics": [
                        {"metrics": [{kind: {"dataPoints": [{"exemplars": [exemplar]}]}}]}
                    ]
                }
            ]
        }
        request = ExportMetricsServiceRequest.FromString(
            to_protobuf(orjson.dumps(document), METRICS.request)
        )
        metric = request.resource_metrics[0].scope_metrics[0].metrics[0]
        found = getattr(metric, metric.WhichOneof("data")).data_points[0].exemplars[0]
        assert (found.trace_id.hex(), found.span_id.hex()) == ("ab" * 16, "cd" * 8)


@pytest.mark.parametrize("text", ["zz", "abc", "5b8efff798038103d269b633813fc60g", "12-34"])
def test_an_id_that_is_not_hexadecimal_spoils_only_its_own_span(text: str) -> None:
    assert len(span_of(spans({"traceId": text})).trace_id) == 1


def test_numbers_are_taken_as_numbers_and_as_strings() -> None:
    for value in (1_700_000_000_000_000_001, "1700000000000000001"):
        assert span_of(spans({"startTimeUnixNano": value})).start_time_unix_nano == int(value)


def test_enums_are_taken_as_numbers_and_as_names() -> None:
    assert span_of(spans({"kind": 3})).kind == 3
    assert span_of(spans({"kind": "SPAN_KIND_CLIENT"})).kind == 3
    assert span_of(spans({"kind": 77})).kind == 77


def test_unknown_fields_are_ignored() -> None:
    assert span_of(spans({"name": "a", "future": {"x": [1]}, "kind": 2})).name == "a"


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"startTimeUnixNano": "soon"}, "startTimeUnixNano"),
        ({"name": 5}, "name"),
        ({"status": {"code": 10**12}}, "status.code"),
        ({"attributes": [{"key": "a", "value": {"intValue": "1.5"}}]}, "intValue"),
        ({"attributes": {"a": "b"}}, "attributes"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_field(document: dict[str, Any], named: str) -> None:
    with pytest.raises(DecodeError, match=named) as refused:
        to_protobuf(spans(document), TRACES.request)
    assert "spans" in str(refused.value)


@pytest.mark.parametrize("value", ["attacker", 123456789, [[["x"]]]])
def test_countable_reasons_carry_nothing_of_the_sender(value: object) -> None:
    body = orjson.dumps({"resourceSpans": [{"resource": [value, "attributes"]}]})
    with pytest.raises(DecodeError) as refused:
        to_protobuf(body, TRACES.request)
    assert refused.value.reason.split(":")[0] in {"resource", "attributes", "resourceSpans"}


def test_the_offset_counts_bytes() -> None:
    with pytest.raises(DecodeError) as refused:
        to_protobuf('{"é": ?}'.encode(), TRACES.request)
    assert refused.value.offset == 7


@pytest.mark.parametrize("depth", [100, 1_000, 200_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    value = b'{"arrayValue":{"values":[' * depth + b"{}" + b"]}}" * depth
    body = spans({"attributes": [{"key": "a", "value": {"x": 0}}]}).replace(b'{"x":0}', value)
    with pytest.raises(DecodeError, match=r"deep|depth"):
        to_protobuf(body, TRACES.request)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":"\xff"}', b'{"a":NaN}', b"\0"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        to_protobuf(body, TRACES.request)


@pytest.mark.parametrize("body", [b"{}", b'{"resourceSpans"', b' \n{"a": 1} ', b"\n{}"])
def test_json_is_told_from_protobuf(body: bytes) -> None:
    assert may_be(body)


def test_a_resource_group_of_123_bytes_is_no_json_though_its_first_bytes_look_like_it() -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add(schema_url="x" * 121)
    body = request.SerializeToString()
    assert body[:2] == b"\n{"
    assert not may_be(body)


@pytest.mark.parametrize("body", [b"", b"\n", b"[]", traces(2).SerializeToString()])
def test_what_begins_otherwise_is_no_json(body: bytes) -> None:
    assert not may_be(body)
