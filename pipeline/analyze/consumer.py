"""API consumers in the place of the clients that nobody knows.

``consumer_minutes`` tells of the calls that entered from ``clients`` those whose consumer somebody
told. In the graph they are taken out of what came from ``clients`` and put before it as nodes of
their own; as all counts are sums, what stays with ``clients`` is what is left.
"""

from typing import Final

import polars as pl

from pipeline.model.consumers import OTHER
from pipeline.model.tables import BY_METRICS
from pipeline.model.topology import CLIENTS, NodeKind

KEPT_PER_MINUTE: Final = 1000
"""Consumers told apart in one minute of one unit of slices; the others are one, ``other``."""

SHOWN: Final = 100
"""Consumers told apart in a graph: those with most requests in its window."""

_SIGNED: Final = (
    "rows", "unpaired", "sampled", "requests", "attempts", "client_errors", "server_errors",
    "connection_errors", "tls_known", "tls_mutual", "duration_ns",
)  # fmt: skip
_TELLER: Final = ("server", "reporter", "signal")


def entering(tellings: pl.DataFrame) -> pl.DataFrame:
    """The tellings of calls that entered from nowhere known, by a consumer that is."""
    return tellings.filter(
        pl.col("consumer").is_not_null() & (pl.col("client_name") == CLIENTS).fill_null(value=False)
    )


def told_apart(minutes: pl.DataFrame, consumers: pl.DataFrame) -> pl.DataFrame:
    """Rows of edges with the consumers as callers, taken out of what ``clients`` called.

    Args:
        minutes: rows of ``edge_minutes``.
        consumers: rows of ``consumer_minutes`` of the same window, routes summed or not.
    """
    called = _as_edges(_shown(consumers), minutes)
    back = called.with_columns(
        pl.lit(CLIENTS).alias("client"),
        pl.lit(NodeKind.CLIENTS.value).alias("client_kind"),
        *(-pl.col(name) for name in _SIGNED),
        pl.col("counts").list.eval(-pl.element()),
    )
    return pl.concat([minutes, called, back.select(minutes.columns)])


def _shown(consumers: pl.DataFrame) -> pl.DataFrame:
    """The largest consumers; the rest are ``other``."""
    shown = (
        consumers.filter(pl.col("consumer") != OTHER)
        .group_by("consumer")
        .agg(pl.col("requests").sum())
        .sort("requests", "consumer", descending=[True, False])
        .head(SHOWN)["consumer"]
    )
    kept = pl.col("consumer").is_in(shown.implode())
    return consumers.with_columns(
        pl.when(kept).then("consumer").otherwise(pl.lit(OTHER)).alias("consumer")
    )


def _as_edges(consumers: pl.DataFrame, minutes: pl.DataFrame) -> pl.DataFrame:
    """Rows of consumers in the shape of those of edges."""
    nothing = {"client_workload", "client_version", "client_alias"}
    untold = [column.name for column in BY_METRICS]
    return consumers.with_columns(
        pl.format("{}:{}", pl.lit(NodeKind.CONSUMER.value), "consumer").alias("client"),
        pl.lit(NodeKind.CONSUMER.value).alias("client_kind"),
        *(pl.lit(None, pl.String).alias(name) for name in nothing),
        *(pl.lit(None, pl.Int64).alias(name) for name in untold),
    ).select(pl.col(name).cast(kind) for name, kind in minutes.schema.items())


def first_hops(minutes: pl.DataFrame) -> pl.DataFrame:
    """Leave to whoever knows consumers what is told of calls that enter at a server.

    Another reporter tells the same calls as from ``clients``; it cannot tell who made them. Of
    several that know consumers, by one signal each, the one that knows of most requests counts.

    Args:
        minutes: answer of ``told_apart``, aliases resolved.
    """
    knowing = (
        minutes.filter(pl.col("client_kind") == NodeKind.CONSUMER)
        .group_by(_TELLER)
        .agg(pl.col("requests").sum())
        .sort("requests", "reporter", "signal", descending=[True, False, False])
        .unique("server", keep="first", maintain_order=True)
        .select(*_TELLER, chosen=True)
    )
    entering = pl.col("client_kind").is_in([NodeKind.CONSUMER, NodeKind.CLIENTS])
    told = minutes.join(knowing, on=list(_TELLER), how="left").with_columns(
        pl.col("server").is_in(knowing["server"].implode()).alias("known")
    )
    left = pl.col("rows").sum().over("client", *_TELLER)
    return told.filter(
        ~(entering & pl.col("known")) | (pl.col("chosen").fill_null(value=False) & (left > 0))
    ).drop("chosen", "known")
