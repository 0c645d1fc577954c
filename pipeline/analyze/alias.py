"""Names to nodes: who stands behind an address, a cluster name or a certificate.

Resolved when the graph is asked for, from everything that was ever learned, so that the answer does
not depend on what was known when a row came in.
"""

from typing import Final

import polars as pl

from pipeline.analyze.peer import ADDRESS
from pipeline.model.topology import CLIENTS, NOT_RECEIVED, NodeKind

SPIFFE: Final = r"/ns/([^/]+)/(?:sa|dc/[^/]+/svc)/([^/]+)$"
"""Istio's and Consul's SPIFFE ids: namespace, and service account or service."""

LINKERD: Final = r"^([^.]+)\.([^.]+)\.serviceaccount\.identity\."
"""Linkerd's identities: service account and namespace."""

_HOST: Final = r"^([^/:|]+)"
_PLACE: Final = ("node", "kind", "workload", "version")


def resolve(edge_minutes: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Give every end of every row a node id and a kind.

    Args:
        edge_minutes: rows of ``edge_minutes``; ends may be null with an alias.
        aliases: rows of ``aliases``.

    Returns:
        The same rows with ``client``, ``server`` and their kinds never null.
    """
    aliases = pl.concat([aliases, _told_twice(edge_minutes)], how="diagonal")
    nodes = _known_nodes(edge_minutes, aliases)
    for end in ("client", "server"):
        if edge_minutes[end].null_count():
            edge_minutes = _resolve_end(edge_minutes, end, aliases, nodes)
    return edge_minutes


def _told_twice(edge_minutes: pl.DataFrame) -> pl.DataFrame:
    """What rows imply that name a callee and what it is known by: metrics' labels may say both."""
    other_name = pl.col("server") != pl.col("server_alias")
    return (
        edge_minutes.filter((pl.col("signal") == "metrics") & other_name)
        .group_by(alias="server_alias", node="server", kind="server_kind")
        .agg(seen=pl.col("rows").sum().cast(pl.Int64))
        .with_columns(pl.lit(None, pl.String).alias(name) for name in ("workload", "version"))
    )


def _known_nodes(edge_minutes: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Services and gateways by id, name and namespace."""
    ends = [
        edge_minutes.select(node=end, kind=f"{end}_kind").unique() for end in ("client", "server")
    ]
    return (
        pl.concat([*ends, aliases.select("node", "kind").unique()])
        .filter(pl.col("kind").is_in(["service", "gateway"]) & pl.col("node").is_not_null())
        .sort("node", "kind")
        .unique("node", keep="first", maintain_order=True)
        .with_columns(
            pl.col("node").str.extract(r"([^/]+)$").alias("name"),
            pl.col("node").str.extract(r"^([^/]+)/").alias("namespace"),
        )
    )


def _resolve_end(
    rows: pl.DataFrame, end: str, aliases: pl.DataFrame, nodes: pl.DataFrame
) -> pl.DataFrame:
    named = f"{end}_alias"
    unknown = rows.filter(pl.col(end).is_null()).select("client", named).unique()
    if end == "client":
        unknown = unknown.select(pl.lit(None, pl.String).alias("client"), named).unique()
    found = unknown.rename({named: "alias"})
    found = _by_alias(found, aliases)
    found = _by_name(found, nodes)
    found = found.with_columns(_last_resort()).rename(
        {"alias": named, **{column: f"found_{column}" for column in _PLACE}}
    )
    keys = [named] if end == "client" else ["client", named]
    found = found.drop("client") if end == "client" else found
    joined = rows.join(found, on=keys, how="left", nulls_equal=True)
    missing = pl.col(end).is_null()
    return joined.with_columns(
        pl.when(missing)
        .then("found_workload")
        .otherwise(f"{end}_workload")
        .alias(f"{end}_workload"),
        pl.when(missing).then("found_version").otherwise(f"{end}_version").alias(f"{end}_version"),
        pl.when(missing).then("found_kind").otherwise(f"{end}_kind").alias(f"{end}_kind"),
        pl.coalesce(end, "found_node").alias(end),
    ).select(rows.columns)


def _by_alias(unknown: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Who was seen most under the alias: by this caller, else by anybody."""
    by_node = (
        aliases.group_by("client", "alias", "node")
        .agg(
            pl.col("seen").sum(),
            pl.col("kind").sort().first(),
            _only("workload"),
            _only("version"),
        )
        .sort("seen", "node", descending=[True, False])
        .unique(["client", "alias"], keep="first", maintain_order=True)
        .drop("seen")
    )
    anybody = by_node.filter(pl.col("client").is_null()).drop("client")
    mine = unknown.join(
        by_node.filter(pl.col("client").is_not_null()), on=["client", "alias"], how="left"
    )
    theirs = unknown.join(anybody, on="alias", how="left", maintain_order="left")
    return mine.join(theirs, on=["client", "alias"], nulls_equal=True, how="left").select(
        "client",
        "alias",
        *(
            pl.when(pl.col("node").is_not_null())
            .then(column)
            .otherwise(f"{column}_right")
            .alias(column)
            for column in _PLACE
        ),
    )


def _only(name: str) -> pl.Expr:
    """The one value of a column; null when there are several."""
    return pl.when(pl.col(name).n_unique() == 1).then(pl.col(name).first()).alias(name)


def _by_name(unknown: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """A service the alias names: in the caller's namespace, else the only one so called."""
    host = pl.col("alias").str.extract(_HOST)
    parts = unknown.with_columns(
        host.str.extract(r"^([^.]+)").alias("name"),
        host.str.extract(r"^[^.]+\.([^.]+)(?:\.svc|$)").alias("told_namespace"),
        pl.col("client").str.extract(r"^([^/]+)/").alias("own_namespace"),
    ).with_columns(
        pl.coalesce("told_namespace", "own_namespace").alias("namespace"),
    )
    exact = nodes.select("kind", alias="node", by_id="node")
    near = nodes.select("namespace", "name", near_kind="kind", by_namespace="node")
    alone = (
        nodes.group_by("name")
        .agg(pl.col("node", "kind").first(), pl.len().alias("nodes"))
        .filter(pl.col("nodes") == 1)
        .select("name", by_name="node", name_kind="kind")
    )
    address = pl.col("alias").str.contains(r"^[\d.:\[\]]+$") | pl.col("alias").str.contains("/")
    joined = (
        parts.join(exact, on="alias", how="left", suffix="_exact")
        .join(near, on=["namespace", "name"], how="left", nulls_equal=True)
        .join(alone, on="name", how="left")
    )
    by_name = pl.when(~address & pl.col("told_namespace").is_null()).then("by_name")
    by_namespace = pl.when(~address).then("by_namespace")
    return joined.select(
        "client",
        "alias",
        pl.coalesce("node", "by_id", by_namespace, by_name).alias("node"),
        pl.coalesce("kind", "kind_exact", "near_kind", "name_kind").alias("kind"),
        "workload",
        "version",
    )


def _last_resort() -> list[pl.Expr]:
    """A node of its own for an alias that nobody is known by."""
    alias, nobody = pl.col("alias"), pl.col("node").is_null()
    service = alias.str.contains(r"^[a-z0-9.-]+/[a-z0-9.-]+$")
    account = pl.coalesce(
        pl.format("{}/{}", alias.str.extract(SPIFFE, 1), alias.str.extract(SPIFFE, 2)),
        pl.format("{}/{}", alias.str.extract(LINKERD, 2), alias.str.extract(LINKERD, 1)),
    )
    address = alias.str.contains(ADDRESS)
    return [
        pl.when(~nobody)
        .then("node")
        .when(alias == NOT_RECEIVED)
        .then(pl.lit(CLIENTS))
        .when(alias.is_null())
        .then(pl.lit("unknown:unknown"))
        .when(service)
        .then(alias)
        .when(account.is_not_null())
        .then(account)
        .when(address)
        .then("unknown:" + alias)
        .otherwise("external:" + alias.str.replace(r":\d+$", ""))
        .alias("node"),
        pl.when(~nobody)
        .then("kind")
        .when(alias == NOT_RECEIVED)
        .then(pl.lit(NodeKind.CLIENTS.value))
        .when(service | account.is_not_null())
        .then(pl.lit(NodeKind.SERVICE.value))
        .when(alias.is_null() | address)
        .then(pl.lit(NodeKind.UNKNOWN.value))
        .otherwise(pl.lit(NodeKind.EXTERNAL.value))
        .alias("kind"),
    ]
