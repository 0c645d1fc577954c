"""The dependency graph of a stretch of time, from the minutes of its edges.

Tellings of one edge are never added up: one reporter, by one signal, gives the counts of an edge
for the whole window, the others what only they know. Which one is decided here, when the question
is asked, so that it can be asked differently tomorrow.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.analyze import alias, connections, consumer
from pipeline.analyze.histogram import quantiles
from pipeline.analyze.known_sum import known_sum
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

COARSER: Final = 0.99
"""Metrics give the counts of a reporter when another signal of it saw less than this share: what
else they say is coarser, and for a few requests that are still on their way nobody wants that."""

SURELY: Final = 3.0
"""Standard errors by which an estimate from samples may be too high, and is not held against what
others counted."""

SHARES: Final = (0.5, 0.9, 0.95, 0.99)

_SUMS: Final = (
    "rows", "sampled", "requests", "attempts", "client_errors", "server_errors",
    "connection_errors", "tls_known", "tls_mutual",
)  # fmt: skip

_PATHS: Final = ("told_twice", "told_again")
_EDGE: Final = connections.EDGE


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
        edge_minutes: rows of ``edge_minutes`` of the window, from any number of slices; to group
            by consumers, the answer of ``consumer.told_apart``.
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
    known = alias.resolve(arrived, aliases)
    if group_by is GroupBy.CONSUMER:
        known = consumer.first_hops(known)
    known = connections.apart(_grouped(_without_waypoints(known), group_by))
    edges = _edges(_tellings(known), known, seconds=max((end - start).total_seconds(), 1.0))
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
        case GroupBy.SERVICE | GroupBy.CONSUMER:
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


def _tellings(minutes: pl.DataFrame) -> pl.DataFrame:
    """One row per edge, reporter and signal; the signal that counts first of each reporter's."""
    estimate = (1 - pl.col("rows") * MILLION / pl.col("requests")).clip(0) / pl.col("rows")
    sure = pl.col("requests") * (1 - SURELY * estimate.sqrt()).clip(0)
    is_metrics = pl.col("signal") == "metrics"
    return (
        minutes.with_columns(_side().alias("side"))
        .group_by(*_EDGE, "reporter", "signal", "side")
        .agg(
            pl.col(*_SUMS).sum(),
            *(known_sum(name) for name in connections.BYTES),
            pl.col(*_PATHS).sum(),
            (pl.col("counts").list.len() > 0).any().alias("timed"),
        )
        .with_columns(
            (pl.col("sampled") > 0).alias("is_sampled"),
            is_metrics.alias("is_metrics"),
            pl.when(pl.col("sampled") > 0).then(sure).otherwise("requests").alias("sure"),
            pl.when(is_metrics).then(pl.col("requests") * COARSER).otherwise("requests")
            .alias("finely"),
        )
        .with_columns(_enough(over=[*_EDGE, "reporter"]))
        .sort(
            *_EDGE, "reporter", "enough", "is_sampled", "finely", "signal",
            descending=[False, False, False, True, False, True, False],
        )
    )  # fmt: skip


def _enough(*, over: Sequence[str]) -> pl.Expr:
    """Whether a telling saw nearly as much as the fullest one surely did."""
    return (pl.col("requests") >= pl.col("sure").max().over(over) * ENOUGH).alias("enough")


def _by_reporter(tellings: pl.DataFrame) -> pl.DataFrame:
    """One row per edge and reporter, by the signal that counts; the best reporter first."""
    signals = tellings.group_by(*_EDGE, "reporter", maintain_order=True).agg(
        pl.struct("signal", (pl.col("requests") // MILLION).alias("requests")).alias("signals")
    )
    return (
        tellings.unique([*_EDGE, "reporter"], keep="first", maintain_order=True)
        .join(signals, on=[*_EDGE, "reporter"], how="left")
        .with_columns(
            _enough(over=_EDGE),
            pl.col("reporter")
            .replace_strict({name: rank for rank, name in enumerate(PRECEDENCE)})
            .alias("precedence"),
        )
        .sort(
            *_EDGE, "enough", "is_sampled", "precedence",
            descending=[False, False, True, False, False],
        )
    )  # fmt: skip


def _edges(tellings: pl.DataFrame, minutes: pl.DataFrame, *, seconds: float) -> pl.DataFrame:
    told = _by_reporter(tellings)
    # a reporter of nothing but connections tells no count beside others' requests
    counts = (pl.col("requests") > 0) | (pl.col("attempts") > 0)
    requests = pl.col("requests").filter(counts)
    chosen = told.group_by(_EDGE, maintain_order=True).agg(
        pl.col(
            "reporter", "signal", "rows", "requests", "attempts", "client_errors", "server_errors",
            "connection_errors",
        ).first(),
        pl.col("tls_known", "tls_mutual").sum(),
        pl.struct("reporter", (pl.col("requests") // MILLION).alias("requests"), "signals")
        .filter(counts | ~counts.any())
        .alias("reporters"),
        pl.when(counts.sum() > 1).then(requests.min() / requests.max()).alias("agreement"),
    )  # fmt: skip
    failed = pl.col("client_errors") + pl.col("server_errors") + pl.col("connection_errors")
    edges = (
        chosen.join(_protocols(minutes), on=_EDGE, how="left")
        .select(
            *_EDGE,
            "protocol",
            _count("requests"),
            _count("attempts"),
            (pl.col("requests") / MILLION / seconds).alias("requests_per_second"),
            _ratio(failed, pl.col("requests")).clip(upper_bound=1).alias("error_ratio"),
            _count("client_errors").alias("client_error"),
            _count("server_errors").alias("server_error"),
            _count("connection_errors").alias("connection"),
            _ratio(pl.col("tls_mutual"), pl.col("tls_known")).alias("mtls_ratio"),
            "reporter",
            "signal",
            "reporters",
            "agreement",
            _ratio(pl.col("rows") * MILLION, pl.col("requests"))
            .clip(upper_bound=1)
            .alias("coverage"),
        )
        .join(_carried(tellings, told), on=_EDGE, how="left")
    )
    edges = edges.join(_paths_agreement(tellings), on=_EDGE, how="left")
    for side in _EDGE:
        timed = _best_timed(tellings, told, side)
        edges = edges.join(_latency(timed, minutes, side), on=_EDGE, how="left")
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


def _carried(tellings: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """The bytes of an edge, as the best of the reporters that tell them counted them."""
    places = told.select(*_EDGE, "reporter").with_row_index("place")
    return (
        tellings.filter(pl.any_horizontal(pl.col(*connections.BYTES).is_not_null()))
        .join(places, on=[*_EDGE, "reporter"])
        .sort("place", "signal")
        .unique(_EDGE, keep="first", maintain_order=True)
        .select(*_EDGE, *connections.BYTES)
    )


def _paths_agreement(tellings: pl.DataFrame) -> pl.DataFrame:
    """How far the paths agree by which metrics of the same proxies came; the least of reporters."""
    agreement = pl.min_horizontal(_PATHS) / pl.max_horizontal(_PATHS)
    return (
        tellings.filter(pl.max_horizontal(_PATHS) > 0)
        .group_by(_EDGE)
        .agg(agreement.min().alias("paths_agreement"))
    )


def _best_timed(tellings: pl.DataFrame, told: pl.DataFrame, side: str) -> pl.DataFrame:
    """Who tells latencies best at one side: the best reporter, by a signal that is not coarse."""
    places = told.select(*_EDGE, "reporter").with_row_index("place")
    partial = ~pl.col("enough") | pl.col("is_sampled")
    return (
        tellings.filter((pl.col("side") == side) & pl.col("timed"))
        .join(places, on=[*_EDGE, "reporter"])
        .sort(*_EDGE, "place", partial, "is_metrics", -pl.col("finely"), "signal")
        .unique(_EDGE, keep="first", maintain_order=True)
        .select(*_EDGE, "reporter", "signal")
    )


def _latency(best: pl.DataFrame, minutes: pl.DataFrame, side: str) -> pl.DataFrame:
    """Quantiles as the best reporter of one side saw them."""
    seen = minutes.join(best, on=[*_EDGE, "reporter", "signal"], how="semi")
    found = quantiles(seen, _EDGE, SHARES, resolved=True)
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
            pl.col("^latency_.*$"),
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
        buckets="buckets", counts="counts", widths="widths",
    )  # fmt: skip
    best = (
        seen.group_by("id", "side", "reporter", "signal")
        .agg(pl.col("requests").sum(), (pl.col("counts").list.len() > 0).any().alias("timed"))
        .filter("timed")
        .sort(
            "id",
            "side",
            # what is as good as everything is told by metrics last
            pl.when(pl.col("signal") == "metrics")
            .then(pl.col("requests") * COARSER)
            .otherwise("requests"),
            "reporter",
            "signal",
            descending=[False, True, True, False, False],
        )
        .unique("id", keep="first", maintain_order=True)
    )
    found = quantiles(
        seen.join(best, on=["id", "side", "reporter", "signal"], how="semi"),
        ["id"],
        SHARES,
        resolved=True,
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
