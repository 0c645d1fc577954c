"""What metrics of each system say: rows of ``metric_points`` in, edges of the graph out."""

from datetime import UTC, datetime

import orjson
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from polars.testing import assert_frame_equal

from pipeline.analyze import graph, metric_minutes
from pipeline.analyze.metric_minutes import derive, told
from pipeline.model.tables import ALIASES
from tests.pipeline.analyze.points import MINUTE, histogram, native, point, series
from tests.pipeline.analyze.traffic import resources

WINDOW = {
    "start": datetime(1970, 1, 1, tzinfo=UTC),
    "end": datetime(1970, 1, 1, 0, 10, tzinfo=UTC),
}
NO_ALIASES = pl.DataFrame(pl.from_arrow(ALIASES.arrow.empty_table())).drop("slice")
SHOWN = [
    "client", "server", "protocol", "requests", "attempts", "client_error", "server_error",
    "connection", "mtls_ratio", "reporter", "signal", "request_bytes", "response_bytes",
]  # fmt: skip


def minutes_of(rows, *known):
    tables = derive(
        told(series(rows), pl.concat([resources("target"), *known])),
        minutes=[n * MINUTE for n in range(10)],
    )
    return {name: pl.DataFrame(pl.from_arrow(table)) for name, table in tables.items()}


def graph_of(rows, *known):
    return graph.build(minutes_of(rows, *known)["edge_minutes"], NO_ALIASES, **WINDOW)


def grew(name, labels, by, **rest):
    """A counter read three times: it began before, and grew."""
    return [point(name, at, value, labels, **rest) for at, value in ((0, 7), (15, 7), (30, 7 + by))]


def measured(name, bounds, counts, labels, **rest):
    """A histogram read twice; all it holds came between."""
    nothing = histogram(name, 15, bounds, [0] * len(counts), labels, **rest)
    return [nothing, histogram(name, 30, bounds, counts, labels, **rest)]


def istio(**labels):
    return {
        "reporter": "destination", "source_workload": "productpage-v1",
        "source_workload_namespace": "default",
        "source_principal": "spiffe://cluster.local/ns/default/sa/bookinfo-productpage",
        "source_app": "productpage", "source_version": "v1",
        "source_canonical_service": "productpage", "source_canonical_revision": "v1",
        "destination_workload": "details-v1", "destination_workload_namespace": "default",
        "destination_principal": "spiffe://cluster.local/ns/default/sa/bookinfo-details",
        "destination_app": "details", "destination_version": "v1",
        "destination_service": "details.default.svc.cluster.local",
        "destination_service_name": "details", "destination_service_namespace": "default",
        "destination_canonical_service": "details", "destination_canonical_revision": "v1",
        "request_protocol": "http", "response_code": "200", "response_flags": "-",
        "grpc_response_status": "", "connection_security_policy": "mutual_tls", **labels,
    }  # fmt: skip


UNKNOWN_SOURCE = {
    "source_workload": "unknown", "source_workload_namespace": "unknown", "source_app": "unknown",
    "source_principal": "unknown", "source_version": "unknown",
    "source_canonical_service": "unknown", "source_canonical_revision": "latest",
}  # fmt: skip
UNKNOWN_DESTINATION = {
    "destination_workload": "unknown", "destination_workload_namespace": "unknown",
    "destination_principal": "unknown", "destination_app": "unknown",
    "destination_version": "unknown", "destination_service_namespace": "unknown",
    "destination_canonical_service": "unknown", "destination_canonical_revision": "latest",
}  # fmt: skip
SOURCE = {"reporter": "source", "connection_security_policy": "unknown"}
ISTIO = "istio_requests_total"
SENT = "istio_tcp_sent_bytes_total"
RECEIVED = "istio_tcp_received_bytes_total"
TIMES = "istio_request_duration_milliseconds"
MS = [0.5, 1, 5, 10, 25, 50, 100, 250]

LINKERD_OUT = {
    "direction": "outbound", "tls": "true", "target_addr": "10.1.0.7:8080", "target_port": "8080",
    "authority": "emoji-svc.emojivoto:8080", "dst_service": "emoji-svc",
    "dst_namespace": "emojivoto", "dst_deployment": "emoji",
    "server_id": "emoji.emojivoto.serviceaccount.identity.linkerd.cluster.local",
    "namespace": "emojivoto", "pod": "web-5f86686c4d-abcde", "deployment": "web",
}  # fmt: skip
LINKERD_IN = {
    "direction": "inbound", "tls": "true", "target_port": "8080", "namespace": "emojivoto",
    "client_id": "web.emojivoto.serviceaccount.identity.linkerd.cluster.local",
    "deployment": "emoji",
}  # fmt: skip
ROUTE = {
    "parent_kind": "Service", "parent_namespace": "emojivoto", "parent_name": "emoji-svc",
    "route_name": "default", "namespace": "emojivoto", "deployment": "web", "error": "",
}  # fmt: skip
BACKEND = {
    **ROUTE, "backend_kind": "Service", "backend_namespace": "emojivoto",
    "backend_name": "emoji-svc",
}  # fmt: skip
ROUTES = "outbound_http_route"
CONSUL = {
    "local_cluster": "web", "consul_source_service": "web", "consul_source_namespace": "default",
    "consul_source_datacenter": "dc1", "consul_destination_service": "api",
    "consul_destination_namespace": "default", "consul_destination_routing_type": "internal",
    "envoy_cluster_name": "api",
}  # fmt: skip
XX = "envoy_cluster_upstream_rq_xx"
RQ = "envoy_cluster_upstream_rq"
DOWNSTREAM = "envoy_http_downstream_rq_xx"
CART = "outbound|80||cart.shop.svc.cluster.local"
KONG = "kong_http_requests_total"
ORDERS = {"service": "orders", "route": "r1"}
GOOGLE = {"service": "google", "route": "google.route-1"}
AWS = "amazonaws.com/AWS/ApiGateway/"


def statistics(metric, count, total, low, high, **dimensions):
    labels = {"Namespace": "AWS/ApiGateway", "MetricName": metric, "Dimensions": dimensions}
    return point(
        AWS + metric, 60, None, labels, flags=0, type="summary", temporality=None,
        start_time=0, count=count, sum=total, min=low, max=high,
    )  # fmt: skip


def cluster(name, status=None, prefix="envoy_"):
    """Labels of a cluster: of Envoy, of its OpenTelemetry sink, of Istio's."""
    by_code = status is not None and len(status) == 3 and status.isdigit()
    tag = "response_code" if by_code else "response_code_class"
    told = {f"{prefix}cluster_name": name}
    return told if status is None else told | {f"{prefix}{tag}": status}


def manager(prefix):
    return {"envoy_http_conn_manager_prefix": prefix, "envoy_response_code_class": "2"}


def kong(code, source="service", **labels):
    return {**ORDERS, "code": code, "source": source, "consumer": "", **labels}


def succeeded(labels, **more):
    return {**labels, "status_code": "200", "classification": "success", **more}


def failed(labels, status, **more):
    return {**labels, "status_code": status, "classification": "failure", **more}


SCENES = {
    "istio_sidecars": [
        *grew(ISTIO, istio(), 90),
        *grew(ISTIO, istio(response_code="503", response_flags="UC"), 4),
        *grew(ISTIO, istio(response_code="0", response_flags="DC"), 2),
        *grew(ISTIO, istio(**SOURCE), 90),
        *grew(ISTIO, istio(**SOURCE, response_code="503", response_flags="UH"), 6),
        *grew(ISTIO, istio(**SOURCE, response_code="404"), 4),
        *measured(TIMES, MS, [0, 0, 50, 40, 4, 2, 0, 0, 0], istio()),
    ],
    "istio_native_histograms": [
        # the same requests in both forms, as a Prometheus scrapes and sends them: the finer counts
        *grew(ISTIO, istio(), 100),
        *measured(TIMES, MS, [0, 0, 60, 38, 0, 0, 0, 2, 0], istio()),
        native(TIMES, 15, 3, 8, [0], istio()),
        # of scale 3 about 2.2 to 2.4 ms, 5.7 to 6.2 ms, and 128 to 139 ms
        native(TIMES, 30, 3, 9, [60, *[0] * 10, 38, *[0] * 35, 2], istio(), sum=480.0),
    ],
    "istio_bytes": [
        # requests have their own bytes; those of the connections that carried them are no more
        *grew(ISTIO, istio(), 10),
        *measured("istio_request_bytes", MS, [0, 0, 0, 0, 0, 0, 0, 0, 10], istio(), sum=5120.0),
        *measured("istio_response_bytes", MS, [0, 0, 0, 0, 0, 0, 0, 0, 10], istio(), sum=81920.0),
        *grew(SENT, istio(request_protocol="tcp"), 90_000, resource_id="ztunnel"),
        *grew(RECEIVED, istio(request_protocol="tcp"), 9_000, resource_id="ztunnel"),
    ],
    "istio_bytes_of_one_long_connection": [
        # no connection was opened or closed, and ten gigabytes went over it
        *grew(SENT, istio(**SOURCE, request_protocol="tcp"), 10_000_000_000),
        *grew(RECEIVED, istio(**SOURCE, request_protocol="tcp"), 5_000),
        *grew(SENT, istio(request_protocol="tcp"), 9_999_000_000, resource_id="other"),
    ],
    "istio_grpc_by_status": [
        *grew(ISTIO, istio(request_protocol="grpc", grpc_response_status="0"), 8),
        *grew(ISTIO, istio(request_protocol="grpc", grpc_response_status="14"), 2),
    ],
    "istio_hosts_outside": [
        *grew(
            ISTIO,
            istio(
                **SOURCE, **UNKNOWN_DESTINATION, destination_service="deb.debian.org",
                destination_service_name="PassthroughCluster",
            ),
            5,
        ),
        *grew(
            ISTIO,
            istio(
                **SOURCE, **UNKNOWN_DESTINATION, destination_service="evil.example.com",
                destination_service_name="BlackHoleCluster", response_code="502",
            ),
            3,
        ),
        *grew(ISTIO, istio(**UNKNOWN_SOURCE, connection_security_policy="none"), 6),
    ],
    "istio_ambient": [
        # a waypoint tells of requests, the two ztunnels of the connections that carried them
        *grew(ISTIO, istio(reporter="waypoint"), 40),
        *[
            row
            for reporter in ("source", "destination")
            for row in (
                *grew(
                    "istio_tcp_connections_opened_total",
                    istio(reporter=reporter, request_protocol="tcp"), 55, resource_id="ztunnel",
                ),
                *grew(
                    "istio_tcp_connections_closed_total",
                    istio(reporter=reporter, request_protocol="tcp"), 55, resource_id="ztunnel",
                ),
                *grew(
                    SENT, istio(reporter=reporter, request_protocol="tcp"), 70_000,
                    resource_id="ztunnel",
                ),
            )
        ],
    ],
    "istio_ztunnels_alone": [
        *grew("istio_tcp_connections_opened_total", istio(request_protocol="tcp"), 12),
        *grew("istio_tcp_connections_closed_total", istio(request_protocol="tcp"), 9),
        *grew(
            "istio_tcp_connections_closed_total",
            istio(request_protocol="tcp", response_flags="CONNECT"), 3,
        ),
    ],
    "istio_gateway": [
        *grew(
            ISTIO,
            istio(
                **SOURCE, source_workload="istio-ingressgateway",
                source_workload_namespace="istio-system",
                source_canonical_service="istio-ingressgateway", source_app="istio-ingressgateway",
            ),
            20,
        ),
    ],
    "linkerd": [
        *grew("response_total", succeeded(LINKERD_OUT), 30),
        *grew("response_total", failed(LINKERD_OUT, "500"), 3),
        *grew("response_total", failed(LINKERD_OUT, "200", grpc_status="14"), 2),
        *grew("request_total", LINKERD_OUT, 36),
        *grew("response_total", succeeded(LINKERD_IN), 35),
        *grew("response_total", succeeded(LINKERD_IN, tls="no_identity", client_id=""), 4),
        # probes and scrapes of the proxy itself
        *grew("response_total", succeeded(LINKERD_IN, target_port="4191"), 99),
        # of a connection each proxy counts both of its ends
        *grew("tcp_write_bytes_total", {**LINKERD_OUT, "peer": "dst"}, 2_000),
        *grew("tcp_read_bytes_total", {**LINKERD_OUT, "peer": "dst"}, 30_000),
        *grew("tcp_write_bytes_total", {**LINKERD_OUT, "peer": "src"}, 31_000),
        *grew("tcp_read_bytes_total", {**LINKERD_IN, "peer": "src"}, 1_999),
        *grew("tcp_write_bytes_total", {**LINKERD_IN, "peer": "src"}, 29_999),
        *measured("response_latency_ms", [1, 2, 3, 4, 5, 10], [0, 10, 10, 5, 5, 3, 1], LINKERD_OUT),
    ],
    "linkerd_routes": [
        # three attempts for two requests, beside the older counter that has only the attempts
        *grew("response_total", succeeded(LINKERD_OUT), 20),
        *grew("response_total", failed(LINKERD_OUT, "503"), 10),
        *grew(f"{ROUTES}_request_statuses_total", {**ROUTE, "http_status": "200"}, 20),
        *grew(f"{ROUTES}_backend_response_statuses_total", {**BACKEND, "http_status": "200"}, 20),
        *grew(f"{ROUTES}_backend_response_statuses_total", {**BACKEND, "http_status": "503"}, 10),
        *grew(f"{ROUTES}_request_statuses_total", {**ROUTE, "error": "FAIL_FAST"}, 1),
        *measured(f"{ROUTES}_request_duration_seconds", [0.05, 0.5, 1], [20, 1, 0, 0], ROUTE),
    ],
    "consul": [
        *grew(XX, {**CONSUL, "envoy_response_code_class": "2"}, 50),
        *grew(XX, {**CONSUL, "envoy_response_code_class": "5"}, 5),
        *grew("envoy_cluster_upstream_rq_total", CONSUL, 61),
        *grew("envoy_cluster_upstream_rq_retry", CONSUL, 6),
        *grew("envoy_cluster_internal_upstream_rq_xx", {**CONSUL, **cluster("api", "2")}, 50),
        *measured("envoy_cluster_upstream_rq_time", MS, [0, 0, 50, 5, 0, 0, 0, 0, 0], CONSUL),
        *grew(XX, {"consul_source_service": "web", **cluster("local_app", "2")}, 70),
    ],
    "envoy_sidecar": [
        *grew(XX, cluster("cart", "2"), 30),
        *grew(RQ, cluster("cart", "200"), 29),
        *grew(RQ, cluster("cart", "201"), 1),
        *grew("envoy_cluster_upstream_cx_total", cluster("cart"), 2),
        *grew("envoy_cluster_upstream_cx_tx_bytes_total", cluster("cart"), 700),
        *grew("envoy_cluster_upstream_cx_rx_bytes_total", cluster("cart"), 7000),
        *grew("envoy_cluster_upstream_cx_total", cluster("redis"), 8),
        *grew(XX, cluster("xds-grpc", "2"), 9),
        *grew(XX, cluster("inbound", "2"), 77),
        *grew(DOWNSTREAM, manager("inbound"), 77),
        *grew(DOWNSTREAM, manager("admin"), 500),
    ],
    "envoy_by_its_otlp_sink": [
        *grew("envoy.cluster.upstream_rq_xx", cluster(CART, "2", "envoy."), 30),
        *grew("envoy.cluster.upstream_rq_xx", cluster(CART, "4", "envoy."), 3),
    ],
    "envoy_in_istio": [
        # by class and by code the one metric says the same; what has neither says nothing
        *grew(RQ, cluster(CART, "2xx", ""), 30),
        *grew(RQ, cluster(CART, "200", ""), 30),
        *grew(RQ, cluster(CART, None, ""), 30),
    ],
    "kong": [
        *grew(KONG, kong("200"), 40),
        *grew(KONG, kong("502", consumer="a"), 2),
        *grew(KONG, kong("429", "kong"), 8),
        *grew(KONG, kong("200", service="shop.cart.80", route="r2"), 1),
        *grew("kong_bandwidth_bytes", {"service": "orders", "direction": "egress"}, 9999),
        *grew("kong_bandwidth_bytes", {"service": "orders", "direction": "ingress"}, 999),
        *grew("kong_nginx_requests_total", {"node_id": "n"}, 9999, type="gauge"),
        *measured("kong_request_latency_ms", [25, 50, 80], [30, 18, 2, 0], ORDERS),
        *measured("kong_upstream_latency_ms", [25, 50, 80], [40, 2, 0, 0], ORDERS),
        *measured("kong_kong_latency_ms", [1, 2, 5], [50, 0, 0, 0], ORDERS),
    ],
    "kong_before_3": [
        *grew("kong_http_status", {**GOOGLE, "code": "301"}, 12),
        *grew("kong_bandwidth", {**GOOGLE, "type": "egress"}, 1277),
        *grew("kong_bandwidth", {**GOOGLE, "type": "ingress"}, 254),
        *measured("kong_latency", [25, 50], [12, 0, 0], {"type": "request", **GOOGLE}),
        *measured("kong_latency", [25, 50], [12, 0, 0], {"type": "upstream", **GOOGLE}),
        *measured("kong_latency", [25, 50], [12, 0, 0], {"type": "kong", **GOOGLE}),
    ],
    "aws": [
        statistics("Count", 120, 120, 1, 1, ApiId="a1b2c3"),
        statistics("Count", 120, 120, 1, 1, ApiId="a1b2c3", Stage="prod"),
        statistics("Count", 120, 120, 1, 1, ApiId="a1b2c3", Stage="prod", Route="GET /x"),
        statistics("4xx", 120, 7, 0, 1, ApiId="a1b2c3", Stage="prod"),
        statistics("5xx", 120, 2, 0, 1, ApiId="a1b2c3", Stage="prod"),
        statistics("Latency", 120, 2400, 10, 40, ApiId="a1b2c3", Stage="prod"),
        statistics("Count", 5, 5, 1, 1, ApiName="orders", Stage="$default"),
        statistics("5XXError", 5, 1, 0, 1, ApiName="orders", Stage="$default"),
    ],
}  # fmt: skip


def shown(built):
    """The graph as text to look at."""
    lines = [orjson.dumps(row) for row in built.edges.select(SHOWN).iter_rows(named=True)]
    latency = built.edges.select("client", "server", pl.col("^(client|server)_p(50|99).*$"))
    for row in latency.iter_rows(named=True):
        timed = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in row.items()
            if value is not None
        }
        lines.append(orjson.dumps(timed))
    return b"\n".join(lines).decode() + "\n"


@pytest.mark.parametrize("scene", SCENES)
def test_what_each_system_counts_is_on_the_graph(scene, golden, request):
    built = graph_of(SCENES[scene])
    golden.check(request.path.parent / "golden" / "metrics" / f"{scene}.jsonl", shown(built))


def test_what_a_sidecar_serves_counts_for_its_service_and_draws_no_edge():
    rows = grew(DOWNSTREAM, manager("inbound"), 77)
    rows += measured(
        "envoy_http_downstream_rq_time", MS, [0, 0, 70, 7, 0, 0, 0, 0, 0],
        {"envoy_http_conn_manager_prefix": "inbound"},
    )  # fmt: skip
    tables = minutes_of(rows)
    assert tables["edge_minutes"].is_empty()
    (node,) = tables["node_minutes"].to_dicts()
    assert (node["node"], node["reporter"], node["requests"]) == (
        "target",
        "server_proxy",
        77_000_000,
    )
    assert node["counts"] == [70_000_000, 7_000_000]


def test_what_a_gateway_serves_came_from_clients():
    gateway = resources("edge-gateway")
    rows = grew(DOWNSTREAM, manager("ingress_http"), 9, resource_id="edge-gateway")
    (edge,) = graph_of(rows, gateway).edges.select(SHOWN).to_dicts()
    assert (edge["client"], edge["server"], edge["requests"]) == ("clients", "edge-gateway", 9)
    assert edge["reporter"] == "gateway"


def test_many_targets_of_one_service_are_one_teller():
    pods = resources("shop/web@v1", "shop/web@v2")
    rows = [
        row
        for target, by in (("shop/web@v1", 3), ("shop/web@v2", 4))
        for row in grew(XX, cluster("cart", "2"), by, resource_id=target)
    ]
    (edge,) = graph_of(rows, pods).edges.select("client", "requests").to_dicts()
    assert edge == {"client": "shop/web", "requests": 7}


def test_names_past_the_limit_are_counted_under_one(monkeypatch):
    monkeypatch.setattr(metric_minutes, "NAMES_PER_MINUTE", 20)
    rows = [
        row
        for n in range(50)
        for row in grew(
            ISTIO,
            istio(
                **SOURCE, **UNKNOWN_DESTINATION, destination_service=f"host-{n}.example",
                destination_service_name="PassthroughCluster",
            ),
            2,
        )
    ]  # fmt: skip
    edges = minutes_of(rows)["edge_minutes"]
    assert edges.height == 21
    assert edges["requests"].sum() == 100_000_000
    assert edges.filter(pl.col("server_alias") == "overflow")["requests"].sum() == 60_000_000


def test_an_attribute_that_is_no_text_disturbs_nothing():
    labels = {"envoy_cluster_name": {"a": [1]}, "envoy_response_code_class": 2}
    rows = [*grew(XX, labels, 5), *grew(XX, cluster("cart", "2"), 3)]
    assert graph_of(rows).edges["requests"].sum() == 8


@given(st.sampled_from(sorted(SCENES)), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_points_changes_no_row(scene, random):
    rows = SCENES[scene]
    for name, table in minutes_of(rows).items():
        assert_frame_equal(minutes_of(random.sample(rows, len(rows)))[name], table)
