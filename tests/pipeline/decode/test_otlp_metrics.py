"""OTLP metrics: golden points, agreement with the official library, and any bytes."""

import json
import math
import os
from pathlib import Path
from random import Random

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import HealthCheck, given, settings, strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from pipeline.decode import DECODERS
from pipeline.decode.door import MaskedKeys, admit
from pipeline.decode.otlp_metrics import LATE, LONG, decode
from pipeline.model.tables import METRIC_POINTS, RESOURCES, SCOPES
from tests.pipeline.decode.otlp_oracle import (
    comparable,
    decoded_rows,
    metric_rows,
    with_base64_ids,
)
from tests.pipeline.decode.otlp_strategies import METRIC_REQUESTS
from tests.pipeline.decode.wire_laws import damaged, judged
from tests.pipeline.decode.wire_writer import encode, tagged

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The first example waits for the compiler."""
SHARED = Path(os.environ.get("MESHWEIR_SHARED", Path(__file__).parents[3] / "../shared"))
CORPUS = SHARED / "data/otlp-corpus/otlp-json"
TIME = 1_764_000_000_000_000_000


def request_of(*metrics: dict) -> ExportMetricsServiceRequest:
    """A request of one resource and one scope, from the OTLP JSON of its metrics."""
    text = {"key": "service.name", "value": {"stringValue": "cart"}}
    document = {
        "resourceMetrics": [
            {
                "resource": {"attributes": [text]},
                "scopeMetrics": [
                    {"scope": {"name": "meter", "version": "1.2"}, "metrics": list(metrics)}
                ],
            }
        ]
    }
    return ParseDict(document, ExportMetricsServiceRequest())


def rows_of(*metrics: dict) -> list[dict]:
    decoded = decode([request_of(*metrics).SerializeToString()])
    assert decoded.refused == ()
    return decoded_rows(decoded, METRIC_POINTS.name)


def one(**metric) -> dict:
    (row,) = rows_of({"name": "m", "unit": "s", **metric})
    return {name: value for name, value in row.items() if value is not None}


BASE = {
    "time": TIME,
    "start_time": TIME - 60,
    "name": "m",
    "unit": "s",
    "flags": 0,
    "attributes": {"route": "/"},
    "resource": {"service.name": "cart"},
    "scope": ("meter", "1.2", {}),
}
POINT = {
    "timeUnixNano": str(TIME),
    "startTimeUnixNano": str(TIME - 60),
    "attributes": [{"key": "route", "value": {"stringValue": "/"}}],
}


def test_it_is_registered():
    assert DECODERS["otlp_metrics"] is decode


def test_a_gauge_of_a_double():
    row = one(gauge={"dataPoints": [{**POINT, "asDouble": 0.1}]})
    assert row == BASE | {"type": "gauge", "value": 0.1}


def test_a_sum_of_an_integer_is_exact_past_what_a_double_holds():
    points = [{**POINT, "asInt": str(2**53 + 1)}]
    row = one(sum={"dataPoints": points, "aggregationTemporality": 2, "isMonotonic": True})
    assert row == BASE | {
        "type": "sum",
        "temporality": 2,
        "is_monotonic": True,
        "value": 2.0**53,
        "value_int": 2**53 + 1,
    }


def test_a_negative_integer():
    row = one(gauge={"dataPoints": [{**POINT, "asInt": "-7"}]})
    assert (row["value"], row["value_int"]) == (-7.0, -7)


def test_a_point_without_recorded_value_keeps_its_flag_and_has_no_value():
    row = one(gauge={"dataPoints": [{**POINT, "flags": 1}]})
    assert row == BASE | {"type": "gauge", "flags": 1}


def test_a_histogram():
    point = {
        **POINT,
        "count": "6",
        "sum": 1.5,
        "min": 0.1,
        "max": 0.9,
        "bucketCounts": ["1", "2", "3"],
        "explicitBounds": [0.25, 0.5],
    }
    row = one(histogram={"dataPoints": [point], "aggregationTemporality": 1})
    assert row == BASE | {
        "type": "histogram",
        "temporality": 1,
        "count": 6,
        "sum": 1.5,
        "min": 0.1,
        "max": 0.9,
        "bucket_counts": [1, 2, 3],
        "explicit_bounds": [0.25, 0.5],
    }


def test_a_histogram_that_tells_only_its_count():
    row = one(histogram={"dataPoints": [{**POINT, "count": "6"}], "aggregationTemporality": 2})
    assert row == BASE | {
        "type": "histogram",
        "temporality": 2,
        "count": 6,
        "bucket_counts": [],
        "explicit_bounds": [],
    }


def test_an_exponential_histogram():
    point = {
        **POINT,
        "count": "10",
        "sum": 3.0,
        "scale": -2,
        "zeroCount": "1",
        "zeroThreshold": 0.001,
        "positive": {"offset": -4, "bucketCounts": ["2", "0", "3"]},
        "negative": {"offset": 3, "bucketCounts": ["4"]},
    }
    row = one(exponentialHistogram={"dataPoints": [point], "aggregationTemporality": 2})
    assert row == BASE | {
        "type": "exponential_histogram",
        "temporality": 2,
        "count": 10,
        "sum": 3.0,
        "scale": -2,
        "zero_count": 1,
        "zero_threshold": 0.001,
        "positive_offset": -4,
        "positive_counts": [2, 0, 3],
        "negative_offset": 3,
        "negative_counts": [4],
    }


def test_a_summary():
    point = {
        **POINT,
        "count": "4",
        "sum": 8.0,
        "quantileValues": [{"quantile": 0.5, "value": 1.5}, {"quantile": 1.0, "value": 4.0}],
    }
    assert one(summary={"dataPoints": [point]}) == BASE | {
        "type": "summary",
        "count": 4,
        "sum": 8.0,
        "quantiles": [0.5, 1.0],
        "quantile_values": [1.5, 4.0],
    }


def test_exemplars_are_json_with_hex_ids():
    exemplars = [
        {
            "timeUnixNano": str(TIME - 5),
            "asInt": "3",
            "traceId": "AQIDBAUGBwgJCgsMDQ4PEA==",
            "spanId": "AQIDBAUGBwg=",
            "filteredAttributes": [{"key": "pod", "value": {"stringValue": "p-1"}}],
        },
        {"timeUnixNano": str(TIME - 4), "asDouble": 0.5},
    ]
    row = one(gauge={"dataPoints": [{**POINT, "asInt": "1", "exemplars": exemplars}]})
    assert row["exemplars"] == [
        {
            "time_unix_nano": TIME - 5,
            "value": 3,
            "trace_id": "0102030405060708090a0b0c0d0e0f10",
            "span_id": "0102030405060708",
            "attributes": {"pod": "p-1"},
        },
        {"time_unix_nano": TIME - 4, "value": 0.5},
    ]


def test_a_metric_without_data_gives_no_row_and_an_empty_name_is_kept():
    rows = rows_of({"name": "nothing"}, {"gauge": {"dataPoints": [{"asInt": "1"}]}})
    assert [(row["name"], row["unit"], row["time"], row["start_time"]) for row in rows] == [
        ("", None, None, None)
    ]


def test_numbers_that_are_none_are_kept():
    rows = rows_of(
        {"name": "m", "gauge": {"dataPoints": [{"asDouble": "NaN"}, {"asDouble": "-Infinity"}]}}
    )
    assert math.isnan(rows[0]["value"])
    assert rows[1]["value"] == -math.inf


def test_a_point_after_the_year_2262_is_refused_and_its_neighbour_kept():
    points = [{"timeUnixNano": str(2**63), "asInt": "1"}, {"timeUnixNano": "7", "asInt": "2"}]
    message = request_of({"name": "m", "gauge": {"dataPoints": points}}).SerializeToString()
    decoded = decode([b"", message])
    (refusal,) = decoded.refused
    assert (refusal.message, refusal.records, refusal.whole) == (1, 1, False)
    assert "time" in refusal.reason
    assert [row["value_int"] for row in decoded_rows(decoded, METRIC_POINTS.name)] == [2]


def test_of_two_kinds_of_data_the_last_counts():
    gauge = request_of({"name": "m", "gauge": {"dataPoints": [{"asInt": "1"}]}})
    total = request_of({"name": "m", "sum": {"dataPoints": [{"asInt": "2"}]}})
    metric = b"".join(
        request.resource_metrics[0].scope_metrics[0].metrics[0].SerializeToString()
        for request in (gauge, total)
    )
    message = tagged(1, 2, tagged(2, 2, tagged(2, 2, metric)))
    expected = comparable(metric_rows(ExportMetricsServiceRequest.FromString(message)))
    assert [row["type"] for row in expected] == ["sum"]
    assert comparable(decoded_rows(decode([message]), METRIC_POINTS.name)) == expected


def test_a_broken_message_is_refused_whole_and_its_neighbours_kept():
    good = request_of({"name": "m", "gauge": {"dataPoints": [{"asInt": "1"}]}}).SerializeToString()
    decoded = decode([good, good[:-3], good])
    (refusal,) = decoded.refused
    assert (refusal.message, refusal.whole) == (1, True)
    assert refusal.offset is not None
    assert len(decoded_rows(decoded, METRIC_POINTS.name)) == 2


def test_resources_and_scopes_are_told_once():
    message = request_of({"name": "m", "gauge": {"dataPoints": [{"asInt": "1"}]}})
    batches = decode([message.SerializeToString()] * 3).batches
    assert batches[METRIC_POINTS.name].num_rows == 3
    (resource,) = batches[RESOURCES.name].to_pylist()
    assert (resource["service_name"], resource["system"]) == ("cart", "otel")
    (scope,) = batches[SCOPES.name].to_pylist()
    assert (scope["name"], scope["version"]) == ("meter", "1.2")


def test_batches_have_the_declared_columns():
    message = request_of({"name": "m", "gauge": {"dataPoints": [{"asInt": "1"}]}})
    batches = decode([message.SerializeToString()]).batches
    for table in (METRIC_POINTS, RESOURCES, SCOPES):
        assert batches[table.name].schema == table.arrow


@PATIENT
@given(st.lists(METRIC_REQUESTS, max_size=3), st.integers(0, 2**32))
def test_it_agrees_with_the_official_library(requests, seed):
    random = Random(seed)
    decoded = decode([encode(request, random) for request in requests])
    expected = [row for request in requests for row in metric_rows(request)]
    assert comparable(decoded_rows(decoded, METRIC_POINTS.name)) == comparable(expected)
    points = sum(
        len(getattr(metric, kind).data_points)
        for request in requests
        for of_resource in request.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
        if (kind := metric.WhichOneof("data"))
    )
    assert sum(refusal.records for refusal in decoded.refused) == points - len(expected)


@PATIENT
@given(METRIC_REQUESTS)
def test_fields_in_descending_order(request):
    rows = decoded_rows(decode([encode(request)]), METRIC_POINTS.name)
    assert comparable(rows) == comparable(metric_rows(request))


@PATIENT
@given(METRIC_REQUESTS, st.integers(0, 2**32), st.integers(1, 4))
def test_damaged_bytes_give_rows_or_refusals(request, seed, wounds):
    check_any(damaged(request.SerializeToString(), seed, wounds))


@PATIENT
@given(st.binary(max_size=60))
def test_any_bytes_give_rows_or_refusals(message):
    check_any(message)


def check_any(message: bytes) -> None:
    decoded = decode([message])
    rows = decoded_rows(decoded, METRIC_POINTS.name)
    parsed = judged(decoded, len(rows), message, ExportMetricsServiceRequest)
    if parsed is not None:
        assert comparable(rows) == comparable(metric_rows(parsed))


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no recorded OTLP payloads at {CORPUS}")
def test_recorded_payloads_agree_with_the_official_library():
    files = sorted(CORPUS.glob("gcp-ops-go/metrics/*.json"))
    files += [CORPUS / "opentelemetry-proto/metrics.json"]
    rows = 0
    for file in files:
        request = ParseDict(
            with_base64_ids(json.loads(file.read_text())),
            ExportMetricsServiceRequest(),
            ignore_unknown_fields=True,
        )
        expected = comparable(metric_rows(request))
        decoded = decode([request.SerializeToString(), encode(request, Random(1))])
        assert comparable(decoded_rows(decoded, METRIC_POINTS.name)) == expected * 2
        rows += len(expected)
    assert rows > 700


def test_the_door_counts_points_and_masks_attributes():
    secret = {"key": "password", "value": {"stringValue": "hunter2"}}
    late = {**POINT, "timeUnixNano": str(2**63), "asInt": "1"}
    point = {**POINT, "asInt": "2", "attributes": [secret], "exemplars": [{"asInt": "1"}]}
    point["exemplars"][0]["filteredAttributes"] = [secret]
    body = request_of({"name": "m", "gauge": {"dataPoints": [late, point]}}).SerializeToString()
    admission = admit("otlp_metrics", body, MaskedKeys())
    assert (admission.records, admission.rejected) == (1, 1)
    assert len(admission.body) == len(body)
    assert b"hunter2" not in admission.body
    (row,) = decoded_rows(decode([admission.body]), METRIC_POINTS.name)
    assert row["attributes"] == {"password": "*******"}
    assert row["exemplars"][0]["attributes"] == {"password": "*******"}


@pytest.mark.parametrize("field", ["name", "unit"])
def test_points_of_a_metric_with_an_endless_name_are_refused(field: str) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    for size in (1024, 1025):
        points = metrics.add(**{field: "n" * size}).gauge.data_points
        for at in (1, 2**63):
            points.add(time_unix_nano=at, as_int=1)
    body = request.SerializeToString()
    decoded = decode([body])
    assert decoded.batches["metric_points"].num_rows == 1
    assert {(told.reason, told.records) for told in decoded.refused} == {(LATE, 1), (LONG, 2)}
    admission = admit("otlp_metrics", body, MaskedKeys())
    assert (admission.records, admission.rejected) == (1, 3)


CALLER = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"


def admitted(name, *attributes, where="point"):
    """What a request is behind the door whose point, or another part of it, has attributes."""
    told = {"attributes": [{"key": key, "value": value} for key, value in attributes]}
    point = {"asInt": "1", "timeUnixNano": str(TIME)}
    if where == "point":
        point |= told
    if where == "exemplar":
        point["exemplars"] = [{"filteredAttributes": told["attributes"], "asInt": "1"}]
    request = request_of({"name": name, "sum": {"dataPoints": [point]}})
    (resource_metrics,) = request.resource_metrics
    if where == "resource":
        ParseDict(told, resource_metrics.resource)
    if where == "scope":
        ParseDict(told, resource_metrics.scope_metrics[0].scope)
    return admit("otlp_metrics", request.SerializeToString(), MaskedKeys()).body


@pytest.mark.parametrize(
    "metric",
    ["request_total", "response_total", "response_latency_ms", "response_latency_ms_bucket",
     "tcp_open_total", "tcp_read_bytes_total", "inbound_http_authz_allow_total",
     "route_response_total"],
)  # fmt: skip
@pytest.mark.parametrize("value", [CALLER, "spiffe://cluster.local/ns/emojivoto/sa/web"])
def test_who_called_a_proxy_of_linkerd_stays(metric, value):
    body = admitted(metric, ("direction", {"stringValue": "inbound"}),
                    ("client_id", {"stringValue": value}))  # fmt: skip
    assert value.encode() in body


@pytest.mark.parametrize(
    ("metric", "key", "value"),
    [
        ("apigee_requests_total", "client_id", CALLER),
        ("http.server.request.duration", "client_id", CALLER),
        ("response_totals", "client_id", CALLER),
        ("", "client_id", CALLER),
        ("response_total", "Client_Id", CALLER),
        ("response_total", "client_secret", CALLER),
        ("response_total", "password", CALLER),
        ("response_total", "client_id", "AKfycbx0hunter2hunter2"),
        ("response_total", "client_id", "web.shop"),
        ("response_total", "client_id", f"{CALLER} hunter2"),
        ("response_total", "client_id", f"hunter2\n{CALLER}"),
        ("response_total", "client_id", "hunter2.serviceaccount.identity.linkerd.cluster.local"),
        ("response_total", "client_id", f"{'a' * 300}.{CALLER}"),
        ("response_total", "client_id", "spiffe://cluster.local/ns/a/sa/b?token=hunter2"),
    ],
)
def test_every_other_client_id_is_masked(metric, key, value):
    body = admitted(metric, (key, {"stringValue": value}))
    assert value.encode() not in body
    assert b"*" * len(value) in body


@pytest.mark.parametrize("where", ["resource", "scope", "exemplar"])
def test_a_client_id_that_is_of_no_point_is_masked(where):
    assert CALLER.encode() not in admitted(
        "response_total", ("client_id", {"stringValue": CALLER}), where=where
    )


def test_a_client_id_within_another_attribute_is_masked():
    nested = {"kvlistValue": {"values": [{"key": "client_id", "value": {"stringValue": CALLER}}]}}
    assert CALLER.encode() not in admitted("response_total", ("labels", nested))
    secret = {"kvlistValue": {"values": [{"key": "name", "value": {"stringValue": "hunter2"}}]}}
    assert b"hunter2" not in admitted("response_total", ("client_id", secret))
    assert b"hunter2" not in admitted(
        "response_total", ("client_id", {"bytesValue": "aHVudGVyMg=="})
    )


def test_a_name_that_is_told_after_the_points_counts():
    client_id = {"key": "client_id", "value": {"stringValue": CALLER}}
    for name, stays in (("response_total", True), ("apigee_total", False)):
        point = {"asInt": "1", "timeUnixNano": str(TIME), "attributes": [client_id]}
        body = encode(request_of({"name": name, "sum": {"dataPoints": [point]}}))
        assert body.index(b"client_id") < body.index(name.encode())
        assert (CALLER.encode() in admit("otlp_metrics", body, MaskedKeys()).body) is stays
