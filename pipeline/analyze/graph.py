"""The dependency graph of a stretch of time, from the minutes of its edges.

Tellings of one edge are never added up: one reporter, by one signal, gives the counts of an edge
for the whole window, the others what only they know. Which one is decided here, when the question
is asked, so that it can be asked differently tomorrow.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.analyze import alias
from pipeline.analyze.histogram import quantiles
from pipeline.errors import InvalidInput
from pipeline.model.topology import CLIENTS, NOT_RECEIVED, Graph, GroupBy, NodeKind, Reporter

MILLION: Final = 1_000_000

ENOUGH: Final = 0.9
"""A reporter that saw this share of what the fullest one saw may be preferred for other reasons."""

PRECEDENCE: Final = (
    Reporter.CLIENT_PROXY,
    Reporter.GATEWAY,
    Reporter.SERVER_PROXY,
    Reporter.CLIENT,
    Reporter.SERVER,
)
"""Which reporter gives the counts, among those that saw enough and are equally unsampled: proxies
before applications, the caller's side before the callee's, which never hears of failed
connections."""

ARRIVING: Final = timedelta(minutes=2)
"""How long a trace may be on its way: exporters wait up to five seconds, retries some more."""

SHARES: Final = (0.5, 0.9, 0.95, 0.99)

_SUMS: Final = (
    "rows", "sampled", "requests", "attempts", "client_errors", "server_errors",
    "connection_errors", "tls_known", "tls_mutual",
)  # fmt: skip

_COUNTS: Final = (
    "rows", "requests", "attempts", "client_errors", "server_errors", "connection_errors",
)  # fmt: skip

_EDGE: Final = ("client", "server")


def build(
    edge_minutes: pl.DataFrame,
    aliases: pl.DataFrame,
    *,
    start: datetime,
    end: datetime,
    group_by: GroupBy = GroupBy.SERVICE,
    focus: str | None = None,
    depth: int = 1,
    now: datetime | None = None,
) -> Graph:
    """Build the graph of the window from ``start`` (inclusive) to ``end`` (exclusive).

    Args:
        edge_minutes: rows of ``edge_minutes`` of the window, from any number of slices.
        aliases: rows of ``aliases``.
        start: beginning of the window, UTC.
        end: end of the window, UTC.
        group_by: what a node stands for.
        focus: id of the node to look at; None for the whole graph.
        depth: how many hops from ``focus`` to keep, in both directions.
        now: the time, when the window may hold traces that are still arriving.

    Raises:
        InvalidInput: ``focus`` is not a node of the graph.
    """
    arrived = edge_minutes if now is None else _arrived(edge_minutes, now)
    known = _grouped(_without_waypoints(alias.resolve(arrived, aliases)), group_by)
    told = _by_reporter(known)
    edges = _edges(told, known, seconds=max((end - start).total_seconds(), 1.0))
    if focus is not None:
        edges = _focused(edges, focus, depth)
        known = known.join(edges.select(_EDGE), on=_EDGE, how="semi")
    return Graph(nodes=_nodes(edges, known, seconds=(end - start).total_seconds()), edges=edges)


def _arrived(minutes: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Without what seems to come from clients while its caller's spans are on their way.

    A server's span whose parent was not received is counted under ``clients``; of the last two
    minutes it is left out for servers of which other callers are known.
    """
    young = pl.col("minute") >= (now - ARRIVING).replace(tzinfo=None)
    orphan = young & (pl.col("client_alias") == NOT_RECEIVED).fill_null(value=False)
    called = minutes.filter(pl.col("client_kind").is_in(["service", "gateway"]))["server"].unique()
    return minutes.filter(~(orphan & pl.col("server").is_in(called.implode())))


def _without_waypoints(minutes: pl.DataFrame) -> pl.DataFrame:
    """Without the connections to and from waypoints, which are pieces of calls told elsewhere."""
    waypoint = [pl.col(f"{end}_kind") == NodeKind.WAYPOINT for end in _EDGE]
    return minutes.filter(~pl.any_horizontal(waypoint).fill_null(value=False))


def _grouped(minutes: pl.DataFrame, group_by: GroupBy) -> pl.DataFrame:
    """Give both ends the id of the group they belong to."""
    return minutes.with_columns(_group_id(end, group_by).alias(end) for end in _EDGE)


def _group_id(end: str, group_by: GroupBy) -> pl.Expr:
    node, real = pl.col(end), pl.col(f"{end}_kind").is_in(["service", "gateway"])
    namespace = node.str.extract(r"^([^/]+)/")
    match group_by:
        case GroupBy.SERVICE:
            return node
        case GroupBy.VERSION:
            version = pl.col(f"{end}_version")
            return pl.when(real & version.is_not_null()).then(node + "@" + version).otherwise(node)
        case GroupBy.WORKLOAD:
            workload = pl.col(f"{end}_workload")
            full = pl.concat_str(namespace, workload, separator="/", ignore_nulls=True)
            return pl.when(real & workload.is_not_null()).then(full).otherwise(node)
        case GroupBy.NAMESPACE:
            return pl.when(real).then(pl.coalesce(namespace, node)).otherwise(node)


def _side() -> pl.Expr:
    """Which end the reporter stands at; a gateway serves what comes in and calls what goes out."""
    at_client = pl.col("reporter").is_in([Reporter.CLIENT, Reporter.CLIENT_PROXY]) | (
        (pl.col("reporter") == Reporter.GATEWAY) & (pl.col("client_kind") == NodeKind.GATEWAY)
    )
    return pl.when(at_client).then(pl.lit("client")).otherwise(pl.lit("server"))


def _by_reporter(minutes: pl.DataFrame) -> pl.DataFrame:
    """One row per edge and reporter, by the signal that saw most; the best reporter first.

    Connections do not count where requests are told, by whomever: they carry these. Who tells of
    nothing else does not tell (``tells``) of the edge's requests, but of its TLS.
    """
    carried = (pl.col("protocol") == "tcp").fill_null(value=False)
    counts = pl.when(carried & ~carried.all().over(_EDGE)).then(0)
    return (
        minutes.with_columns(
            _side().alias("side"),
            *(counts.otherwise(name).alias(name) for name in (*_COUNTS, "sampled")),
        )
        .group_by(*_EDGE, "reporter", "signal", "side")
        .agg(pl.col(*_SUMS).sum())
        .sort("requests", "signal", descending=[True, False])
        .unique([*_EDGE, "reporter"], keep="first", maintain_order=True)
        .with_columns(
            ((pl.col("rows") > 0) | (pl.col("rows").max().over(_EDGE) == 0)).alias("tells"),
            (pl.col("requests") >= pl.col("requests").max().over(_EDGE) * ENOUGH).alias("enough"),
            (pl.col("sampled") > 0).alias("is_sampled"),
            pl.col("reporter")
            .replace_strict({name: rank for rank, name in enumerate(PRECEDENCE)})
            .alias("precedence"),
        )
        .sort(
            *_EDGE, "enough", "is_sampled", "precedence",
            descending=[False, False, True, False, False],
        )
    )  # fmt: skip


def _edges(told: pl.DataFrame, minutes: pl.DataFrame, *, seconds: float) -> pl.DataFrame:
    chosen = told.group_by(_EDGE, maintain_order=True).agg(
        pl.col(
            "reporter", "rows", "requests", "attempts", "client_errors", "server_errors",
            "connection_errors",
        ).first(),
        pl.col("tls_known", "tls_mutual").sum(),
        pl.struct("reporter", (pl.col("requests") // MILLION).alias("requests"))
        .filter("tells")
        .alias("reporters"),
        pl.when((pl.col("tells").sum() > 1) & (pl.col("requests").max() > 0))
        .then(pl.col("requests").filter("tells").min() / pl.col("requests").max())
        .alias("agreement"),
    )  # fmt: skip
    failed = pl.col("client_errors") + pl.col("server_errors") + pl.col("connection_errors")
    edges = chosen.join(_protocols(minutes), on=_EDGE, how="left").select(
        *_EDGE,
        "protocol",
        _count("requests"),
        _count("attempts"),
        (pl.col("requests") / MILLION / seconds).alias("requests_per_second"),
        _ratio(failed, pl.col("requests")).alias("error_ratio"),
        _count("client_errors").alias("client_error"),
        _count("server_errors").alias("server_error"),
        _count("connection_errors").alias("connection"),
        _ratio(pl.col("tls_mutual"), pl.col("tls_known")).alias("mtls_ratio"),
        "reporter",
        "reporters",
        "agreement",
        _ratio(pl.col("rows") * MILLION, pl.col("requests")).clip(upper_bound=1).alias("coverage"),
    )
    for side in _EDGE:
        edges = edges.join(_latency(told, minutes, side), on=_EDGE, how="left")
    return edges.sort(_EDGE)


def _count(name: str) -> pl.Expr:
    return (pl.col(name) / MILLION).round().cast(pl.Int64).alias(name)


def _ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(part / whole)


def _protocols(minutes: pl.DataFrame) -> pl.DataFrame:
    """The protocol by which most requests of an edge went; reporters may differ in it."""
    return (
        minutes.filter(pl.col("protocol").is_not_null())
        .group_by(*_EDGE, "protocol")
        .agg(pl.col("requests").sum())
        .sort(*_EDGE, "requests", "protocol", descending=[False, False, True, False])
        .unique(_EDGE, keep="first")
        .select(*_EDGE, "protocol")
    )


def _latency(told: pl.DataFrame, minutes: pl.DataFrame, side: str) -> pl.DataFrame:
    """Quantiles as one side saw them, by the best reporter of that side."""
    best = (
        told.filter(pl.col("side") == side)
        .group_by(_EDGE, maintain_order=True)
        .agg(pl.col("reporter", "signal").first())
    )
    seen = minutes.join(best, on=[*_EDGE, "reporter", "signal"], how="semi")
    found = quantiles(seen, _EDGE, SHARES)
    return found.rename({name: f"{side}_{name}" for name in found.columns if name not in _EDGE})


def _nodes(edges: pl.DataFrame, minutes: pl.DataFrame, *, seconds: float) -> pl.DataFrame:
    """Every end of every edge; what it served is what came in over its edges."""
    seconds = max(seconds, 1.0)
    ends = pl.concat(
        minutes.select(id=end, kind=f"{end}_kind", system=_system_of(end)) for end in _EDGE
    )
    kinds = ends.group_by("id").agg(
        pl.when((pl.col("kind") == NodeKind.GATEWAY).any())
        .then(pl.lit(NodeKind.GATEWAY.value))
        .otherwise(pl.col("kind").sort().first())
        .alias("kind"),
        pl.col("system").drop_nulls().unique().sort().alias("systems"),
    )
    failed = pl.col("client_error") + pl.col("server_error") + pl.col("connection")
    served = edges.group_by(pl.col("server").alias("id")).agg(
        pl.col("requests").sum(),
        (pl.col("requests").sum() / seconds).alias("requests_per_second"),
        _ratio(failed.sum(), pl.col("requests").sum()).alias("error_ratio"),
    )
    real = pl.col("kind").is_in(["service", "gateway"])
    plain = pl.col("id").str.extract(r"^(?:[^/]+/)?(.*)$")
    return (
        kinds.join(served, on="id", how="left")
        .join(_node_latency(minutes), on="id", how="left")
        .select(
            "id",
            "kind",
            pl.when(real).then(pl.col("id").str.extract(r"^([^/]+)/")).alias("namespace"),
            pl.when(real | (pl.col("id") == CLIENTS))
            .then(plain)
            .otherwise(pl.col("id").str.extract(r"^[a-z]+:(.*)$"))
            .alias("name"),
            "systems",
            "requests",
            "requests_per_second",
            "error_ratio",
            *(f"latency_p{share * 100:g}" for share in SHARES),
        )
        .sort("id")
    )


def _system_of(end: str) -> pl.Expr:
    """The teller's system, where the teller is this end."""
    return pl.when(_side() == end).then("system")


def _node_latency(minutes: pl.DataFrame) -> pl.DataFrame:
    """Latency of what a node served: by its own reporters, else as its callers saw it."""
    seen = minutes.select(
        id="server", side=_side(), reporter="reporter", signal="signal", requests="requests",
        buckets="buckets", counts="counts",
    )  # fmt: skip
    best = (
        seen.group_by("id", "side", "reporter", "signal")
        .agg(pl.col("requests").sum())
        .sort(
            "id",
            "side",
            "requests",
            "reporter",
            "signal",
            descending=[False, True, True, False, False],
        )
        .unique("id", keep="first", maintain_order=True)
    )
    found = quantiles(
        seen.join(best, on=["id", "side", "reporter", "signal"], how="semi"), ["id"], SHARES
    )
    return found.rename({name: f"latency_{name}" for name in found.columns if name != "id"})


def _focused(edges: pl.DataFrame, focus: str, depth: int) -> pl.DataFrame:
    """The edges within ``depth`` hops of ``focus``."""
    present = set(edges["client"]) | set(edges["server"])
    if focus not in present:
        allowed = ", ".join(sorted(present)[:10]) or "no node: the window holds no calls"
        raise InvalidInput("focus", found=focus, allowed=f"a node of the graph: {allowed}")
    reached = {focus}
    for _ in range(depth):
        near = edges.filter(
            pl.col("client").is_in(list(reached)) | pl.col("server").is_in(list(reached))
        )
        reached |= set(near["client"]) | set(near["server"])
    return edges.filter(
        pl.col("client").is_in(list(reached)) & pl.col("server").is_in(list(reached))
    )
