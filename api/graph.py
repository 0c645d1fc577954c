"""The graph of a window: asked of the store, built by the analysis, shaped as it leaves the house.

The command line and the HTTP interface both answer from here, byte for byte the same.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

import polars as pl

from api.encode import arrow_of, json_of
from api.identities import known_aliases
from api.times import MINUTE, Window, format_time
from pipeline.analyze import consumer, graph
from pipeline.model.topology import Graph, GroupBy
from pipeline.store.port import Store

QUANTILES: Final = ("p50", "p90", "p95", "p99")

NO_ALIASES: Final[Mapping[str, str]] = MappingProxyType({})
"""Nothing is configured."""

AHEAD: Final = timedelta(minutes=10)
"""A request that began this far ahead of the clock moves no watermark: its clock is wrong."""


class GraphQuery(NamedTuple):
    """What is asked for; equal queries of an unchanged store have equal answers."""

    window: Window
    group_by: GroupBy = GroupBy.SERVICE
    focus: str | None = None
    depth: int = 1


class GraphAnswer(NamedTuple):
    """A graph in the shape of its JSON: one frame of nodes, one of edges, nested as documented."""

    head: dict[str, object]
    nodes: pl.DataFrame
    edges: pl.DataFrame

    def json(self) -> bytes:
        """The body of ``GET /v1/graph``."""
        return json_of(self.head, {"nodes": self.nodes, "edges": self.edges})

    def arrow(self, part: str) -> bytes:
        """The nodes or the edges as an Arrow stream."""
        return arrow_of(self.nodes if part == "nodes" else self.edges, self.head)


def answer(
    store: Store, query: GraphQuery, *, now: datetime, aliases: Mapping[str, str] = NO_ALIASES
) -> GraphAnswer:
    """Answer ``GET /v1/graph``; blocks. ``aliases`` are those that are configured.

    Raises:
        InvalidInput: ``focus`` is not a node of the graph.
        StoreBusy: the store took longer than its time limit.
    """
    window = query.window
    built = build(store, query, now=now, aliases=aliases)
    head: dict[str, object] = {
        "start": format_time(window.start),
        "end": format_time(window.end),
        "group_by": query.group_by.value,
        "watermark": watermark(store, now=now),
    }
    return GraphAnswer(head, nodes_as_answered(built.nodes), edges_as_answered(built.edges))


def build(
    store: Store, query: GraphQuery, *, now: datetime, aliases: Mapping[str, str] = NO_ALIASES
) -> Graph:
    """The graph as the analysis gives it."""
    start, end = query.window
    return graph.build(
        _minutes(store, query, now=now),
        known_aliases(store, aliases),
        start=start,
        end=end,
        group_by=query.group_by,
        focus=query.focus,
        depth=query.depth,
        now=now,
    )


def _minutes(store: Store, query: GraphQuery, *, now: datetime) -> pl.DataFrame:
    """The minutes of edges, which the store adds up: there are a hundred times as many of them."""
    start, end = query.window
    minutes = store.ask("edge_window", start=start, end=end, young=now - graph.ARRIVING)
    if query.group_by is not GroupBy.CONSUMER:
        return minutes
    return consumer.told_apart(minutes, store.ask("consumer_window", start=start, end=end))


def extent(store: Store) -> Window | None:
    """The window that holds every call in the store; None when there is none."""
    first, last = store.ask("extent").cast(pl.Datetime("us", "UTC")).row(0)
    return None if first is None else Window(first, last + MINUTE)


def watermark(store: Store, *, now: datetime) -> str | None:
    """When the youngest stored request began; None in an empty store."""
    (youngest,) = (
        store.ask("youngest_request", latest=now + AHEAD).cast(pl.Datetime("us", "UTC")).row(0)
    )
    return None if youngest is None else format_time(youngest)


def nodes_as_answered(nodes: pl.DataFrame) -> pl.DataFrame:
    """Nodes with their latency nested."""
    return nodes.select(
        "id",
        "kind",
        "namespace",
        "name",
        "systems",
        "requests",
        "requests_per_second",
        "error_ratio",
        _quantiles("latency").alias("latency_seconds"),
        _quantiles("latency", "_resolution").alias("latency_resolution"),
    )


def edges_as_answered(edges: pl.DataFrame) -> pl.DataFrame:
    """Edges with their errors and latencies nested."""
    return edges.select(
        "client",
        "server",
        "protocol",
        "requests",
        "attempts",
        "requests_per_second",
        "error_ratio",
        errors_as_answered().alias("errors"),
        pl.struct(_quantiles("client").alias("client"), _quantiles("server").alias("server")).alias(
            "latency_seconds"
        ),
        pl.struct(
            _quantiles(side, "_resolution").alias(side) for side in ("client", "server")
        ).alias("latency_resolution"),
        "mtls_ratio",
        "reporter",
        "signal",
        "reporters",
        "agreement",
        "coverage",
        "request_bytes",
        "response_bytes",
        "paths_agreement",
    )


def errors_as_answered() -> pl.Expr:
    """The classes of failed requests, nested."""
    return pl.struct("client_error", "server_error", "connection")


def _quantiles(prefix: str, suffix: str = "") -> pl.Expr:
    return pl.struct(pl.col(f"{prefix}_{name}{suffix}").alias(name) for name in QUANTILES)
