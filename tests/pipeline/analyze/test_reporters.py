"""One call is one call, whoever tells of it: every combination of reporters, system by system."""

from itertools import combinations

import polars as pl
import pytest

from tests.pipeline.analyze.test_pair import edges, span
from tests.pipeline.analyze.traffic import CLIENT, SERVER

B_HOST = "b.shop.svc.cluster.local"
B_CLUSTER = "outbound|80||b.shop.svc.cluster.local"
VIP = "inbound-vip|80|http|b.shop.svc.cluster.local"
CONSUL = "b.shop.dc1.internal.11111111-2222-3333-4444-555555555555.consul"
SPIFFE = "spiffe://demo/ns/shop/sa/a"
OF_CONSUL = "spiffe://11111111-2222-3333-4444-555555555555.consul/ns/shop/dc/dc1/svc/a"


def of(resource, **more):
    """An entry that carries both ids: who told without any id in common cannot be joined."""
    ids = {"request_id": "q", "trace_id_high": 0, "trace_id_low": 1}
    return {"resource_id": resource, **ids, **more}


NO_IDS = {"request_id": None, "trace_id_high": None, "trace_id_low": None}


def sidecars(cluster, spiffe):
    """All that can tell of a call of a to b through two Envoys: each reporter and what it tells."""
    proxy = {"is_proxy": True, "request_id": "q"}
    return {
        "application of a": [
            ("spans", span(2, 1, "shop/a", CLIENT, 10, server_address=B_HOST))
        ],
        "proxy of a, spans": [
            ("spans", span(3, 2, "shop/a", CLIENT, 20, upstream_cluster=cluster, **proxy))
        ],
        "proxy of a, log": [
            ("logs", of("shop/a", log_name="outbound", upstream_cluster=cluster, start_time=20,
                        upstream_remote_address="10.0.0.2:80",
                        upstream_local_address="10.0.0.1:999"))
        ],
        "proxy of b, spans": [
            ("spans", span(4, 3, "shop/b", SERVER, 30, upstream_cluster="inbound|80||", **proxy))
        ],
        "proxy of b, log": [
            ("logs", of("shop/b", log_name="inbound", upstream_cluster="inbound|80||",
                        start_time=30, downstream_local_address="10.0.0.2:80",
                        downstream_direct_remote_address="10.0.0.1:999",
                        tls_peer_identity=spiffe))
        ],
        "application of b": [("spans", span(5, 4, "shop/b", SERVER, 40))],
    }  # fmt: skip


def linkerd():
    """The same through Linkerd's proxies: two spans each, and the log of the inbound one."""
    return {
        "application of a": [("spans", span(2, 1, "shop/a", CLIENT, 10, server_address=B_HOST))],
        "outbound proxy": [
            ("spans", span(3, 2, "shop/a", SERVER, 20, upstream_cluster="outbound",
                           is_proxy=True, server_address=B_HOST)),
            ("spans", span(4, 3, "shop/a", CLIENT, 21, upstream_cluster="outbound",
                           is_proxy=True, server_address=B_HOST)),
        ],
        "inbound proxy": [
            ("spans", span(5, 4, "shop/b", SERVER, 30, upstream_cluster="inbound",
                           is_proxy=True)),
            ("spans", span(6, 5, "shop/b", CLIENT, 31, upstream_cluster="inbound",
                           is_proxy=True)),
        ],
        "inbound proxy, log": [
            ("logs", of("shop/b", request_id=None, start_time=30,
                        tls_peer_identity="a.shop.serviceaccount.identity.linkerd.example"))
        ],
        "application of b": [("spans", span(7, 6, "shop/b", SERVER, 40))],
    }  # fmt: skip


def gateway():
    """A request through an API gateway that logs, to a mesh that tells in several ways."""
    proxy = {"is_proxy": True, "request_id": "q"}
    return {
        "gateway": [
            ("logs", of("shop/api-gateway", upstream_cluster="b.shop.svc", trace_id_high=0,
                        trace_id_low=1, start_time=10, log_type=0)),
        ],
        "proxy of b, spans": [
            ("spans", span(4, 3, "shop/b", SERVER, 30, upstream_cluster="inbound|80||", **proxy))
        ],
        "proxy of b, log": [
            ("logs", of("shop/b", log_name="inbound", upstream_cluster="inbound|80||",
                        start_time=30, downstream_local_address="10.0.0.2:80"))
        ],
        "application of b": [("spans", span(5, 4, "shop/b", SERVER, 40))],
    }  # fmt: skip


MESHES = {
    "istio": sidecars(B_CLUSTER, SPIFFE),
    "consul": sidecars(CONSUL, OF_CONSUL),
    "linkerd": linkerd(),
    "gateway": gateway(),
}

SUBSETS = [
    (mesh, some)
    for mesh, tellers in MESHES.items()
    for size in range(1, len(tellers) + 1)
    for some in combinations(tellers, size)
]


@pytest.mark.parametrize(
    ("mesh", "some"), SUBSETS, ids=lambda part: part if isinstance(part, str) else " + ".join(part)
)
def test_one_call_is_one_request_whoever_tells_of_it(mesh, some):
    told = [row for teller in some for row in MESHES[mesh][teller]]
    spans = [row for signal, row in told if signal == "spans"]
    logs = [row for signal, row in told if signal == "logs"]
    caller = "shop/api-gateway" if mesh == "gateway" else "shop/a"
    graph = edges(spans, logs)[1]
    calls = graph.edges.filter(pl.col("server") != caller)
    assert calls["requests"].to_list() == [1], calls.select("client", "server", "reporters")
    assert calls["attempts"].to_list() == [1]
    assert set(calls["server"]) == {"shop/b"}
    assert set(calls["client"]) <= {caller, "clients"}
    of_caller = any("of a" in teller or teller in {"gateway", "outbound proxy"} for teller in some)
    if of_caller:
        assert set(calls["client"]) == {caller}


ZTUNNELS = [
    of("shop/a", **NO_IDS, log_name="ztunnel outbound", protocol="tcp",
       upstream_cluster=B_CLUSTER, upstream_remote_address="10.0.0.2:80",
       http_response_status_code=None, tls_local_identity=SPIFFE),
    of("shop/b", **NO_IDS, log_name="ztunnel inbound", protocol="tcp",
       downstream_local_address="10.0.0.2:80", http_response_status_code=None,
       tls_peer_identity=SPIFFE),
]  # fmt: skip


def waypoint(number, **more):
    """A request as the waypoint before b logs it: from its peer, the tunnel, by its certificate."""
    return of("shop/waypoint", request_id=f"q{number}", trace_id_low=number,
              tls_peer_identity=SPIFFE,
              upstream_cluster="inbound-vip|80|http|b.shop.svc.cluster.local",
              upstream_remote_address="10.0.0.2:80", start_time=number, **more)  # fmt: skip


def test_connections_are_what_an_edge_has_where_nobody_tells_of_requests():
    told, graph = edges(log_rows=ZTUNNELS, system="istio")
    assert told == {("shop/a", "shop/b"): {"client_proxy": 1, "server_proxy": 1}}
    (edge,) = graph.edges.to_dicts()
    assert (edge["protocol"], edge["mtls_ratio"]) == ("tcp", 1.0)


def test_a_connection_that_failed_is_an_error():
    row = {**ZTUNNELS[0], "response_flags": "UF"}
    _, graph = edges(log_rows=[row], system="istio")
    assert graph.edges["connection"].to_list() == [1]


@pytest.mark.parametrize("tunnels", [[], ZTUNNELS[:1], ZTUNNELS[1:], ZTUNNELS])
def test_a_waypoint_is_not_between_and_its_requests_are_those_of_the_edge(tunnels):
    told, graph = edges(log_rows=[*tunnels, waypoint(1), waypoint(2)], system="istio")
    assert told == {("shop/a", "shop/b"): {"server_proxy": 2}}
    assert graph.edges.select("protocol", "requests", "attempts").rows() == [("http", 2, 2)]
    assert graph.edges["mtls_ratio"].to_list() == [1.0]


def test_connections_to_a_waypoint_are_pieces_of_calls_told_elsewhere():
    to_waypoint = {
        **ZTUNNELS[0],
        "upstream_cluster": "outbound|80||waypoint.shop.svc.cluster.local",
    }
    from_waypoint = {**ZTUNNELS[0], "resource_id": "shop/waypoint"}
    told, _ = edges(log_rows=[to_waypoint, from_waypoint, waypoint(1)], system="istio")
    assert told == {("shop/a", "shop/b"): {"server_proxy": 1}}


def test_a_trace_passes_through_a_waypoint():
    rows = [
        span(1, 0, "shop/a", SERVER, 1),
        span(2, 1, "shop/a", CLIENT, 2),
        span(3, 2, "waypoint.shop", SERVER, 3, is_proxy=True, upstream_cluster=VIP),
        span(4, 3, "waypoint.shop", CLIENT, 4, is_proxy=True, upstream_cluster=VIP),
        span(5, 4, "shop/b", SERVER, 5),
    ]
    told, graph = edges(rows)
    assert told == {
        ("clients", "shop/a"): {"server": 1},
        ("shop/a", "shop/b"): {"client": 1, "server_proxy": 1, "server": 1},
    }
    assert set(graph.edges["attempts"]) == {1}


def test_where_only_waypoints_trace_their_spans_tell_of_the_service():
    rows = [
        span(3, 2, "waypoint.shop", SERVER, 3, is_proxy=True, upstream_cluster=VIP),
        span(4, 3, "waypoint.shop", CLIENT, 4, is_proxy=True, upstream_cluster=VIP),
    ]
    assert edges(rows)[0] == {("clients", "shop/b"): {"server_proxy": 1}}
    assert edges([*rows, *rows])[0] == {("clients", "shop/b"): {"server_proxy": 1}}


def test_attempts_are_told_apart_from_requests_by_every_reporter():
    """A call that was tried twice: one request to the caller's proxy, two to the callee's."""
    failed = {"http_response_status_code": 503}
    spans = [
        span(2, 1, "shop/a", CLIENT, 10, is_proxy=True, upstream_cluster=B_CLUSTER),
        span(3, 2, "shop/b", SERVER, 20, is_proxy=True, upstream_cluster="inbound|80||", **failed),
        span(4, 2, "shop/b", SERVER, 30, is_proxy=True, upstream_cluster="inbound|80||"),
    ]
    logs = [
        of("shop/a", log_name="outbound", upstream_cluster=B_CLUSTER, attempt_count=2,
           upstream_remote_address="10.0.0.2:80", upstream_local_address="10.0.0.1:9"),
        *(of("shop/b", log_name="inbound", downstream_local_address="10.0.0.2:80",
             downstream_direct_remote_address="10.0.0.1:9", start_time=at, **more)
          for at, more in ((20, failed), (30, {}))),
    ]  # fmt: skip
    for span_rows, log_rows in ((spans, []), ([], logs), (spans, logs)):
        told, graph = edges(span_rows, log_rows)
        assert told[("shop/a", "shop/b")] == {"client_proxy": 1, "server_proxy": 1}
        (edge,) = graph.edges.filter(pl.col("server") == "shop/b").to_dicts()
        assert (edge["requests"], edge["attempts"], edge["server_error"]) == (1, 2, 0)


def test_what_a_log_knows_of_one_call_is_not_taken_for_another_of_the_same_service():
    """It was called from outside, and calls itself; only the log of the latter knows who called."""
    spans = [
        span(1, 0, "shop/b", SERVER, 10, is_proxy=True, request_id="q",
             upstream_cluster="inbound|80||"),
        span(2, 1, "shop/b", CLIENT, 50, is_proxy=True, upstream_cluster=B_CLUSTER),
        span(3, 2, "shop/b", SERVER, 60, is_proxy=True, request_id="q",
             upstream_cluster="inbound|80||"),
    ]  # fmt: skip
    own = SPIFFE.removesuffix("a") + "b"
    logs = [
        of("shop/b", log_name="inbound", start_time=11),
        of("shop/b", log_name="inbound", start_time=61, tls_peer_identity=own),
    ]
    told, _ = edges(spans, logs)
    assert told == {
        ("clients", "shop/b"): {"server_proxy": 1},
        ("shop/b", "shop/b"): {"client_proxy": 1, "server_proxy": 1},
    }
