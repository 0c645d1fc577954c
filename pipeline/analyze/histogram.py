"""Latency as an OpenTelemetry base-2 exponential histogram of scale 5, kept as sparse lists.

Bucket ``i`` holds durations in (base**i, base**(i + 1)] seconds with base = 2**(2**-5) = 1.0219, so
the logarithmic midpoint of a bucket is at most 1.09 % from any duration in it (OpenTelemetry
metrics data model, "ExponentialHistogram"). Merging is addition; nothing is lost by it.
"""

from collections.abc import Sequence
from typing import Final

import numba as nb
import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.analyze.arrays import values

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


def midpoint_seconds(bucket: pl.Expr) -> pl.Expr:
    """The logarithmic midpoint of a bucket, in seconds."""
    exponent = (bucket.cast(pl.Float64) + 0.5) / BUCKETS_PER_DOUBLING
    return pl.lit(2.0).pow(exponent)


def quantiles(frame: pl.DataFrame, keys: Sequence[str], shares: Sequence[float]) -> pl.DataFrame:
    """Quantiles of merged histograms, in seconds.

    Args:
        frame: columns ``keys``, ``buckets`` (list of i16) and ``counts`` (list of i64).
        keys: what to merge by.
        shares: the quantiles wanted, each in 0..1 (0.99 is p99), nearest rank.

    Returns:
        One row per key with columns ``p50``, ``p99``, ... (f64, seconds); null where a key's
        histograms are empty.
    """
    groups = frame.select(*keys).unique(maintain_order=True).with_row_index("group")
    group = frame.select(*keys).join(
        groups, on=list(keys), how="left", nulls_equal=True, maintain_order="left"
    )["group"]
    lists = frame.select(pl.col("buckets").cast(pl.List(pl.Int16)), pl.col("counts"))
    lengths = lists["buckets"].list.len().fill_null(0)
    rows = np.repeat(group.to_numpy().astype(np.int64), lengths.to_numpy())
    buckets = values(lists["buckets"].explode(empty_as_null=False, keep_nulls=False))
    counts = values(lists["counts"].explode(empty_as_null=False, keep_nulls=False))
    reached = _ranks(rows, buckets, counts, groups.height, np.asarray(shares, np.float64))
    names = [quantile_name(share) for share in shares]
    found = pl.DataFrame(reached, schema=names).select(
        pl.when(pl.col(name) > _NOTHING).then(midpoint_seconds(pl.col(name))).alias(name)
        for name in names
    )
    return groups.drop("group").hstack(found)


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
