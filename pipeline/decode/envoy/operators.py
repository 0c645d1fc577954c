"""What Envoy's access-log operators tell, in text or JSON, as rows of ``access_logs``.

The fields have the names of Istio's JSON encoding. Meanings, units and traps:

* times in whole milliseconds; ``bytes_received`` is the request, ``bytes_sent`` the response;
* ``response_code`` is 0 when nothing was sent, and for connections that are not HTTP;
* ``downstream_remote_address`` with port 0 is taken from x-forwarded-for and is not the peer;
* no line says who wrote it. An inbound Istio proxy is the service that its caller asked for in the
  SNI ``outbound_.<port>_.<subset>_.<host>``, or the host that old inbound cluster names end with.

Sources: istio/istio ``pilot/pkg/model/telemetry_logging.go``, envoyproxy/envoy
``docs/root/configuration/observability/access_log/usage.rst``.
"""

from dataclasses import replace
from typing import Final

import polars as pl

from pipeline.decode.lines import access_log_rows
from pipeline.decode.lines.access_log_rows import Told
from pipeline.decode.lines.trace_ids import trace_ids
from pipeline.model.decoded import Decoded

TEXTS: Final = (
    "method", "path", "protocol", "response_flags", "response_code_details", "user_agent",
    "request_id", "authority", "upstream_host", "upstream_cluster", "upstream_local_address",
    "downstream_local_address", "downstream_remote_address", "downstream_direct_remote_address",
    "requested_server_name", "route_name", "grpc_status", "content_type", "traceparent",
    "trace_id", "b3", "x_b3_traceid", "x_amzn_trace_id", "access_log_type",
    "downstream_peer_uri_san", "downstream_local_uri_san",
    "downstream_tls_version", "stream_id",
)  # fmt: skip
NUMBERS: Final = {
    "response_code": (1 << 16) - 1,
    "bytes_received": (1 << 63) - 1,
    "bytes_sent": (1 << 63) - 1,
    "duration": (1 << 62) // 1_000_000,
    "upstream_request_attempt_count": (1 << 32) - 1,
}
"""Fields that are numbers, and the largest that are taken."""

ATTRIBUTES: Final = {
    "connection_termination_details": "envoy.connection_termination_details",
    "upstream_transport_failure_reason": "envoy.upstream_transport_failure_reason",
    "upstream_service_time": "http.response.header.x-envoy-upstream-service-time",
    "x_forwarded_for": "http.request.header.x-forwarded-for",
}
"""Fields without a column, and the attributes they are kept as."""

_TRACES: Final = ("traceparent", "trace_id", "b3", "x_b3_traceid", "x_amzn_trace_id")
"""Where a trace id may stand: headers, and what ``%TRACE_ID%`` tells of the proxy's own span."""

LOG_TYPES: Final = (
    "NotSet", "TcpUpstreamConnected", "TcpPeriodic", "TcpConnectionEnd", "DownstreamStart",
    "DownstreamPeriodic", "DownstreamEnd", "UpstreamPoolReady", "UpstreamPeriodic", "UpstreamEnd",
    "DownstreamTunnelSuccessfullyEstablished", "UdpTunnelUpstreamConnected", "UdpPeriodic",
    "UdpSessionEnd", "UdpConnectionEnd",
)  # fmt: skip
"""Names of Envoy's ``AccessLogType``, in the order of their numbers."""

_MILLISECOND: Final = 1_000_000
_QUERY: Final = r"(?s)[?#].*"
_SERVICE_HOST: Final = r"([^|.]+)\.([^|.]+)\.svc(?:\..*)?$"
_ASKED_FOR: Final = r"^outbound_\.\d+_\.[^.]*_\." + _SERVICE_HOST
_OWN_HOST: Final = r"^inbound\|\d+\|[^|]*\|" + _SERVICE_HOST
_ISTIO_CLUSTER: Final = (
    r"^(?:inbound|outbound|inbound-vip)\||^(?:BlackHole|Passthrough|InboundPassthrough)Cluster"
)


def decoded(told: Told) -> Decoded:
    """The rows of lines.

    Args:
        told: its fields are all of ``TEXTS`` (null for ``-``) and of ``NUMBERS``; ``istio``, which
            lines are known to be Istio's, may be there too.
    """
    ids = trace_ids([told.fields[name] for name in _TRACES])
    told = replace(told, fields={**told.fields, **ids})
    columns = (*_http(), *map(pl.col, ids), *_duration(), *_connection(), *_plain())
    istio = pl.col("istio") if "istio" in told.fields else pl.lit(value=False).alias("istio")
    by = ("upstream_cluster", "requested_server_name", istio)
    return access_log_rows.decoded(told, columns, _reporter(), by=by)


def _http() -> tuple[pl.Expr, ...]:
    """What only HTTP has; a line without method, path, version and status is of a connection."""
    http = pl.any_horizontal(pl.col("method", "path", "protocol").is_not_null()) | (
        pl.col("response_code").fill_null(0) > 0
    )
    grpc = pl.col("content_type").str.starts_with("application/grpc").fill_null(value=False)
    path = pl.col("path").str.replace(_QUERY, "")
    return (
        pl.when(grpc | pl.col("grpc_status").is_not_null())
        .then(pl.lit("grpc"))
        .when(http)
        .then(pl.lit("http"))
        .otherwise(pl.lit("tcp"))
        .alias("protocol"),
        pl.col("protocol").alias("protocol_version"),
        pl.col("method").alias("http_request_method"),
        pl.when(path != "").then(path).alias("url_path"),
        pl.when(http).then("response_code").alias("http_response_status_code"),
        pl.col("grpc_status").alias("rpc_status_code"),
    )


def _duration() -> tuple[pl.Expr, ...]:
    kinds = pl.col("access_log_type")
    return (
        (pl.col("duration") * _MILLISECOND).alias("duration_ns"),
        pl.coalesce(
            kinds.replace_strict(
                {name: number for number, name in enumerate(LOG_TYPES)},
                default=None,
                return_dtype=pl.UInt8,
            ),
            kinds.str.to_integer(dtype=pl.UInt8, strict=False),
            pl.lit(0, pl.UInt8),
        ).alias("log_type"),
        pl.col("upstream_request_attempt_count").alias("attempt_count"),
    )


def _connection() -> tuple[pl.Expr, ...]:
    remote = pl.col("downstream_remote_address")
    return (
        pl.coalesce(
            "downstream_direct_remote_address",
            pl.when(~remote.str.ends_with(":0")).then(remote),
        ).alias("downstream_direct_remote_address"),
        remote,
        # old proxies write tcp://10.0.2.1:80
        pl.col("upstream_host").str.strip_prefix("tcp://").alias("upstream_remote_address"),
        pl.col("requested_server_name").alias("tls_sni"),
        pl.col("downstream_tls_version").alias("tls_version"),
        # a certificate may have several names; Envoy joins them with commas
        pl.col("downstream_peer_uri_san").str.extract(r"^([^,]+)").alias("tls_peer_identity"),
        pl.col("downstream_local_uri_san").str.extract(r"^([^,]+)").alias("tls_local_identity"),
    )


def _plain() -> tuple[pl.Expr, ...]:
    """What stands in the column as it stands in the line."""
    return (
        pl.col(
            "response_flags", "response_code_details", "user_agent", "request_id", "authority",
            "upstream_cluster", "upstream_local_address", "downstream_local_address",
            "route_name", "stream_id",
        ),
        pl.col("bytes_received").alias("request_bytes"),
        pl.col("bytes_sent").alias("response_bytes"),
    )  # fmt: skip


def _reporter() -> tuple[pl.Expr, ...]:
    cluster, asked = pl.col("upstream_cluster"), pl.col("requested_server_name")
    inbound = cluster.str.starts_with("inbound|").fill_null(value=False)
    name, namespace = (
        pl.when(inbound).then(
            pl.coalesce(asked.str.extract(_ASKED_FOR, group), cluster.str.extract(_OWN_HOST, group))
        )
        for group in (1, 2)
    )
    return (
        namespace.alias("service_namespace"),
        name.alias("service_name"),
        pl.when(pl.col("istio") | cluster.str.contains(_ISTIO_CLUSTER).fill_null(value=False))
        .then(pl.lit("istio"))
        .when(cluster.str.ends_with(".consul"))
        .then(pl.lit("consul"))
        .otherwise(pl.lit("envoy"))
        .alias("system"),
    )
