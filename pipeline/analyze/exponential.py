"""Exponential histograms of metrics: what each of their buckets rose by.

Bucket ``n`` of a histogram of scale ``s`` holds what lies in (base**n, base**(n + 1)] with base =
2**(2**-s); OpenTelemetry's SDKs send such histograms, and Prometheus' native ones become them.
Two points of a series may differ in scale and in where their buckets begin. Buckets of a finer
scale lie whole in those of a coarser one, so that the earlier point is made as coarse as the later
and nothing is guessed. A histogram began anew (Prometheus' ``DetectReset``) when any bucket fell,
when it became finer, when its bucket of zeros became narrower, or when that grew to a place inside
of a bucket that held something. Buckets below zero hold no latency, and are left out.
Sources: OpenTelemetry metrics data model, "ExponentialHistogram"; Prometheus,
``model/histogram/float_histogram.go``.
"""

from typing import Final, NamedTuple

import numba as nb
import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.analyze.arrays import read_only, values

LISTS: Final = ("scale", "zero_count", "zero_threshold", "positive_offset", "positive_counts")
"""Columns of points that are about such histograms alone."""

COARSEST, FINEST = -10, 20
"""Scales that are read: those of OpenTelemetry's SDKs, Prometheus' (-4 to 8) among them."""

_NONE: Final = COARSEST - 1
"""In the place of a scale: no such histogram."""

_NEAR: Final = 1e-9
"""By how much a bound that was computed by others may differ from ours."""

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]


class Buckets(NamedTuple):
    """All buckets of points, one after the other, and what each held at the point before.

    Attributes:
        row: the point of each bucket.
        place: which bucket it is, on the scale of its point.
        shown: what is in it.
        before: what was in it at the point before; 0 where that is not gone on from.
        scale: of each point; ``_NONE`` where it has no such histogram.
        zeros: of each point what is in its bucket of zeros, and what was there before.
        threshold: of each point up to where its bucket of zeros reaches.
        fallen: which points show less than the one before.
    """

    row: I64
    place: I64
    shown: I64
    before: I64
    scale: I64
    zeros: tuple[I64, I64]
    threshold: F64
    fallen: Truths

    def rose(self, goes_on: Truths) -> I64:
        """What each bucket rose by, where ``goes_on`` tells which points go on from the last."""
        return np.where(goes_on[self.row], self.shown - self.before, self.shown)

    def zeros_rose(self, goes_on: Truths) -> I64:
        """What the bucket of zeros of each point rose by."""
        now, before = self.zeros
        return np.where(goes_on, now - before, now)


def compared(points: pl.DataFrame, follows: Truths) -> Buckets:
    """Compare the histograms of points with those of the points before them.

    Args:
        points: columns ``LISTS``, those of a series one after the other in time.
        follows: which points belong to the one before.
    """
    told = pl.col("scale").is_between(COARSEST, FINEST).fill_null(value=False)
    points = points.select(LISTS).with_columns(
        pl.when(told).then("scale").otherwise(_NONE).cast(pl.Int64).alias("scale"),
        pl.when(told).then("positive_counts").alias("positive_counts"),
        pl.col("zero_count", "positive_offset").fill_null(0).cast(pl.Int64),
        pl.col("zero_threshold").fill_nan(0.0).fill_null(0.0).clip(0.0),
    )
    lists = points["positive_counts"]
    shown = read_only(values(lists.explode(empty_as_null=False, keep_nulls=False)).astype(np.int64))
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    first = read_only(np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths))))
    scale, offset, zeros, threshold = (
        read_only(points[name].to_numpy())
        for name in ("scale", "positive_offset", "zero_count", "zero_threshold")
    )
    before, zeros_before, fallen = _compared(
        read_only(follows), scale, offset, first, shown, zeros, threshold
    )
    row = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    place = np.arange(len(shown), dtype=np.int64) - first[row] + offset[row]
    return Buckets(row, place, shown, before, scale, (zeros, zeros_before), threshold, fallen)


@nb.njit(cache=True, nogil=True)
def _compared(
    follows: Truths, scale: I64, offset: I64, first: I64, shown: I64, zeros: I64, threshold: F64
) -> tuple[I64, I64, Truths]:
    """What every bucket held at the point before, every bucket of zeros, and which points fell."""
    before = np.zeros(len(shown), np.int64)
    zeros_before = np.zeros(len(zeros), np.int64)
    fallen = np.zeros(len(follows), np.bool_)
    for row in range(1, len(follows)):
        if not follows[row] or scale[row] == _NONE or scale[row - 1] == _NONE:
            continue
        shift = scale[row - 1] - scale[row]
        fell = shift < 0 or threshold[row] < threshold[row - 1]
        reach = 0.0 if threshold[row] == threshold[row - 1] else threshold[row]
        size = first[row + 1] - first[row]
        held = zeros[row - 1]
        for bucket in range(first[row - 1], first[row]):
            if shown[bucket] == 0 or fell:
                continue
            index = offset[row - 1] + bucket - first[row - 1]
            if reach > 0.0 and _border(index, scale[row - 1]) < reach * (1 - _NEAR):
                fell = _border(index + 1, scale[row - 1]) > reach * (1 + _NEAR)
                held += shown[bucket]
                continue
            place = (index >> shift) - offset[row]
            if place < 0 or place >= size:
                fell = True
            else:
                before[first[row] + place] += shown[bucket]
        for bucket in range(first[row], first[row + 1]):
            fell = fell or shown[bucket] < before[bucket]
        fell = fell or zeros[row] < held
        zeros_before[row] = 0 if fell else held
        if fell:
            before[first[row] : first[row + 1]] = 0
            fallen[row] = True
    return before, zeros_before, fallen


@nb.njit(cache=True, nogil=True, inline="always")
def _border(index: int, scale: int) -> float:
    """Where a bucket begins."""
    return float(2.0 ** (index * 2.0**-scale))
