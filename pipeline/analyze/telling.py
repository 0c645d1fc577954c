"""A telling: what one row, by one reporter, says of one call.

Spans and access logs become frames of the same columns, so that everything after knows only
tellings. Ends are identities (numbers, see ``identity``) where known, else names: ``client_name`` a
virtual node's id, ``client_alias`` what the end is known by.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from pipeline.analyze import kinds, names, outcome as outcomes, pair, peer, waypoint
from pipeline.model.topology import CLIENTS, NOT_RECEIVED, NodeKind, Reporter

MILLION: Final = 1_000_000
"""Counts are kept in millionths, so that sampling weights add up exactly in any order."""

WHOLE: Final = 2**56
"""Sampling thresholds are of 56 bits (OpenTelemetry probability sampling)."""

TELLING: Final = {
    "slice": pl.Int64,
    "begin": pl.Int64,
    "client": pl.Int32,
    "client_name": pl.String,
    "client_kind": pl.String,
    "client_alias": pl.String,
    "server": pl.Int32,
    "server_name": pl.String,
    "server_kind": pl.String,
    "server_alias": pl.String,
    "protocol": pl.String,
    "route": pl.String,
    "reporter": pl.String,
    "signal": pl.String,
    "teller": pl.Int32,
    "serves": pl.Boolean,
    "requests": pl.Int64,
    "attempts": pl.Int64,
    "outcome": pl.UInt8,
    "tls": pl.Boolean,
    "sampled": pl.Boolean,
    "unpaired": pl.Boolean,
    "duration_ns": pl.Int64,
    "consumer": pl.String,
}
"""Columns of a telling. ``slice`` is the lowest of the unit it is at home in, ``teller`` the
identity that reports, ``serves`` whether it is the server's end, ``begin`` Unix nanoseconds,
``requests`` and ``attempts`` millionths, ``tls`` whether TLS was mutual (null: not known),
``consumer`` who was authenticated."""


def reporter(*, serves: pl.Expr, is_proxy: pl.Expr, gateway: pl.Expr) -> pl.Expr:
    """The reporter's place in the call."""
    return (
        pl.when(is_proxy & gateway)
        .then(pl.lit(Reporter.GATEWAY.value))
        .when(serves & is_proxy)
        .then(pl.lit(Reporter.SERVER_PROXY.value))
        .when(serves)
        .then(pl.lit(Reporter.SERVER.value))
        .when(is_proxy)
        .then(pl.lit(Reporter.CLIENT_PROXY.value))
        .otherwise(pl.lit(Reporter.CLIENT.value))
    )


def weight(threshold: pl.Expr) -> pl.Expr:
    """The adjusted count of a span in millionths: 1e6 / (1 - T / 2**56); 1e6 when T is not told."""
    share = 1.0 - threshold.fill_null(0).cast(pl.Float64) / WHOLE
    return (MILLION / share.clip(lower_bound=1 / WHOLE)).round().cast(pl.Int64)


def from_spans(
    spans: pl.DataFrame, resources: pl.DataFrame, *, keep: Sequence[str] = ()
) -> pl.DataFrame:
    """The tellings of spans of whole traces.

    Args:
        spans: answer to the question ``pair_spans``, and ``home``, the same for a whole trace; with
            ``template``, the route where none is told, where routes matter.
        resources: first frame of ``identity.identify``.
        keep: columns of ``spans`` to answer beside, for those who ask which span told it.

    Returns:
        Columns of ``TELLING``, and those to keep.
    """
    if spans.is_empty():
        return pl.DataFrame(schema=TELLING).hstack(spans.select(*keep))
    known = (
        with_template(spans)
        .join(resources, on="resource_id", how="left", maintain_order="left")
        .with_columns(
            is_proxy=pl.col("is_proxy") | pl.col("proxy"),
            # nothing but a gateway has clusters that are named after rules of routes
            gateway=pl.col("gateway").fill_null(value=False)
            | pl.col("upstream_cluster").str.contains(names.RULE).fill_null(value=False),
        )
    )
    known, between = waypoint.apart(known)
    told = pair.pair(_numbers(known))
    ends = known.select("identity", "service")
    mine = known[told["row"]]
    far = told["other"]
    other = ends["identity"].gather(far.clip(0)).set(far < 0, None)
    assembled = _assemble(mine.hstack(told.drop("row")).with_columns(other.alias("far")))
    answer = assembled.select(*TELLING).hstack(mine.select(*keep))
    if between.is_empty():
        return answer
    told = waypoint.of_service(_assemble(between), between["upstream_cluster"])
    return pl.concat([answer, told.select(*TELLING).hstack(between.select(*keep))])


def with_template(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with a column ``template``, null where nobody made one of their paths."""
    if "template" in rows.columns:
        return rows
    return rows.with_columns(pl.lit(None, pl.String).alias("template"))


def _numbers(known: pl.DataFrame) -> pl.DataFrame:
    cluster = pl.col("upstream_cluster")
    return known.select(
        "trace_id_high",
        "trace_id_low",
        "span_id",
        pl.col("parent_span_id").fill_null(0),
        "kind",
        pl.col("service").fill_null(0),
        pl.col("is_proxy").fill_null(value=False).cast(pl.UInt8),
        pl.col("gateway").fill_null(value=False).cast(pl.UInt8),
        pl.when(cluster.str.starts_with("outbound"))
        .then(kinds.OUTBOUND)
        .when(cluster.str.starts_with("inbound"))
        .then(kinds.INBOUND)
        .otherwise(0)
        .cast(pl.UInt8)
        .alias("direction"),
        pl.col("start_time").alias("start"),
        pl.col("http_request_resend_count").fill_null(0).cast(pl.Int32).alias("resend"),
        (pl.col("duration_ns").fill_null(0) * 4 + pl.col("status_code")).alias("rank"),
    )


def _assemble(mine: pl.DataFrame) -> pl.DataFrame:
    serves = pl.col("side").is_in([kinds.SERVER_SIDE, kinds.CONSUMES])
    calls = pl.col("side") == kinds.CLIENT_SIDE
    produces = pl.col("side") == kinds.PRODUCES
    consumes = pl.col("side") == kinds.CONSUMES
    alone = pl.col("far").is_null()
    orphan = pl.col("other") == kinds.MISSING
    unit = weight(pl.col("sampling_threshold"))
    mine = mine.with_columns(
        pl.when(calls & alone).then(peer.database()).alias("database"),
        pl.when(produces | consumes).then(peer.topic()).alias("topic"),
        pl.when(calls).then(peer.alias()).alias("alias"),
    )
    return mine.select(
        "slice",
        "begin",
        pl.when(serves & ~consumes).then("far").when(~serves).then("identity").alias("client"),
        pl.when(consumes)
        .then("topic")
        .when(serves & alone & ~orphan)
        .then(pl.lit(CLIENTS))
        .alias("client_name"),
        pl.when(consumes)
        .then(pl.lit(NodeKind.MESSAGING.value))
        .when(serves & alone)
        .then(pl.lit(NodeKind.CLIENTS.value))
        .alias("client_kind"),
        pl.when(serves & orphan).then(pl.lit(NOT_RECEIVED)).alias("client_alias"),
        pl.when(serves).then("identity").when(calls).then("far").alias("server"),
        pl.when(produces).then("topic").otherwise("database").alias("server_name"),
        pl.when(produces)
        .then(pl.lit(NodeKind.MESSAGING.value))
        .when(pl.col("database").is_not_null())
        .then(pl.lit(NodeKind.DATABASE.value))
        .when(calls & alone)
        .then(peer.alias_kind(pl.col("alias")))
        .alias("server_kind"),
        pl.when(calls & pl.col("database").is_null()).then("alias").alias("server_alias"),
        _protocol().alias("protocol"),
        _route().alias("route"),
        reporter(
            serves=serves,
            is_proxy=pl.col("is_proxy").fill_null(value=False),
            gateway=pl.col("gateway").fill_null(value=False),
        ).alias("reporter"),
        pl.lit("spans").alias("signal"),
        pl.col("identity").alias("teller"),
        serves.alias("serves"),
        (unit * pl.col("request")).alias("requests"),
        (unit * pl.col("attempts")).alias("attempts"),
        _outcome(serves, calls & alone & pl.col("database").is_null()).alias("outcome"),
        pl.lit(None, pl.Boolean).alias("tls"),
        (unit > MILLION).alias("sampled"),
        pl.when(serves)
        .then(pl.col("other") == kinds.MISSING)
        .otherwise(calls & alone)
        .alias("unpaired"),
        "duration_ns",
        "consumer",
    )


def _protocol() -> pl.Expr:
    grpc = (pl.col("rpc_system_name") == "grpc") | (
        pl.col("rpc_system_name").is_null() & pl.col("rpc_status_code").is_not_null()
    )
    http = pl.any_horizontal(
        pl.col("http_request_method", "http_response_status_code").is_not_null()
    )
    return (
        pl.when(pl.col("db_system_name").is_not_null() | pl.col("db_namespace").is_not_null())
        .then(pl.lit("db"))
        .when(pl.col("messaging_system").is_not_null() | pl.col("topic").is_not_null())
        .then(pl.lit("messaging"))
        .when(grpc)
        .then(pl.lit("grpc"))
        .when(pl.col("rpc_system_name").is_not_null())
        .then(pl.lit("rpc"))
        .when(http)
        .then(pl.lit("http"))
    )


def _route() -> pl.Expr:
    path = pl.coalesce("http_route", "template")
    by_http = pl.concat_str("http_request_method", path, separator=" ", ignore_nulls=True)
    return (
        pl.when(pl.col("rpc_method").is_not_null())
        .then("rpc_method")
        .when(path.is_not_null())
        .then(by_http)
    )


def _outcome(serves: pl.Expr, unanswered: pl.Expr) -> pl.Expr:
    error = pl.col("status_code") == 2
    told = outcomes.outcome(
        http_status=pl.col("http_response_status_code"),
        rpc_status=pl.col("rpc_status_code"),
        flags=pl.col("response_flags"),
        span_error=error,
        serves=serves,
    )
    silent = pl.col("http_response_status_code").is_null() & pl.col("rpc_status_code").is_null()
    return (
        pl.when(unanswered & error & silent)
        .then(pl.lit(outcomes.CONNECTION, pl.UInt8))
        .otherwise(told)
    )
