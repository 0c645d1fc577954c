"""What Linkerd's proxy tells in its access logs, JSON or Apache style, as rows of ``access_logs``.

Only inbound proxies write them, and no line says whose proxy it is. Where the caller has an
identity of the mesh, so that the host it asked for can be believed, the server is that host:
``<service>`` in the caller's namespace, ``<service>.<namespace>`` where that is the caller's own,
or ``<service>.<namespace>.svc...``. Otherwise the server stays unknown.

``trace_id`` is the first of x-b3-traceid, x-request-id and x-amzn-trace-id; which one it was is
seen by its shape. Source: linkerd/linkerd2-proxy ``linkerd/http/access-log/src/lib.rs``.
"""

from typing import Final

import polars as pl

from pipeline.decode.lines import access_log_rows
from pipeline.decode.lines.access_log_rows import Told
from pipeline.model.decoded import Decoded

TEXTS: Final = (
    "client_addr",
    "client_id",
    "method",
    "uri",
    "version",
    "host",
    "user_agent",
    "trace_id",
)
NUMBERS: Final = {
    "status": (1 << 16) - 1,
    "request_bytes": (1 << 63) - 1,
    "response_bytes": (1 << 63) - 1,
    "total_ns": (1 << 63) - 1,
}
"""Fields that are numbers, and the largest that are taken."""

ATTRIBUTES: Final = {"processing_ns": "linkerd.processing_ns"}
"""Fields without a column, and the attributes they are kept as."""

_URI: Final = r"^[a-z]+://([^/?#]*)"
_PORT: Final = r":\d+$"
_LABEL: Final = r"([a-z](?:[a-z0-9-]*[a-z0-9])?)"
_CALLER_NAMESPACE: Final = r"^[^.]+\.([^.]+)\.serviceaccount\.identity\."
_B3: Final = r"^([0-9a-f]{16})?([0-9a-f]{16})$"
_AMAZON: Final = r"^(?:.*Root=)?1-([0-9a-f]{8})-([0-9a-f]{8})([0-9a-f]{16})"
_UUID: Final = r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def decoded(told: Told) -> Decoded:
    """The rows of lines.

    Args:
        told: its fields are all of ``TEXTS`` (null for ``-``) and of ``NUMBERS``.
    """
    authority = pl.coalesce("host", pl.col("uri").str.extract(_URI))
    columns = (*_request(authority), *_ids())
    by = (authority.alias("authority"), "client_id")
    return access_log_rows.decoded(told, columns, _reporter(), by=by)


def _request(authority: pl.Expr) -> tuple[pl.Expr | str, ...]:
    path = pl.col("uri").str.replace(_URI, "").str.replace(r"(?s)[?#].*", "")
    return (
        pl.lit(0, pl.UInt8).alias("log_type"),
        pl.lit("http").alias("protocol"),
        access_log_rows.http_version(pl.col("version")).alias("protocol_version"),
        pl.col("method").alias("http_request_method"),
        authority.alias("authority"),
        pl.when(path != "").then(path).alias("url_path"),
        pl.col("status").alias("http_response_status_code"),
        "request_bytes",
        "response_bytes",
        pl.col("total_ns").alias("duration_ns"),
        pl.col("client_addr").alias("downstream_direct_remote_address"),
        pl.col("client_addr").alias("downstream_remote_address"),
        pl.col("client_id").alias("tls_peer_identity"),
        "user_agent",
    )


def _ids() -> tuple[pl.Expr, ...]:
    told = pl.col("trace_id")
    amazon = told.str.extract(_AMAZON, 1) + told.str.extract(_AMAZON, 2)
    high = pl.coalesce(amazon, told.str.extract(_B3, 1))
    low = pl.coalesce(told.str.extract(_AMAZON, 3), told.str.extract(_B3, 2))
    return (
        pl.when(told.str.contains(_UUID)).then(told).alias("request_id"),
        *(
            half.str.to_integer(base=16, dtype=pl.UInt64, strict=False).alias(name)
            for half, name in (
                (pl.when(low.is_not_null()).then(high.fill_null("0")), "trace_id_high"),
                (low, "trace_id_low"),
            )
        ),
    )


def _reporter() -> tuple[pl.Expr, ...]:
    host = pl.col("authority").str.replace(_PORT, "")
    caller = pl.col("client_id").str.extract(_CALLER_NAMESPACE)
    full = rf"^{_LABEL}\.{_LABEL}\.svc(?:\..*)?$"
    near = rf"^{_LABEL}\.{_LABEL}$"
    own = host.str.extract(near, 2) == caller
    name = pl.coalesce(
        host.str.extract(full, 1),
        host.str.extract(rf"^{_LABEL}$"),
        pl.when(own).then(host.str.extract(near, 1)),
    )
    named = caller.is_not_null() & name.is_not_null()
    return (
        pl.when(named)
        .then(pl.coalesce(host.str.extract(full, 2), caller))
        .alias("service_namespace"),
        pl.when(named).then(name).alias("service_name"),
        pl.lit("linkerd").alias("system"),
    )
