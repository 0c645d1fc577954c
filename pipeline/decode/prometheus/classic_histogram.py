"""Buckets and quantiles of Prometheus, told one by one, as lists.

Prometheus' buckets are cumulative: each counts all measurements up to its bound, the last of them
(``+Inf``) all there are. Rows count each bucket by itself, as OpenTelemetry does.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.decode.kernels.kernel import Ints
from pipeline.decode.kernels.text_numbers import Doubles
from pipeline.decode.prometheus.samples import Truths

LARGEST_COUNT: Final = float(1 << 62)
"""Counts up to this are whole numbers that fit 64 bits whatever they are added to."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Numbers at bounds, of several owners, in the order of owners and bounds.

    Attributes:
        owners: whose each is.
        bounds: where each stands.
        values: the numbers.
        good: which owners have any, each bound once.
    """

    owners: Ints
    bounds: Doubles
    values: Doubles
    good: Truths

    def lists(self, numbers: Doubles | Ints, rows: Ints, count: int) -> pa.Array:
        """Some numbers as one list for each of ``count`` rows, null for rows that own none.

        Args:
            numbers: one for each entry of the ladder.
            rows: of each owner its row, in ascending order; -1 for owners that have none.
            count: how many rows.
        """
        of = rows[self.owners]
        lengths = np.bincount(of[of >= 0], minlength=count)
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        nothing = np.ones(count, np.bool_)
        nothing[rows[rows >= 0]] = False
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), pa.array(numbers[of >= 0]), mask=pa.array(nothing)
        )

    def some(self, kept: Truths) -> "Ladder":
        """Some entries of it."""
        return Ladder(self.owners[kept], self.bounds[kept], self.values[kept], self.good)


def ladder_of(owners: Ints, bounds: Doubles, values: Doubles, count: int) -> Ladder:
    """Put entries of ``count`` owners in order."""
    order = np.lexsort((bounds, owners))
    owners, bounds, values = owners[order], bounds[order], values[order]
    twice = (owners[1:] == owners[:-1]) & (bounds[1:] == bounds[:-1])
    good = np.bincount(owners, minlength=count) > 0
    good[owners[1:][twice]] = False
    return Ladder(owners, bounds, values, good)


def buckets_of(
    owners: Ints, bounds: Doubles, cumulative: Doubles, counts: Doubles
) -> tuple[Ladder, Doubles]:
    """The counts of buckets by themselves, and how many measurements there are in all.

    A histogram that has no bucket ``+Inf`` has it by its count. Good are histograms whose counts
    are whole numbers that never go down from bucket to bucket.

    Args:
        owners: of each bucket its histogram.
        bounds: its bound.
        cumulative: how many measurements there are up to it.
        counts: of each histogram its count; NaN where it was not told.
    """
    told = np.zeros(len(counts), np.bool_)
    told[owners[np.isposinf(bounds)]] = True
    has = np.bincount(owners, minlength=len(counts)) > 0
    more = np.flatnonzero(has & ~told & ~np.isnan(counts))
    ladder = ladder_of(
        np.concatenate((owners, more)),
        np.concatenate((bounds, np.full(len(more), np.inf))),
        np.concatenate((cumulative, counts[more])),
        len(counts),
    )
    values = ladder.values
    first = np.ones(len(values), np.bool_)
    first[1:] = ladder.owners[1:] != ladder.owners[:-1]
    with np.errstate(invalid="ignore"):  # of infinities; those are no counts
        steps = np.diff(values, prepend=0.0)
    steps[first] = values[first]
    bad = ~(steps >= 0) | ~is_count(values)
    good = ladder.good
    good[ladder.owners[bad]] = False
    last = np.isposinf(ladder.bounds)
    total = np.full(len(counts), np.nan)
    total[ladder.owners[last]] = values[last]
    good &= ~np.isnan(total)
    return Ladder(ladder.owners, ladder.bounds, steps, good), total


def is_count(values: Doubles) -> Truths:
    """Which numbers can be numbers of measurements."""
    whole: Truths = (values >= 0) & (values <= LARGEST_COUNT) & (np.floor(values) == values)
    return whole
