"""Proxies whose metrics come by several paths: who is the same, which path counts, what agrees."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from polars.testing import assert_frame_equal

from pipeline.analyze import graph, paths
from pipeline.analyze.counters import needed
from pipeline.analyze.metric_minutes import derive, told
from pipeline.model.tables import ALIASES
from tests.pipeline.analyze.points import MINUTE, point, series
from tests.pipeline.analyze.traffic import resources

WINDOW = {
    "start": datetime(1970, 1, 1, tzinfo=UTC),
    "end": datetime(1970, 1, 1, 0, 20, tzinfo=UTC),
}
NO_ALIASES = pl.DataFrame(pl.from_arrow(ALIASES.arrow.empty_table())).drop("slice")
MINUTES = [n * MINUTE for n in range(20)]
CART = {
    "reporter": "source", "source_workload": "web", "source_workload_namespace": "shop",
    "source_canonical_service": "web", "destination_workload": "cart",
    "destination_workload_namespace": "shop", "destination_canonical_service": "cart",
    "destination_service_name": "cart", "destination_service_namespace": "shop",
    "request_protocol": "http", "response_code": "200",
}  # fmt: skip
STOCK = CART | {
    "destination_workload": "stock", "destination_canonical_service": "stock",
    "destination_service_name": "stock",
}  # fmt: skip
NAME = "istio_requests_total"

POD = {"attributes": '{"k8s.namespace.name":"shop","k8s.pod.name":"web-1","k8s.pod.ip":"10.0.0.7"}'}
ENVOY = {"service_instance_id": "sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local"}
AT_PORT = {"service_instance_id": "10.0.0.7:15020"}
UNIQUE = {"service_instance_id": "627cc493-f310-47de-96bd-71410b7dec09"}
EVERYWHERE = {"service_instance_id": "front-proxy"}
LABELS = {"pod": "web-1", "namespace": "shop"}
NOBODY: dict[str, str] = {}


def counted(name, resource_id, *, labels=CART, every=15, until=300, by=3, first=0):
    """A counter that rises by so many between readings."""
    return [
        point(name, at, by * (n + 1), labels, resource_id=resource_id)
        for n, at in enumerate(range(first, until + 1, every))
    ]


def minutes_of(rows, known):
    tables = derive(told(series(rows), known), minutes=MINUTES)
    return {name: pl.DataFrame(pl.from_arrow(table)) for name, table in tables.items()}


def graph_of(rows, known):
    return graph.build(minutes_of(rows, known)["edge_minutes"], NO_ALIASES, **WINDOW)


def edge_of(rows, known):
    (edge,) = graph_of(rows, known).edges.to_dicts()
    return edge


def two(one, other):
    return pl.concat([resources("shop/one", **one), resources("shop/other", **other)])


def both(labels=NOBODY, **rest):
    """The same counter by two paths that read it at other times; the second puts labels on it."""
    return [
        *counted(NAME, "shop/one"),
        *counted(NAME, "shop/other", labels=CART | dict(labels), first=4, **rest),
    ]


@pytest.mark.parametrize(
    ("one", "other", "labels"),
    [
        (POD, POD | {"system": "istio"}, NOBODY),
        (POD, ENVOY, NOBODY),
        (POD, AT_PORT, NOBODY),
        (POD, NOBODY, LABELS),
        (ENVOY, AT_PORT, NOBODY),
        (ENVOY, AT_PORT, LABELS),
        (AT_PORT, AT_PORT, NOBODY),
        ({"service_instance_id": "kong-1:8100"}, {"service_instance_id": "kong-1:8100"}, NOBODY),
        (POD, POD | {"cluster": "east"}, NOBODY),
        (UNIQUE, UNIQUE, NOBODY),
    ],
    ids=[
        "pod",
        "envoy",
        "address",
        "labels",
        "envoy's address",
        "all",
        "port",
        "host",
        "cluster",
        "uuid",
    ],
)
def test_a_proxy_told_by_two_paths_counts_once(one, other, labels):
    edge = edge_of(both(labels), two(one, other))
    assert edge["requests"] == 60
    assert edge["paths_agreement"] > 0.9
    assert edge["agreement"] is None


@pytest.mark.parametrize(
    ("one", "other", "labels"),
    [
        (NOBODY, NOBODY, NOBODY),
        (POD, NOBODY, {"pod": "web-2", "namespace": "shop"}),
        (POD, AT_PORT, {"pod": "web-2", "namespace": "shop"}),
        (AT_PORT, {"service_instance_id": "10.0.0.7:15090"}, NOBODY),
        ({"service_instance_id": "127.0.0.1:9901"}, {"service_instance_id": "127.0.0.1:9901"}, {}),
        (EVERYWHERE, EVERYWHERE | {"zone": "b"}, NOBODY),
        (POD | {"cluster": "west"}, POD | {"cluster": "east"}, NOBODY),
    ],
    ids=["nobody", "pods", "one address", "ports", "loopback", "node id", "clusters"],
)
def test_what_may_be_two_proxies_counts_twice(one, other, labels):
    edge = edge_of(both(labels), two(one, other))
    assert edge["requests"] == 60 + 57
    assert edge["paths_agreement"] is None


def test_an_address_that_two_pods_have_says_nothing_of_a_third():
    known = pl.concat(
        [
            resources("shop/one", **POD),
            resources("shop/two", attributes=POD["attributes"].replace("web-1", "web-2")),
            resources("shop/three", **AT_PORT),
        ]
    )
    rows = [row for name in ("one", "two", "three") for row in counted(NAME, f"shop/{name}")]
    assert edge_of(rows, known)["requests"] == 3 * 60


@pytest.mark.parametrize("label", ["prometheus_replica", "prometheus", "replica"])
def test_two_prometheus_servers_that_label_what_they_send_count_once(label):
    rows = [
        row
        for replica in ("a", "b")
        for row in counted(NAME, "shop/one", labels=CART | {label: replica})
    ]
    edge = edge_of(rows, resources("shop/one", **AT_PORT))
    assert (edge["requests"], edge["paths_agreement"]) == (60, 1)


def test_a_collector_that_passes_pods_on_is_none_of_them():
    # its own place is no pod's, and what its labels say of pods keeps them apart
    rows = [
        row
        for pod in ("web-1", "web-2")
        for row in counted(NAME, "shop/one", labels=CART | {"pod": pod, "namespace": "shop"})
    ]
    assert edge_of(rows, resources("shop/one", **POD))["requests"] == 2 * 60


def test_the_path_with_most_points_counts():
    rows = [*counted(NAME, "shop/one", every=60, by=12), *counted(NAME, "shop/other", by=3)]
    edge = edge_of(rows, two(POD, ENVOY))
    assert (edge["requests"], edge["paths_agreement"]) == (60, 1)
    # and that whichever of the two it is
    rows = [*counted(NAME, "shop/other", every=60, by=13), *counted(NAME, "shop/one", by=3)]
    edge = edge_of(rows, two(POD, ENVOY))
    assert edge["requests"] == 60
    assert edge["paths_agreement"] == pytest.approx(60 / 65)


def test_a_path_that_ends_leaves_the_counting_to_the_other():
    rows = [*counted(NAME, "shop/one", until=300), *counted(NAME, "shop/other", until=900, first=1)]
    edge = edge_of(rows, two(POD, ENVOY))
    # at the minute in which they change places at most a reading of each is counted or missed
    assert edge["requests"] == pytest.approx(177, abs=3)


def test_a_call_that_one_path_leaves_out_is_counted_by_the_other():
    rows = [*both(), *counted(NAME, "shop/other", labels=STOCK)]
    found = {edge["server"]: edge for edge in graph_of(rows, two(POD, ENVOY)).edges.to_dicts()}
    assert found["shop/cart"]["requests"] == found["shop/stock"]["requests"] == 60
    assert found["shop/stock"]["paths_agreement"] is None


def test_a_metric_that_a_sink_spells_otherwise_is_the_same():
    cluster = "outbound|80||cart.shop.svc.cluster.local"
    scraped = {"envoy_cluster_name": cluster, "envoy_response_code_class": "2"}
    sunk = {"envoy.cluster_name": cluster, "envoy.response_code_class": "2"}
    rows = [
        *counted("envoy_cluster_upstream_rq_xx", "shop/one", labels=scraped),
        *counted("envoy.cluster.upstream_rq_xx", "shop/other", labels=sunk),
    ]
    edges = graph_of(rows, two(POD, ENVOY)).edges.select("requests", "paths_agreement").rows()
    # each calls the proxy by its own name; the one that counts is the caller
    assert edges == [(60, 1.0)]


def test_of_two_metrics_of_one_proxy_the_better_counts_whatever_paths_they_came_by():
    cluster = {
        "envoy_cluster_name": "outbound|80||cart.shop.svc.cluster.local",
        "envoy_response_code_class": "2",
    }
    rows = [
        *counted(NAME, "shop/one"),
        *counted("envoy_cluster_upstream_rq_xx", "shop/other", labels=cluster),
    ]
    edge = edge_of(rows, two(POD, ENVOY))
    assert (edge["client"], edge["requests"], edge["paths_agreement"]) == ("shop/web", 60, None)


@st.composite
def tellings(draw):
    """What one process counted, as two paths read it: each at its own times, with gaps."""
    count, history = 0, []
    for _ in range(draw(st.integers(20, 60))):
        count = 0 if draw(st.integers(0, 25)) == 0 else count + draw(st.integers(0, 9))
        history.append(count)
    rows = []
    for path in ("shop/one", "shop/other"):
        step = draw(st.sampled_from([1, 1, 2, 4]))
        gone = draw(st.integers(0, 60))
        rows += [
            point(NAME, tick * 15 + 0.1, history[tick], CART, resource_id=path)
            for tick in range(draw(st.integers(0, 3)), len(history), step)
            if not gone <= tick < gone + 10
        ]
    return rows


def requests_by_minute(rows):
    edges = minutes_of(rows, two(POD, ENVOY))["edge_minutes"]
    return dict(edges.group_by("minute").agg(pl.col("requests").sum()).iter_rows())


@given(tellings())
@settings(max_examples=60, deadline=None)
def test_every_minute_is_that_of_one_path(rows):
    apart = [
        requests_by_minute([row for row in rows if row["resource_id"] == path])
        for path in ("shop/one", "shop/other")
    ]
    for minute, requests in requests_by_minute(rows).items():
        assert requests in {path.get(minute, 0) for path in apart}


@given(tellings(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_points_changes_no_row(rows, random):
    shuffled = minutes_of(random.sample(rows, len(rows)), two(POD, ENVOY))
    for name, table in minutes_of(rows, two(POD, ENVOY)).items():
        assert_frame_equal(shuffled[name], table)


@given(tellings(), st.integers(0, 15), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_minutes_need_no_other_points_than_those_named(rows, first, more):
    start, end = needed(first * MINUTE, (first + more) * MINUTE)
    near = [row for row in rows if start <= row["time"] < end]
    wanted = pl.col("minute").dt.epoch("ns").is_between(first * MINUTE, (first + more) * MINUTE)
    for name, table in minutes_of(rows, two(POD, ENVOY)).items():
        found = minutes_of(near, two(POD, ENVOY))[name] if near else table.clear()
        assert_frame_equal(found.filter(wanted), table.filter(wanted))


def test_what_is_of_one_producer_is_read_in_one_part():
    known = pl.concat([two(POD, ENVOY), resources("shop/alone", "shop/far")])
    tellers = pl.DataFrame(
        {
            "resource_id": ["shop/one", "shop/alone", "shop/other", "shop/far"],
            "labels": [[None] * len(paths.PATHS)] * 4,
            "points": [70, 30, 50, 40],
        },
        schema={"resource_id": pl.String, "labels": pl.List(pl.String), "points": pl.Int64},
    )
    found = paths.parts(tellers, known, most=100)
    assert sorted(map(sorted, found)) == [["shop/alone", "shop/far"], ["shop/one", "shop/other"]]
