"""Who probably called: access logs without ids, whose callers only time can tell.

Server-side entries that no id and no certificate ties to a caller stand under ``clients``. Where
their callers log what they sent to the service, each entry lies inside of one of these calls; which
one it is ``link`` infers. The answer stands beside the graph and is never part of it.
"""

from typing import Final

import polars as pl

from pipeline.analyze import alias
from pipeline.analyze.access_log import from_access_logs
from pipeline.analyze.identity import identify
from pipeline.analyze.link import link

CALLERS: Final = pl.Schema(
    {
        "client": pl.String(),
        "server": pl.String(),
        "requests": pl.Int64(),
        "link_confidence": pl.Float64(),
    }
)
"""Columns: the caller (null: none was found), the service, entries, and the mean of their links'
confidence (null where there is none)."""

_ENDS = ("client", "server")


def likely_callers(
    logs: pl.DataFrame, resources: pl.DataFrame, aliases: pl.DataFrame
) -> pl.DataFrame:
    """Link entries whose caller is unknown with calls to the service they are of.

    Args:
        logs: answer to the question ``nameless_logs``: entries without trace id and request id.
        resources: rows of ``resources`` that these refer to.
        aliases: rows of ``aliases``, and those that are configured.

    Returns:
        Columns ``CALLERS``, the most requests first.
    """
    known, identities = identify(resources)
    told = _named(from_access_logs(logs, known), identities, aliases)
    times = (pl.col("begin").alias("start"), (pl.col("begin") + pl.col("duration_ns")).alias("end"))
    timed = told.filter(pl.col("duration_ns") >= 0)
    calls = timed.filter(~pl.col("serves")).select(
        "client", pl.col("server").alias("service"), *times
    )
    entries = timed.filter(pl.col("serves") & (pl.col("client_kind") == "clients")).select(
        pl.col("server").alias("service"), pl.col("server").alias("callee"), *times
    )
    links = link(calls, entries)
    callers = links.select(
        "confidence", row="call", client=calls["client"].gather(links["request"])
    )
    return (
        entries.select(server="service")
        .with_row_index("row")
        .with_columns(pl.col("row").cast(pl.Int64))
        .join(callers, on="row", how="left")
        .group_by("client", "server")
        .agg(
            pl.len().cast(pl.Int64).alias("requests"),
            pl.col("confidence").mean().alias("link_confidence"),
        )
        .sort("requests", "client", "server", descending=[True, False, False])
        .select(CALLERS.names())
        .cast(CALLERS)
    )


def _named(told: pl.DataFrame, identities: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Tellings with node ids for their ends."""
    for end in _ENDS:
        nodes = identities.select(
            pl.col("identity").alias(end),
            node="node",
            node_kind="kind",
            **{f"{end}_workload": "workload", f"{end}_version": "version"},
        )
        told = (
            told.join(nodes, on=end, how="left", maintain_order="left")
            .with_columns(
                pl.coalesce("node", f"{end}_name").alias(end),
                pl.coalesce("node_kind", f"{end}_kind").alias(f"{end}_kind"),
            )
            .drop("node", "node_kind")
        )
    return alias.resolve(told.with_columns(rows=pl.lit(1, pl.Int64)), aliases)
