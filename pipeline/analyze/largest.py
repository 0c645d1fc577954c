"""Names told apart: the largest, by a rule that knows neither order nor time."""

from collections.abc import Sequence

import polars as pl


def largest(
    summed: pl.DataFrame, name: str, *, by: Sequence[str], most: int, rest: str
) -> pl.DataFrame:
    """The rows with one name for all but the largest names of each group.

    Which stay depends on what was counted alone: on requests, and between equals on the name. A
    null is no name and stays; ``rest`` takes no place.

    Args:
        summed: columns ``name``, ``by``, ``requests`` and others.
        name: the column whose values are told apart.
        by: what makes a group.
        most: how many names each group keeps.
        rest: what the others are called.
    """
    counted = summed.filter(pl.col(name).is_not_null() & (pl.col(name) != rest))
    if counted[name].n_unique() <= most:
        return summed
    ranked = (
        counted.group_by(*by, name)
        .agg(pl.col("requests").sum())
        .sort(*by, "requests", name, descending=[*(False for _ in by), True, False])
        .select(*by, name, rank=pl.int_range(pl.len()).over(by))
    )
    placed = summed.join(ranked, on=[*by, name], how="left", nulls_equal=True)
    kept = pl.col("rank").is_null() | (pl.col("rank") < most)
    return placed.with_columns(pl.when(kept).then(name).otherwise(pl.lit(rest)).alias(name)).drop(
        "rank"
    )
