"""Quantiles of fine and of coarse histograms, and how far off they say they may be."""

import math

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.analyze.histogram import (
    FINEST,
    FROM_ZERO,
    OPEN,
    bucket_index,
    quantiles,
    source_bucket,
)

BOUNDS = [0.001, 0.005, 0.02, 0.1, 1.0]
MILLION = 1_000_000
ROW = ("key", "buckets", "counts", "widths")
SCHEMA = dict(
    zip(ROW, (pl.Int32, pl.List(pl.Int16), pl.List(pl.Int64), pl.List(pl.Int16)), strict=True)
)


def row(*lists):
    return pl.DataFrame([[1, *lists]], schema=SCHEMA, orient="row")


def coarse(durations, bounds=BOUNDS):
    """A row of a histogram of durations in seconds, as metrics with such bounds give it."""
    lower = [None, *bounds]
    upper = [*bounds, None]
    counts = [
        sum((low or 0.0) < one <= (high or math.inf) for one in durations)
        for low, high in zip(lower, upper, strict=True)
    ]
    schema = {"lower": pl.Float64, "upper": pl.Float64}
    frame = pl.DataFrame({"lower": lower, "upper": upper}, schema=schema)
    bucket, width = source_bucket(pl.col("lower"), pl.col("upper"))
    found = frame.select(bucket.alias("buckets"), width.alias("widths"))
    held = found.with_columns(pl.Series("counts", counts) * MILLION).filter(pl.col("counts") > 0)
    return row(*(held[name].to_list() for name in ROW[1:]))


def fine(durations):
    """A row of a histogram of durations that were told themselves."""
    nanoseconds = pl.DataFrame({"ns": [round(one * 1e9) for one in durations]})
    counted = nanoseconds.select(bucket_index(pl.col("ns")).alias("b")).group_by("b").len()
    return row(counted["b"].to_list(), [n * MILLION for n in counted["len"]], None)


def true_quantile(durations, share):
    """The nearest rank."""
    return sorted(durations)[max(math.ceil(len(durations) * share), 1) - 1]


def found(frame, share):
    answer = quantiles(frame, ["key"], [share], resolved=True)
    name = f"p{share * 100:g}"
    return answer[name][0], answer[f"{name}_resolution"][0]


durations = st.lists(st.floats(0.0002, 3.0), min_size=1, max_size=60)
shares = st.sampled_from([0.5, 0.9, 0.99])


@given(durations, shares)
@settings(max_examples=200, deadline=None)
def test_a_coarse_quantile_is_as_near_to_the_truth_as_it_says(told, share):
    value, resolution = found(coarse(told), share)
    true = true_quantile(told, share)
    if true > BOUNDS[-1]:
        assert resolution is None
        assert value <= true
        return
    # the true one and the answer lie in one stretch, whose half over its middle is the resolution
    widest = (1 + resolution) / (1 - resolution) if resolution < 1 else math.inf
    assert value / true <= widest * 1.0001
    assert true / value <= widest * 1.0001


@given(durations, durations, shares)
@settings(max_examples=200, deadline=None)
def test_histograms_of_other_bounds_merge_without_a_false_word(one, other, share):
    merged = pl.concat([coarse(one), coarse(other, [0.002, 0.05, 0.5, 1.0]), fine(one)])
    value, resolution = found(merged, share)
    true = true_quantile(one + other + one, share)
    if resolution is None:
        return
    widest = (1 + resolution) / (1 - resolution) if resolution < 1 else math.inf
    assert value / true <= widest * 1.03
    assert true / value <= widest * 1.03


@given(durations, shares)
@settings(max_examples=100, deadline=None)
def test_durations_told_one_by_one_are_at_most_a_hundredth_off(told, share):
    value, resolution = found(fine(told), share)
    assert resolution == FINEST
    assert value == pytest.approx(true_quantile(told, share), rel=0.0110)


def test_what_lies_above_the_last_bound_is_only_known_to_be_no_less():
    value, resolution = found(coarse([5.0, 9.0]), 0.99)
    assert resolution is None
    assert value == pytest.approx(1.0, rel=0.02)


def test_what_lies_below_the_first_bound_may_be_anything_down_to_zero():
    value, resolution = found(coarse([0.0003] * 9), 0.5)
    assert resolution == 1.0
    assert 0 < value < 0.001


def test_within_a_bucket_a_quantile_moves_with_its_share():
    told = coarse([0.05] * 100)
    low, high = found(told, 0.5)[0], found(told, 0.99)[0]
    assert 0.02 < low < high < 0.1
    assert low == pytest.approx(math.sqrt(0.02 * 0.1), rel=0.05)


@pytest.mark.parametrize(
    ("lower", "upper", "width"),
    [
        (None, 0.5, FROM_ZERO),
        (0.0, 0.5, FROM_ZERO),
        (0.5, None, OPEN),
        (0.5, 1.0, 32),
        (1.0, 1.0, 0),
    ],
)
def test_a_source_bucket_is_as_wide_as_its_bounds_are_apart(lower, upper, width):
    schema = {"lower": pl.Float64, "upper": pl.Float64}
    frame = pl.DataFrame({"lower": [lower], "upper": [upper]}, schema=schema)
    assert frame.select(source_bucket(pl.col("lower"), pl.col("upper"))[1]).item() == width


def test_a_bucket_without_bounds_says_nothing():
    schema = {"lower": pl.Float64, "upper": pl.Float64}
    frame = pl.DataFrame({"lower": [None, math.nan], "upper": [None, math.inf]}, schema=schema)
    assert frame.select(
        source_bucket(pl.col("lower"), pl.col("upper"))[0]
    ).to_series().to_list() == [
        None,
        None,
    ]
