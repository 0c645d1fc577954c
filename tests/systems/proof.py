"""A case on its way through decoders, store and analysis, and what is known at its end."""

import asyncio
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl

from api.graph import GraphQuery, build, extent
from pipeline.jobs.minutes import MinutesJob
from pipeline.model.tables import RAW
from pipeline.model.topology import Graph, NodeKind
from pipeline.store import open_store
from pipeline.store.attach import FILE_NAME
from tests.pipeline.jobs.ingesting import ingested
from tests.systems.cases import Case


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the requests of a case.

    Attributes:
        received: all of it became rows, and nothing was set aside.
        graph: there is an edge.
        mtls: whether TLS was mutual.
        consumer: which API consumer called.
        retries: that a request was tried more than once.
        routes: a route or its template.
    """

    received: bool
    graph: bool
    mtls: bool
    consumer: bool
    retries: bool
    routes: bool

    def cells(self) -> list[str]:
        """One word for each."""
        return ["yes" if getattr(self, one.name) else "no" for one in fields(self)]


@dataclass(frozen=True, slots=True)
class Proof:
    """What a case came to: what is known, and the edges as text."""

    known: Known
    edges: list[str]


def proved(case: Case, directory: Path) -> Proof:
    """Take a case all the way."""
    store = open_store(directory)
    try:
        ingested(directory, store, *case.messages())
        asyncio.run(MinutesJob(store).settle())
        window = extent(store)
        graph = None
        if window is not None:
            later = window.end + timedelta(hours=1)
            graph = build(store, GraphQuery(window), now=later)
    finally:
        store.close()
    return Proof(_known(directory, graph), _edges(graph))


def _known(directory: Path, graph: Graph | None) -> Known:
    with duckdb.connect(str(directory / FILE_NAME), read_only=True) as store:
        rows = sum(_one(store, f"SELECT count(*) FROM {table.name}") for table in RAW)
        refused = _one(store, "SELECT count(*) FROM quarantine")
        consumers = _one(store, "SELECT count(consumer) FROM requests")
        routes = _one(store, "SELECT count(route) FROM requests")
    edges = graph.edges if graph else pl.DataFrame({"requests": [], "attempts": []})
    consumer_nodes = graph is not None and NodeKind.CONSUMER in graph.nodes["kind"].to_list()
    return Known(
        received=rows > 0 and refused == 0,
        graph=edges.height > 0,
        mtls=edges.height > 0 and edges["mtls_ratio"].is_not_null().any(),
        consumer=consumers > 0 or consumer_nodes,
        retries=(edges["attempts"] > edges["requests"]).any(),
        routes=routes > 0,
    )


def _one(store: duckdb.DuckDBPyConnection, sql: str) -> int:
    (found,) = store.sql(sql).fetchall()
    return int(found[0])


def _edges(graph: Graph | None) -> list[str]:
    if graph is None:
        return []
    return [
        f"{edge['client']} -> {edge['server']} ({edge['protocol']}): "
        f"{edge['requests']} requests, {edge['attempts']} attempts, "
        f"mTLS {edge['mtls_ratio']}, told by "
        + ", ".join(f"{one['reporter']} {one['requests']}" for one in edge["reporters"])
        + _bytes(edge["request_bytes"], edge["response_bytes"])
        for edge in graph.edges.sort("client", "server", "protocol").iter_rows(named=True)
    ]


def _bytes(request: int | None, response: int | None) -> str:
    return "" if request is None and response is None else f", bytes {request} and {response}"
