"""Access logs of a mesh, entry by entry as real Envoys write them."""

import polars as pl
import pytest

from tests.pipeline.analyze.test_pair import edges

SPIFFE = "spiffe://demo/ns/shop/sa/"


def outbound(service, cluster, to, port, **more):
    return {
        "resource_id": f"shop/{service}",
        "log_name": "outbound",
        "upstream_cluster": cluster,
        "upstream_remote_address": to,
        "upstream_local_address": f"127.0.0.1:{port}",
        "attempt_count": 1,
        **more,
    }


def inbound(service, at, port, peer=None, **more):
    return {
        "resource_id": f"shop/{service}",
        "log_name": "inbound",
        "upstream_cluster": "inbound",
        "downstream_local_address": at,
        "downstream_direct_remote_address": f"127.0.0.1:{port}",
        "tls_version": "TLSv1.3" if peer else None,
        "tls_peer_identity": SPIFFE + peer if peer else None,
        "tls_local_identity": SPIFFE + service,
        **more,
    }


def test_both_proxies_tell_of_one_request():
    told, graph = edges(
        log_rows=[
            outbound("a", "b-v1", "127.0.0.1:80", 1000),
            inbound("b", "127.0.0.1:80", 1000, peer="a"),
        ]
    )
    assert told == {("shop/a", "shop/b"): {"client_proxy": 1, "server_proxy": 1}}
    assert graph.edges["mtls_ratio"].to_list() == [1.0]


def test_a_retry_is_one_request_and_two_attempts():
    told, graph = edges(
        log_rows=[
            outbound("a", "b", "127.0.0.1:80", 1000, attempt_count=2),
            inbound("b", "127.0.0.1:80", 1000, peer="a", http_response_status_code=503),
            inbound("b", "127.0.0.1:80", 1000, peer="a", start_time=5),
        ]
    )
    assert told[("shop/a", "shop/b")] == {"client_proxy": 1, "server_proxy": 1}
    (edge,) = graph.edges.to_dicts()
    assert (edge["attempts"], edge["server_error"], edge["agreement"]) == (2, 0, 1.0)


def test_a_diamond_within_one_request_keeps_its_callers_apart():
    told, _ = edges(
        log_rows=[
            outbound("a", "c", "127.0.0.1:80", 1000),
            outbound("b", "c", "127.0.0.1:80", 2000),
            inbound("c", "127.0.0.1:80", 1000, peer="a"),
            inbound("c", "127.0.0.1:80", 2000, peer="b"),
        ]
    )
    assert told == {
        ("shop/a", "shop/c"): {"client_proxy": 1, "server_proxy": 1},
        ("shop/b", "shop/c"): {"client_proxy": 1, "server_proxy": 1},
    }


def of_api_gateway(consumer=None, upstream="orders.shop.svc", **more):
    return {
        "resource_id": "edge/orders-api",
        "log_type": 0,
        "upstream_cluster": upstream,
        "consumer": consumer,
        "upstream_duration_ns": 600_000,
        **more,
    }


@pytest.mark.parametrize("system", ["kong", "aws", "apigee"])
def test_an_api_gateway_is_known_by_its_system(system):
    told, graph = edges(log_rows=[of_api_gateway()], system=system)
    assert told == {
        ("clients", "edge/orders-api"): {"gateway": 1},
        ("edge/orders-api", "shop/orders"): {"gateway": 1},
    }
    kinds = dict(graph.nodes.select("id", "kind").iter_rows())
    assert kinds["edge/orders-api"] == "gateway"
    assert graph.edges["mtls_ratio"].to_list() == [None, None]


def test_consumers_enter_the_graph_of_services_as_clients():
    told, graph = edges(
        log_rows=[
            of_api_gateway("mobile", request_id="1"),
            of_api_gateway("person-0123456789abcdef", request_id="2"),
            of_api_gateway(request_id="3"),
        ],
        system="kong",
    )
    assert told[("clients", "edge/orders-api")] == {"gateway": 3}
    assert "consumer" not in graph.nodes["kind"].to_list()


def test_each_side_of_a_gateway_has_the_status_it_saw():
    _, graph = edges(
        log_rows=[
            of_api_gateway(upstream_response_status_code=500, http_response_status_code=200),
            of_api_gateway(http_response_status_code=404, upstream=None, request_id="2"),
        ],
        system="kong",
    )
    errors = {
        row["server"]: (row["requests"], row["client_error"], row["server_error"])
        for row in graph.edges.to_dicts()
    }
    assert errors == {
        "edge/orders-api": (2, 1, 0),
        "shop/orders": (1, 0, 1),
    }


def test_a_gateways_request_joins_the_mesh_behind_it():
    told, _ = edges(
        log_rows=[
            of_api_gateway(
                upstream="orders",
                upstream_remote_address="10.0.0.5:8080",
                resource_id="edge/api-gateway",
            ),
            inbound("orders", "10.0.0.5:8080", 1000),
        ]
    )
    assert told == {
        ("clients", "edge/api-gateway"): {"gateway": 1},
        ("edge/api-gateway", "shop/orders"): {"gateway": 1, "server_proxy": 1},
    }


def test_a_gateways_entry_tells_of_two_calls():
    told, graph = edges(
        log_rows=[
            {**outbound("edge-gateway", "a", "127.0.0.1:80", 1000), "log_name": "gateway"},
            inbound("a", "127.0.0.1:80", 1000, peer="edge-gateway"),
        ]
    )
    assert told == {
        ("clients", "shop/edge-gateway"): {"gateway": 1},
        ("shop/edge-gateway", "shop/a"): {"gateway": 1, "server_proxy": 1},
    }
    assert graph.edges.filter(pl.col("client") == "clients")["mtls_ratio"].to_list() == [0.0]


def test_directions_are_found_where_the_names_do_not_tell():
    told, _ = edges(
        log_rows=[
            {**outbound("a", "b", "127.0.0.1:80", 1000), "log_name": "access"},
            {
                **inbound("b", "127.0.0.1:80", 1000),
                "log_name": "access",
                "upstream_cluster": "local_app",
            },
        ]
    )
    assert told == {("shop/a", "shop/b"): {"client_proxy": 1, "server_proxy": 1}}


def test_a_failed_connection_still_names_the_service_its_cluster_stands_for():
    told, graph = edges(
        log_rows=[
            outbound("a", "pay-cluster", "127.0.0.1:80", 1000),
            inbound("payment", "127.0.0.1:80", 1000, peer="a"),
            {
                **outbound("a", "pay-cluster", None, 1001),
                "request_id": "another",
                "http_response_status_code": 503,
                "response_flags": "UF",
            },
        ]
    )
    assert told[("shop/a", "shop/payment")] == {"client_proxy": 2, "server_proxy": 1}
    assert graph.edges["connection"].to_list() == [1]


def test_a_certificate_names_a_caller_whose_entry_is_missing():
    told, _ = edges(
        log_rows=[
            inbound("b", "127.0.0.1:80", 1000, peer="a"),
            {**inbound("a", "127.0.0.1:81", 999), "request_id": "another"},
        ]
    )
    assert told[("shop/a", "shop/b")] == {"server_proxy": 1}


@pytest.mark.parametrize("log_type", [1, 2, 4, 5, 7, 9])
def test_entries_that_repeat_a_request_are_not_counted(log_type):
    told, _ = edges(
        log_rows=[
            outbound("a", "b", "127.0.0.1:80", 1000),
            outbound("a", "b", "127.0.0.1:80", 1000, log_type=log_type),
        ]
    )
    assert told[("shop/a", "external:b")] == {"client_proxy": 1}


def test_http_200_with_a_grpc_error_is_an_error():
    _, graph = edges(log_rows=[outbound("a", "b", "127.0.0.1:80", 1000, rpc_status_code="14")])
    assert graph.edges.select("protocol", "server_error").rows() == [("grpc", 1)]


CALLED = "outbound|80||b.shop.svc.cluster.local"


def nameless(cluster, **more):
    """An entry of a log line that does not say who wrote it."""
    return {"resource_id": None, "upstream_cluster": cluster, **more}


def test_a_caller_without_a_name_is_its_address():
    told, graph = edges(
        log_rows=[
            nameless(CALLED, upstream_remote_address="10.0.0.2:80",
                     upstream_local_address="10.0.0.1:999"),
            {**nameless("inbound|80||"), "resource_id": "shop/b",
             "downstream_local_address": "10.0.0.2:80",
             "downstream_direct_remote_address": "10.0.0.1:999"},
        ]
    )  # fmt: skip
    assert told == {("unknown:10.0.0.1", "shop/b"): {"client_proxy": 1, "server_proxy": 1}}
    assert graph.edges["mtls_ratio"].to_list() == [None]


def test_a_caller_without_a_name_is_who_answers_at_its_address():
    told, _ = edges(
        log_rows=[
            nameless(CALLED, upstream_remote_address="10.0.0.2:80",
                     upstream_local_address="10.0.0.1:999"),
            {**nameless("inbound|80||", request_id="other"), "resource_id": "shop/a",
             "downstream_local_address": "10.0.0.1:8080"},
        ]
    )  # fmt: skip
    assert told[("shop/a", "shop/b")] == {"client_proxy": 1}


def test_retries_of_a_caller_without_a_name_are_one_request():
    answers = [
        {**nameless("inbound|80||", start_time=time, http_response_status_code=status),
         "resource_id": "shop/b", "downstream_local_address": "10.0.0.2:80",
         "downstream_direct_remote_address": "10.0.0.1:999"}
        for time, status in ((0, 503), (5, 200))
    ]  # fmt: skip
    told, graph = edges(
        log_rows=[
            nameless(CALLED, upstream_remote_address="10.0.0.2:80", attempt_count=2,
                     upstream_local_address="10.0.0.1:999"),
            *answers,
        ]
    )  # fmt: skip
    assert told == {("unknown:10.0.0.1", "shop/b"): {"client_proxy": 1, "server_proxy": 1}}
    assert graph.edges["attempts"].to_list() == [2]


def test_a_proxy_that_tells_only_where_it_sent_a_request_called_for_clients():
    told, _ = edges(log_rows=[nameless(None, upstream_remote_address="10.0.0.2:80")])
    assert told == {("clients", "unknown:10.0.0.2:80"): {"client_proxy": 1}}


def test_a_caller_known_by_its_linkerd_identity_is_that_account():
    row = {
        "resource_id": "shop/b",
        "tls_peer_identity": "web.front.serviceaccount.identity.linkerd.cluster.local",
    }
    told, graph = edges(log_rows=[row])
    assert told == {("front/web", "shop/b"): {"server_proxy": 1}}
    assert graph.edges["mtls_ratio"].to_list() == [1.0]


def test_a_peer_is_the_workload_that_said_it_has_that_identity():
    own = "spiffe://cluster.local/ns/shop/sa/default"
    told, _ = edges(
        log_rows=[
            {"resource_id": "shop/a", "log_name": "ztunnel outbound", "upstream_cluster": CALLED,
             "tls_local_identity": own, "request_id": None, "protocol": "tcp"},
            {"resource_id": "shop/b", "log_name": "ztunnel inbound", "tls_peer_identity": own,
             "request_id": None, "protocol": "tcp"},
        ]
    )  # fmt: skip
    assert told == {("shop/a", "shop/b"): {"client_proxy": 1, "server_proxy": 1}}
