"""Rate, errors and duration of one node, route by route.

One reporter gives the counts, the one that gives those of the node's minutes. Routes are the
templates that are left when names that are too many have become ids.
"""

from typing import Final

import polars as pl

from pipeline.analyze import red, route
from pipeline.analyze.histogram import quantiles

MILLION: Final = 1_000_000

_SUMS: Final = ("requests", "client_errors", "server_errors", "connection_errors")


def by_route(node_minutes: pl.DataFrame, *, seconds: float) -> pl.DataFrame:
    """One row per route, the busiest first.

    Args:
        node_minutes: rows of ``node_minutes`` of one node.
        seconds: how long the window is.

    Returns:
        Columns ``route`` (null for requests of which no route is known), ``requests``,
        ``requests_per_second``, ``error_ratio``, ``client_error``, ``server_error``, ``connection``
        (counts) and ``latency_p50``, ``latency_p90``, ``latency_p95``, ``latency_p99`` (seconds;
        null when unknown).
    """
    reporter, signal = red.choose(node_minutes) or ("", "")
    told = node_minutes.filter((pl.col("reporter") == reporter) & (pl.col("signal") == signal))
    shown = told.join(route.collapsed(told), on="route", how="left").with_columns(
        pl.col("template").alias("route")
    )
    summed = shown.group_by("route").agg(pl.col(*_SUMS).sum())
    latency = quantiles(shown, ["route"], red.SHARES)
    failed = pl.sum_horizontal("client_errors", "server_errors", "connection_errors")
    return (
        summed.join(latency, on="route", how="left", nulls_equal=True)
        .sort("requests", "route", descending=[True, False])
        .select(
            "route",
            _count("requests").alias("requests"),
            (pl.col("requests") / MILLION / seconds).alias("requests_per_second"),
            pl.when(pl.col("requests") > 0).then(failed / pl.col("requests")).alias("error_ratio"),
            _count("client_errors").alias("client_error"),
            _count("server_errors").alias("server_error"),
            _count("connection_errors").alias("connection"),
            *(
                pl.col(f"p{share * 100:g}").alias(f"latency_p{share * 100:g}")
                for share in red.SHARES
            ),
        )
    )


def _count(name: str) -> pl.Expr:
    return (pl.col(name) / MILLION).round().cast(pl.Int64)
