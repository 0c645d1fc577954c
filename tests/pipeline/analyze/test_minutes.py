"""The laws of the derived tables: order, batches and lateness change nothing."""

import polars as pl
from hypothesis import given, settings, strategies as st
from polars.testing import assert_frame_equal

from pipeline.analyze.minutes import derive
from pipeline.model.tables import CALL_KEY, MEASURES
from tests.pipeline.analyze.traffic import (
    CLIENT,
    CONSUMER,
    PRODUCER,
    SERVER,
    access_logs,
    resources,
    spans,
)

SERVICES = ["shop/a", "shop/b@v1", "shop/b@v2", "c"]
MINUTE = 60_000_000_000
KEYS = [column.name for column in CALL_KEY]


@st.composite
def span_rows(draw):
    """Spans of a few traces: well formed, broken, repeated and sharing ids."""
    rows = []
    for trace in range(draw(st.integers(1, 3))):
        for span_id in range(1, draw(st.integers(1, 7)) + 1):
            row = {
                "trace_id_low": trace,
                "span_id": draw(st.sampled_from([span_id, max(1, span_id - 1)])),
                "parent_span_id": draw(st.sampled_from([None, *range(1, span_id + 1), 99])),
                "resource_id": draw(st.sampled_from(SERVICES)),
                "kind": draw(
                    st.sampled_from([0, 1, SERVER, SERVER, CLIENT, CLIENT, PRODUCER, CONSUMER])
                ),
                "start_time": draw(st.integers(0, 3)) * MINUTE // 2 + span_id,
                "duration_ns": draw(st.integers(-5, 10**9)),
                "is_proxy": draw(st.booleans()),
                "http_response_status_code": draw(st.sampled_from([None, 200, 404, 503])),
                "http_request_resend_count": draw(st.sampled_from([None, None, 1])),
                "server_address": draw(st.sampled_from([None, "b", "example.com"])),
            }
            rows.append(row)
            if draw(st.integers(0, 9)) == 0:
                rows.append(dict(row))
    return rows


def derived(rows, slices, units):
    """Edge minutes summed over units, in the order of their keys."""
    frame = spans([{**row, "slice": number} for row, number in zip(rows, slices, strict=True)])
    tables = derive(frame, access_logs([]), resources(*SERVICES), units=units)
    return summed(pl.DataFrame(tables["edge_minutes"]))


def summed(edge_minutes):
    buckets = edge_minutes.select(*KEYS, "buckets", "counts").explode("buckets", "counts")
    sums = [c.name for c in MEASURES if c.name not in {"buckets", "counts", "widths"}]
    return (
        edge_minutes.group_by(KEYS).agg(pl.col(sums).sum()).sort(KEYS),
        buckets.group_by(*KEYS, "buckets").agg(pl.col("counts").sum()).sort(*KEYS, "buckets"),
    )


@given(span_rows(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_neither_order_nor_slices_nor_units_change_the_numbers(rows, random):
    whole = derived(rows, [1] * len(rows), [(1, 1)])
    shuffled = random.sample(rows, len(rows))
    slices = [random.randint(1, 6) for _ in rows]
    cuts = sorted(random.sample(range(2, 7), random.randint(0, 5)))
    units = list(zip([1, *cuts], [*(cut - 1 for cut in cuts), 6], strict=True))
    for one, other in zip(whole, derived(shuffled, slices, units), strict=True):
        assert_frame_equal(one, other)


@given(span_rows())
@settings(max_examples=50, deadline=None)
def test_whatever_is_received_twice_counts_once(rows):
    for one, other in zip(
        derived(rows, [1] * len(rows), [(1, 1)]),
        derived(rows + rows, [1] * len(rows) + [2] * len(rows), [(1, 2)]),
        strict=True,
    ):
        assert_frame_equal(one, other)


def test_names_past_the_limit_are_counted_under_one():
    rows = [
        {
            "span_id": n + 1,
            "resource_id": "c",
            "kind": CLIENT,
            "server_address": f"host-{n}.example",
        }
        for n in range(10_050)
    ]
    tables = derive(spans(rows), access_logs([]), resources("c"), units=[(1, 1)])
    edges = pl.DataFrame(tables["edge_minutes"])
    assert edges.height <= 10_001
    assert edges["requests"].sum() == 10_050 * 1_000_000
    assert edges.filter(pl.col("server_alias") == "overflow")["requests"].sum() >= 50_000_000
