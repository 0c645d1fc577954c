"""Parts of histograms and summaries put together: which samples make one row.

A group has the samples of one metric with the same labels and time, but for ``le`` and
``quantile``. It is whole when it says how many measurements there are, each bound is told once, and
counts are whole numbers that never go down; else its samples stay rows of their own.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text_numbers import Doubles
from pipeline.decode.prometheus.classic_histogram import Ladder, buckets_of, is_count, ladder_of
from pipeline.decode.prometheus.families import (
    BUCKET,
    COUNT,
    CREATED,
    HISTOGRAM,
    QUANTILE,
    SUMMARY,
    TOTAL_SUM,
    VALUE,
)
from pipeline.decode.prometheus.members import Members, series_of
from pipeline.decode.prometheus.samples import Samples, Truths, nanoseconds

_PARTS: Final = 6
_SECOND: Final = 1_000_000_000
_LAST_SECOND: Final = 9_223_372_035


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups, in the order of their first samples.

    Attributes:
        of: of each sample its group; -1 where it has none.
        first: of each group its first sample.
        whole: which groups are one row.
        starts: when the group was created, Unix nanoseconds; 0 where not told.
        counts: number of measurements of each group; NaN where not told.
        sums: their sum.
        buckets: the buckets of histograms.
        quantiles: the quantiles of summaries.
    """

    of: Ints
    first: Ints
    whole: Truths
    starts: Ints
    counts: Doubles
    sums: Doubles
    buckets: Ladder
    quantiles: Ladder

    def __len__(self) -> int:
        """How many groups."""
        return len(self.first)


def groups_of(samples: Samples, members: Members, *, scattered: bool) -> Groups:
    """Find the groups; see ``metric_points.points_of``."""
    of, first = _grouped(samples, members)
    part = np.where(of >= 0, members.part, VALUE)
    told = np.bincount(of[of >= 0] * _PARTS + part[of >= 0], minlength=len(first) * _PARTS).reshape(
        len(first), _PARTS
    )
    scalars = {one: _scalars(samples, of, part == one, len(first)) for one in (COUNT, TOTAL_SUM)}
    counts, sums = scalars[COUNT], scalars[TOTAL_SUM]
    bucket, quantile = np.flatnonzero(part == BUCKET), np.flatnonzero(part == QUANTILE)
    buckets, totals = buckets_of(
        of[bucket], members.bounds.values[bucket], samples.values[bucket], counts
    )
    quantiles = ladder_of(
        of[quantile], members.bounds.values[quantile], samples.values[quantile], len(first)
    )
    kinds = np.array([family.type for family in members.families])[members.family[first]]
    once = (told[:, (COUNT, TOTAL_SUM, CREATED)] <= 1).all(axis=1)
    counted = (told[:, COUNT] == 0) | is_count(counts)
    with_sum = (told[:, COUNT] > 0) & (told[:, TOTAL_SUM] > 0)
    unbounded = np.zeros(len(first), np.bool_)
    unbounded[of[bucket][np.isposinf(members.bounds.values[bucket])]] = True
    histogram = np.where(told[:, BUCKET] > 0, buckets.good, told[:, COUNT] > 0)
    summary = np.where(told[:, QUANTILE] > 0, quantiles.good, told[:, COUNT] > 0)
    if scattered:
        histogram &= with_sum & unbounded
        summary &= with_sum
    kept = np.select([kinds == HISTOGRAM, kinds == SUMMARY], [histogram, summary], default=False)
    whole = once & counted & kept
    stale = samples.stale[first] & np.isin(kinds, (HISTOGRAM, SUMMARY))
    return Groups(
        of,
        first,
        whole | stale,
        _starts(samples, of, part == CREATED, len(first)),
        np.where(np.isnan(totals), counts, totals),
        sums,
        buckets,
        quantiles,
    )


def _grouped(samples: Samples, members: Members) -> tuple[Ints, Ints]:
    """Of each sample its group, or -1; and of each group its first sample."""
    created = np.unique(members.metric[members.part == CREATED])
    which = np.flatnonzero((members.part != VALUE) | np.isin(members.metric, created))
    series = series_of(samples, members, which)
    ended = samples.stale[which]
    # what is left of a histogram lives on, though a bucket of it does not
    alone = ended & np.isin(series, series[~ended])
    which, series = which[~alone], series[~alone]
    _, first, group = np.unique(series, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    of = np.full(len(samples), -1, np.int64)
    of[which] = number[group]
    return of, which[first[order]]


def _scalars(samples: Samples, of: Ints, here: Truths, count: int) -> Doubles:
    """Of each group the value of one part; NaN where it was not told."""
    values = np.full(count, np.nan)
    values[of[here]] = samples.values[here]
    return values


def _starts(samples: Samples, of: Ints, here: Truths, count: int) -> Ints:
    """Unix nanoseconds of when groups were created, told in seconds; 0 where that is no time."""
    seconds = _scalars(samples, of, here & (of >= 0), count)
    usable = (seconds > 0) & (seconds <= _LAST_SECOND)
    return nanoseconds(np.where(usable, seconds, 0.0), _SECOND)
