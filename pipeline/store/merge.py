"""Summing derived rows: rows with the same key become one, exactly and in any order."""

from typing import Final

import polars as pl

from pipeline.model.table import Table
from pipeline.model.tables import ALIASES, BY_METRICS, MEASURES, SLICE

HISTOGRAM: Final = ("buckets", "counts")
"""The two lists of a histogram: bucket indexes, ascending, and what each holds."""

METRICS_ONLY: Final = ("widths", *(column.name for column in BY_METRICS))
"""Only of rows derived from metrics, which have no unit and are never merged."""

_SUMS: Final = {
    column.name for column in MEASURES if column.name not in (*HISTOGRAM, *METRICS_ONLY)
} | {"seen"}


def merged(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Sum the rows of a derived table (without ``slice``) that have equal keys; nulls are equal."""
    names = [name for name in table.names if name != SLICE.name]
    keys = [name for name in names if name not in _SUMS and name not in (*HISTOGRAM, *METRICS_ONLY)]
    sums = [pl.col(name).sum() for name in names if name in _SUMS]
    if table is ALIASES:
        return rows.group_by(keys, maintain_order=True).agg(sums).select(names)
    lists = [pl.col(name).list.explode(keep_nulls=False, empty_as_null=False) for name in HISTOGRAM]
    groups = rows.group_by(keys, maintain_order=True).agg(*sums, *lists).with_row_index("row")
    histograms = (
        groups.select("row", *HISTOGRAM)
        .explode(*HISTOGRAM, empty_as_null=False)
        .group_by("row", "buckets")
        .agg(pl.col("counts").sum())
        .sort("row", "buckets")
        .group_by("row", maintain_order=True)
        .agg(*HISTOGRAM)
    )
    untold = [pl.lit(None, rows.schema[name]).alias(name) for name in METRICS_ONLY if name in names]
    empty = [pl.col(name).fill_null(pl.lit([], dtype=rows.schema[name])) for name in HISTOGRAM]
    return (
        groups.drop(HISTOGRAM)
        .join(histograms, on="row", how="left", maintain_order="left")
        .with_columns(*empty, *untold)
        .select(names)
    )
