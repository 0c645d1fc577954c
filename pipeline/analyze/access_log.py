"""Access logs as tellings: which entry tells of which call, from which side.

What real Envoys tell: the client's proxy writes one entry per request with the final status and the
number of attempts, the server's proxy one entry per attempt; only the latter knows the peer's
certificate; nothing says the direction but the names of log and cluster; a request id is shared by
every hop of a request, so that within it entries find each other by address. A gateway writes one
entry for two calls: the one it answered and the one it made.

Entries from files of log lines often do not say who wrote them. Who called is then known by the
address it called from, and is the service that was seen to answer at that address.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from pipeline.analyze import names, peer
from pipeline.analyze.outcome import OK, outcome
from pipeline.analyze.telling import MILLION, TELLING, with_template
from pipeline.model.topology import CLIENTS, NodeKind, Reporter

WHOLE_REQUESTS: Final = (0, 3, 6)
"""Envoy's AccessLogType: not set, TCP connection end, downstream end. Others repeat a request."""

INBOUND_NAME: Final = r"(?i)inbound|ingress"
OUTBOUND_NAME: Final = r"(?i)outbound|egress"
HOST: Final = r"^(.+):\d+$"
"""The address without its port."""

WAYPOINT_CLUSTER: Final = r"^inbound-vip\|"
"""Clusters that only waypoints have: of services, on behalf of which they answer."""

GATEWAY_LOG: Final = r"(?i)^(gateway|edge)"


def from_access_logs(
    logs: pl.DataFrame, resources: pl.DataFrame, *, keep: Sequence[str] = ()
) -> pl.DataFrame:
    """The tellings of access log entries.

    Args:
        logs: answer to the question ``pair_access_logs``, all entries of the requests in question,
            and ``home``, the same for all entries of a request.
        resources: first frame of ``identity.identify``.
        keep: columns of ``logs`` to answer beside, for those who ask which entry told it.

    Returns:
        Columns of ``TELLING``, and those to keep.
    """
    entries = _entries(with_template(logs), resources)
    if entries.is_empty():
        return pl.DataFrame(schema=TELLING).hstack(logs.clear().select(*keep))
    client = _client_side(entries)
    server = _behind_waypoints(_server_side(entries, client))
    return pl.concat(told.select(*TELLING, *keep) for told in (client, server))


def _entries(logs: pl.DataFrame, resources: pl.DataFrame) -> pl.DataFrame:
    entries = (
        logs.filter(pl.col("log_type").fill_null(0).is_in(WHOLE_REQUESTS))
        .join(resources, on="resource_id", how="left")
        .with_row_index("row")
    )
    gateway = pl.col("gateway").fill_null(value=False) | pl.col("log_name").str.contains(
        GATEWAY_LOG
    ).fill_null(value=False)
    # what a node's tunnel tells of a waypoint's connections is not what the waypoint tells
    waypoint = (pl.col("waypoint") & (pl.col("protocol") != "tcp")).fill_null(value=False) | pl.col(
        "upstream_cluster"
    ).str.contains(WAYPOINT_CLUSTER).fill_null(value=False)
    said = pl.concat_str("log_name", "upstream_cluster", separator="|", ignore_nulls=True)
    outbound = said.str.contains(OUTBOUND_NAME)
    inbound = said.str.contains(INBOUND_NAME) | pl.col("tls_peer_identity").is_not_null()
    weight = (MILLION / pl.col("sample_rate")).round().cast(pl.Int64)
    entries = entries.with_columns(
        pl.when(waypoint)
        .then(pl.lit("waypoint"))
        .when(gateway)
        .then(pl.lit("gateway"))
        .when(outbound)
        .then(pl.lit("outbound"))
        .when(inbound)
        .then(pl.lit("inbound"))
        .alias("direction"),
        pl.when(pl.col("sample_rate").is_between(0, 1, closed="right"))
        .then(weight)
        .otherwise(MILLION)
        .alias("weight"),
    )
    return entries.with_columns(_direction(entries).alias("direction"))


def _direction(entries: pl.DataFrame) -> pl.Series:
    """Directions, where the names do not tell by who is connected to whom within a request.

    A proxy that tells only where it sent a request to, and not where it was reached, called.
    """
    if entries["direction"].null_count() == 0:
        return entries["direction"]
    calls = entries.select("row", "request_id", address="upstream_remote_address").drop_nulls()
    answers = entries.select("row", "request_id", address="downstream_local_address").drop_nulls()
    met = calls.join(answers, on=["request_id", "address"], suffix="_answer").filter(
        pl.col("row") != pl.col("row_answer")
    )
    return entries.select(
        pl.when(pl.col("direction").is_not_null())
        .then("direction")
        .when(
            pl.col("row").is_in(met["row"].implode())
            | (
                pl.col("identity").is_null()
                & pl.col("downstream_local_address").is_null()
                & pl.col("upstream_remote_address").is_not_null()
            )
        )
        .then(pl.lit("outbound"))
        .otherwise(pl.lit("inbound"))
    ).to_series()


def _client_side(entries: pl.DataFrame) -> pl.DataFrame:
    """One telling per request that an outbound proxy or a gateway sent on."""
    went = pl.any_horizontal(
        pl.col(
            "upstream_cluster", "upstream_remote_address", "upstream_response_status_code"
        ).is_not_null()
    )
    calls = entries.filter(pl.col("direction").is_in(["outbound", "gateway"]) & went)
    answers = (
        entries.filter(~pl.col("direction").is_in(["outbound", "waypoint"]))
        .select("request_id", "identity", "service", address="downstream_local_address")
        .drop_nulls()
        .group_by("request_id", "address")
        .agg(pl.col("identity").min().alias("server"), pl.col("service").min().alias("answering"))
    )
    calls = calls.join(
        answers,
        left_on=["request_id", "upstream_remote_address"],
        right_on=["request_id", "address"],
        how="left",
    )
    gateway = pl.col("direction") == "gateway"
    status = pl.col("http_response_status_code")
    told = pl.when(gateway).then(pl.coalesce("upstream_response_status_code", status))
    calls = calls.with_columns(told.otherwise(status).alias("http_response_status_code"))
    alias = pl.coalesce(
        names.node(pl.col("upstream_cluster")),
        names.at_rule(pl.col("upstream_cluster"), pl.col("upstream_remote_address")),
        "upstream_remote_address",
        # an API of AWS does not say what it calls, but each of its routes calls one thing
        pl.when(pl.col("route_name").is_not_null()).then(
            pl.concat_str(
                pl.lit("route"),
                "http_request_method",
                "route_name",
                separator=" ",
                ignore_nulls=True,
            )
        ),
    )
    unanswered = pl.col("server").is_null()
    nameless = pl.col("identity").is_null()
    own = pl.coalesce("upstream_local_address", "downstream_remote_address").str.extract(HOST)
    unknown = nameless & own.is_null()
    return _measured(calls, serves=False).with_columns(
        pl.col("identity").alias("client"),
        pl.when(unknown).then(pl.lit(CLIENTS)).alias("client_name"),
        pl.when(unknown)
        .then(pl.lit(NodeKind.CLIENTS.value))
        .when(nameless)
        .then(pl.lit(NodeKind.UNKNOWN.value))
        .alias("client_kind"),
        pl.when(nameless).then(own).alias("client_alias"),
        pl.lit(None, pl.String).alias("server_name"),
        pl.when(unanswered).then(peer.alias_kind(alias)).alias("server_kind"),
        alias.alias("server_alias"),
        pl.when(gateway)
        .then(pl.lit(Reporter.GATEWAY.value))
        .otherwise(pl.lit(Reporter.CLIENT_PROXY.value))
        .alias("reporter"),
        pl.col("weight").alias("requests"),
        (pl.col("weight") * pl.col("attempt_count").fill_null(1).clip(1).cast(pl.Int64)).alias(
            "attempts"
        ),
        pl.lit(None, pl.Boolean).alias("tls"),
        unanswered.alias("unpaired"),
        pl.when(gateway)
        .then(pl.coalesce("upstream_duration_ns", "duration_ns"))
        .otherwise("duration_ns")
        .alias("duration_ns"),
    )


def _server_side(entries: pl.DataFrame, client: pl.DataFrame) -> pl.DataFrame:
    """One telling per entry of an inbound proxy or a gateway; the last attempt is the request."""
    served = entries.filter(pl.col("direction").is_in(["inbound", "gateway", "waypoint"]))
    asked = client.filter(pl.col("answering").is_not_null()).select(
        "request_id", "client", "client_alias", "begin", "upstream_local_address",
        _caller().alias("caller"), service="answering",
    )  # fmt: skip
    pairs = served.select(
        "row", "request_id", "service", "start_time", "downstream_direct_remote_address"
    ).join(asked, on=["request_id", "service"])
    connected = pl.col("upstream_local_address") == pl.col("downstream_direct_remote_address")
    by_connection = pl.col("caller").filter(connected)
    callers = pairs.group_by("row").agg(
        *(
            pl.when(by_connection.n_unique() == 1)
            .then(pl.col(name).filter(connected).first())
            .when(pl.col("caller").n_unique() == 1)
            .then(pl.col(name).first())
            .alias(name)
            for name in ("client", "client_alias", "caller")
        ),
        pl.col("begin").filter(pl.col("begin") <= pl.col("start_time")).max().alias("called"),
    )
    asked_times = asked.group_by("request_id", "service", "caller").len("calls")
    served = served.join(callers, on="row", how="left").join(
        asked_times, on=["request_id", "service", "caller"], how="left"
    )
    known = pl.col("caller").is_not_null()
    gateway = pl.col("direction") == "gateway"
    told = _measured(served, serves=True)
    attempt = (
        pl.struct(pl.col("outcome") == OK, "start_time", "duration_ns", "row")
        .rank("ordinal", descending=True)
        .over("request_id", "service", "caller")
    )
    retried = known & pl.col("calls").is_not_null() & (attempt > pl.col("calls"))
    unknown = ~known & pl.col("tls_peer_identity").is_null()
    return told.with_columns(
        pl.coalesce("called", "begin").alias("begin"),
        pl.when(unknown).then(pl.lit(CLIENTS)).alias("client_name"),
        pl.when(unknown)
        .then(pl.lit(NodeKind.CLIENTS.value))
        .when(~known)
        .then(pl.lit(NodeKind.UNKNOWN.value))
        .alias("client_kind"),
        pl.when(pl.col("client").is_null())
        .then(pl.coalesce("tls_peer_identity", "client_alias"))
        .alias("client_alias"),
        pl.col("identity").alias("server"),
        pl.lit(None, pl.String).alias("server_name"),
        pl.lit(None, pl.String).alias("server_kind"),
        pl.coalesce("tls_local_identity", "downstream_local_address").alias("server_alias"),
        pl.when(gateway)
        .then(pl.lit(Reporter.GATEWAY.value))
        .otherwise(pl.lit(Reporter.SERVER_PROXY.value))
        .alias("reporter"),
        pl.when(retried).then(0).otherwise("weight").cast(pl.Int64).alias("requests"),
        pl.col("weight").alias("attempts"),
        _mutual_tls().alias("tls"),
        (~known & ~unknown).alias("unpaired"),
    )


def _behind_waypoints(served: pl.DataFrame) -> pl.DataFrame:
    """What waypoints tell: they answer for the service that their cluster names, and are no end."""
    waypoint = pl.col("direction") == "waypoint"
    service = pl.coalesce(names.node(pl.col("upstream_cluster")), "upstream_remote_address")
    return served.with_columns(
        pl.when(waypoint).then(None).otherwise("server").cast(pl.Int32).alias("server"),
        pl.when(waypoint).then(service).otherwise("server_alias").alias("server_alias"),
        pl.when(waypoint)
        .then(peer.alias_kind(service))
        .otherwise("server_kind")
        .alias("server_kind"),
    )


def _caller() -> pl.Expr:
    """Who called, known by identity or else by address; null when by neither."""
    return pl.coalesce(pl.col("client").cast(pl.String), "client_alias")


def _mutual_tls() -> pl.Expr:
    """Whether the peer proved who it is; null for log lines that would not tell."""
    peer_told = pl.col("tls_peer_identity").is_not_null()
    tells = pl.any_horizontal(pl.col("log_name", "tls_version").is_not_null()) | peer_told
    return pl.when(tells).then(peer_told)


def _measured(entries: pl.DataFrame, *, serves: bool) -> pl.DataFrame:
    """The columns that both sides tell alike."""
    protocol = (
        pl.when(pl.col("rpc_status_code").is_not_null()).then(pl.lit("grpc")).otherwise("protocol")
    )
    told = pl.when(pl.col("route_name") != "default").then("route_name")
    route = pl.coalesce(told, "template")
    return entries.with_columns(
        pl.col("start_time").alias("begin"),
        protocol.alias("protocol"),
        pl.concat_str("http_request_method", route, separator=" ").alias("route"),
        pl.lit("access_logs").alias("signal"),
        pl.col("identity").alias("teller"),
        pl.lit(serves).alias("serves"),
        (pl.col("weight") > MILLION).alias("sampled"),
        outcome(
            http_status=pl.col("http_response_status_code"),
            rpc_status=pl.col("rpc_status_code"),
            flags=pl.col("response_flags"),
            span_error=pl.lit(value=False),
            serves=pl.lit(serves),
        ).alias("outcome"),
    )


def aliases(logs: pl.DataFrame, resources: pl.DataFrame) -> pl.DataFrame:
    """What entries tell of their own proxy's names: ``slice``, ``alias``, ``identity``."""
    entries = _entries(logs, resources)
    inbound = entries.filter(pl.col("direction") == "inbound")
    own = entries.filter(pl.col("direction") != "gateway")
    address = pl.col("downstream_local_address")
    return pl.concat(
        of.select("slice", "identity", alias=name).drop_nulls()
        for of, name in (
            (own, pl.col("tls_local_identity")),
            (inbound, address),
            (inbound, address.str.extract(HOST)),
        )
    )
