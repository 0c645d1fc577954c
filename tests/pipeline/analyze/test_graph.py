"""Which signal of a reporter gives an edge's counts and latencies, when there are several."""

from datetime import UTC, datetime

import polars as pl
import pytest

from pipeline.analyze import graph
from pipeline.model.tables import ALIASES, EDGE_MINUTES

WINDOW = {
    "start": datetime(1970, 1, 1, tzinfo=UTC),
    "end": datetime(1970, 1, 1, 0, 1, tzinfo=UTC),
}
NO_ALIASES = pl.DataFrame(pl.from_arrow(ALIASES.arrow.empty_table())).drop("slice")
M = 1_000_000


def telling(signal, requests, *, reporter="client_proxy", rows=None, **rest):
    """One minute that a reporter tells by a signal; ``rows`` fewer than requests are samples."""
    seen = requests if rows is None else rows
    return {
        "minute": 0, "client": "shop/a", "client_kind": "service", "server": "shop/b",
        "server_kind": "service", "protocol": "http", "reporter": reporter, "signal": signal,
        "system": "istio", "rows": seen, "unpaired": 0, "sampled": seen if seen < requests else 0,
        "requests": requests * M, "attempts": requests * M, "client_errors": 0, "server_errors": 0,
        "connection_errors": 0, "tls_known": 0, "tls_mutual": 0, "duration_ns": 0,
        "buckets": [-100], "counts": [requests * M],
        "widths": [32] if signal == "metrics" else None, **rest,
    }  # fmt: skip


def edge_of(*tellings):
    schema = dict(pl.DataFrame(pl.from_arrow(EDGE_MINUTES.arrow.empty_table())).schema)
    frame = pl.DataFrame(list(tellings), schema=schema | {"minute": pl.Int64()})
    minutes = frame.with_columns(pl.col("minute").cast(pl.Datetime("ns"))).drop("slice")
    (edge,) = graph.build(minutes, NO_ALIASES, **WINDOW).edges.to_dicts()
    return edge


def test_metrics_give_the_counts_where_spans_are_sampled():
    edge = edge_of(telling("spans", 2600, rows=26), telling("metrics", 2000))
    assert (edge["signal"], edge["requests"]) == ("metrics", 2000)
    assert edge["coverage"] == 1
    (reporter,) = edge["reporters"]
    assert reporter["signals"] == [
        {"signal": "metrics", "requests": 2000},
        {"signal": "spans", "requests": 2600},
    ]


def test_samples_that_surely_stand_for_more_give_the_counts():
    edge = edge_of(telling("spans", 20_000, rows=200), telling("metrics", 2000))
    assert (edge["signal"], edge["requests"]) == ("spans", 20_000)


def test_samples_whose_share_nobody_told_do_not_give_the_counts():
    edge = edge_of(telling("spans", 20), telling("metrics", 2000))
    assert (edge["signal"], edge["requests"]) == ("metrics", 2000)


def test_logs_give_counts_and_latency_where_they_saw_as_much_as_metrics():
    edge = edge_of(telling("access_logs", 995), telling("metrics", 1000))
    assert (edge["signal"], edge["requests"]) == ("access_logs", 995)
    assert edge["client_p50_resolution"] == pytest.approx(0.0108, rel=0.01)


def test_metrics_give_the_counts_and_logs_the_latency_where_some_logs_are_lost():
    edge = edge_of(telling("access_logs", 950), telling("metrics", 1000))
    assert (edge["signal"], edge["requests"]) == ("metrics", 1000)
    assert edge["client_p50_resolution"] == pytest.approx(0.0108, rel=0.01)


def test_metrics_tell_latency_in_their_own_resolution_where_others_saw_too_little():
    edge = edge_of(telling("access_logs", 100), telling("metrics", 1000))
    # a bucket twice as high as low, and the widths of the buckets that hold its bounds
    assert edge["client_p50_resolution"] == pytest.approx(1 / 3, rel=0.05)


def test_connections_are_no_requests_but_know_of_tls():
    tcp = telling("metrics", 500, protocol="tcp", tls_known=500 * M, tls_mutual=500 * M)
    edge = edge_of(telling("metrics", 40, reporter="server_proxy"), tcp)
    assert (edge["requests"], edge["reporter"], edge["protocol"]) == (40, "server_proxy", "http")
    assert edge["mtls_ratio"] == 1
    assert edge["agreement"] is None
    assert [told["reporter"] for told in edge["reporters"]] == ["server_proxy"]


def test_connections_are_all_there_is_where_nobody_tells_of_requests():
    edge = edge_of(telling("metrics", 500, protocol="tcp"))
    assert (edge["requests"], edge["protocol"]) == (500, "tcp")


def carried(request, response):
    return {"request_bytes": request, "response_bytes": response}


def test_bytes_are_those_of_the_reporter_that_counts_and_of_another_where_it_tells_none():
    by_server = telling("metrics", 1000, reporter="server_proxy", **carried(70, 7))
    edge = edge_of(telling("metrics", 1000, **carried(80, 8)), by_server)
    assert (edge["request_bytes"], edge["response_bytes"]) == (80, 8)
    edge = edge_of(telling("access_logs", 1000), by_server)
    assert (edge["reporter"], edge["request_bytes"]) == ("client_proxy", 70)


def test_bytes_of_connections_stand_where_nobody_tells_those_of_requests():
    tcp = telling("metrics", 5, protocol="tcp", **carried(900, 90))
    edge = edge_of(telling("metrics", 40), tcp)
    assert (edge["requests"], edge["request_bytes"], edge["response_bytes"]) == (40, 900, 90)
    edge = edge_of(telling("metrics", 40, **carried(500, None)), tcp)
    # one way they are told of requests, the other way not
    assert (edge["request_bytes"], edge["response_bytes"]) == (500, 90)


def test_bytes_that_nobody_tells_are_unknown():
    edge = edge_of(telling("metrics", 40), telling("spans", 40))
    assert (edge["request_bytes"], edge["response_bytes"]) == (None, None)


def test_bytes_alone_make_an_edge_and_no_request():
    edge = edge_of(telling("metrics", 0, protocol="tcp", **carried(0, 2**40)))
    assert (edge["requests"], edge["protocol"], edge["error_ratio"]) == (0, "tcp", None)
    assert (edge["request_bytes"], edge["response_bytes"]) == (0, 2**40)


def test_two_reporters_agree_by_the_signals_that_count():
    edge = edge_of(
        telling("metrics", 1000),
        telling("spans", 10),
        telling("metrics", 990, reporter="server_proxy"),
    )
    assert edge["agreement"] == pytest.approx(0.99)
