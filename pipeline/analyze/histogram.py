"""Latency as an OpenTelemetry base-2 exponential histogram of scale 5, kept as sparse lists.

Bucket ``i`` holds durations in (base**i, base**(i + 1)] seconds with base = 2**(2**-5) = 1.0219, so
the logarithmic midpoint of a bucket is at most 1.09 % from any duration in it (OpenTelemetry
metrics data model, "ExponentialHistogram"). Merging is addition; nothing is lost by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numba as nb
import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.analyze.arrays import read_only, values

SCALE: Final = 5
BUCKETS_PER_DOUBLING: Final = 2**SCALE
RELATIVE_ERROR: Final = 2 ** (0.5 / BUCKETS_PER_DOUBLING) - 1
"""Largest relative error of a quantile: 0.0109."""

SHORTEST_NS: Final = 1
"""A duration of zero counts as one nanosecond: a clock tick that did not pass."""


def bucket_index(duration_ns: pl.Expr) -> pl.Expr:
    """The bucket of a duration in nanoseconds (i16); null for negative durations and nulls."""
    seconds = duration_ns.clip(lower_bound=SHORTEST_NS).cast(pl.Float64) / 1e9
    index = (seconds.log(2) * BUCKETS_PER_DOUBLING).ceil().cast(pl.Int16) - 1
    return pl.when(duration_ns >= 0).then(index)


FROM_ZERO: Final = -1
OPEN: Final = -2
"""Widths of buckets that begin at zero, and of those that have no upper bound."""


def source_bucket(lower: pl.Expr, upper: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """A coarser histogram's bucket in terms of this one: where it ends, and its width (both i16).

    The bucket of an upper bound ends there; one without is known by its lower bound. Its width is
    how many buckets of this scale it spans, 0 when it is none wider than one, else ``FROM_ZERO`` or
    ``OPEN``. A bucket without any bound says nothing: null.

    Args:
        lower: lower bound in seconds, null for none.
        upper: upper bound in seconds, null for none.
    """
    # up to zero, or to less than a tick, is where durations of zero stand
    shortest = pl.when(upper >= 0).then(upper.clip(lower_bound=SHORTEST_NS / 1e9))
    low, high = _index(lower), _index(shortest)
    return (
        pl.coalesce(high, low),
        pl.when(high.is_null())
        .then(OPEN)
        .when(low.is_null())
        .then(FROM_ZERO)
        .otherwise(high - low)
        .cast(pl.Int16),
    )


def exponential_bucket(scale: pl.Expr, index: pl.Expr, seconds: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """A bucket of an exponential histogram in terms of this one, as ``source_bucket`` answers.

    Bounds are compared as exponents, so that a bucket of seconds is mapped exactly: to the one it
    lies in, or to those it consists of. Where the unit is another (a thousandth is no power of the
    base) a border may fall inside of a bucket of ours, which then counts to both sides of it. What
    is answered of a quantile is so at most one bucket of the source's and two of this scale off.

    Args:
        scale: of the source.
        index: of the bucket (i64).
        seconds: how many seconds the source's unit is.
    """
    step = pl.lit(2.0).pow(SCALE - scale.cast(pl.Float64))
    unit = seconds.log(2) * BUCKETS_PER_DOUBLING
    begins, ends = index * step + unit, (index + 1) * step + unit
    high, first, before = (
        _near(bucket) for bucket in (ends.ceil() - 1, begins.floor(), begins.ceil() - 1)
    )
    return high.cast(pl.Int16), (
        pl.when(high <= first).then(0).otherwise(high - before).cast(pl.Int16)
    )


def _near(bucket: pl.Expr) -> pl.Expr:
    return bucket.clip(-_FARTHEST, _FARTHEST)


def _index(seconds: pl.Expr) -> pl.Expr:
    """The bucket of a positive number of seconds; null for any other."""
    index = (seconds.log(2) * BUCKETS_PER_DOUBLING).ceil().clip(-_FARTHEST, _FARTHEST) - 1
    return pl.when((seconds > 0) & seconds.is_finite()).then(index).cast(pl.Int16)


_FARTHEST: Final = 1024
"""Bounds beyond 2**32 seconds, or below 2**-32, are none that latency has."""


def midpoint_seconds(bucket: pl.Expr) -> pl.Expr:
    """The logarithmic midpoint of a bucket, in seconds."""
    exponent = (bucket.cast(pl.Float64) + 0.5) / BUCKETS_PER_DOUBLING
    return pl.lit(2.0).pow(exponent)


def quantiles(
    frame: pl.DataFrame, keys: Sequence[str], shares: Sequence[float], *, resolved: bool = False
) -> pl.DataFrame:
    """Quantiles of merged histograms, in seconds.

    Args:
        frame: columns ``keys``, ``buckets`` (list of i16) and ``counts`` (list of i64); also
            ``widths`` (list of i16), where buckets are coarser: see ``source_bucket``.
        keys: what to merge by.
        shares: the quantiles wanted, each in 0..1 (0.99 is p99), nearest rank.
        resolved: whether to tell how far off they may be.

    Returns:
        One row per key with columns ``p50``, ``p99``, ... (f64, seconds); null where a key's
        histograms are empty. With ``resolved`` also ``p50_resolution``, ...: half of the stretch
        that surely holds the quantile, over its middle (0..1); null where the quantile is only
        known to be no less than what is answered.
    """
    groups, entries = _entries(frame, keys)
    reached = _reached(entries.spread(), groups.height, shares)
    found = reached.select(
        pl.when(pl.col(name) > _NOTHING).then(midpoint_seconds(pl.col(name))).alias(name)
        for name in reached.columns
    )
    if not resolved:
        return groups.hstack(found)
    if not entries.widths.any():
        exact = found.select(
            pl.when(pl.col(name).is_not_null()).then(FINEST).alias(f"{name}{_RESOLUTION}")
            for name in found.columns
        )
        return groups.hstack(found).hstack(exact)
    return groups.hstack(found).hstack(_resolutions(entries, groups.height, shares))


def _resolutions(entries: "_Entries", groups: int, shares: Sequence[float]) -> pl.DataFrame:
    """See ``quantiles``.

    The stretch is that from the quantile of all lower bounds to that of all upper bounds, so that
    it holds the true quantile whatever histograms were merged.
    """
    lower = _reached(entries.lower(), groups, shares).select(pl.all().name.suffix("_low"))
    upper = _reached(entries.upper(), groups, shares)
    found = []
    for name in upper.columns:
        low, high = pl.col(f"{name}_low"), pl.col(name)
        least = pl.when(low == entries.zero).then(0.0).otherwise(_border(low))
        most = _border(high + 1)
        told = (high > _NOTHING) & (high < entries.infinity)
        half = (most - least) / (most + least)
        found.append(pl.when(told).then(half).alias(f"{name}{_RESOLUTION}"))
    return upper.hstack(lower).select(found)


def _border(bucket: pl.Expr) -> pl.Expr:
    """Where a bucket begins, in seconds."""
    return pl.lit(2.0).pow(bucket.cast(pl.Float64) / BUCKETS_PER_DOUBLING)


_RESOLUTION: Final = "_resolution"

FINEST: Final = (2 ** (1 / BUCKETS_PER_DOUBLING) - 1) / (2 ** (1 / BUCKETS_PER_DOUBLING) + 1)
"""How far off a quantile of durations may be: 0.0108."""


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of histograms, one by one: whose, where it ends, how wide it is, how full."""

    rows: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int16]
    counts: npt.NDArray[np.int64]
    widths: npt.NDArray[np.int16]

    @property
    def zero(self) -> int:
        """In the place of a lower bound that is zero: below all others."""
        return int((self.buckets - np.maximum(self.widths, 0)).min(initial=0)) - 1

    @property
    def infinity(self) -> int:
        """In the place of an upper bound that there is not: above all others."""
        return int(self.buckets.max(initial=0)) + 1

    def lower(self) -> "_Entries":
        """Everything at its lower bound."""
        low = self.buckets - np.maximum(self.widths, 0)
        return self._at(np.where(self.widths == FROM_ZERO, self.zero, low))

    def upper(self) -> "_Entries":
        """Everything at its upper bound."""
        return self._at(np.where(self.widths == OPEN, self.infinity, self.buckets))

    def spread(self) -> "_Entries":
        """What wide buckets hold, laid evenly on the narrow ones they span, in whole millionths.

        Of a bucket from zero two doublings are taken, in which most of a straight line lies.
        """
        if not self.widths.any():
            return self
        spans = np.where(self.widths == FROM_ZERO, 2 * BUCKETS_PER_DOUBLING, self.widths)
        spans = np.maximum(spans, 1).astype(np.int64)
        entry = np.repeat(np.arange(len(spans)), spans)
        place = np.arange(len(entry)) - np.repeat(np.cumsum(spans) - spans, spans)
        counts, span = self.counts[entry], spans[entry]
        # whole shares first: a count times a place would not fit
        share, rest = counts // span, counts % span
        held = share + rest * (place + 1) // span - rest * place // span
        buckets = self.buckets[entry] - (span - 1 - place)
        return _Entries(
            self.rows[entry], buckets.astype(np.int16), held, np.zeros(len(entry), np.int16)
        )

    def _at(self, buckets: npt.NDArray[np.integer[Any]]) -> "_Entries":
        return _Entries(self.rows, buckets.astype(np.int16), self.counts, self.widths)


def _entries(frame: pl.DataFrame, keys: Sequence[str]) -> tuple[pl.DataFrame, _Entries]:
    """The keys that occur, and the entries of all histograms with the place of their key."""
    groups = frame.select(*keys).unique(maintain_order=True).with_row_index("group")
    group = frame.select(*keys).join(
        groups, on=list(keys), how="left", nulls_equal=True, maintain_order="left"
    )["group"]
    lists = frame.select(pl.col("buckets").cast(pl.List(pl.Int16)), pl.col("counts"))
    lengths = lists["buckets"].list.len().fill_null(0)
    rows = np.repeat(group.to_numpy().astype(np.int64), lengths.to_numpy())
    buckets = values(lists["buckets"].explode(empty_as_null=False, keep_nulls=False))
    counts = values(lists["counts"].explode(empty_as_null=False, keep_nulls=False))
    widths = _widths(frame, lengths)
    return groups.drop("group"), _Entries(rows, buckets, counts, widths)


def _widths(frame: pl.DataFrame, lengths: pl.Series) -> npt.NDArray[np.int16]:
    """The width of each entry; 0 in rows that have none."""
    if "widths" not in frame.columns or not frame["widths"].list.len().sum():
        return np.zeros(int(lengths.sum()), np.int16)
    own = pl.Series("own", lengths, pl.Int64)
    zeros = pl.lit(0, pl.Int16).repeat_by(own)
    told = pl.when(pl.col("widths").list.len() == own).then("widths").otherwise(zeros)
    lists = frame.select(told.cast(pl.List(pl.Int16)).alias("widths"))["widths"]
    return values(lists.explode(empty_as_null=False, keep_nulls=False))


def _reached(entries: _Entries, groups: int, shares: Sequence[float]) -> pl.DataFrame:
    """Per group the bucket in which each share of what it holds is reached."""
    wanted = np.asarray(shares, np.float64)
    found = _ranks(
        read_only(entries.rows),
        read_only(entries.buckets),
        read_only(entries.counts),
        groups,
        wanted,
    )
    return pl.DataFrame(found, schema=[quantile_name(share) for share in shares])


_NOTHING: Final = -(2**15)


@nb.njit(cache=True, nogil=True)
def _ranks(
    rows: npt.NDArray[np.int64],
    buckets: npt.NDArray[np.int16],
    counts: npt.NDArray[np.int64],
    groups: int,
    shares: npt.NDArray[np.float64],
) -> npt.NDArray[np.int16]:
    """For each group and share the bucket in which that share of the group's counts is reached."""
    found = np.full((groups, len(shares)), _NOTHING, np.int16)
    if len(buckets) == 0:
        return found
    lowest = int(buckets.min())
    dense = np.zeros((groups, int(buckets.max()) - lowest + 1), np.int64)
    for entry in range(len(rows)):
        dense[rows[entry], buckets[entry] - lowest] += counts[entry]
    for group in range(groups):
        total = dense[group].sum()
        if total == 0:
            continue
        for wanted in range(len(shares)):
            reached = 0
            for bucket in range(dense.shape[1]):
                reached += dense[group, bucket]
                if reached >= total * shares[wanted] and reached > 0:
                    found[group, wanted] = bucket + lowest
                    break
    return found


def quantile_name(share: float) -> str:
    """``p50`` for 0.5, ``p99`` for 0.99, ``p99_9`` for 0.999."""
    return "p" + f"{share * 100:g}".replace(".", "_")
