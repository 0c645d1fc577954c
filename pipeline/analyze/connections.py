"""Connections beside the requests that they carry."""

from typing import Final

import polars as pl

EDGE: Final = ("client", "server")
BYTES: Final = ("request_bytes", "response_bytes")
COUNTS: Final = (
    "rows", "sampled", "requests", "attempts", "client_errors", "server_errors",
    "connection_errors", "told_twice", "told_again",
)  # fmt: skip


def apart(minutes: pl.DataFrame) -> pl.DataFrame:
    """Take the counts of connections from edges with requests.

    A ztunnel, or Linkerd's counters of TCP, tells of the connections that carry the requests which
    others count: these are not more traffic. What they know of TLS stays, and so do their bytes
    where nobody tells those of the requests.
    """
    connections = pl.col("protocol") == "tcp"
    if minutes.filter(connections).is_empty():
        return minutes
    counted = (pl.col("protocol") != "tcp").any().over(EDGE)
    taken = (connections & counted).fill_null(value=False)
    return minutes.with_columns(
        *(
            pl.when(taken).then(0).otherwise(pl.col(name)).cast(pl.Int64).alias(name)
            for name in COUNTS
        ),
        *(
            pl.when(taken).then(pl.col(name).list.head(0)).otherwise(name).alias(name)
            for name in ("buckets", "counts")
        ),
        *(
            pl.when(taken & (~connections & pl.col(name).is_not_null()).any().over(EDGE))
            .then(pl.lit(None, pl.Int64))
            .otherwise(name)
            .alias(name)
            for name in BYTES
        ),
    )
