"""Names for the other end of a call that nobody answered for.

Precedence of names as Tempo's virtual nodes and the OpenTelemetry service graph connector have it,
with `service.peer.name` first; what names of clusters mean is in ``names``.
"""

from typing import Final

import polars as pl

from pipeline.analyze import names
from pipeline.model.topology import NodeKind

ADDRESS: Final = r"^\[?[0-9a-fA-F:.]*[0-9:][0-9a-fA-F:.]*\]?(:\d+)?$"
"""An IP address, with or without a port: digits, colons and dots only."""


_SIDE: Final = "^(?:outbound|inbound)$"
"""What stands in the place of a cluster where only the proxy's side is told."""


def with_port(address: pl.Expr, port: pl.Expr) -> pl.Expr:
    """``address:port``, or the address alone when there is no port or it already has one."""
    told = port.is_not_null() & ~address.str.contains(r":\d+$")
    return pl.when(told).then(pl.format("{}:{}", address, port)).otherwise(address)


def database() -> pl.Expr:
    """Node id of the database a client span speaks to; null when it is none.

    Reads ``db_system_name``, ``db_namespace``, ``service_peer_name``, ``server_address`` and
    ``network_peer_address``, ``network_peer_port``.
    """
    name = pl.coalesce(
        "service_peer_name",
        "server_address",
        with_port(pl.col("network_peer_address"), pl.col("network_peer_port")),
        "db_namespace",
        "db_system_name",
    )
    is_database = pl.col("db_system_name").is_not_null() | pl.col("db_namespace").is_not_null()
    return pl.when(is_database).then("db:" + name)


def topic() -> pl.Expr:
    """Node id of a messaging destination, from ``messaging_destination_name`` or its system."""
    return "topic:" + pl.coalesce(
        "messaging_destination_name", "messaging_system", pl.lit("unknown")
    )


def alias() -> pl.Expr:
    """What a client calls the other end by, when it is neither a database nor a topic.

    Reads ``service_peer_name``, ``upstream_cluster``, ``server_address``, ``server_port``,
    ``network_peer_address``, ``network_peer_port``.
    """
    cluster = pl.col("upstream_cluster")
    address = with_port(pl.col("network_peer_address"), pl.col("network_peer_port"))
    return pl.coalesce(
        "service_peer_name",
        names.node(cluster),
        pl.when(~cluster.str.contains(_SIDE)).then(names.at_rule(cluster, address)),
        with_port(pl.col("server_address"), pl.col("server_port")),
        address,
    )


def alias_kind(name: pl.Expr) -> pl.Expr:
    """The kind of node an alias stands for when nobody is known by it."""
    return (
        pl.when(name.is_null() | name.str.contains(ADDRESS) | name.str.contains(names.NO_SERVICE))
        .then(pl.lit(NodeKind.UNKNOWN.value))
        .otherwise(pl.lit(NodeKind.EXTERNAL.value))
    )
