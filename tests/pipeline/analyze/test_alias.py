"""Names to nodes: what was learned, what is configured, and where names disagree."""

import polars as pl
import pytest

from pipeline.analyze import alias
from pipeline.analyze.graph import build
from pipeline.analyze.minutes import derive
from pipeline.decode.otlp.attributes import SPAN_ATTRIBUTES
from tests.pipeline.analyze.test_access_log import CALLED, inbound, nameless, outbound
from tests.pipeline.analyze.test_pair import END, START, edges, span
from tests.pipeline.analyze.traffic import CLIENT, SERVER, access_logs, resources, spans


def told(span_rows=(), log_rows=(), configured=None):
    """Edges as {(client, server): requests}, with aliases an operator configured, and aliases."""
    names = {str(row["resource_id"]) for row in [*span_rows, *log_rows] if row["resource_id"]}
    derived = derive(
        spans(span_rows), access_logs(log_rows), resources(*sorted(names)), units=[(1, 9)]
    )
    aliases = pl.DataFrame(derived["aliases"])
    graph = build(
        pl.DataFrame(derived["edge_minutes"]),
        alias.configured(aliases, configured or {}),
        start=START,
        end=END,
    )
    rows = graph.edges.select("client", "server", "requests").rows()
    return {row[:2]: row[2] for row in rows}, aliases


def to(cluster, address=None, **more):
    return outbound("a", cluster, address, 1000, **more)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("legacy-billing", "legacy-billing"),
        ("10.1.2.3:8443", "10.1.2.3:8443"),
        ("10.1.2.3:8443", "10.1.2.3"),
        (None, "10.1.2.3"),
    ],
)
def test_a_configured_name_stands_for_its_node(name, key):
    rows = [to(name, "10.1.2.3:8443")]
    assert list(told(log_rows=rows)[0]) != [("shop/a", "finance/billing")]
    assert list(told(log_rows=rows, configured={key: "finance/billing"})[0]) == [
        ("shop/a", "finance/billing")
    ]


def test_a_configured_certificate_names_the_caller():
    rows = [inbound("b", "127.0.0.1:80", 1000, peer="robot")]
    assert list(told(log_rows=rows)[0]) == [("shop/robot", "shop/b")]
    spiffe = "spiffe://demo/ns/shop/sa/robot"
    assert list(told(log_rows=rows, configured={spiffe: "ci/runner"})[0]) == [
        ("ci/runner", "shop/b")
    ]


def test_what_is_configured_goes_before_what_was_seen():
    rows = [
        to("pay", "127.0.0.1:80"),
        inbound("payment", "127.0.0.1:80", 1000, peer="a"),
        to("pay", None, request_id="another"),
    ]
    assert told(log_rows=rows)[0] == {("shop/a", "shop/payment"): 2}
    found, _ = told(log_rows=rows, configured={"pay": "shop/payment-v2"})
    assert found == {("shop/a", "shop/payment"): 1, ("shop/a", "shop/payment-v2"): 1}


def test_an_address_that_was_two_services_is_a_conflict():
    def answered(service, request):
        return [
            to("moved", "10.0.0.9:80", request_id=request),
            {**inbound(service, "10.0.0.9:80", 1000, peer="a"), "request_id": request},
        ]

    _, aliases = told(log_rows=[*answered("b", "1"), *answered("b", "2"), *answered("c", "3")])
    found = {(row["client"], row["alias"]): row for row in alias.conflicts(aliases).to_dicts()}
    assert set(found) == {("shop/a", "moved"), (None, "10.0.0.9"), (None, "10.0.0.9:80")}
    moved = found[("shop/a", "moved")]
    assert (moved["node"], moved["seen"]) == ("shop/b", 3)
    assert moved["share"] == pytest.approx(2 / 3)
    assert moved["nodes"] == [{"node": "shop/b", "seen": 2}, {"node": "shop/c", "seen": 1}]


def test_names_that_agree_are_no_conflict():
    rows = [to("b", "127.0.0.1:80"), inbound("b", "127.0.0.1:80", 1000, peer="a")]
    assert alias.conflicts(told(log_rows=rows)[1]).is_empty()
    assert alias.conflicts(told(log_rows=[])[1]).is_empty()


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("outbound|80|v1|svc.ns.svc.cluster.local", "ns/svc"),
        ("web.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul", "default/web"),
        ("PassthroughCluster", "external:PassthroughCluster"),
        ("BlackHoleCluster", "external:BlackHoleCluster"),
        ("outbound|443||api.stripe.com", "external:api.stripe.com"),
        ("httproute/default/shop/rule/0", "unknown:httproute/default/shop/rule/0"),
        ("service/default/orders/8080", "default/orders"),
        ("10.0.0.5:80", "unknown:10.0.0.5:80"),
        ("https://api.example.com/v1", "external:api.example.com"),
        (None, "unknown:unknown"),
    ],
)
def test_unknowns_stay_visible_as_what_they_are(name, node):
    rows = [{**to(name), "upstream_response_status_code": 200}]
    assert list(told(log_rows=rows)[0]) == [("shop/a", node)]


def test_a_route_of_a_gateway_is_the_service_that_was_seen_to_answer_it():
    rule = "httproute/shop/orders/rule/0"
    rows = [
        {**outbound("edge-gateway", rule, "10.0.0.9:80", 1), "log_name": "gateway"},
        inbound("orders", "10.0.0.9:80", 1),
        {**outbound("edge-gateway", rule, None, 1, request_id="2"), "log_name": "gateway"},
    ]
    assert told(log_rows=rows)[0][("shop/edge-gateway", "shop/orders")] == 2


RULE = "httproute/shop/orders/rule/0"


def went(address, request_id, rule=RULE):
    """A gateway's entry of a request that a rule sent to an address, which wrote nothing itself."""
    entry = outbound("edge-gateway", rule, address, 1, request_id=request_id)
    return {**entry, "log_name": "gateway"}


def answered(name, address, request_id):
    """Another caller's request to the same address, which tells who is there."""
    return [
        outbound("a", address, address, 1, request_id=request_id),
        inbound(name, address, 1, request_id=request_id),
    ]


def test_a_rule_with_two_backends_is_told_apart_by_the_addresses_that_requests_went_to():
    rows = [
        *answered("orders", "10.0.0.9:80", "x1"),
        *answered("billing", "10.0.0.8:80", "x2"),
        went("10.0.0.9:80", "1"),
        went("10.0.0.9:80", "2"),
        went("10.0.0.8:80", "3"),
        went("10.0.0.7:80", "4"),
        went(None, "5"),
    ]
    found, _ = told(log_rows=rows)
    assert found["shop/edge-gateway", "shop/orders"] == 2
    assert found["shop/edge-gateway", "shop/billing"] == 1
    # of neither the address that nobody knows nor the rule alone it is said who answered
    assert found["shop/edge-gateway", f"unknown:{RULE}"] == 2


def test_a_rule_that_always_calls_one_service_calls_it_where_no_address_is_told_too():
    rows = [*answered("orders", "10.0.0.9:80", "x1"), went("10.0.0.9:80", "1"), went(None, "2")]
    found, _ = told(log_rows=rows)
    assert found["shop/edge-gateway", "shop/orders"] == 2
    assert not any(server.startswith("unknown:") for _, server in found)


def test_a_rule_whose_addresses_nobody_knows_stays_one_unknown():
    rows = [went("10.0.0.9:80", "1"), went("10.0.0.8:80", "2"), went(None, "3")]
    assert told(log_rows=rows)[0][("shop/edge-gateway", f"unknown:{RULE}")] == 3


def test_spans_of_rules_are_a_gateways_and_tell_what_it_called_and_how_often():
    proxy = {"is_proxy": True, "upstream_cluster": RULE}
    sent = proxy | {"network_peer_address": "10.0.0.9", "network_peer_port": 8080}
    rows = [
        {**span(1, 0, "edge.shop", SERVER), **proxy},
        {**span(2, 1, "edge.shop", CLIENT), **sent},
        {**span(3, 1, "edge.shop", CLIENT), **sent, "http_request_resend_count": 1},
    ]
    derived = derive(spans(rows), access_logs([]), resources("edge.shop"), units=[(1, 9)])
    found = build(
        pl.DataFrame(derived["edge_minutes"]),
        pl.DataFrame(derived["aliases"]),
        start=START,
        end=END,
    )
    assert found.edges.select("client", "server", "requests", "attempts", "reporter").rows() == [
        ("clients", "edge.shop", 1, 1, "gateway"),
        ("edge.shop", f"unknown:{RULE}", 1, 2, "gateway"),
    ]
    assert found.nodes.filter(pl.col("id") == "edge.shop")["kind"].to_list() == ["gateway"]


def test_a_rule_is_what_is_configured_whatever_address_its_requests_went_to():
    rows = [*answered("orders", "10.0.0.9:80", "x1"), went("10.0.0.9:80", "1"), went(None, "2")]
    found, _ = told(log_rows=rows, configured={RULE: "finance/billing"})
    assert found["shop/edge-gateway", "finance/billing"] == 2


def test_an_address_that_is_configured_is_who_a_rule_called_there():
    rows = [*answered("orders", "10.0.0.9:80", "x1"), went("10.0.0.9:81", "1")]
    found, _ = told(log_rows=rows, configured={"10.0.0.9": "finance/billing"})
    assert found["shop/edge-gateway", "finance/billing"] == 1


def test_a_pod_whose_telemetry_tells_its_address_is_who_a_rule_called():
    known = pl.concat(
        [
            resources("shop/edge-gateway"),
            resources("shop/orders", attributes='{"k8s.pod.ip":"10.0.0.9"}'),
        ]
    )
    traces = spans([span(1, 0, "shop/orders", SERVER)])
    logs = access_logs([went("10.0.0.9:8080", "1"), went("10.0.0.9:8080", "2")])
    derived = derive(traces, logs, known, units=[(1, 9)])
    found = build(
        pl.DataFrame(derived["edge_minutes"]),
        pl.DataFrame(derived["aliases"]),
        start=START,
        end=END,
    ).edges
    assert ("shop/edge-gateway", "shop/orders", 2) in found.select(
        "client", "server", "requests"
    ).rows()


def test_what_logs_show_of_a_rule_holds_for_metrics_that_know_the_gateway_by_another_name():
    rows = [*answered("orders", "10.0.0.9:80", "x1"), went("10.0.0.9:80", "1")]
    derived = derive(
        spans([]), access_logs(rows), resources("shop/a", "shop/edge-gateway", "shop/orders"),
        units=[(1, 9)],
    )  # fmt: skip
    minutes = pl.DataFrame(derived["edge_minutes"])
    metric = minutes.filter(pl.col("server_alias").str.contains(" at ")).with_columns(
        client=pl.lit("envoy-gateway-system/proxy"), signal=pl.lit("metrics"),
        server_alias=pl.lit(RULE),
    )  # fmt: skip
    found = build(
        pl.concat([minutes, metric]), pl.DataFrame(derived["aliases"]), start=START, end=END
    ).edges
    assert ("envoy-gateway-system/proxy", "shop/orders") in found.select("client", "server").rows()


def test_a_loopback_address_of_somebody_is_nobody_at_another_port():
    rows = [*answered("orders", "127.0.0.1:80", "x1"), went("127.0.0.1:81", "1")]
    assert told(log_rows=rows)[0][("shop/edge-gateway", f"unknown:{RULE}")] == 1


def test_an_api_that_does_not_say_what_it_calls_is_told_by_route():
    entry = {
        "resource_id": "prod/api-gateway",
        "http_request_method": "GET",
        "upstream_response_status_code": 200,
        "route_name": "/orders/{id}",
    }
    found, _ = told(log_rows=[entry])
    assert ("prod/api-gateway", "unknown:route GET /orders/{id}") in found


def test_istios_name_in_spans_is_the_service_that_others_know():
    rows = [
        span(1, 0, "reviews.bookinfo", SERVER),
        span(2, 1, "reviews.bookinfo", CLIENT),
        span(3, 2, "bookinfo/ratings", SERVER),
    ]
    alone, _ = edges(rows)
    assert ("reviews.bookinfo", "bookinfo/ratings") in alone
    both, _ = edges([*rows, {**span(1, 0, "bookinfo/reviews", SERVER), "trace_id_low": 2}])
    assert both == {
        ("clients", "bookinfo/reviews"): {"server": 2},
        ("bookinfo/reviews", "bookinfo/ratings"): {"client": 1, "server": 1},
    }


def test_a_caller_that_nobody_knows_is_never_merged_with_a_known_one():
    rows = [nameless(CALLED, upstream_remote_address="10.0.0.2:80",
                     upstream_local_address="10.0.0.1:999")]  # fmt: skip
    assert list(told(log_rows=rows)[0]) == [("unknown:10.0.0.1", "shop/b")]


def test_blocked_traffic_counts_at_the_caller_and_is_an_error_of_nobody_else():
    rows = [to("BlackHoleCluster", http_response_status_code=502)]
    _, graph = edges(log_rows=rows)
    (edge,) = graph.edges.to_dicts()
    assert (edge["server"], edge["requests"]) == ("external:BlackHoleCluster", 1)
    assert edge["server_error"] == 1


def test_the_address_of_a_proxys_peer_names_nobody():
    """It is the caller's own on one side and the callee's on the other (``peer.address``)."""
    assert not any("peer.address" in promoted.names for promoted in SPAN_ATTRIBUTES.values())
    told, _ = edges([span(1, 0, "shop/a", CLIENT, is_proxy=True, upstream_cluster="b")])
    assert told == {("shop/a", "external:b"): {"client_proxy": 1}}
