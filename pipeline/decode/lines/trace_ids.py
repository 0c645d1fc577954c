"""Trace ids as gateways log them: whole headers or bare ids, in the forms of several systems."""

from collections.abc import Sequence
from typing import Final

import polars as pl
import pyarrow as pa

_FORMS: Final = (
    # W3C traceparent
    r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}",
    # a bare id, B3 in one header (id-span-sampled), Google Cloud (id/span;o=1); short B3 ids
    r"^([0-9a-fA-F]{32}|[0-9a-fA-F]{16})(?:$|[-/])",
    # AWS X-Ray: version, epoch seconds, 96 bits; joined they are a W3C id
    r"(?i)(?:^|root=)1-([0-9a-f]{8}-[0-9a-f]{24})(?:$|;)",
)


def trace_ids(columns: Sequence[pa.Array]) -> dict[str, pa.Array]:
    """The columns ``trace_id_high`` and ``trace_id_low``.

    Args:
        columns: texts that may hold a trace id, the best first. A text in no known form, and the
            id of zeros, are passed over for the next column.
    """
    told = [column for column in columns if column.null_count < len(column)]
    if not told:
        nothing = pa.nulls(len(columns[0]), pa.uint64())
        return {"trace_id_high": nothing, "trace_id_low": nothing}
    ids = [_id(pl.Series(values=pl.from_arrow(column), dtype=pl.String)) for column in told]
    frame = pl.select(pl.coalesce(ids).alias("id")).select(
        trace_id_high=pl.col("id").str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64),
        trace_id_low=pl.col("id").str.slice(16).str.to_integer(base=16, dtype=pl.UInt64),
    )
    return {name: frame[name].to_arrow() for name in frame.columns}


def _id(text: pl.Series) -> pl.Series:
    """32 hexadecimal digits, or null."""
    found = text.str.extract(_FORMS[0])
    for form in _FORMS[1:]:
        # most senders keep to one form, and to look for another takes as long again
        if found.null_count() > text.null_count():
            found = pl.select(id=pl.coalesce(found, text.str.extract(form)))["id"]
    digits = found.str.replace("-", "", literal=True).str.zfill(32)
    return digits.set(digits == "0" * 32, None)
