"""Who resources are: proxies that are all called alike, and what they stand before."""

import orjson
import polars as pl
import pytest

from pipeline.analyze.identity import identify
from tests.pipeline.analyze.test_pair import edges, span
from tests.pipeline.analyze.traffic import CLIENT, SERVER, resources


def of_linkerd(**attributes):
    told = {"service.name": "linkerd-proxy", **attributes}
    text = orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()
    return resources("linkerd-proxy", attributes=text)


@pytest.mark.parametrize(
    ("attributes", "node"),
    [
        ({"linkerd.io/proxy-deployment": "web", "k8s.namespace.name": "shop"}, "shop/web"),
        ({"linkerd.io/proxy-deployment": "web", "linkerd.io/workload-ns": "shop"}, "shop/web"),
        ({"host.name": "web-6b7c8d9f7d-x2x9k"}, "web"),
        ({"app": "web", "host.name": "other-0"}, "web"),
        ({}, "linkerd-proxy"),
    ],
)
def test_a_proxy_of_linkerd_is_the_workload_it_stands_before(attributes, node):
    known, identities = identify(of_linkerd(**attributes))
    assert identities.select("node", "system").rows() == [(node, "linkerd")]
    assert known["proxy"].to_list() == [True]


def test_a_name_that_the_operator_gave_stays():
    told = orjson.dumps({"k8s.container.name": "linkerd-proxy", "app": "other"}).decode()
    known, identities = identify(resources("shop/web", attributes=told))
    assert identities["node"].to_list() == ["shop/web"]
    assert known["proxy"].to_list() == [True]


def test_the_four_spans_of_linkerds_proxies_are_one_call():
    proxy = '{"k8s.container.name":"linkerd-proxy"}'
    rows = [
        span(1, 0, "shop/a", SERVER, 1, upstream_cluster="inbound"),
        span(2, 1, "shop/a", CLIENT, 2, upstream_cluster="inbound"),
        span(3, 2, "shop/a", SERVER, 3, upstream_cluster="outbound"),
        span(4, 3, "shop/a", CLIENT, 4, upstream_cluster="outbound", server_address="b"),
        span(5, 4, "shop/b", SERVER, 5, upstream_cluster="inbound"),
        span(6, 5, "shop/b", CLIENT, 6, upstream_cluster="inbound"),
    ]
    told, graph = edges(rows, attributes=proxy)
    assert told == {
        ("clients", "shop/a"): {"server_proxy": 1},
        ("shop/a", "shop/b"): {"client_proxy": 1, "server_proxy": 1},
    }
    assert graph.edges["attempts"].to_list() == [1, 1]


def test_the_same_behind_applications_that_trace_themselves():
    proxy = '{"k8s.container.name":"linkerd-proxy"}'
    names = resources("a", "b").with_columns(pl.lit("{}").alias("attributes"))
    assert identify(names)[0]["proxy"].to_list() == [False, False]
    rows = [
        span(1, 0, "shop/a", SERVER, 1, upstream_cluster="inbound"),
        span(2, 1, "shop/a", CLIENT, 2, upstream_cluster="inbound"),
        span(3, 2, "shop/a", SERVER, 3, upstream_cluster="outbound"),
    ]
    told, _ = edges(rows, attributes=proxy)
    assert ("shop/a", "shop/a") not in told
