"""One graph from the gateway to the last service: requests join what is told behind the gateway."""

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from polars.testing import assert_frame_equal

from pipeline.analyze.minutes import derive
from tests.pipeline.analyze.test_access_log import inbound
from tests.pipeline.analyze.test_pair import edges, span
from tests.pipeline.analyze.traffic import CLIENT, SERVER, access_logs, resources, spans

GATEWAY = "edge/api-gateway"
PARENT_OF_GATEWAY = 99


def of_gateway(upstream="orders-upstream", gateway=GATEWAY, **more):
    """A request as an API gateway logs it, by default with the trace id of ``mesh``."""
    return {
        "resource_id": gateway,
        "log_type": 0,
        "request_id": None,
        "trace_id_high": 0,
        "trace_id_low": 1,
        "upstream_cluster": upstream,
        **more,
    }


def mesh(parent=PARENT_OF_GATEWAY, start=1000, **more):
    """Spans of orders, called from outside, and of stock, which it calls."""
    return [
        span(1, parent, "shop/orders", SERVER, start, **more),
        span(2, 1, "shop/orders", CLIENT, start + 1, **more),
        span(3, 2, "shop/stock", SERVER, start + 2, **more),
    ]


WHOLE = {
    ("clients", GATEWAY): {"gateway": 1},
    (GATEWAY, "shop/orders"): {"gateway": 1, "server": 1},
    ("shop/orders", "shop/stock"): {"client": 1, "server": 1},
}


@pytest.mark.parametrize("parent", [PARENT_OF_GATEWAY, 0], ids=["not received", "a root"])
def test_by_trace_id_the_gateway_calls_the_first_service_of_the_mesh(parent):
    told, _ = edges(mesh(parent), [of_gateway()])
    assert told == WHOLE


def test_by_request_id_the_gateway_calls_the_first_service_of_the_mesh():
    ids = {"trace_id_low": None, "trace_id_high": None, "request_id": "q"}
    told, _ = edges(mesh(request_id="q"), [of_gateway(**ids)])
    assert told == WHOLE


@pytest.mark.parametrize(
    "ids", [{"request_id": "q"}, {"request_id": None, "trace_id_high": 7, "trace_id_low": 8}]
)
def test_access_logs_of_the_mesh_are_joined_too(ids):
    told, _ = edges(
        log_rows=[
            of_gateway(**ids),
            {**inbound("orders", "10.0.0.5:80", 1000), "resource_id": "shop/orders", **ids},
        ]
    )
    assert told == {
        ("clients", GATEWAY): {"gateway": 1},
        (GATEWAY, "shop/orders"): {"gateway": 1, "server_proxy": 1},
    }


def test_neither_id_in_common_leaves_both_as_they_were():
    told, _ = edges(mesh(), [of_gateway(trace_id_low=5)])
    assert told[("clients", "shop/orders")] == {"server": 1}
    assert told[(GATEWAY, "external:orders-upstream")] == {"gateway": 1}


def test_sidecar_and_application_tell_of_the_same_call():
    rows = [
        span(1, PARENT_OF_GATEWAY, "shop/orders", SERVER, 1000, is_proxy=True),
        span(2, 1, "shop/orders", SERVER, 1001),
    ]
    told, _ = edges(rows, [of_gateway()])
    assert told[(GATEWAY, "shop/orders")] == {"gateway": 1, "server_proxy": 1, "server": 1}
    assert ("clients", "shop/orders") not in told


def test_what_the_upstream_stands_for_is_learnt_and_names_requests_without_an_id():
    without = of_gateway(trace_id_low=None, trace_id_high=None, start_time=5_000)
    told, _ = edges(mesh(), [of_gateway(), without, without])
    assert told[(GATEWAY, "shop/orders")] == {"gateway": 3, "server": 1}


def test_what_a_name_stands_for_at_one_gateway_it_does_not_at_another():
    other = of_gateway(
        gateway="edge/other-gateway", trace_id_low=None, trace_id_high=None, upstream="default"
    )
    told, _ = edges(mesh(), [of_gateway(upstream="default"), other])
    assert told[(GATEWAY, "shop/orders")] == {"gateway": 1, "server": 1}
    assert told[("edge/other-gateway", "external:default")] == {"gateway": 1}


def test_clocks_that_differ_join_all_the_same_and_count_in_the_gateways_minute():
    minute = 60_000_000_000
    _, graph = edges(mesh(start=minute), [of_gateway(start_time=minute - 5_000_000)])
    edge = graph.edges.filter(pl.col("client") == GATEWAY)
    assert edge["agreement"].to_list() == [1.0]
    told, _ = edges(mesh(start=minute), [of_gateway(start_time=minute + 5_000_000)])
    assert told == WHOLE


def test_attempts_of_the_gateway_are_one_request():
    rows = [
        span(1, PARENT_OF_GATEWAY, "shop/orders", SERVER, 1000, http_response_status_code=503),
        span(4, PARENT_OF_GATEWAY, "shop/orders", SERVER, 2000, http_response_status_code=200),
    ]
    told, graph = edges(rows, [of_gateway(attempt_count=2)])
    assert told[(GATEWAY, "shop/orders")] == {"gateway": 1, "server": 1}
    edge = graph.edges.filter(pl.col("client") == GATEWAY).to_dicts()[0]
    assert (edge["attempts"], edge["server_error"]) == (2, 0)


def test_a_later_hop_whose_caller_was_not_received_stays_unknown():
    rows = [*mesh(), span(9, 77, "shop/mail", SERVER, 1500)]
    told, _ = edges(rows, [of_gateway()])
    assert told == {**WHOLE, ("clients", "shop/mail"): {"server": 1}}


def test_several_requests_of_one_trace_have_each_its_answer():
    second = [span(11, 98, "shop/cart", SERVER, 2_000_010)]
    told, _ = edges(
        [*mesh(), *second], [of_gateway(), of_gateway("cart-upstream", start_time=2_000_000)]
    )
    assert told[(GATEWAY, "shop/orders")] == {"gateway": 1, "server": 1}
    assert told[(GATEWAY, "shop/cart")] == {"gateway": 1, "server": 1}


def test_gateways_in_a_row_are_a_chain():
    told, _ = edges(
        mesh(start=3000),
        [
            of_gateway("https://inner", gateway="aws/rest-gateway", start_time=1000),
            of_gateway(start_time=2000, duration_ns=900_000),
        ],
    )
    assert told == {
        ("clients", "aws/rest-gateway"): {"gateway": 1},
        ("aws/rest-gateway", GATEWAY): {"gateway": 1, "server_proxy": 1},
        (GATEWAY, "shop/orders"): {"gateway": 1, "server": 1},
        ("shop/orders", "shop/stock"): {"client": 1, "server": 1},
    }


def test_a_gateway_that_tells_by_spans_and_logs_is_not_its_own_client():
    rows = [
        span(10, 0, GATEWAY, SERVER, 900, is_proxy=True),
        span(11, 10, GATEWAY, CLIENT, 950, is_proxy=True),
        *mesh(parent=11),
    ]
    told, _ = edges(rows, [of_gateway(start_time=900)])
    assert told == WHOLE


def test_a_caller_known_by_its_certificate_stays():
    told, _ = edges(
        log_rows=[
            of_gateway(request_id="r"),
            inbound("orders", "10.0.0.5:80", 1000, peer="ingress"),
        ]
    )
    assert ("shop/ingress", "shop/orders") in told


def test_an_id_that_never_changes_costs_no_square():
    calls = [of_gateway(start_time=n) for n in range(3000)]
    rows = [span(n + 1, 10_000 + n, "shop/orders", SERVER, n) for n in range(3000)]
    told, _ = edges(rows, calls)
    assert told[(GATEWAY, "shop/orders")]["gateway"] == 3000


@st.composite
def requests(draw):
    """Traffic through a gateway: some of it with ids of either kind, some retried, some twice."""
    span_rows, log_rows = [], []
    for trace in range(1, draw(st.integers(1, 4)) + 1):
        by = draw(st.sampled_from(["trace", "request", "nothing"]))
        start = draw(st.integers(0, 3)) * 40_000_000_000
        ids = {"trace_id_low": trace} if by == "trace" else {}
        for number in range(draw(st.integers(1, 3))):
            log_rows.append(
                {
                    **of_gateway(draw(st.sampled_from(["up", "down"]))),
                    "trace_id_high": 0 if ids else None,
                    "trace_id_low": trace if ids else None,
                    "request_id": f"q{trace}" if by == "request" else None,
                    "start_time": start + number * draw(st.integers(0, 2)),
                    "attempt_count": draw(st.sampled_from([None, 1, 2])),
                    "http_response_status_code": draw(st.sampled_from([200, 503])),
                }
            )
            log_rows[-1]["resource_id"] = draw(st.sampled_from([GATEWAY, "aws/gateway"]))
        span_rows += [
            {
                **span(
                    hop,
                    draw(st.sampled_from([0, 99, hop - 1])),
                    draw(st.sampled_from(["shop/orders", "shop/stock", GATEWAY])),
                    draw(st.sampled_from([SERVER, SERVER, CLIENT])),
                    start + draw(st.integers(0, 3)),
                ),
                "trace_id_low": trace,
                "request_id": f"q{trace}" if by == "request" else None,
                "http_response_status_code": draw(st.sampled_from([200, 503])),
            }
            for hop in range(1, draw(st.integers(0, 4)) + 1)
        ]
    return span_rows, log_rows


def derived(span_rows, log_rows):
    names = resources("shop/orders", "shop/stock", GATEWAY, "aws/gateway")
    tables = derive(spans(span_rows), access_logs(log_rows), names, units=[(1, 9)])
    return [
        pl.DataFrame(tables[name]).select(pl.exclude("buckets", "counts")).sort(pl.all())
        for name in ("edge_minutes", "aliases")
    ]


@given(requests(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_in_which_rows_come_changes_nothing(traffic, random):
    span_rows, log_rows = traffic
    shuffled = random.sample(span_rows, len(span_rows)), random.sample(log_rows, len(log_rows))
    for one, other in zip(derived(*traffic), derived(*shuffled), strict=True):
        assert_frame_equal(one, other)


@given(requests())
@settings(max_examples=60, deadline=None)
def test_joining_gives_names_and_takes_no_request_of_a_gateway(traffic):
    _, log_rows = traffic
    edge_minutes, _ = derived(*traffic)
    sent = edge_minutes.filter(
        (pl.col("reporter") == "gateway")
        & (pl.col("signal") == "access_logs")
        & (pl.col("client_kind") == "gateway")
    )
    assert sent["requests"].sum() == len(log_rows) * 1_000_000
    assert sent.filter(pl.col("client") == pl.col("server")).is_empty()
