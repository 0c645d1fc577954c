"""Rate, errors and duration of one node, minute by minute.

One reporter, by one signal, gives the counts of the whole window, so that a line in a chart never
jumps because somebody else began to tell; tellings are never added up.
"""

from typing import Final, NamedTuple

import polars as pl

from pipeline.analyze.histogram import quantiles

MILLION: Final = 1_000_000
SECONDS: Final = 60.0
SHARES: Final = (0.5, 0.9, 0.95, 0.99)

_SUMS: Final = ("requests", "client_errors", "server_errors", "connection_errors")


class Chosen(NamedTuple):
    """The reporter that gives the counts, and the signal it tells them by."""

    reporter: str
    signal: str


def choose(node_minutes: pl.DataFrame) -> Chosen | None:
    """The reporter with most requests among those sampled least; None when nobody told.

    Args:
        node_minutes: rows of ``node_minutes`` of one node.
    """
    told = (
        node_minutes.group_by("reporter", "signal")
        .agg(pl.col("requests").sum(), (pl.col("sampled").sum() / pl.col("rows").sum()))
        .sort("sampled", "requests", "reporter", "signal", descending=[False, True, False, False])
    )
    return None if told.is_empty() else Chosen(told["reporter"][0], told["signal"][0])


def series(node_minutes: pl.DataFrame) -> pl.DataFrame:
    """One row per minute that was told of, oldest first.

    Args:
        node_minutes: rows of ``node_minutes`` of one node.

    Returns:
        Columns ``time`` (start of the minute), ``requests``, ``requests_per_second``,
        ``error_ratio``, ``client_error``, ``server_error``, ``connection`` (counts) and
        ``latency_p50``, ``latency_p90``, ``latency_p95``, ``latency_p99`` (seconds; null when
        unknown).
    """
    chosen = choose(node_minutes)
    if chosen is None:
        return pl.DataFrame(schema=SERIES)
    told = node_minutes.filter(
        (pl.col("reporter") == chosen.reporter) & (pl.col("signal") == chosen.signal)
    )
    summed = told.group_by("minute").agg(pl.col(*_SUMS).sum())
    latency = quantiles(told, ["minute"], SHARES)
    failed = pl.sum_horizontal("client_errors", "server_errors", "connection_errors")
    return (
        summed.join(latency, on="minute", how="left")
        .sort("minute")
        .select(
            pl.col("minute").alias("time"),
            _count("requests").alias("requests"),
            (pl.col("requests") / MILLION / SECONDS).alias("requests_per_second"),
            pl.when(pl.col("requests") > 0).then(failed / pl.col("requests")).alias("error_ratio"),
            _count("client_errors").alias("client_error"),
            _count("server_errors").alias("server_error"),
            _count("connection_errors").alias("connection"),
            *(pl.col(f"p{share * 100:g}").alias(f"latency_p{share * 100:g}") for share in SHARES),
        )
        .cast(SERIES)
    )


_COLUMNS: Final = {
    "time": pl.Datetime("ns"),
    "requests": pl.Int64(),
    "requests_per_second": pl.Float64(),
    "error_ratio": pl.Float64(),
    "client_error": pl.Int64(),
    "server_error": pl.Int64(),
    "connection": pl.Int64(),
}
SERIES: Final = pl.Schema(
    _COLUMNS | {f"latency_p{share * 100:g}": pl.Float64() for share in SHARES}
)
"""Columns of a series."""


def _count(name: str) -> pl.Expr:
    return (pl.col(name) / MILLION).round().cast(pl.Int64)
