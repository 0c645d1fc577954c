"""Exponential histograms: what buckets rose by through scales, zeros and restarts, and how near."""

import math
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from polars.testing import assert_frame_equal

from pipeline.analyze.counters import MILLION, increases
from pipeline.analyze.histogram import (
    BUCKETS_PER_DOUBLING,
    FROM_ZERO,
    exponential_bucket,
    quantiles,
    source_bucket,
)
from tests.pipeline.analyze.points import SECOND, native, series

NAME = "istio_request_duration_milliseconds"
A = {"reporter": "source"}


def numbered(rows):
    made = series(rows).sort("resource_id", "name", "labels", nulls_last=True)
    return made.with_row_index("series")


def rose(*rows):
    """What rose: of buckets by scale and index, of zeros by the threshold."""
    found = increases(numbered(rows))
    buckets = Counter()
    for scale, index, count in found.exponential.select("scale", "index", "count").iter_rows():
        buckets[scale, index] += count // MILLION
    for threshold, count in found.buckets.select("upper", "count").iter_rows():
        buckets["zeros", threshold] += count // MILLION
    return dict(buckets)


def bucket_of(value, scale):
    return math.ceil(math.log2(value) * 2.0**scale) - 1


def histogram_of(at, scale, values, **rest):
    """A point of a histogram that holds such values; those of 0 are its zeros."""
    counts = Counter(bucket_of(value, scale) for value in values if value > 0)
    first, last = (min(counts), max(counts)) if counts else (0, -1)
    held = [counts[index] for index in range(first, last + 1)]
    zeros = sum(value == 0 for value in values)
    return native(NAME, at, scale, first, held, A, zeros=zeros, **rest)


def test_buckets_rise_wherever_they_begin():
    before, after = native(NAME, 10, 3, 5, [1, 2], A), native(NAME, 20, 3, 3, [4, 0, 1, 5], A)
    assert rose(before, after) == {(3, 3): 4, (3, 6): 3}


def test_a_histogram_that_became_coarser_goes_on():
    before, after = native(NAME, 10, 3, -3, [1, 2, 1], A), native(NAME, 20, 2, -2, [4, 4], A)
    # buckets -3, and -2 with -1, are -2 and -1 of the scale below
    assert rose(before, after) == {(2, -2): 3, (2, -1): 1}


def test_a_histogram_that_became_finer_began_anew():
    before, after = native(NAME, 10, 2, 0, [3], A), native(NAME, 20, 3, 0, [2, 3], A)
    assert rose(before, after) == {(3, 0): 2, (3, 1): 3}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (native(NAME, 10, 3, 0, [4, 1], A), native(NAME, 20, 3, 0, [3, 9], A)),
        (native(NAME, 10, 3, 0, [1, 4], A), native(NAME, 20, 3, 0, [9], A)),
        (native(NAME, 10, 3, -1, [1, 4], A), native(NAME, 20, 3, 0, [9], A)),
        (native(NAME, 10, 3, 0, [1], A, zeros=5), native(NAME, 20, 3, 0, [9], A, zeros=4)),
        (native(NAME, 10, 3, 0, [9], A, threshold=0.5), native(NAME, 20, 3, 0, [9], A)),
    ],
    ids=["a bucket fell", "the last went", "the first went", "zeros fell", "narrower zeros"],
)
def test_a_histogram_of_which_anything_fell_began_anew(before, after):
    shown = {(3, n): count for n, count in enumerate(after["positive_counts"]) if count}
    if after["zero_count"]:
        shown["zeros", 0.0] = after["zero_count"]
    assert rose(before, after) == shown


def test_zeros_that_took_in_buckets_count_those_as_before():
    before = native(NAME, 10, 0, 0, [3, 2, 7], A, zeros=1, threshold=1.0)
    wider = native(NAME, 20, 0, 2, [8], A, zeros=10, threshold=4.0)
    # (1, 2] and (2, 4] lie in the zeros now: 1 + 3 + 2 of 10 were there
    assert rose(before, wider) == {("zeros", 4.0): 4, (0, 2): 1}
    inside = native(NAME, 20, 0, 2, [8], A, zeros=10, threshold=3.0)
    assert rose(before, inside) == {("zeros", 3.0): 10, (0, 2): 8}


def test_deltas_are_what_rose():
    points = [
        native(NAME, at, 4, 2, [1, 0, 3], A, zeros=2, temporality=1, start_time=(at - 60) * SECOND)
        for at in (60, 120)
    ]
    assert rose(*points) == {(4, 2): 2, (4, 4): 6, ("zeros", 0.0): 4}


def test_scales_that_nobody_sends_say_nothing_of_latency():
    points = [native(NAME, at, 2**31 - 1, 0, [at], A) for at in (10, 20)]
    assert rose(*points) == {}
    assert increases(numbered(points)).totals["count"].sum() == 10 * MILLION


durations = st.one_of(st.floats(1e-4, 1e5), st.just(0.0))


@st.composite
def lives(draw):
    """Readings of one process after the other, and what rose of each scale between them."""
    rows, true, held, at = [], Counter(), [], 0
    scale, began = draw(st.integers(-2, 6)), 0
    for reading in range(draw(st.integers(1, 8))):
        at += draw(st.sampled_from([2, 15, 15, 60, 299]))
        scale = max(scale - draw(st.sampled_from([0, 0, 0, 1, 3])), -4)
        if reading and draw(st.integers(0, 4)) == 0:
            held, scale, began = [], draw(st.integers(-2, 6)), at - 1
            told_before = 0
        else:
            told_before = len(held)
        held = held + draw(st.lists(durations, max_size=6))
        rows.append(histogram_of(at, scale, held, start_time=began * SECOND))
        for value in held[told_before:] if reading or at <= 300 else []:
            true["zeros", 0.0] += value == 0
            if value > 0:
                true[scale, bucket_of(value, scale)] += 1
    return rows, dict(+true)


@given(lives(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_every_measurement_rises_in_its_bucket_once(life, random):
    rows, true = life
    assert rose(*random.sample(rows, len(rows)), *random.sample(rows, len(rows) // 2)) == true


@given(lives(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_order_and_repetition_change_nothing(life, random):
    rows, _ = life
    shuffled = random.sample(rows, len(rows)) + random.sample(rows, len(rows) // 2)
    for one, other in zip(increases(numbered(rows)), increases(numbered(shuffled)), strict=True):
        assert_frame_equal(one, other, check_row_order=False)


@given(lives(), lives())
@settings(max_examples=50, deadline=None)
def test_what_two_senders_tell_is_the_sum_of_what_each_does(one, other):
    apart = Counter(rose(*one[0])) + Counter(rose(*other[0]))
    others = [row | {"resource_id": "other"} for row in other[0]]
    assert rose(*one[0], *others) == dict(apart)


def entries(values, scale, seconds):
    """A row of our histogram, made of an exponential one of such durations."""
    counts = Counter(bucket_of(value, scale) for value in values)
    frame = pl.DataFrame(
        {"scale": scale, "index": list(counts), "counts": [n * MILLION for n in counts.values()]},
        schema={"scale": pl.Int64, "index": pl.Int64, "counts": pl.Int64},
    )
    bucket, width = exponential_bucket(pl.col("scale"), pl.col("index"), pl.lit(seconds))
    return frame.select(
        pl.lit(1).alias("key"),
        bucket.implode().alias("buckets"),
        pl.col("counts").implode(),
        width.implode().alias("widths"),
    )


@given(
    st.lists(st.floats(0.01, 1e4), min_size=1, max_size=60),
    st.sampled_from([-1, 0, 2, 3, 4, 5, 6, 8, 20]),
    st.sampled_from([1.0, 0.001]),
    st.sampled_from([0.5, 0.9, 0.99]),
)
@settings(max_examples=300, deadline=None)
def test_a_quantile_is_a_bucket_of_theirs_and_two_of_ours_off_at_most(told, scale, seconds, share):
    answer = quantiles(entries(told, scale, seconds), ["key"], [share], resolved=True)
    value, resolution = answer.select(f"p{share * 100:g}", f"p{share * 100:g}_resolution").row(0)
    true = sorted(told)[max(math.ceil(len(told) * share), 1) - 1] * seconds
    widest = 2.0 ** (2.0**-scale + 2 / BUCKETS_PER_DOUBLING)
    assert 1 / widest < value / true * (1 + 1e-9)
    assert value / true < widest * (1 + 1e-9)
    # and it says so itself: both lie in a stretch of which half over its middle is told
    stretch = (1 + resolution) / (1 - resolution)
    assert max(value / true, true / value) <= stretch * (1 + 1e-9)
    assert stretch <= widest * (1 + 1e-9)


@given(st.integers(-300, 300), st.integers(5, 8))
def test_buckets_of_seconds_as_fine_as_ours_lie_in_one_of_ours(index, scale):
    frame = pl.DataFrame({"scale": [scale], "index": [index]})
    bucket, width = exponential_bucket(pl.col("scale"), pl.col("index"), pl.lit(1.0))
    assert frame.select(bucket, width.alias("width")).row(0) == (index >> (scale - 5), 0)


@given(st.integers(-7, 6), st.integers(-2, 4))
def test_coarser_buckets_of_seconds_consist_of_ours(index, scale):
    frame = pl.DataFrame({"scale": [scale], "index": [index]})
    bucket, width = exponential_bucket(pl.col("scale"), pl.col("index"), pl.lit(1.0))
    parts = 2 ** (5 - scale)
    assert frame.select(bucket, width.alias("width")).row(0) == ((index + 1) * parts - 1, parts)


def test_durations_of_zero_are_those_of_one_tick():
    schema = {"lower": pl.Float64, "upper": pl.Float64}
    frame = pl.DataFrame({"lower": [None] * 3, "upper": [0.0, 2.0**-128, 1e-9]}, schema=schema)
    bucket, width = source_bucket(pl.col("lower"), pl.col("upper"))
    found = frame.select(bucket.alias("bucket"), width.alias("width"))
    assert found.unique().rows() == [(math.ceil(math.log2(1e-9) * 32) - 1, FROM_ZERO)]
