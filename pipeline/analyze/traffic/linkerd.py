"""Linkerd: what its proxies say of requests in and out, and of connections.

Series never name the proxy's own workload: that is who was scraped, by its resource or by the
labels that Linkerd's Prometheus puts on. ``response_total`` counts per attempt,
``outbound_http_route_*`` per request and, by backend, per attempt; where both are there the latter
counts, and latency comes from ``response_latency_ms``, whose buckets are finer. TLS of Linkerd is
mutual. Sources: linkerd.io, "Proxy metrics"; linkerd2-proxy ``linkerd/app/core/src/metrics.rs``.
"""

from typing import Final

import polars as pl

from pipeline.analyze import outcome as outcomes
from pipeline.analyze.traffic.metric import (
    Metric,
    System,
    caller,
    finished,
    kind,
    known,
    label,
    node,
    result,
)
from pipeline.model.topology import Reporter

METRICS: Final = (
    Metric("response_total", "requests", rank=0),
    Metric("response_latency_ms", "latency", rank=1),
    Metric("tcp_open_total", "requests", rank=-5),
    *(
        Metric(name, "bytes", rank=-5, of="sum")
        for name in ("tcp_read_bytes_total", "tcp_write_bytes_total")
    ),
    *(
        metric
        for protocol in ("http", "grpc")
        for metric in (
            Metric(f"outbound_{protocol}_route_request_statuses_total", "requests", rank=1),
            Metric(f"outbound_{protocol}_route_backend_response_statuses_total", "attempts"),
            Metric(
                f"outbound_{protocol}_route_request_duration_seconds", "latency", 0, seconds=1.0
            ),
        )
    ),
)

_WORKLOADS: Final = ("deployment", "statefulset", "daemonset", "replicaset", "k8s_job",
                     "replicationcontroller")  # fmt: skip
_LABELS: Final = (
    "direction", "peer", "target_port", "tls", "client_id", "server_id", "status_code",
    "http_status", "grpc_status", "grpc_status_code", "classification", "error", "authority",
    "target_addr", "hostname", "dst_service", "dst_namespace", "parent_kind", "parent_namespace",
    "parent_name", "backend_kind", "backend_namespace", "backend_name", "namespace", "pod",
    *_WORKLOADS, *(f"dst_{name}" for name in _WORKLOADS),
)  # fmt: skip

ADMIN_PORT: Final = "4191"
POD: Final = r"^(.+?)(?:-[a-z0-9]{6,10})?-[a-z0-9]{5}$"
"""A pod's workload is its name without what replica sets and pods add."""

NO_SERVER: Final = ("FAIL_FAST", "LOAD_SHED", "REFUSED", "IO")
CLIENT_LEFT: Final = ("CANCEL",)
"""Values of the label ``error``: nobody could be reached; the client went away."""


def calls(series: pl.DataFrame) -> pl.DataFrame:
    """The calls that Linkerd's series tell of."""
    own = pl.coalesce(
        *(known(name) for name in _WORKLOADS),
        "teller_workload",
        known("pod").str.extract(POD, 1),
    )
    told = series.filter((pl.col("target_port") != ADMIN_PORT).fill_null(value=True)).with_columns(
        pl.coalesce(
            node(pl.coalesce(known("namespace"), "teller_namespace"), own), "teller_node"
        ).alias("own"),
        own.alias("own_workload"),
        pl.col("name").str.starts_with("tcp_").alias("is_tcp"),
        (pl.col("name").str.contains("grpc") | pl.col("grpc_status").is_not_null()).alias(
            "is_grpc"
        ),
    )
    told = told.with_columns(
        pl.when("is_tcp")
        .then(pl.lit("tcp"))
        .when("is_grpc")
        .then(pl.lit("grpc"))
        .otherwise(pl.lit("http"))
        .alias("protocol"),
        pl.when(pl.col("tls").is_in(["true", "disabled", "no_identity"]))
        .then(pl.col("tls") == "true")
        .alias("mutual"),
    )
    return pl.concat([_outbound(told), _inbound(told)])


def _outcome(*, serves: bool) -> pl.Expr:
    told = result(
        code=pl.coalesce("http_status", "status_code"),
        rpc=pl.coalesce("grpc_status", "grpc_status_code"),
        flags=pl.lit(None, pl.String),
        failed=(pl.col("classification") == "failure") | known("error").is_not_null(),
        serves=pl.lit(serves),
    )
    # a status that was answered says more than why the stream ended
    answered = pl.any_horizontal(pl.col("http_status", "status_code", "grpc_status").is_not_null())
    error = pl.col("error").str.to_uppercase()
    return (
        pl.when(~answered & error.is_in(NO_SERVER))
        .then(outcomes.CONNECTION)
        .when(~answered & error.is_in(CLIENT_LEFT))
        .then(outcomes.CLIENT_ERROR)
        .otherwise(told)
        .cast(pl.UInt8)
    )


def _outbound(told: pl.DataFrame) -> pl.DataFrame:
    sent = told.filter(
        pl.col("name").str.starts_with("outbound_")
        | (
            (pl.col("direction") == "outbound")
            & (~pl.col("is_tcp") | (pl.col("peer") == "dst")).fill_null(value=False)
        )
    )
    workload = pl.coalesce(*(known(f"dst_{name}") for name in _WORKLOADS))
    server = node(known("dst_namespace"), workload)
    service = pl.coalesce(
        node(known("backend_namespace"), known("backend_name")),
        node(known("parent_namespace"), known("parent_name")),
        node(known("dst_namespace"), known("dst_service")),
    )
    address = pl.coalesce("hostname", "authority", "target_addr")
    calls = sent.select(
        "series",
        "protocol",
        client="own",
        client_kind=kind(pl.col("own")),
        client_workload="own_workload",
        client_version="teller_version",
        server=server,
        server_kind=kind(server),
        server_workload=workload,
        server_alias=pl.coalesce(
            service, pl.when(server.is_null()).then(pl.coalesce(known("server_id"), address))
        ),
        reporter=pl.lit(Reporter.CLIENT_PROXY.value),
        outcome=_outcome(serves=False),
        asks=pl.col("name") == "tcp_write_bytes_total",
        tls="mutual",
        serves=pl.lit(value=False),
    )
    return finished(calls, SYSTEM.name)


def _inbound(told: pl.DataFrame) -> pl.DataFrame:
    received = told.filter(
        (pl.col("direction") == "inbound")
        & (~pl.col("is_tcp") | (pl.col("peer") == "src")).fill_null(value=False)
    ).with_columns(known("client_id").alias("client_alias"))
    client, client_kind = caller(pl.lit(None, pl.String), pl.col("client_alias"))
    calls = received.select(
        "series",
        "protocol",
        "client_alias",
        client=client,
        client_kind=client_kind,
        server="own",
        server_kind=kind(pl.col("own")),
        server_workload="own_workload",
        server_version="teller_version",
        reporter=pl.lit(Reporter.SERVER_PROXY.value),
        outcome=_outcome(serves=True),
        asks=pl.col("name") == "tcp_read_bytes_total",
        tls="mutual",
        serves=pl.lit(value=True),
    )
    return finished(calls, SYSTEM.name)


SYSTEM: Final = System("linkerd", METRICS, {name: label(name) for name in _LABELS}, calls)
