"""Istio: sidecars, gateways, waypoints (HTTP and gRPC by request) and ztunnels (by connection).

Every request in the mesh is told by the source's and by the destination's proxy; a waypoint speaks
for the destination. The source's side never knows whether TLS was mutual, but for ztunnels. A
caller without the mesh's identity is ``unknown`` in all of its labels: that is nobody known, not a
service.
Sources: istio.io reference, "Istio Standard Metrics"; istio/ztunnel README.
"""

from typing import Final

import polars as pl

from pipeline.analyze import outcome as outcomes
from pipeline.analyze.traffic.metric import (
    Metric,
    System,
    at_client,
    caller,
    finished,
    kind,
    known,
    label,
    node,
    result,
    version,
)
from pipeline.model.topology import NodeKind, Reporter

METRICS: Final = (
    Metric("istio_requests_total", "requests", rank=10),
    Metric("istio_request_duration_milliseconds", "latency", rank=10),
    Metric("istio_tcp_connections_opened_total", "requests", rank=5),
    Metric("istio_tcp_connections_closed_total", "errors", rank=5),
    *(
        Metric(name, "bytes", rank=10, of="sum")
        for name in ("istio_request_bytes", "istio_response_bytes")
    ),
    *(
        Metric(name, "bytes", rank=5, of="sum")
        for name in ("istio_tcp_received_bytes_total", "istio_tcp_sent_bytes_total")
    ),
)
"""Opened connections tell no flags and closed ones do, so that only together they say it all. Bytes
sent are those of the response, whoever reports them."""

ASKING: Final = ("istio_request_bytes", "istio_tcp_received_bytes_total")
"""Metrics of bytes that went to the server."""

_LABELS: Final = (
    "reporter", "source_workload", "source_workload_namespace", "source_principal", "source_app",
    "source_version", "source_canonical_service", "source_canonical_revision",
    "destination_workload", "destination_workload_namespace", "destination_app",
    "destination_version", "destination_service", "destination_service_name",
    "destination_service_namespace", "destination_canonical_service",
    "destination_canonical_revision", "request_protocol", "response_code", "grpc_response_status",
    "response_flags", "connection_security_policy",
)  # fmt: skip

NO_SERVICE: Final = ("PassthroughCluster", "BlackHoleCluster", "InboundPassthroughCluster")
"""In the place of a service: the mesh did not know the host, forbade it, or it is the callee."""

FAILED_TO_CONNECT: Final = ("CONNECT", "TLS_FAILURE", "H2_HANDSHAKE_FAILURE", "IDENTITY_ERROR")
REFUSED: Final = ("DENY", "NETWORK_POLICY", "CERT_REVOKED")
"""A ztunnel's own flags."""


def _place(end: str) -> tuple[pl.Expr, pl.Expr]:
    """Node and version of an end."""
    name = pl.coalesce(known(f"{end}_canonical_service"), known(f"{end}_app"),
                       known(f"{end}_workload"))  # fmt: skip
    told = version(f"{end}_version"), version(f"{end}_canonical_revision")
    return node(known(f"{end}_workload_namespace"), name), pl.coalesce(*told)


def calls(series: pl.DataFrame) -> pl.DataFrame:
    """The calls that Istio's series tell of."""
    source, source_version = _place("source")
    destination, destination_version = _place("destination")
    called = known("destination_service_name")
    service = node(known("destination_service_namespace"), called)
    nowhere = called.is_in(NO_SERVICE).fill_null(value=True)
    series = series.with_columns(
        source.alias("source"),
        destination.alias("destination"),
        known("source_principal").alias("client_alias"),
        pl.when(nowhere)
        .then(known("destination_service"))
        .otherwise(service)
        .alias("server_alias"),
        (pl.col("reporter") != "source").alias("serves"),
        known("response_flags").alias("flags"),
    )
    client, client_kind = caller(pl.col("source"), pl.col("client_alias"))
    server_kind = kind(pl.col("destination"))
    gateway = kind(pl.col("source")) == NodeKind.GATEWAY
    policy = pl.col("connection_security_policy")
    told = series.with_columns(
        client.alias("client"),
        client_kind.alias("client_kind"),
        known("source_workload").alias("client_workload"),
        source_version.alias("client_version"),
        pl.when(pl.col("source").is_null()).then("client_alias").alias("client_alias"),
        pl.col("destination").alias("server"),
        server_kind.alias("server_kind"),
        known("destination_workload").alias("server_workload"),
        destination_version.alias("server_version"),
        known("request_protocol").str.to_lowercase().alias("protocol"),
        pl.when(pl.col("serves") & (server_kind == NodeKind.GATEWAY))
        .then(pl.lit(Reporter.GATEWAY.value))
        .when("serves")
        .then(pl.lit(Reporter.SERVER_PROXY.value))
        .otherwise(at_client(gateway.fill_null(value=False)))
        .alias("reporter"),
        _outcome().alias("outcome"),
        pl.col("name").is_in(ASKING).alias("asks"),
        pl.when(policy.is_in(["mutual_tls", "none"])).then(policy == "mutual_tls").alias("tls"),
    )
    return finished(told, SYSTEM.name)


def _outcome() -> pl.Expr:
    told = result(
        code=pl.col("response_code"),
        rpc=known("grpc_response_status"),
        flags=pl.col("flags"),
        failed=pl.lit(value=False),
        serves=pl.col("serves"),
    )
    return (
        pl.when((pl.col("destination_service_name") == "BlackHoleCluster").fill_null(value=False))
        .then(outcomes.CONNECTION)
        .when(pl.col("flags").is_in(FAILED_TO_CONNECT))
        .then(outcomes.CONNECTION)
        .when(pl.col("flags").is_in(REFUSED))
        .then(outcomes.CLIENT_ERROR)
        .otherwise(told)
        .cast(pl.UInt8)
    )


SYSTEM: Final = System("istio", METRICS, {name: label(name) for name in _LABELS}, calls)
