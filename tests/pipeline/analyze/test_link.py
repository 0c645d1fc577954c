"""Linking calls to requests by time: laws, and how well it does on recorded traces."""

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.analyze.link import link
from tests.recordings import SHARED, TRACEWEAVER

RECORDED = SHARED / TRACEWEAVER / "spans_all.parquet"


def frames(requests, calls):
    return (
        pl.DataFrame(
            [{"service": s, "start": at, "end": at + took} for s, at, took in requests],
            schema={"service": pl.String, "start": pl.Int64, "end": pl.Int64},
        ),
        pl.DataFrame(
            [{"service": s, "callee": c, "start": at, "end": at + t} for s, c, at, t in calls],
            schema={"service": pl.String, "callee": pl.String, "start": pl.Int64,
                    "end": pl.Int64},
        ),
    )  # fmt: skip


def test_a_call_inside_of_one_request_is_of_that_one_and_that_is_sure():
    requests, calls = frames([("a", 0, 10), ("a", 20, 10)], [("a", "b", 22, 3), ("a", "b", 1, 3)])
    assert link(requests, calls).rows() == [(0, 1, 1.0), (1, 0, 1.0)]


def test_a_call_inside_of_no_request_stays_alone():
    requests, calls = frames([("a", 0, 10), ("b", 30, 10)], [("a", "b", 8, 5), ("a", "b", 31, 2)])
    assert link(requests, calls).is_empty()
    assert link(*frames([], [("a", "b", 1, 1)])).is_empty()
    assert link(*frames([("a", 1, 1)], [])).is_empty()


def test_of_two_that_could_be_the_likelier_is_taken_and_the_doubt_is_told():
    sure = [("a", 1000 * n, 100) for n in range(100)]
    made = [("a", "b", 1000 * n + 10, 80) for n in range(100)]
    both = [("a", 500_000, 100), ("a", 500_006, 100)]
    requests, calls = frames(
        [*sure, *both], [*made, ("a", "b", 500_010, 80), ("a", "b", 500_016, 80)]
    )
    told = link(requests, calls)
    assert told.tail(2).select("call", "request").rows() == [(100, 100), (101, 101)]
    assert told.head(100)["confidence"].min() == 1.0
    assert 0.5 < told.tail(2)["confidence"].max() < 1.0


@st.composite
def traffic(draw):
    services, callees = st.sampled_from("ab"), st.sampled_from("xy")
    at, took = st.integers(0, 300), st.integers(0, 60)
    requests = draw(st.lists(st.tuples(services, at, took), max_size=30))
    calls = draw(st.lists(st.tuples(services, callees, at, took), max_size=40))
    return frames(requests, calls)


@given(traffic())
@settings(max_examples=100, deadline=None)
def test_links_are_possible_and_no_request_has_more_calls_than_it_can(told):
    requests, calls = told
    links = link(requests, calls)
    assert links["call"].is_unique().all()
    assert links["confidence"].is_between(0, 1).all()
    made, served = calls[links["call"]], requests[links["request"]]
    assert (made["service"] == served["service"]).all()
    assert (made["start"] >= served["start"]).all()
    assert (made["end"] <= served["end"]).all()
    for service, callee in calls.select("service", "callee").unique().rows():
        of = (made["service"] == service) & (made["callee"] == callee)
        most = -(
            -calls.filter(service=service, callee=callee).height
            // max(1, requests.filter(service=service).height)
        )
        counts = links.filter(of)["request"].value_counts()["count"]
        assert counts.is_empty() or counts.max() <= max(1, most)


def recorded(load, compressed):
    """One load: requests, calls with their true request, and how many are in flight on average.

    Arrivals are ``compressed``: requests begin so many times closer together.
    """
    spans = pl.read_parquet(RECORDED).filter(load=load)
    traces = spans.group_by("trace_id").agg(
        first=pl.col("start_us").min(), last=(pl.col("start_us") + pl.col("duration_us")).max()
    )
    zero, span = traces["first"].min(), traces["first"].max() - traces["first"].min()
    moved = ((pl.col("first") - zero) / compressed).cast(pl.Int64) + zero
    spans = spans.join(traces, on="trace_id").with_columns(
        start=(pl.col("start_us") - pl.col("first") + moved) * 1000
    )
    spans = spans.with_columns(end=pl.col("start") + pl.col("duration_us") * 1000)
    parents = spans.select("trace_id", parent_id="span_id", caller="service")
    below = spans.join(parents, on=["trace_id", "parent_id"])
    if load.startswith("hotel"):
        calls = below.filter(kind="client").with_columns(callee="operation")
        requests = spans.filter(kind="server")
    else:
        calls = below.filter(pl.col("service") != pl.col("caller")).with_columns(
            callee=pl.col("service") + pl.col("operation"), service="caller"
        )
        asking = calls.select("trace_id", span_id="parent_id").unique()
        requests = spans.join(asking, on=["trace_id", "span_id"], how="semi")
    mixed = {"fraction": 1.0, "shuffle": True, "seed": 1}
    in_flight = (traces["last"] - traces["first"]).sum() / (span / compressed)
    return requests.sample(**mixed), calls.sample(**mixed), in_flight


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded traces of TraceWeaver are absent")
@pytest.mark.parametrize(
    ("load", "compressed", "in_flight", "least"),
    [
        ("hotel_load100", 1, 1, 0.95),
        ("hotel_load100", 5, 5, 0.85),
        ("hotel_load100", 20, 20, 0.60),
        ("media_load100", 1, 1, 0.88),
        ("media_load100", 5, 5, 0.73),
        ("node_load25", 5, 1, 0.95),
        ("node_load25", 20, 5, 0.85),
    ],
)
def test_links_of_recorded_traces_are_right_as_often_as_promised(
    load, compressed, in_flight, least
):
    requests, calls, concurrency = recorded(load, compressed)
    assert in_flight * 0.9 < concurrency < in_flight * 1.7
    links = link(requests, calls)
    made, served = calls[links["call"]], requests[links["request"]]
    right = (made["trace_id"] == served["trace_id"]) & (made["parent_id"] == served["span_id"])
    share = right.sum() / calls.height
    assert share >= least
    # the confidence that is shown promises no more than holds
    assert links["confidence"].mean() <= share + 0.03
    sure = links["confidence"] > 0.99
    assert right.filter(sure).mean() > 0.97
