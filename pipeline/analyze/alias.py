"""Names to nodes: who stands behind an address, a cluster name or a certificate.

Resolved when the graph is asked for, from everything that was ever learned, so that the answer does
not depend on what was known when a row came in.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.analyze import names
from pipeline.analyze.names import Meaning
from pipeline.analyze.peer import ADDRESS
from pipeline.model.topology import CLIENTS, NOT_RECEIVED, NodeKind

_REAL: Final = (NodeKind.SERVICE, NodeKind.GATEWAY, NodeKind.WAYPOINT)
_HOST: Final = r"^([^/:|]+)"
_ADDRESS: Final = r"^(.+):\d+$"
"""The host of an address with a port."""
ALWAYS: Final = 0.9
"""A rule calls a node always, if so much of what was seen of it went there."""
LOOPBACK: Final = r"^(?:127\.|\[?::1\]?)"
"""Addresses of everybody."""
_PLACE: Final = ("node", "kind", "workload", "version")


def resolve(edge_minutes: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Give every end of every row a node id and a kind.

    Args:
        edge_minutes: rows of ``edge_minutes``; ends may be null with an alias.
        aliases: rows of ``aliases``; where ``seen`` is null somebody said so (``configured``).

    Returns:
        The same rows with ``client``, ``server`` and their kinds never null.
    """
    aliases = pl.concat([aliases, _told_twice(edge_minutes)], how="diagonal")
    aliases = pl.concat([aliases, _of_rules(edge_minutes, aliases)], how="diagonal")
    nodes = _known_nodes(edge_minutes, aliases)
    for end in ("client", "server"):
        if edge_minutes[end].null_count():
            edge_minutes = _resolve_end(edge_minutes, end, aliases, nodes)
    return _spelled_alike(edge_minutes, nodes)


def configured(aliases: pl.DataFrame, told: Mapping[str, str]) -> pl.DataFrame:
    """Aliases that were seen, and before them those that an operator tells.

    Args:
        aliases: rows of ``aliases``.
        told: for a name, an address or an identity in a certificate the node id it stands for. An
            address without a port stands for all of its ports.
    """
    if not told:
        return aliases
    kinds = dict(aliases.select("node", "kind").iter_rows())
    rows = [
        {
            "alias": name,
            "node": node,
            "kind": kinds.get(node, NodeKind.SERVICE.value),
        }
        for name, node in told.items()
    ]
    return pl.concat([pl.DataFrame(rows), aliases], how="diagonal").select(aliases.columns)


CONFLICTS: Final = pl.Schema(
    {
        "client": pl.String(),
        "alias": pl.String(),
        "node": pl.String(),
        "seen": pl.Int64(),
        "share": pl.Float64(),
        "nodes": pl.List(pl.Struct({"node": pl.String(), "seen": pl.Int64()})),
    }
)
"""Columns of conflicts: whose alias (null: anybody's), the alias, the node that is taken for it,
how often it was seen for any, the share of the one that is taken, and all of them, the most seen
first."""


def conflicts(aliases: pl.DataFrame) -> pl.DataFrame:
    """Aliases that stood for more than one node, the most ambiguous first.

    Args:
        aliases: rows of ``aliases``.
    """
    by_node = (
        aliases.filter(pl.col("seen").is_not_null())
        .group_by("client", "alias", "node")
        .agg(pl.col("seen").sum())
        .sort("seen", "node", descending=[True, False])
    )
    return (
        by_node.group_by("client", "alias", maintain_order=True)
        .agg(
            pl.col("node").first(),
            pl.col("seen").sum(),
            (pl.col("seen").first() / pl.col("seen").sum()).alias("share"),
            pl.struct("node", "seen").alias("nodes"),
        )
        .filter(pl.col("nodes").list.len() > 1)
        .with_columns(others=pl.col("seen") * (1 - pl.col("share")))
        .sort("others", "alias", "client", descending=[True, False, False])
        .select(CONFLICTS.names())
        .cast(CONFLICTS)
    )


def _spelled_alike(rows: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Let ``name.namespace``, as Istio calls who writes spans, be ``namespace/name`` if known."""
    short = (
        nodes.filter(pl.col("namespace").is_null())
        .with_columns(full=pl.col("node").str.replace(r"^([^.]+)\.([^.]+)$", "${2}/${1}"))
        .join(nodes.select(full="node"), on="full", how="semi")
    )
    if short.is_empty():
        return rows
    return rows.with_columns(
        pl.col(end).replace(short["node"], short["full"]) for end in ("client", "server")
    )


def _told_twice(edge_minutes: pl.DataFrame) -> pl.DataFrame:
    """What rows imply that name a callee and what it is known by: metrics' labels may say both."""
    other_name = pl.col("server") != pl.col("server_alias")
    return (
        edge_minutes.filter((pl.col("signal") == "metrics") & other_name)
        .group_by(alias="server_alias", node="server", kind="server_kind")
        .agg(seen=pl.col("rows").sum().cast(pl.Int64))
        .with_columns(pl.lit(None, pl.String).alias(name) for name in ("workload", "version"))
    )


def _of_rules(edge_minutes: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Whom rules of routes call, where nearly all they were seen to call is one node.

    A rule may have several backends. Where somebody tells which address a request went to by it,
    and who is there is known, that request is known; and all others of the rule where it hardly
    ever differs.
    """
    rule = pl.col("alias").str.extract(names.AT_RULE, 1)
    went = edge_minutes.filter(pl.col("server").is_null()).select("rows", alias="server_alias")
    went = went.with_columns(rule.alias("rule")).drop_nulls("rule")
    learned = aliases.with_columns(rule.alias("rule")).drop_nulls(["rule", "seen"])
    there = (
        aliases.filter(pl.col("client").is_null() & pl.col("seen").is_not_null())
        .sort("seen", "node", descending=[True, False])
        .unique("alias", keep="first", maintain_order=True)
        .select("node", "kind", "alias")
    )
    by_address = went.with_columns(_behind(went["alias"], aliases).alias("alias")).join(
        there, on="alias"
    )
    seen = pl.concat(
        [
            by_address.select("node", "kind", alias="rule", seen="rows"),
            learned.select("node", "kind", "seen", alias="rule").select(
                "node", "kind", "alias", "seen"
            ),
        ]
    )
    return (
        seen.group_by("alias", "node")
        .agg(pl.col("kind").min(), pl.col("seen").sum())
        .filter(pl.col("seen") >= ALWAYS * pl.col("seen").sum().over("alias"))
        .with_columns(
            pl.lit(None, pl.String).alias(name) for name in ("client", "workload", "version")
        )
    )


def _behind(told: pl.Series, aliases: pl.DataFrame) -> pl.Series:
    """In the place of a rule and an address the one of them by which somebody is known."""
    frame = pl.DataFrame({"told": told}).with_columns(
        pl.col("told").str.extract(names.AT_RULE, part).alias(name)
        for part, name in ((1, "rule"), (2, "address"))
    )
    if frame["rule"].null_count() == frame.height:
        return told
    anybody = aliases.filter(pl.col("client").is_null())
    configured = anybody.filter(pl.col("seen").is_null())["alias"].unique().implode()
    host = pl.col("address").str.extract(_ADDRESS)
    alone = anybody.filter(~pl.col("alias").str.contains(LOOPBACK)).group_by("alias")
    pods = alone.agg(pl.col("node").n_unique().alias("nodes")).filter(pl.col("nodes") == 1)
    return frame.select(
        pl.when(pl.col("rule").is_null())
        .then("told")
        .when(pl.col("rule").is_in(configured))
        .then("rule")
        .when(pl.col("address").is_in(anybody["alias"].unique().implode()))
        .then("address")
        .when(host.is_in(configured) | host.is_in(pods["alias"].implode()))
        .then(host)
        .otherwise("rule")
    ).to_series()


def _known_nodes(edge_minutes: pl.DataFrame, aliases: pl.DataFrame) -> pl.DataFrame:
    """Services, gateways and waypoints by id, name and namespace."""
    ends = [
        edge_minutes.select(node=end, kind=f"{end}_kind").unique() for end in ("client", "server")
    ]
    return (
        pl.concat([*ends, aliases.select("node", "kind").unique()])
        .filter(pl.col("kind").is_in(_REAL) & pl.col("node").is_not_null())
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
    unknown = unknown.with_columns(_behind(unknown[named], aliases).alias("alias"))
    found = _by_alias(unknown.select("client", "alias").unique(), aliases)
    found = _by_name(found, nodes)
    found = (
        unknown.join(_last_resort(found), on=["client", "alias"], how="left", nulls_equal=True)
        .drop("alias")
        .rename({column: f"found_{column}" for column in _PLACE})
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
    """Who is configured under the alias, or was seen most: by this caller, else by anybody."""
    by_node = (
        aliases.group_by("client", "alias", "node")
        .agg(
            pl.when(pl.col("seen").null_count() == 0).then(pl.col("seen").sum()).alias("seen"),
            pl.col("kind").sort().first(),
            _only("workload"),
            _only("version"),
        )
        .sort("seen", "node", descending=[True, False], nulls_last=False)
        .unique(["client", "alias"], keep="first", maintain_order=True)
    )
    told = by_node.filter(pl.col("seen").is_null() & pl.col("client").is_null())
    anybody = by_node.filter(pl.col("client").is_null())
    own = by_node.filter(pl.col("client").is_not_null())
    found = unknown.with_columns(host=pl.col("alias").str.extract(_ADDRESS))
    for at, (known, keys) in enumerate(
        ((told, ["alias"]), (told, ["host"]), (own, ["client", "alias"]), (anybody, ["alias"]))
    ):
        names = known.select(
            *(pl.col("alias" if key == "host" else key).alias(key) for key in keys),
            *(pl.col(column).alias(f"{column}_{at}") for column in _PLACE),
        )
        found = found.join(names, on=keys, how="left", maintain_order="left")
    first = pl.coalesce(
        pl.when(pl.col(f"node_{at}").is_not_null()).then(
            pl.struct(pl.col(f"{column}_{at}").alias(column) for column in _PLACE)
        )
        for at in range(4)
    )
    return found.select("client", "alias", first.alias("place")).unnest("place")


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


def _last_resort(found: pl.DataFrame) -> pl.DataFrame:
    """A node of its own for an alias that nobody is known by."""
    told = names.meant(found["alias"]).select("meaning", meant="name", of="namespace")
    alias, nobody = pl.col("alias"), pl.col("node").is_null()
    meaning = pl.col("meaning")
    service = alias.str.contains(r"^[a-z0-9.-]+/[a-z0-9.-]+$")
    meant = (meaning == Meaning.SERVICE) & pl.col("of").is_not_null()
    no_service = (
        meaning.is_in([Meaning.ROUTE, Meaning.SELF, Meaning.PLUMBING])
        | alias.str.contains(names.NO_SERVICE)
        | alias.str.contains(ADDRESS)
    )
    node = (
        pl.when(~nobody)
        .then("node")
        .when(alias == NOT_RECEIVED)
        .then(pl.lit(CLIENTS))
        .when(alias.is_null())
        .then(pl.lit("unknown:unknown"))
        .when(service)
        .then(alias)
        .when(meant)
        .then(pl.concat_str("of", "meant", separator="/"))
        .when(no_service)
        .then("unknown:" + pl.coalesce("meant", alias))
        .otherwise("external:" + pl.coalesce("meant", alias.str.replace(r":\d+$", "")))
    )
    kind = (
        pl.when(~nobody)
        .then("kind")
        .when(alias == NOT_RECEIVED)
        .then(pl.lit(NodeKind.CLIENTS.value))
        .when(service | meant)
        .then(pl.lit(NodeKind.SERVICE.value))
        .when(alias.is_null() | no_service)
        .then(pl.lit(NodeKind.UNKNOWN.value))
        .otherwise(pl.lit(NodeKind.EXTERNAL.value))
    )
    return pl.concat([found, told], how="horizontal").select(
        "client", "alias", node=node, kind=kind, workload="workload", version="version"
    )
