"""Tellings to minutes: the derived tables of one unit of slices."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.analyze import access_log, consumer, crossing, outcome, route
from pipeline.analyze.histogram import bucket_index
from pipeline.analyze.identity import attribute, identify
from pipeline.analyze.largest import largest
from pipeline.analyze.openapi import Paths
from pipeline.model import consumers
from pipeline.model.table import Table
from pipeline.model.tables import (
    ALIASES,
    BY_METRICS,
    CALL_KEY,
    CONSUMER_MINUTES,
    EDGE_MINUTES,
    NODE_MINUTES,
)
from pipeline.model.topology import OVERFLOW, NodeKind, Reporter

MINUTE_NS: Final = 60_000_000_000

NAMES_PER_UNIT: Final = 10_000
"""Distinct aliases, or routes, that one recomputation may bring; the rest is counted as
overflow."""

_ENDS: Final = ("client", "server")
_MINUTE: Final = ("slice", "minute")
_NODE_KEY: Final = tuple(
    column.name
    for column in NODE_MINUTES
    if column.name in {"minute", "node", "kind", "workload", "version", "route"}
)


def derive(
    spans: pl.DataFrame,
    access_logs: pl.DataFrame,
    resources: pl.DataFrame,
    *,
    units: Sequence[tuple[int, int]],
    documents: Mapping[str, Paths] = MappingProxyType({}),
) -> dict[str, pa.Table]:
    """Recompute the derived rows of units of slices from raw rows.

    Args:
        spans: answer to ``pair_spans`` with a column ``home``: at least all spans of all traces
            whose home lies in a unit.
        access_logs: answer to ``pair_access_logs`` with a column ``home``, likewise by request;
            entries with a trace id are at home where its spans are.
        resources: rows of ``resources`` that these refer to.
        units: lowest and highest slice of each unit, ascending, not overlapping.
        documents: OpenAPI documents by node id, or by the name of a service.

    Returns:
        Rows of ``edge_minutes``, ``node_minutes``, ``consumer_minutes`` and ``aliases``; ``slice``
        is the lowest of the unit. The same raw rows give the same derived rows, whatever the order
        they stand in.
    """
    known, identities = identify(resources)
    spans, access_logs = (
        route.templated(_in_units(rows, units), resources, documents)
        for rows in (spans, access_logs)
    )
    rows_of = pl.concat([one.select("slice", "resource_id") for one in (spans, access_logs)])
    told = crossing.tellings(spans, access_logs, (known, identities))
    tellings = _bounded(told, ["client_name", "client_alias", "server_alias", "route"])
    own = pl.concat([access_log.aliases(access_logs, known), _addresses(rows_of, known, resources)])
    return {
        EDGE_MINUTES.name: _arrow(edge_minutes(tellings, identities), EDGE_MINUTES),
        NODE_MINUTES.name: _arrow(node_minutes(tellings, identities), NODE_MINUTES),
        CONSUMER_MINUTES.name: _arrow(consumer_minutes(tellings, identities), CONSUMER_MINUTES),
        ALIASES.name: _arrow(aliases(tellings, own, identities), ALIASES),
    }


def _addresses(rows: pl.DataFrame, known: pl.DataFrame, resources: pl.DataFrame) -> pl.DataFrame:
    """Addresses that pods tell of themselves: ``slice``, ``alias``, ``identity``."""
    pods = resources.select("resource_id", alias=attribute("k8s.pod.ip")).drop_nulls()
    own = known.join(pods, on="resource_id").select("resource_id", "alias", "identity")
    return rows.unique().join(own, on="resource_id").select("slice", "identity", "alias")


def _in_units(rows: pl.DataFrame, units: Sequence[tuple[int, int]]) -> pl.DataFrame:
    """Rows whose home lies in a unit, with the unit's lowest slice in the place of ``slice``."""
    bounds = pl.DataFrame(
        {"slice": [low for low, _ in units], "highest": [high for _, high in units]},
        schema={"slice": pl.Int64, "highest": pl.Int64},
    ).set_sorted("slice")
    place = bounds["slice"].search_sorted(rows["home"], side="right").cast(pl.Int64) - 1
    inside = bounds[place.clip(0)]
    kept = (place >= 0) & (rows["home"] <= inside["highest"])
    return rows.with_columns(inside["slice"]).filter(kept)


def edge_minutes(tellings: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``edge_minutes``, in the order of their keys."""
    unknown = {end: pl.col(end).is_null() & pl.col(f"{end}_name").is_null() for end in _ENDS}
    summed = _sum(
        tellings.with_columns(
            pl.when(unknown[end]).then(f"{end}_alias").alias(f"{end}_alias") for end in _ENDS
        ),
        [
            "client", "client_name", "client_kind", "client_alias",
            "server", "server_name", "server_kind", "server_alias",
            "protocol", "reporter", "signal", "teller",
        ],
    )  # fmt: skip
    summed = summed.with_columns(
        ((pl.col("reporter") == Reporter.GATEWAY) & (pl.col(end) == pl.col("teller")))
        .fill_null(value=False)
        .alias(f"{end}_is_gateway")
        for end in _ENDS
    )
    for end in _ENDS:
        summed = _named(summed, end, identities).with_columns(
            # whoever tells as a gateway is one, whatever it is called
            pl.when(f"{end}_is_gateway")
            .then(pl.lit(NodeKind.GATEWAY.value))
            .otherwise(f"{end}_kind")
            .alias(f"{end}_kind")
        )
    summed = summed.join(_systems(identities), on="teller", how="left")
    folded = _fold(summed, ["slice", *(column.name for column in CALL_KEY)])
    return folded.with_columns(pl.lit(None, pl.Int64).alias(one.name) for one in BY_METRICS)


def node_minutes(tellings: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``node_minutes``: what tellers say of the requests they served."""
    own = pl.col("serves") & (pl.col("server") == pl.col("teller"))
    summed = _sum(tellings.filter(own), ["teller", "route", "reporter", "signal"])
    bounded = _fewer_routes(summed, "teller")
    named = bounded.join(
        identities, left_on="teller", right_on="identity", how="left"
    ).with_columns(
        # at its own node a gateway is one reporter, whether another gateway called it or not
        reporter=pl.when(
            (pl.col("kind") == NodeKind.GATEWAY) & (pl.col("reporter") == Reporter.SERVER_PROXY)
        )
        .then(pl.lit(Reporter.GATEWAY.value))
        .otherwise("reporter")
    )
    return _fold(named, ["slice", *_NODE_KEY, "reporter", "signal", "system"])


def _fewer_routes(summed: pl.DataFrame, node: str) -> pl.DataFrame:
    """The rows with one route for all but the largest of each node and minute."""
    return largest(
        summed, "route", by=[*_MINUTE, node], most=route.KEPT_PER_MINUTE, rest=route.OTHER
    )


def consumer_minutes(tellings: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``consumer_minutes``: of the calls that entered, those whose consumer is known."""
    unknown = pl.col("server").is_null() & pl.col("server_name").is_null()
    summed = _sum(
        consumer.entering(tellings).with_columns(
            pl.when(unknown).then("server_alias").alias("server_alias")
        ),
        [
            "consumer", "server", "server_name", "server_kind", "server_alias", "protocol", "route",
            "reporter", "signal", "teller",
        ],
    )  # fmt: skip
    told = largest(
        summed, "consumer", by=_MINUTE, most=consumer.KEPT_PER_MINUTE, rest=consumers.OTHER
    )
    bounded = _fewer_routes(told, "server")
    named = _named(bounded, "server", identities).join(_systems(identities), "teller", how="left")
    keys = [column.name for column in CONSUMER_MINUTES if column.kind in ("text", "time")]
    return _fold(named, ["slice", *keys])


def _named(summed: pl.DataFrame, end: str, identities: pl.DataFrame) -> pl.DataFrame:
    """Put the nodes of identities in the place of their numbers."""
    names = identities.select(
        pl.col("identity").alias(end),
        pl.col("node").alias(f"{end}_node"),
        pl.col("kind").alias(f"{end}_node_kind"),
        pl.col("workload").alias(f"{end}_workload"),
        pl.col("version").alias(f"{end}_version"),
    )
    return summed.join(names, on=end, how="left").with_columns(
        pl.coalesce(f"{end}_node", f"{end}_name").alias(end),
        pl.coalesce(f"{end}_node_kind", f"{end}_kind").alias(f"{end}_kind"),
    )


def aliases(tellings: pl.DataFrame, own: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``aliases``: what was seen to be known by which name."""
    told = (
        tellings.filter(
            ~pl.col("serves")
            & pl.col("server").is_not_null()
            & pl.col("server_alias").is_not_null()
        )
        .group_by("slice", "client", alias="server_alias", identity="server")
        .len("seen")
    )
    own = own.group_by("slice", "alias", "identity").len("seen")
    clients = identities.select(client="identity", client_node="node")
    return (
        pl.concat([told, own.with_columns(pl.lit(None, pl.Int32).alias("client"))], how="diagonal")
        .join(clients, on="client", how="left")
        .drop("client")
        .join(identities, on="identity", how="left")
        .group_by("slice", "alias", "node", "kind", "workload", "version", client="client_node")
        .agg(pl.col("seen").sum().cast(pl.Int64))
        .sort("slice", "client", "alias", "node", "workload", "version")
    )


def _systems(identities: pl.DataFrame) -> pl.DataFrame:
    return identities.select(teller="identity", system="system")


def _sum(tellings: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Sum tellings by slice, minute, keys and latency bucket."""
    fault = pl.col("outcome")
    requests = pl.col("requests")
    return (
        tellings.with_columns(
            (pl.col("begin") // MINUTE_NS * MINUTE_NS).alias("minute"),
            pl.when(requests > 0).then(bucket_index(pl.col("duration_ns"))).alias("bucket"),
        )
        .group_by("slice", "minute", *keys, "bucket")
        .agg(
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("unpaired").sum().cast(pl.Int64),
            pl.col("sampled").sum().cast(pl.Int64),
            requests.sum(),
            pl.col("attempts").sum(),
            requests.filter(fault == outcome.CLIENT_ERROR).sum().alias("client_errors"),
            requests.filter(fault == outcome.SERVER_ERROR).sum().alias("server_errors"),
            requests.filter(fault == outcome.CONNECTION).sum().alias("connection_errors"),
            pl.col("attempts").filter(pl.col("tls").is_not_null()).sum().alias("tls_known"),
            pl.col("attempts").filter(pl.col("tls")).sum().alias("tls_mutual"),
            pl.col("duration_ns").filter((requests > 0) & (pl.col("duration_ns") >= 0)).sum(),
        )
    )


_SUMS: Final = (
    "rows", "unpaired", "sampled", "requests", "attempts", "client_errors", "server_errors",
    "connection_errors", "tls_known", "tls_mutual", "duration_ns",
)  # fmt: skip


def _fold(summed: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Fold buckets into lists: one row per key."""
    by_bucket = summed.group_by(*keys, "bucket").agg(pl.col(*_SUMS).sum()).sort(*keys, "bucket")
    measured = pl.col("bucket").is_not_null()
    return by_bucket.group_by(keys, maintain_order=True).agg(
        pl.col(*_SUMS).sum(),
        pl.col("bucket").filter(measured).alias("buckets"),
        pl.col("requests").filter(measured).alias("counts"),
        pl.lit(None, pl.List(pl.Int16)).alias("widths"),
    )


def _bounded(tellings: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Replace names past the limit by ``overflow``; which ones stay depends on the names alone."""
    for name in names:
        if tellings[name].n_unique() <= NAMES_PER_UNIT:
            continue
        kept = tellings[name].unique().sort().head(NAMES_PER_UNIT)
        tellings = tellings.with_columns(
            pl.when(pl.col(name).is_null() | pl.col(name).is_in(kept.implode()))
            .then(name)
            .otherwise(pl.lit(OVERFLOW))
            .alias(name)
        )
    return tellings


def _arrow(frame: pl.DataFrame, table: Table) -> pa.Table:
    wanted = table.arrow
    if "minute" in frame.columns:
        frame = frame.with_columns(pl.col("minute").cast(pl.Datetime("ns")))
    return frame.select(wanted.names).to_arrow().cast(wanted)
