"""The words in which a system's metrics are declared, and what their labels are turned into.

A *traffic metric* counts requests, or measures them, and says by its labels between whom. A
system's module lists its metrics as data and has one function that reads the labels: series in,
calls out. Everything else, from counters to the graph, is the same for all.
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import polars as pl

from pipeline.analyze.identity import GATEWAY_NAME, node_id
from pipeline.analyze.outcome import outcome
from pipeline.model.topology import CLIENTS, NodeKind, Reporter

Told = Literal["requests", "attempts", "retries", "errors", "latency", "range", "bytes"]
"""What an increase tells: logical requests (each also an attempt, unless attempts are told, too);
attempts; attempts on top of the requests; requests counted elsewhere that failed; durations, by the
buckets of a histogram; durations, by the least and the greatest; bytes, one way or the other."""

Of = Literal["count", "sum"]


class Metric(NamedTuple):
    """One metric, as its sender names it.

    Attributes:
        name: the name, as in ``metric_points``.
        told: what its increases tell.
        rank: of several metrics of one sender that tell the same of the same, the highest counts.
        seconds: how many seconds its unit is, of durations.
        of: what an increase is: how many measurements, or their sum; of bytes the latter.
    """

    name: str
    told: Told
    rank: int = 0
    seconds: float = 0.001
    of: Of = "count"


class System(NamedTuple):
    """One system whose metrics tell of calls.

    Attributes:
        name: as in the column ``system``.
        metrics: its metrics.
        labels: attributes that ``calls`` reads, as JSON paths by the names of its columns.
        calls: from series to calls. Takes ``series`` (u32), ``name``, the labels, and of who tells
            it ``teller_node``, ``teller_kind``, ``teller_workload``, ``teller_version``,
            ``teller_namespace``; gives the columns of ``CALL``, one row per call a series tells of.
    """

    name: str
    metrics: tuple[Metric, ...]
    labels: dict[str, str]
    calls: Callable[[pl.DataFrame], pl.DataFrame]


CALL: Final = {
    "series": pl.UInt32,
    "client": pl.String,
    "client_kind": pl.String,
    "client_workload": pl.String,
    "client_version": pl.String,
    "client_alias": pl.String,
    "server": pl.String,
    "server_kind": pl.String,
    "server_workload": pl.String,
    "server_version": pl.String,
    "server_alias": pl.String,
    "protocol": pl.String,
    "reporter": pl.String,
    "system": pl.String,
    "outcome": pl.UInt8,
    "tls": pl.Boolean,
    "serves": pl.Boolean,
    "edge": pl.Boolean,
    "asks": pl.Boolean,
    "rank": pl.Int8,
}
"""Columns of a call. An end is a node id, or null with what it is known by; a server may be known
as both. ``outcome`` is that of ``outcome``, ``tls`` whether TLS was mutual (null: not known),
``serves`` whether the teller is at the server's end, ``edge`` whether the caller is known or is
nobody known, ``asks`` of bytes whether they went to the server, ``rank`` what the series adds to
that of its metric."""


def label(name: str) -> str:
    """The JSON path of an attribute."""
    return f'$."{name}"'


def known(name: str) -> pl.Expr:
    """A label's value; null where it says that there is none."""
    value = pl.col(name)
    return pl.when(~value.is_in(["", "unknown", "-"])).then(value)


def version(name: str) -> pl.Expr:
    """A label's version; ``latest`` is what Istio and Linkerd say when they know none."""
    return pl.when(known(name) != "latest").then(pl.col(name))


def node(namespace: pl.Expr, name: pl.Expr) -> pl.Expr:
    """``namespace/name``; null when there is no name."""
    return pl.when(name.is_not_null()).then(node_id(namespace, name))


def kind(of: pl.Expr) -> pl.Expr:
    """The kind of a node that labels name; null where they do not."""
    gateway = of.str.extract(r"([^/]+)$").str.contains(GATEWAY_NAME)
    return (
        pl.when(of.is_null())
        .then(pl.lit(None, pl.String))
        .when(gateway)
        .then(pl.lit(NodeKind.GATEWAY.value))
        .otherwise(pl.lit(NodeKind.SERVICE.value))
    )


def caller(node_of: pl.Expr, alias: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Who called, and its kind: the node, nobody yet where an alias is known, else ``clients``."""
    nobody = node_of.is_null() & alias.is_null()
    return (
        pl.when(nobody).then(pl.lit(CLIENTS)).otherwise(node_of),
        pl.when(nobody).then(pl.lit(NodeKind.CLIENTS.value)).otherwise(kind(node_of)),
    )


def at_client(gateway: pl.Expr) -> pl.Expr:
    """The reporter at the caller's end."""
    return (
        pl.when(gateway)
        .then(pl.lit(Reporter.GATEWAY.value))
        .otherwise(pl.lit(Reporter.CLIENT_PROXY.value))
    )


def result(
    *, code: pl.Expr, rpc: pl.Expr, flags: pl.Expr, failed: pl.Expr, serves: pl.Expr
) -> pl.Expr:
    """The outcome that labels tell of: statuses as text, flags of Envoy, what else says failed."""
    return outcome(
        http_status=code.cast(pl.UInt16, strict=False),
        rpc_status=rpc,
        flags=flags,
        span_error=failed.fill_null(value=False),
        serves=serves,
    )


def finished(calls: pl.DataFrame, system: str) -> pl.DataFrame:
    """Calls with all columns of ``CALL``; those not given are null, or as most calls have them."""
    given = {"system": pl.lit(system), "edge": pl.lit(value=True), "rank": pl.lit(0)}
    return calls.select(
        (pl.col(name) if name in calls.columns else given.get(name, pl.lit(None)))
        .cast(dtype)
        .alias(name)
        for name, dtype in CALL.items()
    )
