"""Latency as an OpenTelemetry base-2 exponential histogram of scale 5, kept as sparse lists.

Bucket ``i`` holds durations in (base**i, base**(i + 1)] seconds with base = 2**(2**-5) = 1.0219, so
the logarithmic midpoint of a bucket is at most 1.09 % from any duration in it (OpenTelemetry metrics
data model, "ExponentialHistogram"). Merging is addition; nothing is lost by it.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

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
        shares: the quantiles wanted, each in 0..1 (0.99 is p99); nearest-rank.

    Returns:
        One row per key with columns ``p50``, ``p99``, ... (f64, seconds); keys whose
        histograms are empty are absent.
    """
    merged = (
        frame.select(*keys, "buckets", "counts")
        .explode("buckets", "counts")
        .drop_nulls("buckets")
        .group_by(*keys, "buckets")
        .agg(pl.col("counts").sum())
        .sort(*keys, "buckets")
        .with_columns(
            pl.col("counts").cum_sum().over(keys, order_by="buckets").alias("reached"),
            pl.col("counts").sum().over(keys).alias("total"),
        )
    )
    return merged.group_by(*keys, maintain_order=True).agg(
        midpoint_seconds(
            pl.col("buckets").filter(pl.col("reached") >= pl.col("total") * share).first()
        ).alias(quantile_name(share))
        for share in shares
    )


def quantile_name(share: float) -> str:
    """``p50`` for 0.5, ``p99`` for 0.99, ``p99_9`` for 0.999."""
    return "p" + f"{share * 100:g}".replace(".", "_")
