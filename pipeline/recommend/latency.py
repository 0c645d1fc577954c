"""Latency questions that rules ask of merged histograms.

The histograms are those of ``edge_minutes``: OpenTelemetry exponential histograms of scale 5 over
seconds, bucket ``i`` covering (base**i, base**(i + 1)] with base = 2**(2**-5). Rules take the upper
border of a bucket, never its middle, so that a bound drawn from it is not below the truth.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

BUCKETS_PER_DOUBLING: Final = 32


def upper_seconds(bucket: pl.Expr) -> pl.Expr:
    """The upper border of a bucket, in seconds."""
    return pl.lit(2.0).pow((bucket.cast(pl.Float64) + 1) / BUCKETS_PER_DOUBLING)


def merged(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Histograms added up by ``keys``: columns keys, ``bucket`` and ``count``."""
    return (
        frame.select(*keys, pl.col("buckets").alias("bucket"), pl.col("counts").alias("count"))
        .explode("bucket", "count")
        .drop_nulls("bucket")
        .group_by(*keys, "bucket")
        .agg(pl.col("count").sum())
    )


def quantiles(histograms: pl.DataFrame, keys: Sequence[str], **shares: float) -> pl.DataFrame:
    """Upper bounds of quantiles, in seconds: one row per key, one column per named share.

    ``histograms`` is an answer of ``merged`` by at least these keys.
    """
    cumulated = (
        histograms.group_by(*keys, "bucket")
        .agg(pl.col("count").sum())
        .sort(*keys, "bucket")
        .with_columns(
            reached=pl.col("count").cum_sum().over(*keys), total=pl.col("count").sum().over(*keys)
        )
    )
    return cumulated.group_by(*keys).agg(
        upper_seconds(
            pl.col("bucket").filter(pl.col("reached") >= pl.col("total") * share).min()
        ).alias(name)
        for name, share in shares.items()
    )


def share_above(histograms: pl.DataFrame, keys: Sequence[str], seconds: str) -> pl.DataFrame:
    """Per key, how much of its counts may lie above the bound in column ``seconds``.

    A bucket counts as above when any of it is. Columns keys, ``above`` and ``total``, in the unit
    of the counts.
    """
    above = upper_seconds(pl.col("bucket")) > pl.col(seconds) * (1 + 1e-9)
    return histograms.group_by(*keys).agg(
        above=pl.col("count").filter(above).sum(), total=pl.col("count").sum()
    )
