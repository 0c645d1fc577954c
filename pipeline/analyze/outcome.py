"""What became of a request: fine, the client's fault, the server's fault, or no server at all.

gRPC decides before HTTP, because gRPC errors ride on HTTP 200. The gRPC split is the one of the
OpenTelemetry conventions for RPC server spans. Response flags are Envoy's
(https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage).
"""

from typing import Final

import polars as pl

OK: Final = 0
CLIENT_ERROR: Final = 1
SERVER_ERROR: Final = 2
CONNECTION: Final = 3

GRPC: Final = {
    "OK": (0, OK),
    "CANCELLED": (1, CLIENT_ERROR),
    "UNKNOWN": (2, SERVER_ERROR),
    "INVALID_ARGUMENT": (3, CLIENT_ERROR),
    "DEADLINE_EXCEEDED": (4, SERVER_ERROR),
    "NOT_FOUND": (5, CLIENT_ERROR),
    "ALREADY_EXISTS": (6, CLIENT_ERROR),
    "PERMISSION_DENIED": (7, CLIENT_ERROR),
    "RESOURCE_EXHAUSTED": (8, CLIENT_ERROR),
    "FAILED_PRECONDITION": (9, CLIENT_ERROR),
    "ABORTED": (10, CLIENT_ERROR),
    "OUT_OF_RANGE": (11, CLIENT_ERROR),
    "UNIMPLEMENTED": (12, SERVER_ERROR),
    "INTERNAL": (13, SERVER_ERROR),
    "UNAVAILABLE": (14, SERVER_ERROR),
    "DATA_LOSS": (15, SERVER_ERROR),
    "UNAUTHENTICATED": (16, CLIENT_ERROR),
}
"""gRPC status names: their numbers, and whose fault they are."""

_BY_TEXT: Final = {name: outcome for name, (_, outcome) in GRPC.items()} | {
    str(number): outcome for number, outcome in GRPC.values()
}

NO_SERVER_FLAGS: Final = ("UH", "UF", "NC", "NR", "DF", "UO")
"""No healthy host, connection failed, no cluster, no route, no address, circuit breaker open."""

CLIENT_LEFT_FLAGS: Final = ("DC", "DR")
"""The client closed or reset the connection."""


def _has_flag(flags: pl.Expr, names: tuple[str, ...]) -> pl.Expr:
    pattern = rf"(^|,)({'|'.join(names)})(,|$)"
    return flags.str.contains(pattern).fill_null(value=False)


def outcome(
    *,
    http_status: pl.Expr,
    rpc_status: pl.Expr,
    flags: pl.Expr,
    span_error: pl.Expr,
    serves: pl.Expr,
) -> pl.Expr:
    """The outcome of each row (u8: OK, CLIENT_ERROR, SERVER_ERROR or CONNECTION).

    Args:
        http_status: status sent to the client; 0 when none was sent; null when not HTTP.
        rpc_status: gRPC status as a number in text or as a name; null when not told.
        flags: Envoy's response flags, comma-separated; null when none.
        span_error: whether the span's status is an error; asked last.
        serves: whether the row is the server's telling, which cannot say that there is no server.
    """
    by_rpc = rpc_status.replace_strict(_BY_TEXT, default=None, return_dtype=pl.UInt8)
    by_http = (
        pl.when(http_status == 0)
        .then(
            pl.when(_has_flag(flags, CLIENT_LEFT_FLAGS)).then(CLIENT_ERROR).otherwise(SERVER_ERROR)
        )
        .when(http_status >= 500)
        .then(SERVER_ERROR)
        .when(http_status >= 400)
        .then(CLIENT_ERROR)
        .otherwise(OK)
    )
    return (
        pl.when(_has_flag(flags, NO_SERVER_FLAGS) & ~serves)
        .then(CONNECTION)
        .when(by_rpc.is_not_null())
        .then(by_rpc)
        .when(http_status.is_not_null())
        .then(by_http)
        .when(span_error)
        .then(SERVER_ERROR)
        .otherwise(OK)
        .cast(pl.UInt8)
    )
