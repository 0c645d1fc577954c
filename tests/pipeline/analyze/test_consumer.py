"""API consumers on the graph: in the place of clients where known, and counted once."""

import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.analyze import consumer
from pipeline.analyze.graph import build
from pipeline.analyze.minutes import derive
from pipeline.model.topology import GroupBy
from tests.pipeline.analyze.traffic import CLIENT, SERVER, access_logs, resources, spans

START = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = 60 * 10**9


def entry(number, who=None, **more):
    """A request that Kong answered and sent on to the service ``orders``."""
    return {
        "request_id": f"r{number}", "resource_id": "kong", "consumer": who,
        "upstream_cluster": "orders", "http_request_method": "GET", "route_name": "orders",
        "start_time": number, **more,
    }  # fmt: skip


def derived(log_rows=(), span_rows=(), units=((1, 9),)):
    names = {str(row["resource_id"]) for row in [*span_rows, *log_rows]}
    known = resources(*sorted(names)).with_columns(
        system=pl.when(pl.col("resource_id") == "kong").then(pl.lit("kong")).otherwise("system")
    )
    return derive(spans(span_rows), access_logs(log_rows), known, units=list(units))


def graph_of(tables, group_by=GroupBy.CONSUMER):
    minutes = pl.DataFrame(tables["edge_minutes"])
    if group_by is GroupBy.CONSUMER:
        minutes = consumer.told_apart(minutes, pl.DataFrame(tables["consumer_minutes"]))
    return build(
        minutes,
        pl.DataFrame(tables["aliases"]),
        start=START,
        end=START + timedelta(hours=1),
        group_by=group_by,
    )


def edges_of(graph):
    return {
        (row["client"], row["server"]): row["requests"] for row in graph.edges.iter_rows(named=True)
    }


def test_consumers_stand_for_clients_where_they_are_known():
    rows = [entry(1, "app:a"), entry(2, "app:a"), entry(3, "key:b"), entry(4)]
    graph = graph_of(derived(rows))
    assert edges_of(graph) == {
        ("clients", "kong"): 1,
        ("consumer:app:a", "kong"): 2,
        ("consumer:key:b", "kong"): 1,
        ("kong", "external:orders"): 4,
    }
    nodes = {row["id"]: row for row in graph.nodes.iter_rows(named=True)}
    assert nodes["consumer:app:a"]["kind"] == "consumer"
    assert nodes["consumer:app:a"]["name"] == "app:a"
    assert nodes["consumer:app:a"]["namespace"] is None
    assert nodes["kong"]["requests"] == 4


def test_clients_leave_the_graph_where_every_consumer_is_known():
    assert ("clients", "kong") not in edges_of(graph_of(derived([entry(1, "app:a")])))


def test_without_consumers_the_graph_is_the_one_of_services():
    tables = derived([entry(1), entry(2)])
    plain, told = graph_of(tables, GroupBy.SERVICE), graph_of(tables)
    assert told.edges.equals(plain.edges)
    assert told.nodes.equals(plain.nodes)


def test_errors_and_latency_are_those_of_the_consumer():
    slow, fast = 80_000_000, 1_000_000
    rows = [
        entry(1, "app:a", duration_ns=slow, http_response_status_code=500),
        entry(2, duration_ns=fast),
        entry(3, duration_ns=fast, http_response_status_code=404),
    ]
    edges = {
        row["client"]: row
        for row in graph_of(derived(rows)).edges.iter_rows(named=True)
        if row["server"] == "kong"
    }
    assert (edges["consumer:app:a"]["server_error"], edges["clients"]["server_error"]) == (1, 0)
    assert edges["clients"]["client_error"] == 1
    assert edges["consumer:app:a"]["server_p50"] == pytest.approx(0.08, rel=0.011)
    assert edges["clients"]["server_p99"] == pytest.approx(0.001, rel=0.011)


def test_another_reporter_of_the_same_requests_does_not_tell_them_again():
    rows = [entry(1, "app:a"), entry(2, "app:b")]
    told = [
        {"trace_id_low": trace, "span_id": trace, "resource_id": "kong", "kind": SERVER,
         "is_proxy": True}
        for trace in (1, 2)
    ]  # fmt: skip
    tables = derived(rows, told)
    assert edges_of(graph_of(tables, GroupBy.SERVICE))[("clients", "kong")] == 2
    edges = edges_of(graph_of(tables))
    assert ("clients", "kong") not in edges
    assert edges[("consumer:app:a", "kong")] == edges[("consumer:app:b", "kong")] == 1


def test_consumers_of_spans_are_told_apart_too():
    told = [
        {"trace_id_low": 1, "span_id": 1, "resource_id": "shop/a", "kind": SERVER,
         "consumer": "subject:person-1"},
        {"trace_id_low": 1, "span_id": 2, "parent_span_id": 1, "resource_id": "shop/a",
         "kind": CLIENT},
        {"trace_id_low": 1, "span_id": 3, "parent_span_id": 2, "resource_id": "shop/b",
         "kind": SERVER, "consumer": "subject:person-1"},
    ]  # fmt: skip
    assert edges_of(graph_of(derived(span_rows=told))) == {
        ("consumer:subject:person-1", "shop/a"): 1,
        ("shop/a", "shop/b"): 1,
    }


def test_usage_is_told_by_consumer_and_route():
    rows = [entry(1, "app:a"), entry(2, "app:a", route_name="pay"), entry(3, "app:a")]
    told = pl.DataFrame(derived(rows)["consumer_minutes"])
    assert told.select("consumer", "route", "server", "requests").rows() == [
        ("app:a", "GET orders", "kong", 2_000_000),
        ("app:a", "GET pay", "kong", 1_000_000),
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([None, "app:a", "app:b", "key:c"]), st.integers(0, 3)),
             min_size=1, max_size=20),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_no_request_is_lost_doubled_or_dependent_on_order(requests, chance: random.Random):
    rows = [
        entry(number, who, start_time=minute * MINUTE, duration_ns=number * 1000)
        for number, (who, minute) in enumerate(requests)
    ]
    tables = derived(rows)
    edges = edges_of(graph_of(tables))
    told = {client: count for (client, server), count in edges.items() if server == "kong"}
    wanted = {}
    for who, _ in requests:
        name = f"consumer:{who}" if who else "clients"
        wanted[name] = wanted.get(name, 0) + 1
    assert told == wanted
    chance.shuffle(rows)
    again = derived(rows)
    assert again["consumer_minutes"].equals(tables["consumer_minutes"])


def test_only_the_largest_consumers_of_a_minute_are_told_apart(monkeypatch):
    monkeypatch.setattr(consumer, "KEPT_PER_MINUTE", 2)
    rows = [
        *(entry(number, "app:large") for number in range(3)),
        *(entry(10 + number, f"app:{number}") for number in range(4)),
        entry(20, "app:3", start_time=MINUTE),
    ]
    told = pl.DataFrame(derived(rows)["consumer_minutes"])
    by_minute = {
        (row["minute"].minute, row["consumer"]): row["requests"] // 10**6
        for row in told.iter_rows(named=True)
    }
    assert by_minute == {
        (0, "app:large"): 3, (0, "app:0"): 1, (0, "other"): 3, (1, "app:3"): 1,
    }  # fmt: skip
    edges = edges_of(graph_of(derived(rows)))
    assert edges[("consumer:other", "kong")] == 3


def test_a_graph_shows_the_largest_consumers_of_its_window(monkeypatch):
    monkeypatch.setattr(consumer, "SHOWN", 1)
    rows = [entry(1, "app:a"), entry(2, "app:b"), entry(3, "app:b"), entry(4, "app:c")]
    edges = edges_of(graph_of(derived(rows)))
    assert edges[("consumer:app:b", "kong")] == 2
    assert edges[("consumer:other", "kong")] == 2
