"""Services: the list of a window, and one service's series of minutes and its routes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import polars as pl

from api.graph import NO_ALIASES, GraphQuery, answer as graph_answer, errors_as_answered
from api.problems import NotFound
from api.times import Window
from pipeline.analyze import red, routes
from pipeline.store.port import Store

REAL: Final = ("service", "gateway")


def listed(
    store: Store, window: Window, *, now: datetime, aliases: Mapping[str, str] = NO_ALIASES
) -> pl.DataFrame:
    """Services and gateways of a window, by id; blocks."""
    nodes = graph_answer(store, GraphQuery(window), now=now, aliases=aliases).nodes
    return nodes.filter(pl.col("kind").is_in(REAL))


def minutes_of(store: Store, node: str, window: Window) -> pl.DataFrame:
    """Rows of ``node_minutes`` of one node.

    Raises:
        NotFound: nobody told of the node in the window.
    """
    rows = store.ask("service_minutes", node=node, start=window.start, end=window.end)
    if rows.is_empty():
        raise NotFound(
            "service",
            field="service",
            found=node,
            allowed="a service that served requests in the window; /v1/services lists them",
        )
    return rows


def series_as_answered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rate, errors and duration by the minute, nested as documented."""
    return _nested(red.series(rows), "time")


def routes_as_answered(rows: pl.DataFrame, window: Window) -> pl.DataFrame:
    """Rate, errors and duration by the route, nested as documented."""
    seconds = max((window.end - window.start).total_seconds(), 1.0)
    return _nested(routes.by_route(rows, seconds=seconds), "route")


def _nested(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    return rows.select(
        key,
        "requests",
        "requests_per_second",
        "error_ratio",
        errors_as_answered().alias("errors"),
        pl.struct(
            pl.col(f"latency_{name}").alias(name) for name in ("p50", "p90", "p95", "p99")
        ).alias("latency_seconds"),
    )
