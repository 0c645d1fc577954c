"""Traps of formats that no other test is about; all are listed in ``tests/pitfalls.txt``."""

from pathlib import Path

import polars as pl
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pipeline.decode import DECODERS
from pipeline.model.scrape import Scrape
from tests.pipeline.decode.line_rows import one_line

GOLDEN = Path(__file__).parent / "golden"


def test_numbers_that_envoy_writes_as_texts_are_numbers() -> None:
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    )
    told = {"component": "proxy", "http.status_code": "503", "retry.count": "2"}
    for key, value in told.items():
        span.attributes.add(key=key).value.string_value = value
    decoded = DECODERS["otlp_traces"]([request.SerializeToString()])
    (row,) = pl.DataFrame(decoded.batches["spans"]).to_dicts()
    assert row["is_proxy"]
    assert row["http_response_status_code"] == 503
    assert row["http_request_resend_count"] == 2


def test_the_port_of_the_tunnel_is_not_where_a_connection_went() -> None:
    line = (
        "2026-03-02T10:15:30.182974Z info access connection complete src.addr=10.8.1.5:46238 "
        'src.workload="a-1" src.namespace="shop" dst.addr=10.8.2.17:15008 '
        'dst.hbone_addr=10.8.2.17:8080 dst.service="cart.shop.svc.cluster.local" '
        'direction="outbound" bytes_sent=67 bytes_recv=490 duration="13ms"'
    )
    row = one_line("ztunnel", line.encode())
    assert row["upstream_remote_address"] == "10.8.2.17:8080"
    assert row["upstream_cluster"] == "outbound|8080||cart.shop.svc.cluster.local"


def points(name: str, text: str) -> list[dict[str, object]]:
    decoded = DECODERS[name]([text.encode()])
    assert decoded.refused == ()
    columns = ["name", "type", "is_monotonic", "temporality", "value", "attributes", "time"]
    rows = pl.DataFrame(decoded.batches["metric_points"]).select(columns)
    return rows.with_columns(pl.col("time").cast(pl.Int64)).sort("name", "value").to_dicts()


def test_both_dialects_of_an_exposition_tell_the_same() -> None:
    scrape = Scrape(1_764_172_800_000, None, up=True).line().decode()
    prometheus = (
        "# TYPE istio_tcp_connections_opened_total counter\n"
        'istio_tcp_connections_opened_total{reporter="source"} 831\n'
        "istio_tcp_connections_opened_total{} 2\n"
    )
    openmetrics = (
        "# HELP istio_tcp_connections_opened TCP connections opened.\n"
        "# TYPE istio_tcp_connections_opened counter\n"
        'istio_tcp_connections_opened_total{reporter="source"} 831\n'
        "istio_tcp_connections_opened_total{} 2\n# EOF\n"
    )
    told = points("prometheus_text", scrape + prometheus)
    assert told == points("openmetrics_text", scrape + openmetrics)
    assert [row["value"] for row in told] == [2, 831]


@pytest.mark.parametrize("zone", [" +0100", "+0100"])
def test_a_time_of_the_common_log_format_may_lack_the_space_before_its_zone(zone: str) -> None:
    record = '{"requestId":"r","requestTime":"12/Mar/2020:19:03:58%s","apiId":"a","stage":"prod"}'
    row = one_line("aws_apigateway", (record % zone).encode())
    assert row["start_time"] == 1_584_036_238 * 10**9
