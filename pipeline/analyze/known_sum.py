"""Sums in which an unknown stays unknown."""

import polars as pl


def known_sum(name: str) -> pl.Expr:
    """The sum of what is known in a column; null where nothing is, which Polars would call 0."""
    column = pl.col(name)
    return pl.when(column.is_not_null().any()).then(column.sum()).alias(name)
