"""OTLP of CloudWatch metric streams: frames taken apart, and labels of 0.7 made attributes."""

import pytest
from google.protobuf import text_format
from hypothesis import given, strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from pipeline.decode.metric_stream import is_framed, request_of
from pipeline.errors import DecodeError
from tests.pipeline.decode.metric_streams import framed, otlp, otlp_07
from tests.recordings import shared

ONE = otlp("AWS/ApiGateway", "Count", {"ApiName": "shop"})
OTHER = otlp("AWS/ApiGateway", "Count", {"ApiName": "blog", "Stage": "prod"})


def read(record: bytes) -> ExportMetricsServiceRequest:
    return ExportMetricsServiceRequest.FromString(request_of(record))


def test_requests_of_a_record_become_one_byte_for_byte() -> None:
    parts = [ONE.SerializeToString(), OTHER.SerializeToString()]
    assert request_of(framed(*parts)) == b"".join(parts)
    assert len(read(framed(*parts)).resource_metrics) == 2


def test_a_point_of_0_7_has_the_attributes_it_has_in_1_0() -> None:
    old = otlp_07("AWS/ApiGateway", "Count", {"ApiName": "blog", "Stage": "prod"})
    assert old != OTHER.SerializeToString()
    assert read(framed(old)) == OTHER
    assert read(framed(old, ONE.SerializeToString())).resource_metrics[1] == ONE.resource_metrics[0]


def test_a_metric_without_dimensions_has_none_in_both() -> None:
    old = otlp_07("AWS/ApiGateway", "Count", {})
    assert read(framed(old)) == otlp("AWS/ApiGateway", "Count", {})


def test_the_documented_message_of_0_7() -> None:
    # the text of the guide with the names that 1.0 has for the same fields, but for the labels
    text = shared("samples/gateways/aws-metric-stream-otlp07.textproto").read_text()
    text = text.replace("instrumentation_library_metrics", "scope_metrics")
    text = text.replace("double_summary", "summary")
    lines = text.splitlines()
    kept: list[str] = []
    while lines:
        line = lines.pop(0)
        if line.strip() == "labels {":
            del lines[:3]
        else:
            kept.append(line)
    plain = text_format.Parse("\n".join(kept), ExportMetricsServiceRequest())
    metric = plain.resource_metrics[0].scope_metrics[0].metrics[0]
    assert metric.name == "amazonaws.com/AWS/DynamoDB/ConsumedReadCapacityUnits"
    labels = b"".join(
        b"\x0a" + bytes((len(one),)) + one
        for key, value in (
            (b"Namespace", b"AWS/DynamoDB"),
            (b"MetricName", b"ConsumedReadCapacityUnits"),
            (b"TableName", b"MyTable"),
        )
        for one in (b"\x0a" + bytes((len(key),)) + key + b"\x12" + bytes((len(value),)) + value,)
    )
    for point in metric.summary.data_points:
        point.MergeFromString(labels)
    found = read(framed(plain.SerializeToString()))
    for point in found.resource_metrics[0].scope_metrics[0].metrics[0].summary.data_points:
        told = {one.key: one.value for one in point.attributes}
        assert told["Namespace"].string_value == "AWS/DynamoDB"
        (dimension,) = told["Dimensions"].kvlist_value.values
        assert (dimension.key, dimension.value.string_value) == ("TableName", "MyTable")


@pytest.mark.parametrize(
    "record", [b"", b"{}", b'{\n "a": 1}', b"\x80", b"\x05\x0aab", b"hello, world", bytes(9)]
)
def test_what_is_no_metric_stream_is_not_taken_for_one(record: bytes) -> None:
    assert not is_framed(record)


def test_a_cut_record_is_refused() -> None:
    whole = framed(ONE.SerializeToString(), OTHER.SerializeToString())
    assert is_framed(whole)
    for end in (1, 2, len(whole) // 2, len(whole) - 1):
        assert not is_framed(whole[:end])
        with pytest.raises(DecodeError, match="broken length"):
            request_of(whole[:end])


def test_what_is_no_protobuf_is_refused() -> None:
    with pytest.raises(DecodeError, match="not protobuf"):
        request_of(framed(b"\x0a\x05ab"))
    label = b"\x0a\x02\x0a\x01"
    broken = otlp("A", "B", {}, lambda point: point.MergeFromString(label))
    with pytest.raises(DecodeError, match="not protobuf"):
        request_of(framed(broken.SerializeToString()))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_refusal(record: bytes) -> None:
    try:
        request = request_of(record)
    except DecodeError:
        return
    ExportMetricsServiceRequest.FromString(request)
