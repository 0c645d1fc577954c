"""Which span tells of which call: one test per rule, on traffic small enough to see."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipeline.analyze.graph import build
from pipeline.analyze.minutes import derive
from pipeline.model.topology import GroupBy
from tests.pipeline.analyze.traffic import (
    CLIENT,
    CONSUMER,
    PRODUCER,
    SERVER,
    access_logs,
    resources,
    spans,
)

START = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(1970, 1, 1, 1, tzinfo=UTC)


def edges(span_rows=(), log_rows=(), group_by=GroupBy.SERVICE, **known):
    """Edges as {(client, server): {reporter: requests}} plus the frame."""
    names = {str(row["resource_id"]) for row in [*span_rows, *log_rows]}
    derived = derive(
        spans(span_rows), access_logs(log_rows), resources(*sorted(names), **known), units=[(1, 9)]
    )
    graph = build(
        pl.DataFrame(derived["edge_minutes"]),
        pl.DataFrame(derived["aliases"]),
        start=START,
        end=END,
        group_by=group_by,
    )
    told = {
        (row["client"], row["server"]): {
            item["reporter"]: item["requests"] for item in row["reporters"]
        }
        for row in graph.edges.iter_rows(named=True)
    }
    return told, graph


def span(span_id, parent, resource_id, kind, start=0, **more):
    return {
        "span_id": span_id,
        "parent_span_id": parent or None,
        "resource_id": resource_id,
        "kind": kind,
        "start_time": start,
        **more,
    }


def test_a_client_span_and_the_server_span_below_it_are_one_call_told_twice():
    told, graph = edges([span(1, 0, "a", SERVER), span(2, 1, "a", CLIENT), span(3, 2, "b", SERVER)])
    assert told == {("clients", "a"): {"server": 1}, ("a", "b"): {"client": 1, "server": 1}}
    assert graph.edges.filter(pl.col("server") == "b")["agreement"].to_list() == [1.0]


def test_a_span_received_twice_is_one_span():
    rows = [span(1, 0, "a", SERVER), span(2, 1, "a", CLIENT, 1), span(3, 2, "b", SERVER, 2)]
    assert edges(rows)[0] == edges([*rows, *rows])[0]


def test_a_server_without_client_span_is_called_by_its_parents_service():
    told, _ = edges([span(1, 0, "a", SERVER), span(2, 1, "a", 1), span(3, 2, "b", SERVER)])
    assert told[("a", "b")] == {"server": 1}


def test_spans_without_kind_make_edges_where_the_service_changes():
    told, _ = edges(
        [span(1, 0, "a", 0), span(2, 1, "a", 0), span(3, 2, "b", 0), span(4, 3, "b", 0)]
    )
    assert told == {("clients", "a"): {"server": 1}, ("a", "b"): {"server": 1}}


def test_zipkin_shares_an_id_between_client_and_server_and_between_attempts():
    told, graph = edges(
        [
            span(1, 0, "a", SERVER, 0),
            span(2, 1, "a", CLIENT, 1),
            span(2, 1, "b", SERVER, 2),
            span(2, 1, "b", SERVER, 3),
            span(4, 2, "b", CLIENT, 4),
            span(4, 2, "c", SERVER, 5),
        ]
    )
    assert told == {
        ("clients", "a"): {"server": 1},
        ("a", "b"): {"client": 1, "server": 1},
        ("b", "c"): {"client": 1, "server": 1},
    }
    assert graph.edges.filter(pl.col("server") == "b")["attempts"].to_list() == [2]


PROXY = {"is_proxy": True}


def test_a_sidecar_that_writes_one_span_retries_and_is_counted_once():
    told, graph = edges(
        [
            span(1, 0, "a", SERVER, 0, **PROXY),
            span(2, 1, "a", CLIENT, 1, http_response_status_code=200, **PROXY),
            span(3, 2, "b", SERVER, 2, http_response_status_code=503, **PROXY),
            span(4, 2, "b", SERVER, 3, http_response_status_code=200, **PROXY),
        ]
    )
    assert told[("a", "b")] == {"client_proxy": 1, "server_proxy": 1}
    (edge,) = graph.edges.filter(pl.col("server") == "b").to_dicts()
    assert (edge["attempts"], edge["requests"], edge["server_error"]) == (2, 1, 0)


def test_a_proxy_that_writes_a_span_per_attempt_makes_no_edge_to_itself():
    told, graph = edges(
        [
            span(1, 0, "a", SERVER, 0, **PROXY),
            span(2, 1, "a", CLIENT, 1, **PROXY),
            span(3, 2, "b", SERVER, 2, **PROXY),
            span(4, 3, "b", CLIENT, 3, **PROXY),
            span(5, 3, "b", SERVER, 4, **PROXY),
            span(6, 5, "b", CLIENT, 5, **PROXY),
            span(7, 5, "b", CLIENT, 6, http_request_resend_count=1, **PROXY),
            span(8, 6, "c", SERVER, 6, **PROXY),
            span(9, 7, "c", SERVER, 7, **PROXY),
        ]
    )
    assert told == {
        ("clients", "a"): {"server_proxy": 1},
        ("a", "b"): {"client_proxy": 1, "server_proxy": 1},
        ("b", "c"): {"client_proxy": 1, "server_proxy": 1},
    }
    assert graph.edges.filter(pl.col("server") == "c")["attempts"].to_list() == [2]


def test_application_and_sidecars_tell_of_one_call_four_times():
    told, _ = edges(
        [
            span(1, 0, "a", SERVER, 0),
            span(2, 1, "a", CLIENT, 1),
            span(3, 2, "a", CLIENT, 2, **PROXY),
            span(4, 3, "b", SERVER, 3, **PROXY),
            span(5, 4, "b", SERVER, 4),
        ]
    )
    assert told == {
        ("clients", "a"): {"server": 1},
        ("a", "b"): {"client": 1, "client_proxy": 1, "server_proxy": 1, "server": 1},
    }


def test_two_layers_of_instrumentation_count_once():
    told, _ = edges(
        [
            span(1, 0, "a", SERVER, 0),
            span(2, 1, "a", SERVER, 1),
            span(3, 2, "a", CLIENT, 2),
            span(4, 3, "a", CLIENT, 3),
            span(5, 4, "b", SERVER, 4),
        ]
    )
    assert told == {("clients", "a"): {"server": 1}, ("a", "b"): {"client": 1, "server": 1}}


def test_numbered_attempts_are_one_request_with_the_last_ones_outcome():
    told, graph = edges(
        [
            span(1, 0, "a", SERVER, 0),
            span(2, 1, "a", CLIENT, 1, http_response_status_code=503),
            span(3, 1, "a", CLIENT, 2, http_response_status_code=200, http_request_resend_count=1),
            span(4, 2, "b", SERVER, 1, http_response_status_code=503),
            span(5, 3, "b", SERVER, 2, http_response_status_code=200),
        ]
    )
    assert told[("a", "b")] == {"client": 1, "server": 1}
    (edge,) = graph.edges.filter(pl.col("server") == "b").to_dicts()
    assert (edge["attempts"], edge["error_ratio"]) == (2, 0.0)


def test_a_service_that_calls_itself_has_an_edge_to_itself():
    told, _ = edges([span(1, 0, "a", SERVER), span(2, 1, "a", CLIENT), span(3, 2, "a", SERVER)])
    assert told[("a", "a")] == {"client": 1, "server": 1}


def test_a_gateway_answers_clients_and_calls_the_first_service():
    told, graph = edges(
        [
            span(1, 0, "shop/edge-gateway", SERVER, 0, **PROXY),
            span(2, 1, "shop/edge-gateway", CLIENT, 1, **PROXY),
            span(3, 2, "shop/a", SERVER, 2, **PROXY),
        ]
    )
    assert told == {
        ("clients", "shop/edge-gateway"): {"gateway": 1},
        ("shop/edge-gateway", "shop/a"): {"gateway": 1, "server_proxy": 1},
    }
    kinds = dict(graph.nodes.select("id", "kind").iter_rows())
    assert kinds["shop/edge-gateway"] == "gateway"


@pytest.mark.parametrize(
    ("row", "node"),
    [
        ({"db_system_name": "postgresql", "server_address": "orders-db"}, "db:orders-db"),
        ({"db_namespace": "orders"}, "db:orders"),
        ({"service_peer_name": "stripe", "server_address": "10.0.0.1"}, "external:stripe"),
        ({"server_address": "api.stripe.com", "server_port": 443}, "external:api.stripe.com"),
        ({"network_peer_address": "10.0.0.7", "network_peer_port": 8080}, "unknown:10.0.0.7:8080"),
        ({"upstream_cluster": "outbound|80|v1|cart.shop.svc.cluster.local", **PROXY}, "shop/cart"),
        ({}, "unknown:unknown"),
    ],
)
def test_a_client_span_nobody_answered_names_its_peer(row, node):
    told, _ = edges([span(1, 0, "a", SERVER), span(2, 1, "a", CLIENT, **row)])
    assert ("a", node) in told


def test_a_host_name_that_is_a_known_service_is_that_service():
    told, _ = edges(
        [
            span(1, 0, "shop/a", SERVER),
            span(2, 1, "shop/a", CLIENT, server_address="cart.shop.svc.cluster.local"),
            span(3, 1, "shop/a", CLIENT, server_address="cart", server_port=80),
            {**span(4, 0, "shop/cart", SERVER), "trace_id_low": 2},
        ]
    )
    assert told[("shop/a", "shop/cart")] == {"client": 2}


def test_messages_go_through_their_topic():
    told, graph = edges(
        [
            span(1, 0, "a", PRODUCER, messaging_destination_name="payments"),
            span(2, 1, "b", CONSUMER, messaging_destination_name="payments"),
        ]
    )
    assert told == {("a", "topic:payments"): {"client": 1}, ("topic:payments", "b"): {"server": 1}}
    assert dict(graph.nodes.select("id", "kind").iter_rows())["topic:payments"] == "messaging"


def test_sampled_spans_stand_for_many():
    one_percent = 0xFD70A4 << 32
    _, graph = edges([span(1, 0, "a", SERVER, sampling_threshold=one_percent)])
    assert graph.edges["requests"].to_list() == [100]
    assert graph.edges["coverage"].to_list() == [pytest.approx(0.01, rel=1e-4)]


def test_a_call_belongs_to_the_minute_in_which_its_client_began():
    minute = 60_000_000_000
    derived = derive(
        spans([span(1, 0, "a", CLIENT, minute - 1), span(2, 1, "b", SERVER, minute + 1)]),
        access_logs([]),
        resources("a", "b"),
        units=[(1, 1)],
    )
    assert set(pl.DataFrame(derived["edge_minutes"])["minute"].dt.epoch("ns")) == {0}


def test_an_edge_by_version_keeps_versions_apart():
    told, _ = edges(
        [
            span(1, 0, "a", SERVER),
            span(2, 1, "a", CLIENT),
            span(3, 2, "b@v1", SERVER),
            span(4, 1, "a", CLIENT),
            span(5, 4, "b@v2", SERVER),
        ],
        group_by=GroupBy.VERSION,
    )
    assert told[("a", "b@v1")] == told[("a", "b@v2")] == {"client": 1, "server": 1}


def test_a_server_whose_parent_was_not_received_is_called_by_clients():
    told, graph = edges([span(2, 1, "b", SERVER)])
    assert told == {("clients", "b"): {"server": 1}}
    assert dict(graph.nodes.select("id", "kind").iter_rows())["clients"] == "clients"


@pytest.mark.parametrize(("seconds_ago", "edges"), [(30, 1), (600, 2)])
def test_callers_that_are_still_on_their_way_make_no_edge_from_clients(seconds_ago, edges):
    rows = [
        span(1, 0, "a", CLIENT),
        span(2, 1, "b", SERVER),
        {**span(2, 1, "b", SERVER), "trace_id_low": 2},
    ]
    derived = derive(spans(rows), access_logs([]), resources("a", "b"), units=[(1, 1)])
    graph = build(
        pl.DataFrame(derived["edge_minutes"]),
        pl.DataFrame(derived["aliases"]),
        start=START,
        end=END,
        now=START + timedelta(seconds=seconds_ago),
    )
    assert graph.edges.height == edges
