"""Spans of Kong's OpenTelemetry plugin: the graph that a recording in their shape must give."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import polars as pl
import pytest
from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.analyze.graph import build
from pipeline.analyze.minutes import derive
from pipeline.decode import DECODERS
from pipeline.decode.otlp_json import to_protobuf
from pipeline.model.tables import RESOURCES, SPANS
from pipeline.model.topology import GroupBy
from tests.golden import Golden
from tests.pipeline.analyze.traffic import NOT_ASKED, access_logs, spans

GOLDEN = Path(__file__).parents[1] / "decode/golden"
DAY = datetime(2025, 11, 26, tzinfo=UTC), datetime(2025, 11, 27, tzinfo=UTC)
SHOWN = (
    "name", "kind", "is_proxy", "http_request_resend_count", "http_response_status_code",
    "http_route", "server_address", "server_port", "network_peer_address", "status_code",
    "duration_ns", "attributes",
)  # fmt: skip
EDGES = {
    ("clients", "kong"): {"requests": 4, "attempts": 4, "gateway": 4},
    ("web", "kong"): {"requests": 1, "attempts": 1, "client": 1, "gateway": 1},
    ("kong", "shop/orders"): {"requests": 2, "attempts": 3, "gateway": 2, "server": 2},
    ("kong", "external:ledger.example.net"): {"requests": 2, "attempts": 4, "gateway": 2},
    ("kong", "external:idp.example.com"): {"requests": 1, "attempts": 1, "gateway": 1},
}
"""Of the golden file: a try that failed before one that was answered, a request that was tried
three times in vain, one that Kong answered itself, and what a plugin asked an identity provider.
Look-ups in DNS and in Kong's database are no calls."""


def request() -> ExportTraceServiceRequest:
    text = to_protobuf(
        (GOLDEN / "kong_otlp_traces.in.json").read_bytes(), ExportTraceServiceRequest
    )
    return ExportTraceServiceRequest.FromString(text)


def graph(request: ExportTraceServiceRequest) -> tuple[dict, dict[str, str]]:
    """Edges with their counts, and nodes with their kinds."""
    batches = DECODERS["otlp_traces"]([request.SerializeToString()]).batches
    rows = pl.DataFrame(pl.from_arrow(batches[SPANS.name])).drop(NOT_ASKED)
    derived = derive(
        spans(rows.with_columns(pl.col("start_time").cast(pl.Int64)).to_dicts()),
        access_logs([]),
        pl.DataFrame(pl.from_arrow(batches[RESOURCES.name])),
        units=[(1, 9)],
    )
    found = build(
        pl.DataFrame(derived["edge_minutes"]),
        pl.DataFrame(derived["aliases"]),
        start=DAY[0],
        end=DAY[1],
        group_by=GroupBy.SERVICE,
    )
    edges = {
        (row["client"], row["server"]): {
            "requests": row["requests"],
            "attempts": row["attempts"],
            **{item["reporter"]: item["requests"] for item in row["reporters"]},
        }
        for row in found.edges.iter_rows(named=True)
    }
    return edges, dict(found.nodes.select("id", "kind").iter_rows())


def test_golden_spans(golden: Golden) -> None:
    batches = DECODERS["otlp_traces"]([request().SerializeToString()]).batches
    rows = batches[SPANS.name].select(list(SHOWN)).to_pylist()
    told = [{name: value for name, value in row.items() if value is not None} for row in rows]
    shown = orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n"
    golden.check(GOLDEN / "kong_otlp_traces.out.json", shown)


def test_the_graph() -> None:
    edges, nodes = graph(request())
    assert edges == EDGES
    assert nodes["kong"] == "gateway"


@pytest.mark.parametrize("name", ["kong-edge", "front-door"])
def test_kong_by_another_name_is_a_gateway_all_the_same(name: str) -> None:
    told = request()
    attributes = told.resource_spans[0].resource.attributes
    assert attributes[0].key == "service.name"
    attributes[0].value.string_value = name
    edges, nodes = graph(told)
    assert edges == {
        tuple(name if end == "kong" else end for end in ends): counts
        for ends, counts in EDGES.items()
    }
    assert nodes[name] == "gateway"


def test_what_is_not_kongs_is_left_as_it_is() -> None:
    told = request()
    for group in told.resource_spans:
        group.scope_spans[0].scope.name = "another"
    told.resource_spans[0].resource.attributes[0].value.string_value = "front-door"
    batches = DECODERS["otlp_traces"]([told.SerializeToString()]).batches
    rows = batches[SPANS.name].to_pylist()
    assert {row["kind"] for row in rows if row["name"] == "kong.dns"} == {3}
    assert not any(row["is_proxy"] for row in rows)
    assert {row["http_request_resend_count"] for row in rows} == {None}
    assert set(batches[RESOURCES.name]["system"].to_pylist()) == {"otel"}


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [
        ("https://idp.example.com:8443/a?b=c", "idp.example.com", 8443),
        ("http://idp.example.com", "idp.example.com", None),
        ("http://user:secret@idp/a:80", "idp", None),
        ("http://[::1]:99/", "[::1]", 99),
        ("http://idp?next=http://x:1/", "idp", None),
        ("nonsense", None, None),
        ("", None, None),
    ],
)
def test_peers_in_urls(url: str, address: str | None, port: int | None) -> None:
    told = request()
    (call,) = [
        span
        for span in told.resource_spans[0].scope_spans[0].spans
        if span.name == "kong.internal.request"
    ]
    call.attributes[0].value.string_value = url
    batches = DECODERS["otlp_traces"]([told.SerializeToString()]).batches
    (row,) = [
        row for row in batches[SPANS.name].to_pylist() if row["name"] == "kong.internal.request"
    ]
    assert (row["server_address"], row["server_port"]) == (address, port)


METRICS = """{"resourceMetrics": [{
  "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "kong"}}]},
  "scopeMetrics": [{"scope": {"name": "kong-internal"}, "metrics": [
    {"name": "http.server.request.count", "unit": "{request}", "sum": {"isMonotonic": true,
      "aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": "1764172860000000000",
      "asDouble": 42, "attributes": [
        {"key": "kong.service.name", "value": {"stringValue": "orders"}},
        {"key": "kong.response.status_code", "value": {"doubleValue": 200}}]}]}},
    {"name": "kong.latency.upstream", "unit": "s", "histogram": {"aggregationTemporality": 2,
      "dataPoints": [{"timeUnixNano": "1764172860000000000", "count": "3", "sum": 0.06,
      "explicitBounds": [0.025, 0.05], "bucketCounts": ["2", "1", "0"], "attributes": [
        {"key": "kong.service.name", "value": {"stringValue": "orders"}},
        {"key": "kong.route.name", "value": {"stringValue": "orders-rt"}}]}]}}
  ]}]}]}"""


def test_metrics_of_kong_are_points_in_seconds() -> None:
    message = Parse(METRICS, ExportMetricsServiceRequest()).SerializeToString()
    batches = DECODERS["otlp_metrics"]([message]).batches
    count, latency = batches["metric_points"].to_pylist()
    assert (count["value"], count["is_monotonic"], count["temporality"]) == (42.0, True, 2)
    assert (latency["unit"], latency["count"], latency["sum"]) == ("s", 3, 0.06)
    assert latency["bucket_counts"] == [2, 1, 0]
    assert batches["resources"]["system"].to_pylist() == ["kong"]
